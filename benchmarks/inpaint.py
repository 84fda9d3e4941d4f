"""Half a digit painted anew: `python -m benchmarks inpaint RUN DATA [DIGITS] [STEPS]`, some four minutes of one core.

RUN is a model of MNIST, DATA the data. Of DIGITS test digits one half each (upper, lower, left, right in turn) is repainted three
times, without telling the class, by the method that `unnoise edit --inpaint` takes; by the run itself where it was trained to
paint. A judge (a network trained on real digits, never used in generation) says what the completions are. Where the half that is
left determines the digit is told by a second network, trained on such halves of training digits: it is sure (0.9) there; where
it is in doubt (below 0.6) completions should differ. The first 24 are shown on `inpaint-RUN.png` in the working directory.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from unnoise.metric.features.classifier import train as train_classifier
from unnoise.model import load
from unnoise.operator import Mask, Measurement
from unnoise.operator.law import HOLE
from unnoise.sampler import prior
from unnoise.task.edit.methods import default, method
from unnoise.task.edit.walks import believed
from unnoise.tensor import Rng, permutation
from unnoise.times import Auto

SURE, DOUBT, TIMES, STD = 0.9, 0.6, 3, 0.0023


def main(run: str, data: str, digits: str = "80", steps: str = "20") -> None:
    model = load(run, overrides=[f"domain.Images.root={data!r}"])
    domain = model.recipe.build("domain")
    train, test = (items(domain, "train", None), items(domain, "test", int(digits)))
    judge = train_classifier(*train, classes=10, steps=400)
    half = train_classifier(train[0] * (1 - halves(len(train[0]), True)), train[1], classes=10, steps=400)
    white = halves(len(test[0]))
    sure = half_probability(half, test[0] * (1 - white))
    started = time.process_time()
    painted = [paint(model, test[0], white, int(steps), seed) for seed in range(TIMES)]
    seconds = time.process_time() - started
    said = torch.stack([judge.predict(x) for x in painted])  # (TIMES, digits)
    right = (said == test[1]).double()
    determined, doubtful = sure >= SURE, sure < DOUBT
    differ = (said[0] != said[1]).double() + (said[1] != said[2]).double() + (said[0] != said[2]).double()
    rows = torch.cat([test[0][:24], (test[0] * (1 - white) - white)[:24], *(x[:24] for x in painted)])
    sheet = Path(f"inpaint-{Path(run).name}.png")
    domain.grid(rows, 24).save(sheet)
    print(json.dumps({
        "determined": int(determined.sum()),
        "recognised_where_determined": float(right[:, determined].mean()),
        "recognised_elsewhere": float(right[:, ~determined].mean()),
        "doubtful": int(doubtful.sum()),
        "pairs_that_differ_where_doubtful": float(differ[doubtful].mean() / 3),
        "pairs_that_differ_where_determined": float(differ[determined].mean() / 3),
        "judge_on_real": judge.accuracy(*test),
        "halves_on_real": half.accuracy(test[0] * (1 - white), test[1]),
        "kept_pixels_differ_by": float(max(((x - test[0]) * (1 - white)).abs().max() for x in painted)),
        "method": "its own" if model.shown else default(Measurement(Mask(white), test[0])),
        "steps": int(steps), "digits": len(test[0]), "completions": TIMES,
        "cpu_seconds_a_completion": round(seconds / (TIMES * len(test[0])), 2), "sheet": sheet.name,
    }))  # fmt: skip


def items(domain, split: str, n: int | None) -> tuple[Tensor, Tensor]:
    """The first n items of a split in a keyed order, and their classes."""
    dataset = domain.dataset(split)
    batch = dataset.batch(permutation(len(dataset), 0, f"benchmark {split}")[:n])
    return batch["x"], batch["label"]


def halves(n: int, drawn: bool = False) -> Tensor:
    """White on the upper, lower, left or right half, (n, 1, 28, 28): in turn, or drawn."""
    kinds = torch.zeros(4, 1, 28, 28)
    kinds[0, :, :14], kinds[1, :, 14:], kinds[2, :, :, :14], kinds[3, :, :, 14:] = 1, 1, 1, 1
    return kinds[Rng(range(n)).integers(4, (), "half") if drawn else torch.arange(n) % 4]


@torch.no_grad()
def half_probability(classifier, x: Tensor) -> Tensor:
    """How sure the classifier is of what it says."""
    return torch.cat([classifier(part) for part in x.split(500)]).softmax(1).amax(1)


@torch.no_grad()
def paint(model, x: Tensor, white: Tensor, steps: int, seed: int) -> Tensor:
    """Each digit with its white half painted."""
    if model.shown:
        return itself(model, x, white, steps, seed)
    done = []
    for rows in torch.arange(len(x)).split(model.defaults.batch):
        measured = Measurement(Mask(white[rows]), x[rows] * (1 - white[rows]), STD)
        _, sampler, rule = method(default(measured), measured)
        denoiser = believed(model, rule, x.shape[1:])
        rng, times = Rng([1000 * seed + int(row) for row in rows]), Auto()(denoiser.schedule, steps)
        made = sampler(denoiser, prior(denoiser.schedule, x.shape[1:], times[0], rng), times, rng=rng)
        done.append(torch.where(white[rows] > 0, made, x[rows]))
    return torch.cat(done)


def itself(model, x: Tensor, white: Tensor, steps: int, seed: int) -> Tensor:
    """The same by a model that is shown the hole and what it leaves."""
    cond = model.shown.given(x * (1 - white), {HOLE: white}, x)
    return model.sample(seeds=[1000 * seed + i for i in range(len(x))], cond=cond, steps=steps)


if __name__ == "__main__":
    main(*sys.argv[1:])
