"""What a fixed, small budget teaches: `python -m benchmarks speed DATA FOLDER [--n=1000] [--minutes=10,20]
[--device=cpu] [--programs=ours,diffusers,lucidrains]`.

The recipe cifar10-speed, diffusers' example of unconditional training and denoising-diffusion-pytorch (lucidrains), both with
their own defaults and networks of about its size, learn the same pictures (DATA, `cifar10-jpeg.tar.gz`; without classes) for so
many minutes each, with one thread. The clock is the seconds that the processor has worked for the process, so that whatever
else runs on the machine does not count; on an accelerator it is the time. All pictures are decoded before it starts, for all.
Then each samples in its own way as many pictures; they are compared with test pictures in the features of a classifier that
none of them knows (`unnoise features DATA`).

FOLDER keeps what was trained and sampled: what is there is not made again. `python -m benchmarks.speed NAME DATA FOLDER` trains
one alone, for another core or another day; the names are in PROGRAMS. Samples of all are in FOLDER,
`speed.png`. The others are looked for in UNNOISE_PEERS, folders separated as in PYTHONPATH.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks._budgets import Ours, Program, trained
from benchmarks._loops import RATE
from benchmarks._others import Diffusers, Lucidrains
from unnoise.domain import Images
from unnoise.metric import Fidelity, Frechet, Moments, frechet
from unnoise.metric.features import Classifier
from unnoise.task.features import features
from unnoise.tensor import permutation

GOAL, REFERENCE, SHOWN = 0.7, 5000, 10
OPTIONS = {"n": "1000", "device": "cpu", "minutes": "10,20", "programs": "ours,diffusers,lucidrains"}

PROGRAMS: dict[str, Program] = {
    one.name: one
    for one in (
        Ours("ours", guide=0.25, scale=1.75),
        Diffusers("diffusers"),
        Lucidrains("lucidrains"),
        Diffusers("diffusers x10", 10 * RATE),
        Lucidrains("lucidrains x10", 10 * RATE),
    )
}


def main(*arguments: str) -> None:
    options = OPTIONS | dict(a.removeprefix("--").split("=", 1) for a in arguments if a.startswith("--"))
    *name, data, folder = (a for a in arguments if not a.startswith("--"))
    torch.set_num_threads(1)
    minutes = [float(m) for m in options["minutes"].split(",")]
    if name:
        trained(PROGRAMS[name[0]], Path(data), Path(folder), minutes, options["device"])
    else:
        programs = [PROGRAMS[one] for one in options["programs"].split(",")]
        print(json.dumps(compared(Path(data), Path(folder), programs, minutes, int(options["n"]), options["device"]), indent=1))


def compared(data: Path, folder: Path, programs: list[Program], minutes: list[float], n: int, device: str) -> dict[str, Any]:
    judge = Classifier.load(features(data)[0])
    domain = Images(str(data), size=32)
    sets = {"real": items(domain, "train", n)["x"]}
    facts: dict[str, dict[str, Any]] = {"real": {}}
    test = items(domain, "test", REFERENCE)
    reference = judge.features(test["x"])
    moments = Moments(reference)

    def distance(x: Tensor) -> float:
        return frechet(moments, Moments(judge.features(x)))

    for program in programs:
        for one in reversed(trained(program, data, folder, minutes, device)):  # the longest first: others choose by it
            sets[one.name], facts[one.name] = one.samples(n, device, distance), one.facts()
    rows = {name: facts[name] | told(reference, judge.features(x)) for name, x in sets.items()}
    picture(domain, sets, folder)
    return {
        "pictures": n, "reference": REFERENCE, "goal": GOAL, "of": rows,
        "accuracy of the features": judge.accuracy(test["x"], test["label"]),
        "ratio": {f"{m:g} minutes": ratio(rows, m) for m in minutes},
    }  # fmt: skip


def told(reference: Tensor, rows: Tensor) -> dict[str, Any]:
    """Frechet distance with its interval, precision and recall (k = 3, of as many real pictures as samples)."""
    distance, fidelity = Frechet(reference), Fidelity(reference[: len(rows)])
    for metric in (distance, fidelity):
        metric.update(rows)
    found = {"frechet": distance.estimate()["frechet"], **fidelity.estimate()}
    return {name: [round(value, 4) for value in found[name]] for name in ("frechet", "precision", "recall")}


def ratio(rows: dict[str, dict[str, Any]], minutes: float) -> dict[str, Any]:
    """Ours over the best of the others after so many minutes."""
    there = {name: row["frechet"][0] for name, row in rows.items() if row.get("minutes") == minutes}
    ours = min(value for name, value in there.items() if rows[name]["program"] == "ours")
    best = min((value, name) for name, value in there.items() if rows[name]["program"] != "ours")
    return {
        "ours": ours,
        "best other": best[1],
        "its": best[0],
        "ratio": round(ours / best[0], 4),
        "holds": ours <= GOAL * best[0],
    }


def items(domain: Images, split: str, n: int) -> dict[str, Tensor]:
    """The first n pictures of a split in a keyed order."""
    dataset = domain.dataset(split)
    return dataset.batch(permutation(len(dataset), 0, f"benchmark {split}")[:n])


def picture(domain: Images, sets: dict[str, Tensor], folder: Path) -> None:
    """A row of each set's first samples; no choice among them."""
    rows = torch.cat([x[: 2 * SHOWN] for x in sets.values()])
    domain.grid(rows, 2 * SHOWN).save(folder / "speed.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
