"""What is made of pictures for a request: `unnoise edit` on pictures that the server keeps, in a batch of its own."""

from __future__ import annotations

import copy
import dataclasses
import json
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unnoise.domain.save import COLOURS, png
from unnoise.likelihood import Flow, bits, bound, dequantize, width
from unnoise.loss import Decoder
from unnoise.model import Model
from unnoise.sampler import Moment
from unnoise.serve import wishes
from unnoise.serve.jobs import Job, Refused
from unnoise.serve.line import Client
from unnoise.serve.models import Served, alone
from unnoise.serve.preview import Previews
from unnoise.serve.sampling import form_of, keep_picture, kept, option, plain_value, result
from unnoise.serve.store import Kept
from unnoise.task import edit as task
from unnoise.task.edit import travel
from unnoise.task.edit.picture import read
from unnoise.task.likelihood import LEVELS, walk
from unnoise.task.sample import KEY, describe
from unnoise.tensor import Rng

if TYPE_CHECKING:
    from unnoise.serve.desk import Desk

TASKS = {wishes.Inpaint: "inpaint", wishes.Upscale: "upscale", wishes.Vary: "vary", wishes.Restore: "restore"}
PASSES = 3  # over the frames of a movie, until they are evenly apart
BOUND = 200  # steps of a likelihood's bound


def edit(desk: Desk, wish: wishes.Edit, client: Client) -> Job:
    """The job of a request for something made of a picture.

    Raises:
        Refused, ValueError: For what the model cannot do, or what is too much.
    """
    served, name = desk.models.ready(wish.model), TASKS[type(wish)]
    model = _edited_by(served, wish, name)
    picture, seeds = desk.store.get(wish.picture, client), wish.listed
    factor = wish.factor if isinstance(wish, wishes.Upscale) else 1
    pixels = picture.width * picture.height * factor**2
    if pixels > desk.limits.canvas:
        raise Refused(422, f"a result of {pixels} pixels: at most {desk.limits.canvas} are made", "picture")
    values = max(pixels, int(torch.Size(model.domain.shape[1:]).numel())) * model.domain.shape[0]
    # 4: overlapping tiles, and the way back through the network
    wishes.check_work(4 * values, len(seeds), model.defaults.steps, desk.limits.work)
    mask = desk.store.get(wish.mask, client) if isinstance(wish, wishes.Inpaint) else None
    model.conditions(wish.cond or {}, len(seeds), model.denoiser.conds)
    model.defaults = dataclasses.replace(model.defaults, batch=min(model.defaults.batch, len(seeds)))
    view = alone(model)

    def work(job: Job) -> dict[str, Any]:
        watch = Previews(job, model)
        with _files({"picture": picture, "mask": mask}) as paths:
            asked = _task(wish, name, paths)
            made = task.one(view, paths["picture"], asked, seeds, wish.cond or {}, desk.models.threads, watch)
        images = [
            {"seed": seed, "cond": about["cond"], "recipe": about}
            | keep_picture(
                desk.store,
                client,
                png(levels.transpose(1, 2, 0), COLOURS[made.job.picture.mode], {KEY: json.dumps(about)}),
                levels.shape,
            )
            for seed, about, levels in zip(seeds, made.abouts, made.levels, strict=True)
        ]
        return result(job, images, _command(served, wish, name, desk), watch.nfe, input=_input(picture))

    return Job(name, served.id, client, work, len(seeds), 0, model.defaults.steps, wish.shown, wish.inside, wish.detached)


def interpolate(desk: Desk, wish: wishes.Interpolate, client: Client) -> Job:
    """The job of a request for the way between two pictures; its results are the frames in order."""
    served = desk.models.ready(wish.model)
    model = _edited_by(served, wish, "interpolate", travel.STEPS)
    ends = [desk.store.get(id_, client) for id_ in wish.pictures]
    wishes.check_work(
        4 * int(torch.Size(model.domain.shape).numel()), PASSES * wish.frames, 2 * model.defaults.steps, desk.limits.work
    )
    form, view = form_of(model, wish), alone(model)

    def work(job: Job) -> dict[str, Any]:
        watch = Previews(job, model)

        def show(moment: Moment) -> None:
            if len(moment.x0) == wish.frames:  # the film, not a part of it
                watch.show(moment)

        with _files(dict(zip("ab", ends, strict=True))) as paths:
            x = torch.cat([_fitting(path, model) for path in paths.values()])
        frames = travel.between(view, x, wish.frames, model.defaults.steps, wish.cond or {}, show)
        about = describe(model, 0, {}, desk.models.threads) | {"cond": dict(wish.cond or {})}
        abouts = [about | {"edit": {"task": "interpolate", "frames": wish.frames, "frame": i}} for i in range(wish.frames)]
        return result(job, kept(desk.store, client, model, frames, abouts, form), None, 0, input=[_input(one) for one in ends])

    passes = 1 + (PASSES if wish.frames > 2 else 1) * -(-wish.frames // model.defaults.batch)
    evaluations = passes * 2 * (model.defaults.steps - 1)  # of Heun's method, which does not denoise at the end here
    return Job(
        "interpolate", served.id, client, work, wish.frames, 0, evaluations, wish.shown, detached=wish.detached, counted=True
    )


def likelihood(desk: Desk, wish: wishes.Likelihood, client: Client) -> Job:
    """The job of a request for how probable a picture is."""
    served = desk.models.ready(wish.model)
    model = _edited_by(served, wish, "likelihood")
    picture = desk.store.get(wish.picture, client)
    levels = LEVELS.get(str(model.domain.facts().get("depth")))
    if levels is None:
        raise Refused(422, "this model's pictures are of floats: they have no likelihood in bits", "model")
    view = alone(model)

    def work(job: Job) -> dict[str, Any]:
        with _files({"picture": picture}) as paths:
            x = _fitting(paths["picture"], model).to(model.device)
        cond = {k: v.to(model.device) for k, v in model.conditions(wish.cond or {}, 1, view.denoiser.conds).items()}
        rng, bin_, dims = Rng([wish.seed], device=model.device), width(levels), x[0].numel()
        if wish.method == "flow":
            density = Flow()(view.guided([]), dequantize(x, bin_, rng), rng, cond)
            value, nfe = float(bits(density.log_prob, dims, bin_)), density.nfe
        else:
            times = walk(model.denoiser.schedule, wish.steps or BOUND, bin_)
            found = bound(view.guided([]), x, times, rng, cond, decoder=Decoder(levels))
            value, nfe = float(found.total) / float(torch.tensor(2.0).log()), len(times)
        told = {
            "bits_per_dim": round(value, 5),
            "nats_per_dim": round(value * 0.6931471805599453, 5),
            "method": wish.method,
            "nfe": nfe,
        }
        return result(job, [], None, nfe, likelihood=told, input=_input(picture))

    return Job("likelihood", served.id, client, work, 1, detached=wish.detached)


def _fitting(path: Path, model: Model) -> torch.Tensor:
    """A kept picture as the model sees it, (1, C, H, W); Refused where it is of another size."""
    x = read(path, model.domain).x  # type: ignore[arg-type]
    if x.shape[1:] != model.domain.shape:
        given, expected = (f"{shape[-1]} x {shape[-2]}" for shape in (x.shape, model.domain.shape))
        raise Refused(422, f"a picture of {given} pixels; {expected} is expected, the size of the model's")
    return x


def _edited_by(served: Served, wish: wishes.Wish, name: str, steps: int = task.STEPS) -> Model:
    """The model with the steps that are asked for."""
    if name not in served.facts["tasks"]:
        raise Refused(422, f"this model cannot {name}", "model")
    assert served.model is not None
    if wish.steps is None and served.model.shown:  # trained for the task: it says itself how it is sampled
        return copy.copy(served.model)
    return copy.copy(served.variant([f"model.Defaults.steps={wish.steps or steps}"]).model)


def _task(wish: wishes.Edit, name: str, paths: Mapping[str, Path]) -> task.Wish:
    """The wish as `unnoise edit` has it."""
    value: Any = None
    if isinstance(wish, wishes.Restore):
        text = wish.damage.text()
        name, value = (text, None) if text in ("denoise", "colorize") else ("restore", text)
    elif isinstance(wish, wishes.Inpaint):
        value = paths["mask"]
    elif isinstance(wish, wishes.Upscale):
        value = wish.factor
    elif isinstance(wish, wishes.Vary):
        value = wish.strength
    return task.Wish(name, value, wish.method, wish.noise, len(wish.listed))


@contextmanager
def _files(kept: Mapping[str, Kept | None]) -> Iterator[dict[str, Path]]:
    """Kept pictures as files in a folder that only this process can read, for as long as they are needed."""
    with tempfile.TemporaryDirectory(prefix="unnoise-") as folder:
        paths = {name: Path(folder, f"{name}.png") for name, one in kept.items() if one is not None}
        for name, path in paths.items():
            path.write_bytes(kept[name].content)  # type: ignore[union-attr]
        yield paths


def _input(picture: Kept) -> dict[str, Any]:
    return {"id": picture.id, "url": f"/v1/pictures/{picture.id}", "width": picture.width, "height": picture.height}


def _command(served: Served, wish: wishes.Edit, name: str, desk: Desk) -> str | None:
    """The command line that makes the same of the picture when it is at hand as a file."""
    seeds: Sequence[int] = wish.listed
    if list(seeds) != list(range(seeds[0], seeds[0] + len(seeds))) or any(
        isinstance(v, list) for v in (wish.cond or {}).values()
    ):
        return None
    asked = _task(wish, name, {"mask": Path("mask.png")})
    chosen = f"--{asked.task}" if asked.value is None else f"--{asked.task}={asked.value}"
    words = ["unnoise", "edit", served.facts["name"], "picture.png", chosen, "-n", str(len(seeds)), f"--seed={seeds[0]}"]
    words += option("steps", wish.steps) + option("method", wish.method or None) + option("noise", wish.noise)
    for key, value in (wish.cond or {}).items():
        words += ["--cond", f"{key}={plain_value(value)}"]
    return shlex.join([*words, f"--threads={desk.models.threads}"])
