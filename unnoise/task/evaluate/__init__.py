"""How good are samples? Quality, coverage, copies, speed: numbers with intervals, beside what real data reach, and in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unnoise.model import FILES, Model, load
from unnoise.task import machine, ranks
from unnoise.task.evaluate import measure
from unnoise.task.evaluate.compare import Comparison, compare
from unnoise.task.evaluate.result import Evaluation, Number
from unnoise.task.evaluate.sources import Made, found, opened

__all__ = ["Comparison", "Evaluation", "Number", "Wish", "compare", "evaluate", "gathered", "measure_model"]

LEAST = 8  # samples: neighbours of neighbours are asked for


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Args:
        n: Samples; of a folder or array at most.
        data: What they are compared with: a folder or archive of pictures, or a .npy or .npz file; a run's own if not given.
        features: That sets are compared by: raw, pooled16, classifier, ..., or a file; see `features.choose`.
        metrics: Names of numbers, or of families of them; all but the likelihood if not given.
        cond: As `Model.sample` takes it.
        overrides: "section.Name.key=value" of sampler, times, guidance and model.
        seed: The first seed.
        device, precision: Of a run that is loaded.
    """

    n: int = 1000
    data: Path | None = None
    features: str | None = None
    metrics: Collection[str] | None = None
    cond: Mapping[str, Any] | None = None
    overrides: Sequence[str] = ()
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.n < LEAST:
            raise ValueError(f"-n {self.n}: an evaluation needs at least {LEAST} samples")
        if unknown := [name for name in self.metrics or () if name not in measure.KNOWN]:
            raise ValueError(f"--metrics {unknown[0]}: expected some of {', '.join(measure.KNOWN)}")


def evaluate(source: Path | str, wish: Wish | None = None, say: Callable[[str], object] = lambda line: None) -> Evaluation:
    """What there is to know of samples.

    Args:
        source: A run, whose samples are made on the way and never written; or a folder or archive of pictures; or a .npy or .npz.
        wish: See `Wish`.
        say: Takes the lines meant for a person.

    Raises:
        ValueError: For what is none of these, or data that do not fit.
    """
    wish, path = wish or Wish(), Path(source)
    if (path / FILES[0]).is_file():
        model = load(path, device=machine.device(wish.device), overrides=wish.overrides)
        model.precision = machine.precision(wish.precision)
        return measure_model(model, wish, path.resolve().name, say)
    if wish.data is None:
        raise ValueError(f"{source} is no run, so that it does not know its data: --data FOLDER (or archive, .npy, .npz)")
    if not path.exists():
        raise ValueError(f"{source}: no such run, folder, archive or array")
    data = opened(wish.data, None)
    real = measure.real(data)  # type: ignore[arg-type]
    return measure.evaluation(path.name, found(path, wish.n, data, real.classes), data, real, wish, say)


def measure_model(
    model: Model, wish: Wish | None = None, name: str = "model", say: Callable[[str], object] = lambda line: None
) -> Evaluation:
    """The same of a model that is loaded, sampled in its own way; `overrides`, device and precision are its own too."""
    wish = wish or Wish()
    data = model.domain if wish.data is None else opened(wish.data, model.domain)
    if tuple(data.shape) != tuple(model.domain.shape):
        raise ValueError(f"{wish.data}: data of shape {tuple(data.shape)}; the model makes {tuple(model.domain.shape)}")
    real = measure.real(data)  # type: ignore[arg-type]
    label = next((name for name, c in model.denoiser.conds.items() if c.classes and not c.shape), None)
    with ranks.group():
        return measure.evaluation(name, Made(model, wish.n, label, wish.seed, wish.cond), data, real, wish, say)


def gathered(sources: Sequence[Path], wish: Wish, say: Callable[[str], object] = lambda line: None) -> list[Evaluation]:
    """Evaluations: read from .json files that `unnoise evaluate --json` wrote, made of all else."""
    return [Evaluation.read(path) if path.suffix == ".json" else evaluate(path, wish, say) for path in sources]
