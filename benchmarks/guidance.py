"""Does guidance do what it is for? `python -m benchmarks guidance --data=MNIST NAME=RUN,CLASSIFIER[,N] ... [--pictures=FOLDER]`.

For each run the classifier guides it over WEIGHTS, the run itself being told nothing of the class (weight 0: nothing at all),
and, where the run knows classes, classifier-free guidance over SCALES (1: the run as it is). N samples a cell (600), a tenth
of each class asked for, the same seeds in every cell. Of each cell: the share that an independent classifier, trained on real
data and never used in generation, recognises as asked; the mean distance of two samples of one class in its features; their
Frechet distance to all real test items, beside that of as many real training items, and how much it is above that of the
unguided samples of the same seeds, with an interval. With a folder for pictures: a sheet of each, a row a class, columns by
scale. `--engine=onnx` runs the networks by ONNX Runtime.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.domain import Images
from unnoise.guidance import CFG, Classifier, Clip, Guidance
from unnoise.metric import Frechet
from unnoise.metric.features import train
from unnoise.metric.interval import around
from unnoise.model import Model, load
from unnoise.tensor import permutation

WEIGHTS = (0.0, 1.0, 2.0, 5.0)
SCALES = (1.0, 1.1, 1.25, 1.5, 2.0, 5.0)
UNGUIDED = {"classifier": "0", "classifier_free": "1"}  # the scale at which a run is by itself
STEPS = 16
SHOWN = 5  # samples of each class and scale on a sheet
GAP = 4  # pixels between scales


def main(*arguments: str) -> None:
    torch.set_num_threads(1)
    options = dict(a.removeprefix("--").split("=", 1) for a in arguments)
    data, pictures, engine = options.pop("data"), options.pop("pictures", ""), options.pop("engine", "eager")
    found = {}
    for name, text in options.items():
        run, classifier, *n = text.split(",")
        sheet = Path(pictures) / f"guidance-{name}" if pictures else None
        found[name] = of_run(load(run, engine=engine), classifier, data, int(n[0]) if n else 600, sheet)
    print(json.dumps({"steps": STEPS, "engine": engine, "goals": goals(found), "runs": found}))


def of_run(model: Model, classifier: str, data: str, n: int, sheet: Path | None) -> dict[str, Any]:
    """Both ways of guidance of one model."""
    images = Images(data, size=model.domain.shape[-1], channels=model.domain.shape[0])
    test = items(images, "test", None)
    judge = train(*items(images, "train", None), classes=10)
    real = judge.features(test[0])
    asked = torch.arange(n) % 10

    def cell(rule: Guidance) -> tuple[dict[str, Any], Tensor, Frechet]:
        nfe: list[int] = []
        began = time.process_time()
        x = model.sample(
            n, steps=STEPS, cond={"label": asked}, guidance=[rule, Clip()], callback=lambda moment: nfe.append(moment.nfe)
        )
        seconds, features = time.process_time() - began, judge.features(x)
        distance = away(features, real)
        numbers = {
            "accuracy": judge.accuracy(x, asked),
            "diversity": diversity(features, asked),
            "frechet": distance.estimate()["frechet"].value,
            "evaluations": max(nfe),
            "cpu_seconds": seconds,
        }
        print(rule, numbers, file=sys.stderr, flush=True)
        return {key: round(value, 4) for key, value in numbers.items()}, x, distance

    def cells(make: Callable[[float], Guidance], scales: Sequence[float], kind: str) -> dict[str, Any]:
        results = {f"{scale:g}": cell(make(scale)) for scale in scales}
        if sheet is not None:
            draw({key: x for key, (_, x, _) in results.items()}, asked).save(f"{sheet}-{kind}.png", optimize=True)
        unguided, _, alone = results[UNGUIDED[kind]]
        for numbers, _, distance in results.values():
            above = around(numbers["frechet"] - unguided["frechet"], distance.influence() - alone.influence())
            numbers["frechet_above_unguided"] = [round(value, 4) for value in above]
        return {key: numbers for key, (numbers, _, _) in results.items()}

    told: dict[str, Any] = {
        "n": n,
        "accuracy_real": round(judge.accuracy(*test), 4),
        "frechet_real": round(away(judge.features(items(images, "train", n)[0]), real).estimate()["frechet"].value, 4),
        "classifier": cells(lambda weight: Classifier(classifier, weight, alone=True), WEIGHTS, "classifier"),
    }
    if "label" in model.denoiser.conds:
        told["classifier_free"] = cells(CFG, SCALES, "classifier_free")
    return told


def goals(found: dict[str, Any]) -> dict[str, Any]:
    """Guided samples are to be what was asked for, ever more so and ever more alike, and no less like data than unguided ones.

    The best scale is that of the least Frechet distance among those at which 90 % are recognised.
    """
    verdicts: dict[str, Any] = {}
    for name, told in found.items():
        for kind in filter(told.get, UNGUIDED):
            unguided = told[kind][UNGUIDED[kind]]
            right = {scale: cell for scale, cell in told[kind].items() if cell["accuracy"] >= 0.9 and cell is not unguided}
            best = min(right, key=lambda scale: right[scale]["frechet"], default=None)
            column = {key: [cell[key] for cell in told[kind].values()] for key in ("accuracy", "diversity")}
            verdicts[f"{name}, {kind}"] = {
                "accuracy told nothing": told["classifier"]["0"]["accuracy"],
                "best scale": best,
                "accuracy at best": best and right[best]["accuracy"],
                "accuracy rises": column["accuracy"] == sorted(column["accuracy"]),
                "diversity falls": column["diversity"] == sorted(column["diversity"], reverse=True),
                "frechet at best of unguided": best and round(right[best]["frechet"] / unguided["frechet"], 3),
                "frechet at best above unguided": best and right[best]["frechet_above_unguided"],
            }
    return verdicts


def away(features: Tensor, real: Tensor) -> Frechet:
    """The distance of samples to real items, by their features."""
    made = Frechet(real)
    made.update(features)
    return made


def diversity(features: Tensor, asked: Tensor) -> float:
    """The mean distance of two samples of one class."""
    each = []
    for label in asked.unique():
        rows = features[asked == label]
        each.append(float(torch.cdist(rows, rows).sum()) / (len(rows) * (len(rows) - 1)))
    return sum(each) / len(each)


def items(images: Images, split: str, n: int | None) -> tuple[Tensor, Tensor]:
    """The first n items of a split in a keyed order (None: all), and their classes."""
    dataset = images.dataset(split)
    batch = dataset.batch(permutation(len(dataset), 0, f"benchmark {split}")[:n])
    return batch["x"], batch["label"]


def draw(columns: dict[str, Tensor], asked: Tensor) -> Any:
    """A row for each class, `SHOWN` samples for each scale, unpicked: those of the first seeds."""
    from PIL import Image, ImageDraw

    side, classes = next(iter(columns.values())).shape[-1], asked.unique().tolist()
    zoom = 2 if side < 20 else 1
    tile, head = side * zoom, 14
    width = len(columns) * (SHOWN * tile + GAP) - GAP
    sheet = Image.new("L", (width, head + len(classes) * tile), 255)
    for column, (scale, x) in enumerate(columns.items()):
        left = column * (SHOWN * tile + GAP)
        ImageDraw.Draw(sheet).text((left + 2, 1), f"scale {scale}", fill=0)
        for row, label in enumerate(classes):
            shown = x[asked == label][:SHOWN, 0]
            strip = torch.cat(list(shown), 1).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
            picture = Image.fromarray(255 - strip.numpy()).resize((SHOWN * tile, tile), Image.Resampling.NEAREST)
            sheet.paste(picture, (left, head + row * tile))
    return sheet


if __name__ == "__main__":
    main(*sys.argv[1:])
