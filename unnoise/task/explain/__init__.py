"""One walk told step by step: where it stands, what noise the network predicts, which picture that makes, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from unnoise.domain.pictures import Pictures
from unnoise.model import Model
from unnoise.sampler import prior
from unnoise.task.report.walks import CLOUD, unit
from unnoise.task.sample import Order, plain, prepared
from unnoise.tensor import Rng, expand
from unnoise.times import Given

LOOKS = 16  # at a picture: so many noise levels
ON = 8  # times of a walk on from one of them


class Look(NamedTuple):
    """One noise level of what is told, all tensors in the space of the data.

    Attributes:
        t, alpha, sigma: Where it is, and the scales of signal and noise there.
        x: The state x_t, brought to the scale of data.
        eps: The noise predicted, (x_t - alpha x0) / sigma, a third of it, so that three deviations reach the ends of the scale.
        x0: The picture predicted, E[x | x_t].
        end: What the walk makes of x_t when it goes on from here; None in a walk that does go on.
        loss: Mean squared error of the predicted noise.
        error: Root mean squared error of x0.
        contrast: Standard deviation of x0 over that of the truth.
    """

    t: float
    alpha: float
    sigma: float
    x: Tensor
    eps: Tensor
    x0: Tensor
    end: Tensor | None
    loss: float
    error: float
    contrast: float

    @property
    def snr(self) -> float:
        """Signal to noise, alpha^2 / sigma^2."""
        return self.alpha**2 / self.sigma**2


@dataclass(frozen=True)
class Told:
    """What is told.

    Attributes:
        model: Whose walk it is.
        looks: From noise to data.
        truth: What predictions are measured against: the picture, or else the end of the walk.
        picture: The name of the picture; "" for a walk from noise alone.
        cond: The conditions of the walk, by name.
        seed: Of its noise.
    """

    model: Model
    looks: Sequence[Look]
    truth: Tensor
    picture: str
    cond: dict[str, object]
    seed: int


@torch.no_grad()
def explain(run: Path, picture: Path | None, order: Order) -> Told:
    """A walk of a run from noise; or a picture noised by the forward process to 16 levels, and what the model sees in each.

    Args:
        run: A run's folder.
        picture: A file.
        order: Its first seed draws the noise; conditions, overrides, device, precision and threads as for `sample`.

    Raises:
        ValueError: If the run is no model of pictures but one is given, or it takes pictures of others.
    """
    model, _ = prepared(run, order)
    if model.shown:
        raise ValueError(f"{run} makes pictures of others: unnoise edit {run} FILE shows what it does")
    seed = order.seeds[0]
    if picture is None:
        return _walk(model, order, seed)
    if not isinstance(model.domain, Pictures):
        raise ValueError(f"{run} is a model of {type(model.domain).__name__}; {picture} wants a model of pictures")
    return _picture(model, picture, order, seed)


def _walk(model: Model, order: Order, seed: int) -> Told:
    """A walk from noise; errors are distances from its own end."""
    shape = model.codec.shape(model.domain.shape)
    seeds = [seed + i for i in range(CLOUD if len(shape) == 1 else 1)]
    cond = model.draw(seeds) if order.cond is None else model.conditions(order.cond, len(seeds))
    told = {name: plain(model.conds[name], value[0]) for name, value in cond.items()} if len(seeds) == 1 else {}
    denoiser, rng = model.guided(model.guidance), Rng(seeds, device=model.device)
    visited = model.times(denoiser.schedule, model.defaults.steps)
    x, t = denoiser.project(prior(denoiser.schedule, shape, visited[0], rng)), visited[0]
    states: list[tuple[float, Tensor, Tensor]] = []
    with model._autocast():
        for moment in model.sampler.walk(denoiser, x, visited, {k: v.to(model.device) for k, v in cond.items()}, rng):
            states.append((t, x, moment.x0))
            t, x = moment.t, moment.x
    return Told(model, [_look(model, *state, x) for state in states], model.codec.decode(x), "", told, seed)


def _picture(model: Model, path: Path, order: Order, seed: int) -> Told:
    """A picture under noise, always of the same draw; each look is one evaluation, and a walk on from there."""
    denoiser = model.guided(model.guidance)
    z = model.codec.encode(model.domain.load([path]).to(model.device))
    cond = {k: v.to(model.device) for k, v in model.conditions(order.cond or {}, 1).items()}
    eps, looks = Rng([seed], device=model.device).normal(z.shape[1:], "noise"), []
    for t in torch.linspace(1, 0, LOOKS + 1, dtype=torch.float64)[:-1].clamp(min=denoiser.schedule.t_min).tolist():
        alpha, sigma = (expand(c, z).to(z) for c in denoiser.schedule(torch.tensor([t], dtype=torch.float64)))
        x = alpha * z + sigma * eps
        with model._autocast():
            below = [s for s in model.times(denoiser.schedule, 2 * LOOKS) if s < t]
            on = Given((t, *below[:: -(-len(below) // (ON - 1)) or 1]))
            end = model.sampler(denoiser, x, on, cond, Rng([seed], device=model.device)) if below else None
            looks.append(_look(model, t, x, denoiser(x, t, cond), z, end, eps))
    told = {name: plain(model.conds[name], value[0]) for name, value in cond.items()}
    return Told(model, looks, model.codec.decode(z), path.name, told, seed)


def _look(
    model: Model, t: float, x: Tensor, x0: Tensor, truth: Tensor, end: Tensor | None = None, eps: Tensor | None = None
) -> Look:
    """One look at latents, measured, as data."""
    alpha, sigma = (float(c) for c in model.denoiser.schedule(torch.tensor(t, dtype=torch.float64)))
    predicted = (x - alpha * x0) / sigma
    noise = (x - alpha * truth) / sigma if eps is None else eps
    contrast = float(x0.std() / truth.std().clamp(min=1e-6))
    loss, error = float((predicted - noise).square().mean()), float((x0 - truth).square().mean().sqrt())
    seen, told, guess = (model.codec.decode(one).float().cpu() for one in (unit(model, x, t), predicted / 3, x0))
    last = None if end is None else model.codec.decode(end).float().cpu()
    return Look(t, alpha, sigma, seen, told, guess, last, loss, error, contrast)


def sentence(look: Look, before: Look | None, picture: bool) -> str:
    """What there is to see in one look, from its numbers."""
    ratio = look.sigma / look.alpha if look.alpha > 1e-3 else float("inf")
    levels, truth = 127.5 * look.error, "the picture" if picture else "what it becomes"
    far = f"{levels:.0f} of 255 grey levels" if levels >= 0.95 else "less than a grey level"
    if ratio > 50:
        seen = "Nothing but noise. All that the network can say is the mean of everything that it may be"
    elif ratio > 3:
        seen = (
            f"The noise is {ratio:.0f} times as strong as the signal. The guess is an average of many candidates, so it is soft"
        )
    elif 0.95 < ratio < 1.05:
        seen = "Signal and noise are equally strong. Parts find their places and edges appear"
    elif ratio > 1:
        seen = f"The noise is still {ratio:.1f} times as strong as the signal. Colours and the broad shape are being decided"
    elif ratio > 1 / 3:
        seen = f"The signal is {1 / ratio:.1f} times as strong as the noise. Parts find their places and edges appear"
    elif ratio > 1 / 20:
        seen = f"The signal is {1 / ratio:.0f} times as strong as the noise. What it shows is settled; fine detail is left"
    else:
        seen = "Hardly any noise. The guess repeats what it sees, cleaned"
    gain = 0.0 if before is None or not before.error else 1 - look.error / before.error
    moved = f", {100 * gain:.0f} % nearer than one step before" if gain > 0.02 else ""
    contrast = f"{100 * min(look.contrast, 9.99):.0f} % of the contrast of {truth}"
    return f"{seen}. The guess has {contrast} and is {far} away from it{moved}."
