"""Are models more probable than a normal law, and do flow and bound agree? `python -m benchmarks.likelihood RUN ... [--items=N]`.

Of each run (score models by the three equations, MNIST, ...), on test data where there are, else held-out ones: bits a dimension
by the exact flow and by the bound, with standard errors; the same of a normal law with full covariance; and how probable the flow
finds the model's own samples, by predictor and corrector and by the flow itself, which a right model finds as probable as data.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from unnoise.likelihood import Flow, bits, dequantize, width
from unnoise.model import Model, load
from unnoise.sampler import Heun, PredictorCorrector, Sampler
from unnoise.task.likelihood import Wish, measure, summary
from unnoise.tensor import Rng
from unnoise.times import LogSNR, Times

TOLERANCE = 3e-4
SAMPLES = 50


def main(*arguments: str) -> None:
    torch.set_num_threads(1)
    options = dict(argument.removeprefix("--").split("=") for argument in arguments if argument.startswith("--"))
    runs = [argument for argument in arguments if not argument.startswith("--")]
    results = {}
    for run in runs:
        results[Path(run).name] = told = judge(load(run), int(options.get("items", 100)))
        print(run, told, file=sys.stderr)
    print(json.dumps(results))


def judge(model: Model, items: int) -> dict[str, Any]:
    """Likelihoods of data and of samples."""
    told = measure(model, part(model), Wish(items, tolerance=TOLERANCE))
    told.pop("samples")
    told["flow below the normal law"] = round(told["normal law"]["bits_per_dim"] - told["flow"]["bits_per_dim"], 4)
    told["bound below the normal law"] = round(told["normal law"]["bits_per_dim"] - told["bound"]["bits_per_dim"], 4)
    walks: dict[str, tuple[Sampler, Times, int]] = {
        "predictor and corrector": (PredictorCorrector(), LogSNR(), 100),
        "flow": (Heun(), LogSNR(), 25),
    }
    nulls = dict.fromkeys(model.denoiser.conds)
    for name, (sampler, times, steps) in walks.items():
        x = model.sample(SAMPLES, sampler=sampler, times=times, steps=steps, cond=nulls)
        told[f"samples by {name}"] = probable(model, x, told["levels"]) | {"nfe": sampler.evaluations(steps)}
    return told


def part(model: Model) -> str:
    """The data that were not trained on."""
    try:
        model.domain.dataset("test")
    except ValueError:
        return "val"
    return "test"


def probable(model: Model, x: torch.Tensor, levels: int) -> dict[str, float]:
    """Bits a dimension of samples, rounded to the values that data have."""
    stored = ((x.clamp(-1, 1) + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1
    rng = Rng(range(len(x)))
    density = Flow(rtol=TOLERANCE, atol=TOLERANCE)(model.denoiser, dequantize(stored, width(levels), rng), rng)
    return summary(bits(density.log_prob, x[0].numel(), width(levels)))


if __name__ == "__main__":
    main(*sys.argv[1:])
