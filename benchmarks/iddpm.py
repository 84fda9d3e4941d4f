"""What does the hybrid objective buy? `python -m benchmarks.iddpm FOLDER [ITEMS]`: Improved DDPM on the digits, three seeds.

Trains two models a seed in FOLDER, or takes those that lie there: the recipe `iddpm-digits` with the hybrid objective and a
learned variance, and the same network with the simple objective, which has the better of the two fixed variances. Same steps,
same data, same evaluations. Of each, the bound of the test digits by all 1000 steps and by fewer; of both, how many ancestral
steps are needed for the bound that the simple one has by all.
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from unnoise.model import load
from unnoise.task.likelihood import Wish, measure
from unnoise.task.train import read, train

SEEDS = (0, 1, 2)
STEPS = (25, 50, 100, 200, 400, 700, 1000)
DRAWS = 16  # of the steps, for each digit; the same noise for both models
OTHER = ("loss.Denoising.times=Stratified", "network.UNet.variance=false", "sampler.Ancestral.variance=large")

Curve = dict[int, torch.Tensor]  # of each number of steps the bound of each digit, in bits a dimension


def main(folder: str, items: str = "1000") -> None:
    torch.set_num_threads(1)
    results = []
    for seed in SEEDS:
        curves = {}
        for name, changes, variances in (("simple", OTHER, ("small", "large")), ("hybrid", (), ("learned",))):
            run = Path(folder) / f"{name}-{seed}"
            train(read("iddpm-digits", None, [*changes, f"train.Trainer.seed={seed}"]), run, device="cpu", report=False, say=tell)
            curves[name] = bounds(run, int(items), variances)
        results.append(compare(**curves))
        tell(results[-1])
    print(
        json.dumps(
            {
                "seeds": results,
                "hybrid below simple by all steps, in every seed": all(found["below"] > 2 * found["error"] for found in results),
                "fewer steps of hybrid for every bound of simple, in every seed": all(
                    steps is not None and steps < n
                    for found in results
                    for n, steps in found["steps for the same bound"].items()
                    if n > STEPS[0]
                ),
            }
        )
    )


def bounds(run: Path, items: int, variances: tuple[str, ...]) -> Curve:
    """The bound by each number of steps, by the best of the variances."""
    model, curve = load(run), {}
    for n in STEPS:
        found = []
        for variance in variances:
            told = measure(model, "test", Wish(items, "bound", n, DRAWS, variance))  # type: ignore[arg-type]
            rows = sorted(told["samples"], key=lambda row: row["index"])
            found.append(torch.tensor([row["bound"] for row in rows], dtype=torch.float64))
        curve[n] = min(found, key=lambda values: float(values.mean()))
    return curve


def compare(simple: Curve, hybrid: Curve) -> dict[str, Any]:
    """Both in bits a dimension, their difference by all steps with its standard error, and steps for the same bound."""
    below = simple[STEPS[-1]] - hybrid[STEPS[-1]]
    means = {name: {n: round(float(c[n].mean()), 4) for n in STEPS} for name, c in (("simple", simple), ("hybrid", hybrid))}
    return {
        "test digits": len(below),
        **means,
        "below": round(float(below.mean()), 4),
        "error": round(float(below.std() / len(below) ** 0.5), 4),
        "steps for the same bound": {n: needed(means["hybrid"], means["simple"][n]) for n in STEPS},
    }


def needed(curve: dict[int, float], bound: float) -> int | None:
    """The number of steps whose bound this is, log-linear between those measured; None if there is none."""
    if curve[STEPS[0]] <= bound:
        return STEPS[0]
    for few, many in pairwise(STEPS):
        if curve[many] <= bound:
            share = (curve[few] - bound) / (curve[few] - curve[many])
            return round(few * (many / few) ** share)
    return None


def tell(line: object) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
