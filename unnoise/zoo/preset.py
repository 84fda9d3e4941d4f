"""One file of published weights, known by the name of a preset or by its configuration: guided diffusion, EDM, DiT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unnoise.condition import Condition
from unnoise.network import Classifier
from unnoise.operator.shown import SEEN
from unnoise.train import read_weights
from unnoise.zoo import dit, edm, guided
from unnoise.zoo.links import Plan
from unnoise.zoo.parts import CIFAR10, Parts, Sections, assemble
from unnoise.zoo.pickled import read_pickled
from unnoise.zoo.published import Published
from unnoise.zoo.read import json_file

__all__ = ["PRESETS", "read_file"]

ROOMS: dict[str, Any] = {"guided": guided, "edm": edm, "dit": dit}
PRESETS: dict[str, tuple[str, Published]] = {
    name: (family, published) for family, room in ROOMS.items() for name, published in room.PRESETS.items()
}
MARKS = {"model_channels": "guided", "img_resolution": "edm", "hidden_size": "dit"}  # an option that only one family has
SMALL = 1 << 20  # bytes of a configuration


class Walk(NamedTuple):
    """How a family's models are sampled: sections of the recipe, and the number of steps."""

    sections: Sections
    steps: int
    differs: tuple[str, ...] = ()


def read_file(path: Path, preset: str | None = None) -> Parts:
    """The model in a file of weights, .safetensors or PyTorch's own.

    Args:
        path: The file.
        preset: A name of `PRESETS`, or the path of a JSON file with the configuration; None: what the file's name says.

    Raises:
        ValueError: If it is not known what the weights are, or they are not that.
    """
    if path.suffix == ".pkl":
        raise ValueError(f"{path}: a pickle of a program, which is never run here; write its state dict where it is trusted: "
                         "torch.save(pickle.load(file)['ema'].state_dict(), 'weights.pt')")  # fmt: skip
    family, published = _published(path, preset)
    weights = read_weights(path)[0] if path.suffix == ".safetensors" else read_pickled(path)
    room, config = ROOMS[family], published.config
    plan = _plan(family, weights, config)
    network = room.load(weights, config, own=True)
    origin = {"family": family, "file": path.name, "preset": preset or path.stem, "network": dict(config)}
    if isinstance(network, Classifier):
        return _classifier(plan, network, published, origin)
    walk = {"guided": _guided, "edm": _edm, "dit": _dit}[family](plan, published)
    return assemble(
        _named(plan, path.stem if preset is None else preset), network, walk.sections, walk.steps, origin, walk.differs
    )


def _published(path: Path, preset: str | None) -> tuple[str, Published]:
    """The family and what is known of the file."""
    if preset and preset.endswith(".json"):
        config = json_file(Path(preset), SMALL)
        family = next((family for mark, family in MARKS.items() if mark in config and not (mark == "model_channels" and
                       "img_resolution" in config)), None)  # fmt: skip
        if family is None:
            raise ValueError(
                f"{preset}: no configuration of guided diffusion, EDM or DiT; expected one of {', '.join(MARKS)} in it"
            )
        return family, Published(config, "EDM" if family == "edm" else str(config.pop("schedule", "LinearBetas")))
    name = preset or path.stem
    if name in PRESETS:
        return PRESETS[name]
    near = get_close_matches(name, PRESETS, 4, 0.3)
    raise ValueError(f"{path.name}: which configuration it is must be said, --preset NAME or CONFIG.json; "
                     f"near {name!r} are {', '.join(near) or ', '.join(PRESETS)}")  # fmt: skip


def _plan(family: str, weights: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> Plan:
    if family == "edm":
        return edm.plan(config, edm.has_variance(weights, config))
    return dit.plan(config, dit.embeddings(weights)) if family == "dit" else guided.plan(config)


def _guided(plan: Plan, published: Published) -> Walk:
    """Improved DDPM's and ADM's own: 250 of the steps with the learned variance, x0 clipped."""
    sections: Sections = {
        "schedule": {published.schedule: {"steps": published.steps}},
        "prediction": {"eps": {}},
        "level": {"index": {"scale": 1000 / published.steps if published.rescale else 1.0}},
        "sampler": {"Ancestral": {"variance": "learned" if plan.keys["variance"] else "large"}},
        "times": {"Sections": {}},
        "guidance": {"Clip": {}},
    }
    if SEEN in plan.conds:
        sections["operator"] = {"Downsample": {"factor": published.factor, "kernel": "area", "enlarge": "bilinear"}}
    return Walk(sections, 250)


def _edm(plan: Plan, published: Published) -> Walk:
    """Heun's method on the paper's times, with 18 of them for the smallest pictures."""
    sections: Sections = {
        "schedule": {"EDM": {}},
        "prediction": {"edm": {}},
        "level": {"c_noise": {}},
        "sampler": {"Heun": {}},
        "times": {"Uniform": {}},
    }
    return Walk(sections, 18 if plan.shape[-1] == 32 else 40)


def _dit(plan: Plan, published: Published) -> Walk:
    sections: Sections = {
        "codec": {"Scaled": {"factor": 8.0}},
        "schedule": {"LinearBetas": {}},
        "prediction": {"eps": {}},
        "level": {"index": {}},
        "sampler": {"Ancestral": {"variance": "learned" if plan.keys["variance"] else "small"}},
        "times": {"Sections": {}},
        "guidance": {"CFG": {"scale": 4.0}},
    }
    latents = "samples are the latents of an autoencoder that is not in these weights, saved as .npy"
    return Walk(sections, 250, (latents, "guidance moves all channels, in facebookresearch/DiT the first three"))


def _named(plan: Plan, name: str) -> Plan:
    """The plan with the names of the classes, where the data are known by the weights' name."""
    if "cifar10" not in name or [len(c.classes) for c in plan.conds.values() if c.classes] != [len(CIFAR10)]:
        return plan
    named: dict[str, Condition] = {n: replace(c, classes=CIFAR10) if c.classes else c for n, c in plan.conds.items()}
    return plan._replace(conds=named)


def _classifier(plan: Plan, network: Classifier, published: Published, origin: dict[str, Any]) -> Parts:
    """A classifier of noised pictures, which guides other models and samples nothing itself."""
    classes = {"label": Condition(classes=tuple(map(str, range(network.classes))))}
    keys = {key: value for key, value in plan.keys.items() if key != "classes"}
    sections: Sections = {
        "schedule": {published.schedule: {"steps": published.steps}},
        "level": {"index": {}},
        "loss": {"CrossEntropy": {}},
    }
    return assemble(plan._replace(conds=classes, keys=keys), network, sections, 1, origin)
