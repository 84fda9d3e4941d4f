"""Editing: what a model of pictures makes of pictures that are damaged, small, grey, cut off, or wanted otherwise."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unnoise.domain.base import from_levels
from unnoise.domain.pictures import Pictures
from unnoise.model import Model
from unnoise.operator import Fourier, Identity, intervals, noise_std
from unnoise.sampler import Moment, SDEdit
from unnoise.task.edit import jobs
from unnoise.task.edit.jobs import Job
from unnoise.task.edit.methods import Method, default, method
from unnoise.task.edit.picture import Picture, blended, mask, pixels, read, save
from unnoise.task.edit.score import Score, lpips, reference, scores
from unnoise.task.edit.sheet import mean, sheet, uncertainty
from unnoise.task.edit.shown import shown
from unnoise.task.edit.walks import draw, latent
from unnoise.task.sample import KEY, Order, describe, prepared
from unnoise.times import Auto, Below

__all__ = ["Edited", "Job", "Made", "Wish", "edit", "one"]

STEPS = 50  # of a walk, unless told
TASKS = ("inpaint", "outpaint", "upscale", "restore", "colorize", "denoise", "vary")


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for: one of the tasks, and how.

    Args:
        task: "inpaint", "outpaint", "upscale", "restore", "colorize", "denoise" or "vary".
        value: The mask's path, four margins, the factor, the damage (see `jobs.damage`) or the strength; None for the others.
        method: By name, with options ("RePaint:jump=5"); "" for the task's own.
        noise: Its standard deviation in levels of 255; None: estimated for "denoise" and "restore" of a blur,
            else that of rounding.
        n: Results for each picture.
        reference: What the results should be, for their error: a file, or a folder of files of the inputs' names.
        lpips: Files of the weights of LPIPS, which then is measured too.
        pairs: Results 2 k and 2 k + 1 share a seed, the second with the opposite of its noise (see `Rng.mirrored`): each is a
            result like any other, and the mean of all is nearer to what is expected.
    """

    task: str
    value: Any = None
    method: str = ""
    noise: float | None = None
    n: int = 4
    reference: Path | None = None
    lpips: Sequence[Path] = ()
    pairs: bool = False

    def seeds(self, first: int) -> list[int]:
        """One for each result."""
        return [first + (k // 2 if self.pairs else k) for k in range(self.n)]

    @property
    def mirrored(self) -> list[bool]:
        """Which results are of the opposite noise."""
        return [self.pairs and k % 2 == 1 for k in range(self.n)]


@dataclasses.dataclass(frozen=True)
class Edited:
    """What was made of one picture.

    Attributes:
        paths: The results.
        noise: The standard deviation that was assumed, in levels of 255; None where none was.
        scores: Of "baseline", "mean" and "sample", where there was a reference.
    """

    paths: list[Path]
    noise: float | None
    scores: Mapping[str, Score]


class Made(NamedTuple):
    """Results for one picture: its job, their pixels (n, C, H, W) at its depth and in its mode, and how each was made."""

    job: Job
    levels: np.ndarray
    abouts: list[dict[str, Any]]


def edit(
    run: Path,
    files: Sequence[Path],
    wish: Wish,
    order: Order,
    out: Path,
    progress: Callable[[int, int], object] | None = None,
) -> list[Edited]:
    """Writes `<name>-<k>.png` for each file and k = 0 .. n - 1, and `sheet.png` for all, into `out`.

    Args:
        run: Of a model of pictures.
        files: Pictures.
        wish: What to do.
        order: Its first seed is that of k = 0; conditions (null if not given), overrides, device, precision, threads.
        out: A folder.
        progress: Told the pictures done and those there are.

    Raises:
        ValueError: For what the task, the model or a file cannot do.
    """
    if not files:
        raise ValueError("which pictures? expected one file at least")
    if wish.lpips and wish.reference is None:
        raise ValueError("--lpips measures how far results are from what they should be: give it a --reference")
    perceptual = lpips(wish.lpips)
    model, threads = prepared(run, order)
    if not isinstance(model.domain, Pictures):
        raise ValueError(f"{run} is a model of {type(model.domain).__name__}; editing takes a model of pictures")
    if not (model.shown or any(text.startswith("model.Defaults.steps") for text in order.overrides)):
        model.defaults = dataclasses.replace(model.defaults, steps=STEPS)
    model.defaults = dataclasses.replace(model.defaults, batch=min(model.defaults.batch, wish.n))
    seeds = wish.seeds(order.seeds[0])
    done, rows = [], []
    for i, file in enumerate(files):
        if progress:
            progress(i, len(files))
        job, levels, abouts = one(model, file, wish, seeds, order.cond or {}, threads)
        should = None if wish.reference is None else reference(wish.reference, file, job, model.domain)
        texts = [{KEY: json.dumps(about)} for about in abouts]
        paths = [save(levels[k], job.picture.mode, out / f"{file.stem}-{k}", texts[k]) for k in range(wish.n)]
        shown = torch.cat([from_levels(result[None], (0, _top(job.picture))) for result in levels])[
            :, : 3 if levels.shape[1] > 1 else 1
        ]
        found = {} if should is None else scores(job.baseline, shown, should, perceptual)
        done.append(Edited(paths, job.measured.std * 127.5 if job.measured else None, found))
        rows.append(_row(job, shown, should))
    sheet(rows).save(out / "sheet.png")
    return done


def one(
    model: Model,
    file: Path,
    wish: Wish,
    seeds: Sequence[int],
    cond: Mapping[str, Any],
    threads: int,
    callback: Callable[[Moment], object] | None = None,
) -> Made:
    """What a model in memory makes of one picture, as its defaults (steps, batch) say; writes nothing.

    Raises:
        ValueError: For what the task, the model or the file cannot do.
    """
    job = _job(read(file, model.domain), model.domain, wish)  # type: ignore[arg-type]
    x, chosen = _samples(model, job, wish, seeds, cond, callback)
    about = _about(model, file, wish, job, chosen, cond, threads)
    abouts = [{**about, "seed": seed} for seed in seeds]
    if wish.pairs:
        abouts = [{**one, "mirrored": turned} for one, turned in zip(abouts, wish.mirrored, strict=True)]
    return Made(job, _levels(x, job), abouts)


def _job(picture: Picture, domain: Pictures, wish: Wish) -> Job:
    """The job of one picture."""
    rounding = jobs.rounding(picture)
    std = rounding if wish.noise is None else wish.noise / 127.5
    match wish.task:
        case "inpaint":
            return jobs.inpaint(picture, domain, mask(Path(wish.value), picture.size), std)
        case "outpaint":
            return jobs.outpaint(picture, domain, wish.value, std)
        case "upscale":
            return jobs.upscale(picture, domain, wish.value, std)
        case "colorize":
            return jobs.colorize(picture, domain, std)
        case "vary":
            return jobs.vary(picture, domain)
        case "denoise" | "restore":
            operator = Identity() if wish.task == "denoise" else jobs.damage(wish.value)
            if wish.noise is None and operator.linear and not isinstance(operator, Fourier):  # what is missing looks like noise
                std = max(noise_std(picture.x), rounding)
            return jobs.restore(picture, domain, operator, std)
    raise ValueError(f"task {wish.task!r}: expected one of {', '.join(TASKS)}")


def _samples(
    model: Model,
    job: Job,
    wish: Wish,
    seeds: Sequence[int],
    cond: Mapping[str, Any],
    callback: Callable[[Moment], object] | None = None,
) -> tuple[Tensor, str]:
    """Samples of the result, and the method by name."""
    more: dict[str, Any] = {"callback": callback, "mirrored": wish.mirrored}
    if model.shown:
        if wish.method:
            raise ValueError(f"--method {wish.method}: this run was trained for the task, and takes no method")
        return draw(model, job, model.sampler, None, model.times, seeds, cond, shown=shown(model, job), **more), "its own"
    times = Auto()
    if job.measured is None:
        if wish.method:
            raise ValueError(f"--method {wish.method}: variations begin at the picture (SDEdit) and take no other method")
        z = model.codec.encode(_widened(job.picture.x, job.canvas).to(model.device))
        below, name = Below(wish.value, times), f"SDEdit:strength={wish.value:g}"
        return draw(model, job, SDEdit(z), None, below, seeds, cond, **more), name
    if job.repaint is not None and not job.repaint.any():  # nothing to paint
        return job.picture.x.expand(len(seeds), -1, -1, -1), "none"
    canvas = job.picture.x.new_zeros(1, model.domain.shape[0], *job.canvas)
    measured = latent(intervals(job.measured, canvas), model)
    chosen: Method = method(wish.method or default(measured), measured)
    return draw(model, job, chosen.sampler, chosen.rule, times, seeds, cond, **more), chosen.name


def _levels(x: Tensor, job: Job) -> np.ndarray:
    """Samples as the picture's own pixels, (n, C, H, W); what is kept is kept to the byte, and so is alpha."""
    made, own = pixels(x, job.picture), job.picture.pixels
    if job.repaint is not None:
        return np.stack([blended(one, own, job.repaint) for one in made])
    if job.picture.mode == "rgba" and own[-1].any():
        made[:, -1] = own[-1]
    return made


def _row(job: Job, shown: Tensor, reference: Tensor | None) -> dict[str, Tensor]:
    row = {"input": job.shown, "baseline": job.baseline, "mean": mean(shown), "samples": shown, "uncertainty": uncertainty(shown)}
    return row if reference is None else {**row, "reference": reference}


def _about(model: Model, file: Path, wish: Wish, job: Job, chosen: str, cond: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """All that makes the results what they are, but the seed."""
    about = {name: told for name, told in describe(model, 0, {}, threads).items() if name not in ("sampler", "times")}
    about["cond"] = dict(cond)
    value = str(wish.value) if isinstance(wish.value, Path) else wish.value
    about["edit"] = {
        "task": wish.task,
        "value": value,
        "method": chosen,
        "noise": None if job.measured is None else job.measured.std * 127.5,
        "input": hashlib.sha256(file.read_bytes()).hexdigest(),
        "n": wish.n,
    }
    if wish.task == "inpaint":
        about["edit"]["mask"] = hashlib.sha256(Path(wish.value).read_bytes()).hexdigest()
    return about


def _widened(x: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The picture on its canvas, its last row and column repeated."""
    beyond = (0, canvas[1] - x.shape[-1], 0, canvas[0] - x.shape[-2])
    return torch.nn.functional.pad(x, beyond, mode="replicate") if any(beyond) else x


def _top(picture: Picture) -> float:
    return float(np.iinfo(picture.pixels.dtype).max)
