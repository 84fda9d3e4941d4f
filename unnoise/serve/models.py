"""The models that are served: what each can do, and which of them are in memory."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unnoise import sampler as sampler_room
from unnoise.codec import Identity
from unnoise.denoiser import Denoiser, Recogniser
from unnoise.domain.pictures import Pictures
from unnoise.guidance.base import Borrowing
from unnoise.model import Model
from unnoise.sampler import Fitted, Sampler
from unnoise.serve.gather import Alone, Filled, Gathered, Remembered, Shared, with_network
from unnoise.serve.jobs import Refused
from unnoise.task.sample import Order, describe, prepared, sampling_by

EDITS = ("inpaint", "upscale", "vary", "interpolate", "restore", "likelihood")
DAMAGES = ("denoise", "deblur", "motion", "jpeg", "quantize", "clip", "colorize")
VARIANTS = 64  # of one model (other sampler, steps, guidance), kept ready
CURVE = 101  # points of the schedule that are shown


class Variant(NamedTuple):
    """A model with other steps, sampler or guidance; its times, worked out once; what its samples' metadata have in common."""

    model: Model
    times: Remembered
    alike: dict[str, Any]


@dataclasses.dataclass(eq=False)
class Served:
    """One run, by the id that the server gave it.

    Attributes:
        model: None where it is not in memory.
        bytes: Of its weights.
        facts: What clients are told of it.
        used: When it was last asked for.
        known: Coefficients by time, for all its walks.
    """

    id: str
    folder: Path
    order: Order
    model: Model | None = None
    bytes: int = 0
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    used: float = 0.0
    known: dict[float, tuple[torch.Tensor, ...]] = dataclasses.field(default_factory=dict)
    variants: dict[tuple[str, ...], Variant] = dataclasses.field(default_factory=dict)

    def variant(self, overrides: Sequence[str]) -> Variant:
        """The model as a request wants it sampled.

        Raises:
            ValueError: If an override is not right.
        """
        assert self.model is not None
        wanted = tuple(overrides)
        if wanted not in self.variants:
            if len(self.variants) >= VARIANTS:
                self.variants.clear()
            model = sampling_by(self.model, self.model.recipe.override(*overrides)) if wanted else self.model
            self.variants[wanted] = Variant(model, Remembered(model.times), describe(model, 0, {}, torch.get_num_threads()))
        return self.variants[wanted]

    def view(self, variant: Variant, rows: int) -> Model:
        """A variant whose walk of so many rows is answered together with others'."""
        model, seen = variant.model, copy.copy(variant.model)
        network = Shared(model.denoiser.network, rows, model.defaults.batch)
        plain = type(model.denoiser) is Denoiser
        seen.denoiser = Gathered(model.denoiser, network, self.known) if plain else with_network(model.denoiser, network)
        seen.defaults = dataclasses.replace(model.defaults, batch=rows)
        seen.times = variant.times
        if not isinstance(model.codec, Identity):
            seen.codec = Filled(model.codec, model.defaults.batch)
        return seen


def alone(model: Model) -> Model:
    """A model that computes by itself, in turns."""
    seen = copy.copy(model)
    seen.denoiser = with_network(model.denoiser, Alone(model.denoiser.network))
    return seen


class Models:
    """All that are served. Any thread may use it.

    Args:
        folders: Of runs.
        device, threads, batch: Of all of them; the batch is the run's own if not given.
        memory: Bytes of weights to keep at a time; None: all.

    Raises:
        ValueError: If a folder is no run.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        device: str = "auto",
        threads: int | None = None,
        batch: int | None = None,
        memory: int | None = None,
    ) -> None:
        self.memory, self.batch, self.lock = memory, batch, threading.RLock()
        overrides = [] if batch is None else [f"model.Defaults.batch={batch}"]
        order = Order([], overrides=overrides, device=device, threads=threads)
        self.served: dict[str, Served] = {}
        for folder in folders:
            id_ = _named(folder, self.served)
            self.served[id_] = Served(id_, Path(folder), order)
        for one in self.served.values():
            self.ready(one.id)
        self.threads = torch.get_num_threads()

    def get(self, id_: str | None) -> Served:
        """By its id, which may be left out where there is one; Refused (404) if there is none."""
        if id_ is None and len(self.served) == 1:
            return next(iter(self.served.values()))
        if id_ is None:
            raise Refused(422, f"which model? there are {', '.join(self.served)}", "model")
        if id_ not in self.served:
            raise Refused(404, f"no such model; there are {', '.join(self.served)}", "model")
        return self.served[id_]

    def ready(self, id_: str | None) -> Served:
        """The same, in memory: read if it was not, in the place of those that were not used for longest."""
        with self.lock:
            one = self.get(id_)
            one.used = time.monotonic()
            if one.model is None:
                model, _ = prepared(one.folder, one.order)
                one.bytes = sum(p.numel() * p.element_size() for p in model.denoiser.parameters())
                self._evict(one)
                one.model, one.facts = model, facts(model, one)
            return one

    def _evict(self, but: Served) -> None:
        """Requests at work keep what they hold; memory is free when the last of them is done."""
        there = sorted((one for one in self.served.values() if one.model and one is not but), key=lambda one: one.used)
        while there and self.memory is not None and but.bytes + sum(one.bytes for one in there) > self.memory:
            gone = there.pop(0)
            gone.model = None
            gone.variants, gone.known = {}, {}


def by_itself(model: Model) -> bool:
    """Whether the walk needs more than evaluations of the one network, and so a batch of its own."""
    return any(isinstance(rule, Borrowing) for rule in model.guidance) or model.sampler.evaluations(2) is None


@functools.cache
def samplers() -> dict[str, type[Sampler]]:
    """Those that a client may name: all that need nothing handed over."""
    found = {}
    for name in sampler_room.__all__:
        member = getattr(sampler_room, name)
        if inspect.isclass(member) and issubclass(member, Sampler) and not inspect.isabstract(member) and member is not Fitted:
            parameters = inspect.signature(member).parameters.values()
            if all(p.default is not p.empty for p in parameters):
                found[name] = member
    return found


def facts(model: Model, served: Served) -> dict[str, Any]:
    """What clients are told of a model: nothing of where it lies."""
    pictures, classifier = isinstance(model.domain, Pictures), isinstance(model.denoiser, Recogniser)
    told = model.domain.facts()
    kind = "classifier" if classifier else "pictures" if pictures else "other"
    conds = {} if classifier else {name: one for name, one in model.conds.items() if name not in model.own}
    scale = next((getattr(rule, "scale") for rule in model.guidance if hasattr(rule, "scale")), None)  # noqa: B009
    return {
        "name": served.folder.resolve().name,
        "kind": kind,
        "shape": list(model.domain.shape),
        "channels": told.get("channels", "other"),
        "depth": told.get("depth", "float32"),
        "conditions": [_condition(name, condition) for name, condition in conds.items()],
        "defaults": {
            "steps": model.defaults.steps,
            "sampler": type(model.sampler).__name__,
            "times": type(model.times).__name__,
            "scale": scale,
            "guidance": [type(rule).__name__ for rule in model.guidance],
            "execution_batch": model.defaults.batch,
        },
        "samplers": [] if classifier else list(samplers()),
        "tasks": [] if classifier else ["sample", *(EDITS if pictures else ())],
        "damages": list(DAMAGES if pictures and told.get("channels") == "rgb" else DAMAGES[:-1]) if pictures else [],
        "has_report": (served.folder / "report.html").is_file(),
        "has_card": (served.folder / "README.md").is_file(),
        "weights": model.digest,
        "parameters": sum(p.numel() for p in model.denoiser.parameters()),
        "schedule": curve(model),
    }


def curve(model: Model) -> dict[str, list[float]]:
    """The schedule on an even grid of times, as far as it is finite."""
    t = torch.linspace(0, 1, CURVE, dtype=torch.float64)
    alpha, sigma = model.denoiser.schedule(t.clamp(min=model.denoiser.schedule.t_min))
    log_snr = (2 * (alpha.log() - sigma.log())).clamp(-20, 20)
    named = {"t": t, "log_snr": log_snr, "alpha": alpha, "sigma": sigma}
    return {name: [round(value, 6) for value in values.tolist()] for name, values in named.items()}


def _condition(name: str, condition: Any) -> dict[str, Any]:
    if condition.classes:
        return {"name": name, "classes": list(condition.classes)}
    if condition.words:
        return {"name": name, "words": list(condition.words)}
    return {"name": name, "shape": list(condition.shape), "mean": condition.mean, "std": condition.std}


def _named(folder: Path, taken: dict[str, Any]) -> str:
    """An id from the folder's name."""
    base = re.sub(r"[^a-z0-9]+", "-", Path(folder).resolve().name.lower()).strip("-")[:40] or "model"
    return next(id_ for id_ in (base, *(f"{base}-{i}" for i in range(2, 1000))) if id_ not in taken)
