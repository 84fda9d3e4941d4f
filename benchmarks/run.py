"""How good is a class-conditional run? `python -m benchmarks.run RUN DATA [N] [STEPS] [SCALE]`: N samples beside N real items.

Accuracy of an independent classifier (trained on real training data, never used in generation) on the class that was asked for;
recall of the real test data by the samples, over what as many real training data reach; Frechet distance to the test data in
the classifier's features, over that of as many real training data. All sets have N items; the samples' classes are those of the
first N items of the test set.
"""

import json
import sys
import time
from pathlib import Path

from torch import Tensor

from unnoise.metric import Moments, frechet, precision_recall
from unnoise.metric.features import Classifier
from unnoise.metric.features import train as train_classifier
from unnoise.model import load
from unnoise.tensor import permutation


def main(run: str, data: str, n: str = "1000", steps: str = "20", scale: str = "") -> None:
    model = load(run, overrides=[f"domain.Images.root={data!r}"])
    model.domain = model.recipe.build("domain")
    train, test = items(model, "train", None), items(model, "test", int(n))
    kept = Path(run) / "classifier.safetensors"
    judge = Classifier.load(kept) if kept.exists() else train_classifier(*train, classes=len(model.domain.conds["label"].classes))
    some = permutation(len(train[0]), 0, "benchmark")[: int(n)]
    real, nfe = train[0][some], []
    started = time.perf_counter()
    samples = model.sample(
        len(test[1]),
        steps=int(steps),
        cond={"label": test[1]},
        scale=float(scale) if scale else None,
        callback=lambda moment: nfe.append(moment.nfe),
    )
    seconds = time.perf_counter() - started
    told = [json.loads(line) for line in (Path(run) / "log.jsonl").read_text().splitlines()][-1]
    features = {name: judge.features(x) for name, x in (("samples", samples), ("real", real), ("test", test[0]))}
    recall = {name: precision_recall(features["test"], features[name])[1] for name in ("samples", "real")}
    distance = {name: frechet(Moments(features["test"]), Moments(features[name])) for name in ("samples", "real")}
    result = {
        "accuracy": judge.accuracy(samples, test[1]),
        "accuracy_real": judge.accuracy(*test),
        "evaluations": max(nfe),
        "recall": recall["samples"],
        "recall_of_real_training_data": recall["real"],
        "recall_ratio": recall["samples"] / recall["real"],
        "frechet": distance["samples"],
        "frechet_of_real_training_data": distance["real"],
        "frechet_ratio": distance["samples"] / distance["real"],
        "n": len(samples),
        "steps_trained": told["step"],
        "training_cpu_minutes": round(told["time"].get("cpu_seconds", float("nan")) / 60, 1),
        "training_minutes": round(told["time"]["seconds"] / 60, 1),
        "sampling_seconds": round(seconds, 1),
    }
    print(json.dumps(result))


def items(model, split: str, n: int | None) -> tuple[Tensor, Tensor]:
    """The first n items of a split in a keyed order, and their classes."""
    dataset = model.domain.dataset(split)
    batch = dataset.batch(permutation(len(dataset), 0, f"benchmark {split}")[:n])
    return batch["x"], batch["label"]


if __name__ == "__main__":
    main(*sys.argv[1:])
