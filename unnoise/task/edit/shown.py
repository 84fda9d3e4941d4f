"""Jobs of models that were trained for them: what was measured is shown to the network, and its own sampler does the rest."""

from __future__ import annotations

from torch import Tensor

from unnoise.model import Model
from unnoise.operator import Composed, Downsample, Holes, Identity, Mask, Noise, Operator, Shown
from unnoise.operator.law import HOLE, NOISE
from unnoise.task.edit.jobs import Job


def shown(model: Model, job: Job) -> dict[str, Tensor]:
    """What the network of a conditional model is shown of a job, one row.

    Raises:
        ValueError: If the model was trained for another task.
    """
    able: Shown = model.shown  # type: ignore[assignment]
    if job.measured is None:
        raise ValueError(f"this run makes pictures by {_named(able)} of others and nothing else; variations take another run")
    height, width = job.picture.size
    operator, y = _asked(job), job.measured.y.to(model.device)
    told: dict[str, Tensor] = {}
    if any(isinstance(member, Noise) for member in able.members):
        told[NOISE] = y.new_tensor([job.measured.std])
    painted = isinstance(operator, Mask) and any(isinstance(member, Holes) for member in able.members)
    if isinstance(operator, Mask) and painted:
        told[HOLE] = operator.repaint[None, None, :height, :width].to(y)
        y = y[..., :height, :width]
    fixed = [member for member in able.members if isinstance(member, Operator)] or [Identity()]
    if len(fixed) > 1 or not _same(fixed[0], Identity() if painted else operator):
        raise ValueError(
            f"this run was trained to undo {_named(able)}; {type(operator).__name__} is another task, which a run "
            f"without [operator] can do"
        )
    like = y.new_zeros(1, model.domain.shape[0], height, width)
    return able.given(y, told, like)


def _asked(job: Job) -> Operator:
    """What was measured of the picture itself, whatever its canvas."""
    operator = job.measured.operator  # type: ignore[union-attr]
    if isinstance(operator, Composed) and job.canvas != job.picture.size:
        return operator.outer
    return operator


def _same(mine: Operator, asked: Operator) -> bool:
    """Whether they are the same; of a small picture nobody knows by what kernel it became small."""
    if isinstance(mine, Downsample) and isinstance(asked, Downsample):
        return mine.factor == asked.factor
    return mine == asked


def _named(shown: Shown) -> str:
    return ", ".join(map(repr, shown.members))
