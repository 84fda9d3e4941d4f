"""A directory of Hugging Face diffusers: a pipeline of a network and a scheduler, or the network alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unnoise.zoo import diffusers
from unnoise.zoo.parts import Parts, assemble
from unnoise.zoo.read import inside, json_file, state_dict
from unnoise.zoo.scheduler import mapped

__all__ = ["is_folder", "read_folder", "reference"]

CONFIG, INDEX, SCHEDULER, STEM = "config.json", "model_index.json", "scheduler_config.json", "diffusion_pytorch_model"
SMALL = 1 << 20  # bytes of a configuration
STEPS = {"DDPMPipeline": 1000, "DDIMPipeline": 50, "PNDMPipeline": 50}  # what each takes unless told otherwise
NONE = {"_class_name": "DDPMScheduler"}


def is_folder(folder: Path) -> bool:
    """Whether this looks like such a directory."""
    return any((folder / name).is_file() for name in (INDEX, CONFIG))


def read_folder(folder: Path, pickles: bool = False) -> Parts:
    """The model in a directory, on which no code of that directory is run.

    Args:
        folder: With model_index.json, unet/ and scheduler/, or config.json and the weights alone, as the first files had it.
        pickles: A .bin may be read where there is no .safetensors.

    Raises:
        ValueError: For a pipeline, network, scheduler or option that has no counterpart, and for files that are not whole.
    """
    pipeline = json_file(inside(folder, INDEX), SMALL) if (folder / INDEX).exists() else {}
    place = _network_place(folder, pipeline)
    config = json_file(inside(place, CONFIG), SMALL)
    if config.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise ValueError(f"{place / CONFIG}: {config['_class_name']!r} has no counterpart here; expected UNet2DModel")
    scheduler, told = _scheduler(folder)
    steps = STEPS.get(str(pipeline.get("_class_name")), 1000)
    walk = mapped(scheduler, steps)
    plan = diffusers.plan(config)
    weights = state_dict(place, STEM, pickles)
    network = diffusers.load(weights, config, own=True)
    origin = {"family": "diffusers", "pipeline": pipeline.get("_class_name"), "network": config, "scheduler": scheduler}
    differs = [*walk.differs, *([] if told else ["no scheduler is given: DDPM's own is assumed"])]
    return assemble(plan, network, dict(walk.sections), steps, origin, differs)


def reference(folder: Path) -> Any:
    """diffusers' own network with the weights of the directory, read by us: what an import is compared with."""
    from diffusers import UNet2DModel

    pipeline = json_file(inside(folder, INDEX), SMALL) if (folder / INDEX).exists() else {}
    place = _network_place(folder, pipeline)
    config = json_file(inside(place, CONFIG), SMALL)
    network = UNet2DModel.from_config({name: value for name, value in config.items() if not name.startswith("_")})
    weights = state_dict(place, STEM, pickles=True)
    names = {f".{old}.": f".{new}." for new, old in diffusers.OLD.items()}
    for name in [name for name in weights if any(old in name for old in names) and "attentions" in name]:
        old = next(old for old in names if old in name)
        weights[name.replace(old, names[old])] = weights.pop(name)
    network.load_state_dict(weights)
    return network.eval()


def _network_place(folder: Path, pipeline: Mapping[str, Any]) -> Path:
    """Where the network is; ValueError for a pipeline that is made of other things, or of code of its own."""
    if not pipeline:
        return folder / "unet" if (folder / "unet" / CONFIG).is_file() else folder
    parts = {name: part for name, part in pipeline.items() if not name.startswith("_") and part is not None}
    name = str(pipeline.get("_class_name"))
    if name not in STEPS:
        raise ValueError(f"{folder / INDEX}: the pipeline {name[:60]!r} has no counterpart here; there are {', '.join(STEPS)}")
    if parts.get("unet") != ["diffusers", "UNet2DModel"] or set(parts) - {"unet", "scheduler"}:
        raise ValueError(f"{folder / INDEX}: expected a UNet2DModel and a scheduler of diffusers, given {str(parts)[:120]}")
    return folder / "unet" if (folder / "unet").is_dir() else folder


def _scheduler(folder: Path) -> tuple[dict[str, Any], bool]:
    """Its configuration, and whether there is one."""
    for place in (folder / "scheduler", folder):
        if (place / SCHEDULER).exists():
            return json_file(inside(place, SCHEDULER), SMALL), True
    return dict(NONE), False
