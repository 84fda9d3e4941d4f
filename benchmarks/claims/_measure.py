"""Each (claim, arm, seed) is trained and measured once; its row is kept, and what was interrupted goes on after the last."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.__main__ import about
from benchmarks.claims._claim import Arm, Claim
from unnoise.task.evaluate import Wish, evaluate
from unnoise.task.likelihood import Wish as Asked
from unnoise.task.likelihood import likelihood
from unnoise.task.report.history import History
from unnoise.task.train import train

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "claims"
RUNS = ROOT / "runs" / "claims"
SEEDS = (0, 1, 2)
SAMPLES = 500
ITEMS, DRAWS = 150, 50  # of the bound: held-out items, and steps of the chain that each is measured at
FAMILIES = {"frechet": "frechet", "accuracy": "recognition", "recall": "fidelity", "precision": "fidelity", "seconds": "speed"}
Say = Callable[[str], object]


def measure(name: str, claim: Claim, say: Say = print, seeds: tuple[int, ...] = SEEDS) -> list[dict[str, Any]]:
    """The rows of a claim, those that are lacking measured now."""
    for seed in seeds:  # every arm with the first seed before any with the second
        for arm_name, arm in claim.arms.items():
            rows = kept(name, claim)
            if any(row["arm"] == arm_name and row["seed"] == seed for row in rows):
                continue
            say(f"{name}: {arm_name}, seed {seed}")
            row = {"arm": arm_name, "seed": seed, "setting": arm.setting(), **measured(arm, seed, claim.numbers, say)}
            write(name, [*rows, row])
    return kept(name, claim)


def kept(name: str, claim: Claim) -> list[dict[str, Any]]:
    """The rows that were measured with the arms as they are."""
    path = RESULTS / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
    settings = {arm_name: arm.setting() for arm_name, arm in claim.arms.items()}
    return [row for row in rows if settings.get(row["arm"]) == row["setting"]]


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Keeps the rows, whole or not at all."""
    path = RESULTS / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    draft.replace(path)


def measured(arm: Arm, seed: int, numbers: tuple[str, ...] | list[str], say: Say) -> dict[str, Any]:
    """One row: the numbers, what training cost, and when."""
    run = RUNS / f"{arm.key(seed)}-{seed}"
    train(arm.built(seed), run, device="cpu", report=False, say=lambda line: None)
    found: dict[str, Any] = {}
    asked = sorted({FAMILIES[number] for number in numbers if number in FAMILIES} | {"speed"})
    wish = Wish(SAMPLES, metrics=asked, overrides=list(arm.walk), seed=seed * SAMPLES, device="cpu")
    evaluation = evaluate(run, wish, lambda line: None)
    found |= {number: round(evaluation.numbers[number].value, 5) for number in (*numbers, "nfe") if number != "bound"}
    if "bound" in numbers:
        told = likelihood(run, "val", Asked(ITEMS, "bound", draws=DRAWS), device="cpu")["bound"]
        found |= {"bound": told["bits_per_dim"]}
    history = History.read(run)
    found |= {"updates": arm.updates, "training": round(history.total("cpu_seconds") or 0)}
    here = about()
    found |= {key: here[key] for key in ("date", "commit")}
    say("   " + ", ".join(f"{key} {value}" for key, value in found.items()))
    return found
