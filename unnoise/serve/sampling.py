"""New samples for a request: the same walk as `unnoise sample`, answered in others' company, with the same bytes in the end."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unnoise.domain.pictures import Pictures
from unnoise.model import Model
from unnoise.sampler import prior
from unnoise.serve import wishes
from unnoise.serve.jobs import Job, Refused
from unnoise.serve.line import Client
from unnoise.serve.models import Models, Served, Variant, alone, by_itself, samplers
from unnoise.serve.preview import Previews
from unnoise.serve.store import Store
from unnoise.task.evaluate.result import finite
from unnoise.task.sample import KEY, descriptions, scaled
from unnoise.tensor import Rng

if TYPE_CHECKING:
    from unnoise.serve.desk import Desk


def sample(desk: Desk, wish: wishes.Sample, client: Client) -> Job:
    """The job of a request for samples.

    Raises:
        Refused, ValueError: For what the model cannot do, or what is too much.
    """
    served = desk.models.ready(wish.model)
    changes = overrides(desk.models, served, wish)
    variant = served.variant(changes)
    model = variant.model
    if "sample" not in served.facts["tasks"]:
        raise Refused(422, "this model is a classifier, which samples nothing; it guides others", "model")
    seeds = wish.listed
    wishes.check_work(_values(model), len(seeds), _evaluations(model, wish.steps), desk.limits.work)
    cond = model.draw(seeds) if wish.cond is None else model.conditions(wish.cond, len(seeds))
    own = by_itself(model)
    part = Samples(desk, served, variant, wish, client, cond, changes, None if own else (id(variant.times), *sorted(cond)))
    batch = 0 if own else model.defaults.batch
    return Job("sample", served.id, client, part, len(seeds), batch, model.defaults.steps, wish.shown, wish.inside, wish.detached)


class Samples:
    """A request for samples, as a part of a walk that others may share (see `together`).

    Raises:
        Refused: If its results cannot have the form that is asked for.
    """

    def __init__(
        self,
        desk: Desk,
        served: Served,
        variant: Variant,
        wish: wishes.Sample,
        client: Client,
        cond: Mapping[str, Tensor],
        changes: Sequence[str],
        key: Hashable,
    ) -> None:
        self.desk, self.served, self.variant, self.wish, self.client = desk, served, variant, wish, client
        self.seeds: Sequence[int] = wish.listed
        self.cond, self.changes, self.key = cond, changes, key
        self.form = form_of(variant.model, wish)
        self.watch: Previews

    def view(self, rows: int) -> Model:
        return alone(self.variant.model) if self.key is None else self.served.view(self.variant, rows)

    def begin(self, job: Job, rows: slice) -> Previews:
        self.watch = Previews(job, self.variant.model, _start(self.variant.model, self.seeds), rows)
        return self.watch

    def finish(self, job: Job, x: Tensor) -> dict[str, Any]:
        model, wish, models = self.variant.model, self.wish, self.desk.models
        recipes = descriptions(model, self.seeds, self.cond, self.variant.alike)
        images = kept(self.desk.store, self.client, model, x, recipes, self.form)
        whole, *lines = [command_of(self.served, one, models, self.changes) for one in (wish, *each(wish))]
        told = [image | {"command": line} for image, line in zip(images, lines, strict=True)]
        return result(job, told, whole, self.watch.nfe)


def overrides(models: Models, served: Served, wish: wishes.Sample) -> list[str]:
    """What differs from the model's defaults, as `--set` says it; the same as `unnoise sample` makes of its options."""
    if wish.sampler is not None and wish.sampler not in samplers():
        raise Refused(422, f"no such sampler; there are {', '.join(samplers())}", "sampler")
    name = wish.sampler or served.facts["defaults"]["sampler"]
    changes = [f"sampler={wish.sampler}"] * (wish.sampler is not None)
    changes += [f"sampler.{name}.{key}={json.dumps(value)}" for key, value in wish.sampler_options.items()]
    changes += [f"model.Defaults.steps={wish.steps}"] * (wish.steps is not None)
    if wish.classifier is not None:
        other = models.get(wish.classifier)
        if other.facts["kind"] != "classifier":
            raise Refused(422, "this model is no classifier", "classifier")
        changes.append(f"guidance.Classifier.run={str(other.folder)!r}")
    if wish.scale is not None or wish.interval is not None or wish.classifier is not None:
        rule = "Classifier" if wish.classifier else scaled(served.folder, changes)
        told = {"scale": wish.scale, "interval": wish.interval and list(wish.interval)}
        changes += [f"guidance.{rule}.{key}={value}" for key, value in told.items() if value is not None]
    return changes


def kept(
    store: Store, client: Client, model: Model, x: Tensor, recipes: Sequence[Mapping[str, Any]], form: str
) -> list[dict[str, Any]]:
    """Samples as files of the domain's own, kept for the client, and what is told of each."""
    told = [{"seed": recipe.get("seed"), "cond": recipe.get("cond", {}), "recipe": recipe} for recipe in recipes]
    if form == "npy":
        return [one | _array(store, client, row) for one, row in zip(told, x, strict=True)]
    assert isinstance(model.domain, Pictures)
    files = model.domain.files(x, [{KEY: json.dumps(recipe)} for recipe in recipes])
    return [one | keep_picture(store, client, file, x.shape[1:]) for one, file in zip(told, files, strict=True)]


def keep_picture(store: Store, client: Client, content: bytes, shape: Sequence[int]) -> dict[str, Any]:
    """A PNG of a picture (C, H, W), kept for the client, and where it is found."""
    channels, height, width = shape
    one = store.add(client, content, "image/png", width, height, channels)
    digest = hashlib.sha256(content).hexdigest()
    return {"id": one.id, "url": f"/v1/pictures/{one.id}", "width": width, "height": height, "sha256": digest}


def result(job: Job, images: Sequence[Mapping[str, Any]], command: str | None, nfe: int, **more: Any) -> dict[str, Any]:
    """What a client is told in the end."""
    seconds = round(time.monotonic() - (job.started or job.queued), 3)
    told = {"id": job.id, "task": job.task, "model": job.model, "images": list(images), "command": command}
    return finite(told | {"seconds": seconds, "nfe": nfe} | more)


def form_of(model: Model, wish: wishes.Wish) -> str:
    """ "png" or "npy": what is asked for, or what the data's own files are."""
    facts = model.domain.facts()
    files = isinstance(model.domain, Pictures) and facts["channels"] != "other" and facts["depth"] != "float32"
    if wish.format == "png" and not files:
        raise Refused(422, "these samples are no 8- or 16-bit pictures: ask for npy", "format")
    return wish.format or ("png" if files else "npy")


def command_of(served: Served, wish: wishes.Sample, models: Models, changes: Sequence[str]) -> str | None:
    """The command line that makes the same files, where one does; `changes` are the wish's overrides."""
    words = ["unnoise", "sample", served.facts["name"], "--seeds", _ranges(wish.listed)]
    for name, value in (wish.cond or {}).items():
        if isinstance(value, list) or wish.cond == {}:
            return None
        words += ["--cond", f"{name}={plain_value(value)}"]
    words += option("steps", wish.steps) + option("sampler", wish.sampler) + option("scale", wish.scale)
    words += option("classifier", wish.classifier and models.get(wish.classifier).facts["name"])
    for change in changes:
        if change.startswith("sampler.") or ".interval=" in change:
            words += ["--set", change]
    words += option("set", models.batch and f"model.Defaults.batch={models.batch}")
    return shlex.join([*words, f"--threads={models.threads}"])


def each(wish: wishes.Sample) -> list[wishes.Sample]:
    """A wish for each of its samples alone."""
    seeds = wish.listed

    def alone(i: int) -> dict[str, Any]:
        cond = {k: v[i] if isinstance(v, list) and len(v) == len(seeds) else v for k, v in (wish.cond or {}).items()}
        return {"seeds": [seeds[i]], "n": 1, "cond": None if wish.cond is None else cond}

    return [wish.model_copy(update=alone(i)) for i in range(len(seeds))]


def option(name: str, value: Any) -> list[str]:
    """As a word of a command line; none where there is nothing to say."""
    return [] if value is None else [f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}"]


def plain_value(value: Any) -> str:
    """A condition's value as `--cond` takes it."""
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _ranges(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


def _start(model: Model, seeds: Sequence[int]) -> Any:
    """The state that a walk begins at, for those who look inside."""

    def first(t: float) -> Tensor:
        shape = model.codec.shape(model.domain.shape)
        return prior(model.denoiser.schedule, shape, t, Rng(list(seeds), device=model.device))

    return first


def _values(model: Model) -> int:
    return int(torch.Size(model.domain.shape).numel())


def _evaluations(model: Model, steps: int | None) -> int:
    """Of the network, as far as it is known before the walk."""
    n = steps or model.defaults.steps
    twice = any(getattr(rule, "scale", 1) != 1 for rule in model.guidance)
    return (model.sampler.evaluations(n) or n) * (1 + twice)


def _array(store: Store, client: Client, x: Tensor) -> dict[str, Any]:
    import io

    import numpy as np

    file = io.BytesIO()
    np.save(file, x.float().numpy(), allow_pickle=False)
    one = store.add(client, file.getvalue(), "application/x-npy")
    return {"id": one.id, "array": f"/v1/arrays/{one.id}", "shape": list(x.shape)}
