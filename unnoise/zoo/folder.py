"""A directory of Hugging Face diffusers: a pipeline of a network and a scheduler, or the network alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from unnoise.zoo import diffusers, dit
from unnoise.zoo.links import Plan
from unnoise.zoo.parts import Parts, assemble
from unnoise.zoo.read import inside, json_file, state_dict
from unnoise.zoo.scheduler import mapped

__all__ = ["is_folder", "read_folder", "reference"]

CONFIG, INDEX, SCHEDULER, STEM = "config.json", "model_index.json", "scheduler_config.json", "diffusion_pytorch_model"
SMALL = 1 << 20  # bytes of a configuration
STEPS = {"DDPMPipeline": 1000, "DDIMPipeline": 50, "PNDMPipeline": 50, "DiTPipeline": 50}  # what each takes unless told otherwise
NONE = {"_class_name": "DDPMScheduler"}


def is_folder(folder: Path) -> bool:
    """Whether this looks like such a directory."""
    return any((folder / name).is_file() for name in (INDEX, CONFIG))


def read_folder(folder: Path, pickles: bool = False) -> Parts:
    """The model in a directory, on which no code of that directory is run.

    Args:
        folder: With model_index.json, unet/ or transformer/, and scheduler/; or config.json and the weights alone, as the first
            files had it.
        pickles: A .bin may be read where there is no .safetensors.

    Raises:
        ValueError: For a pipeline, network, scheduler or option that has no counterpart, and for files that are not whole.
    """
    pipeline, place, config = _described(folder)
    kind, scheduler = str(pipeline.get("_class_name")), _scheduler(folder)
    steps = STEPS.get(kind, 1000)
    walk = mapped(scheduler or NONE, steps)
    weights, differs = state_dict(place, STEM, pickles), list(walk.differs)
    network: nn.Module
    if config.get("_class_name") == "DiTTransformer2DModel":
        plan, network = dit.plan(config, dit.embeddings(weights)), dit.load(weights, config, own=True)
        plan = _named(plan, pipeline.get("id2label"))
        walk.sections["codec"] = {"Scaled": {"factor": 8.0}}
        walk.sections["guidance"] = {**walk.sections.get("guidance", {}), "CFG": {"scale": 4.0}}
        differs += [
            "samples are latents, saved as .npy: the autoencoder is not read",
            "guidance moves all channels, not the first three",
        ]
    else:
        plan, network = diffusers.plan(config), diffusers.load(weights, config, own=True)
    if not scheduler:
        differs.append("no scheduler is given: DDPM's own is assumed")
    origin = {"family": "diffusers", "pipeline": kind, "network": config, "scheduler": scheduler or NONE}
    return assemble(plan, network, dict(walk.sections), steps, origin, differs)


def reference(folder: Path) -> nn.Module:
    """diffusers' own network with the weights of the directory, read by us: what an import is compared with."""
    import diffusers as theirs

    _, place, config = _described(folder)
    made = getattr(theirs, str(config.get("_class_name", "UNet2DModel")))
    network = made.from_config({name: value for name, value in config.items() if not name.startswith("_")})
    weights = state_dict(place, STEM, pickles=True)
    names = {f".{old}.": f".{new}." for new, old in diffusers.OLD.items()}
    for name in [name for name in weights if any(old in name for old in names) and "attentions" in name]:
        old = next(old for old in names if old in name)
        weights[name.replace(old, names[old])] = weights.pop(name)
    network.load_state_dict(weights)
    return network.eval()


def _described(folder: Path) -> tuple[dict[str, Any], Path, dict[str, Any]]:
    """The pipeline's index, where the network is, and its configuration.

    Raises:
        ValueError: For a pipeline or a network of another kind, or of code of its own.
    """
    pipeline = json_file(inside(folder, INDEX), SMALL) if (folder / INDEX).exists() else {}
    parts = {
        name: part for name, part in pipeline.items() if not name.startswith("_") and part is not None and name != "id2label"
    }
    kind = str(pipeline.get("_class_name"))
    if pipeline and kind not in STEPS:
        raise ValueError(f"{folder / INDEX}: the pipeline {kind[:60]!r} has no counterpart here; there are {', '.join(STEPS)}")
    name, made = ("transformer", "DiTTransformer2DModel") if kind == "DiTPipeline" else ("unet", "UNet2DModel")
    others = {"scheduler", name, *(["vae"] if kind == "DiTPipeline" else [])}
    if pipeline and (parts.get(name) not in (["diffusers", made], ["diffusers", "Transformer2DModel"]) or set(parts) - others):
        raise ValueError(f"{folder / INDEX}: expected a {made} and a scheduler of diffusers, given {str(parts)[:120]}")
    place = folder / name if (folder / name / CONFIG).is_file() else folder
    config = json_file(inside(place, CONFIG), SMALL)
    given = config.get("_class_name", made)
    if given == "Transformer2DModel" and name == "transformer":  # what the class was called in its first files
        config = {key: value for key, value in config.items() if key in dit.DIFFUSERS} | {"_class_name": made}
    elif given not in ("UNet2DModel", "DiTTransformer2DModel"):
        raise ValueError(f"{place / CONFIG}: {given!r} has no counterpart here; expected UNet2DModel or DiTTransformer2DModel")
    return pipeline, place, config


def _named(plan: Plan, names: object) -> Plan:
    """The plan with the names of its classes, where the pipeline has them, by number as text."""
    if not isinstance(names, Mapping):
        return plan
    conds = {}
    for name, condition in plan.conds.items():
        told = [str(names.get(number, number))[:200].split(",")[0] for number in condition.classes]
        conds[name] = replace(condition, classes=tuple(told)) if len(set(told)) == len(told) else condition
    return plan._replace(conds=conds)


def _scheduler(folder: Path) -> dict[str, Any] | None:
    """Its configuration, where there is one."""
    for place in (folder / "scheduler", folder):
        if (place / SCHEDULER).exists():
            return json_file(inside(place, SCHEDULER), SMALL)
    return None
