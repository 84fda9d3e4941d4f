"""What a job shows of itself on the way: how far it is, and what the model believes the pictures are."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unnoise.codec import Identity
from unnoise.domain.base import to_levels
from unnoise.domain.pictures import Pictures
from unnoise.domain.save import COLOURS, png
from unnoise.model import Model
from unnoise.sampler import Moment
from unnoise.serve.jobs import Job

EVERY = 0.1  # seconds between two previews
SLOW = 5  # times so long where a codec must decode them
NOISE = 3.0  # standard deviations that are shown, from black to white


class Previews:
    """A walk's callback: tells a job's watchers of every moment.

    Args:
        job: Whose walk it is.
        model: Decodes, and knows the schedule.
        first: The state at a time where the walk begins, for the noise that is predicted in its first step.
        rows: The job's own in the walk.
    """

    def __init__(self, job: Job, model: Model, first: Callable[[float], Tensor] | None = None, rows: slice = slice(None)) -> None:
        self.job, self.model, self.first, self.rows = job, model, first, rows
        self.began, self.shown, self.nfe = time.monotonic(), 0.0, 0
        self.last: tuple[float, Tensor] | None = None
        self.every = EVERY * (1 if isinstance(model.codec, Identity) else SLOW)
        self.drawn = job.previews and isinstance(model.domain, Pictures) and model.domain.shape[0] in (1, 3, 4)

    def __call__(self, moment: Moment) -> None:
        job, now = self.job, time.monotonic()
        job.step, self.nfe = moment.k + 1, moment.nfe
        if not job.watchers and not job.inside:
            return
        moment = moment._replace(x=moment.x[self.rows], x0=moment.x0[self.rows])
        where = self._where(moment.t)
        spent = round(now - self.began, 3)
        job.tell("progress", {"step": job.step, "steps": job.steps, **where, "nfe": moment.nfe, "seconds": spent})
        self.show(moment)
        if job.inside:
            self.last = moment.t, moment.x

    def show(self, moment: Moment) -> None:
        """A preview, where somebody watches and the last one is long enough ago."""
        job, now = self.job, time.monotonic()
        if self.drawn and job.watchers and (job.inside or now - self.shown >= self.every):
            self.shown = now
            job.tell("preview", self._preview(moment) | self._where(moment.t))

    def _preview(self, moment: Moment) -> dict[str, Any]:
        x0 = self.model.codec.decode(moment.x0).float().cpu()
        told = {"step": self.job.step, "n": len(x0), "width": x0.shape[-1], "height": x0.shape[-2], "x0": strip(x0)}
        if self.job.inside and isinstance(self.model.codec, Identity):
            told |= self._inside(moment)
        return told

    def _inside(self, moment: Moment) -> dict[str, Any]:
        """The state that the step began with, and the noise that the model saw in it."""
        if self.last is None:
            if self.first is None:
                return {}
            self.last = 1.0, self.first(1.0)
        t, x_t = self.last
        alpha, sigma = (float(c) for c in self.model.denoiser.schedule(torch.tensor(t, dtype=torch.float64)))
        eps = (x_t - alpha * moment.x0) / max(sigma, 1e-6)
        return {"began": round(t, 6), "x": strip(x_t / (alpha + NOISE * sigma)), "eps": strip(eps / NOISE)}

    def _where(self, t: float) -> dict[str, float]:
        return {"t": round(t, 6), "log_snr": self._log_snr(t)}

    def _log_snr(self, t: float) -> float:
        alpha, sigma = (float(c) for c in self.model.denoiser.schedule(torch.tensor(t, dtype=torch.float64)))
        return round(2 * float(torch.tensor(max(alpha, 1e-15) / max(sigma, 1e-15)).log()), 4)


def strip(x: Tensor) -> str:
    """Pictures in [-1, 1] beside each other, as one PNG in base64."""
    levels = to_levels(x.float().cpu(), (0, 255), "uint8")  # (n, C, H, W)
    colour = COLOURS[{1: "grey", 3: "rgb", 4: "rgba"}[levels.shape[1]]]
    n, c, height, width = levels.shape
    return base64.b64encode(png(levels.transpose(2, 0, 3, 1).reshape(height, n * width, c), colour, {})).decode()
