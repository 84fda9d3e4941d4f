"""A pipeline directory of diffusers, of its stock classes alone: its `DDPMPipeline` samples the same pictures."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unnoise.certificate import Certificate
from unnoise.codec import Identity
from unnoise.model import Model
from unnoise.network import DiT, UNet
from unnoise.task.export.proof import WEIGHTS, proof
from unnoise.task.export.scheduler import stock
from unnoise.train import write_weights
from unnoise.zoo import diffusers, dit

VERSION = "0.32.0"  # of diffusers: what the files are written for
PARTS = {"UNet2DModel": "unet", "DiTTransformer2DModel": "transformer"}


def write(model: Model, folder: Path, cond: Mapping[str, Any] | None = None) -> Certificate:
    """Writes a model's network and scheduler into a folder, and proves that they say the same.

    Args:
        model: Of pictures.
        folder: Which exists.
        cond: Conditions to fix for good. A network of one condition of classes may keep it, and is then told their numbers.

    Raises:
        ValueError: For what stock classes cannot say, by name, or if the proof fails.
    """
    network = network_of(model, cond)
    config, weights = dit.dump_diffusers(network) if isinstance(network, DiT) else diffusers.dump(network)
    said, kind = stock(model, network), config["_class_name"]
    part = PARTS[kind]
    _json(
        folder / "scheduler" / "scheduler_config.json", {"_class_name": said.name, "_diffusers_version": VERSION, **said.config}
    )
    _json(folder / part / "config.json", {"_diffusers_version": VERSION, **config})
    write_weights(folder / part / WEIGHTS, weights, {"format": "pt"})
    if part == "unet":  # DiTPipeline wants an autoencoder too
        parts = {"unet": ["diffusers", kind], "scheduler": ["diffusers", said.name]}
        _json(folder / "model_index.json", {"_class_name": "DDPMPipeline", "_diffusers_version": VERSION, **parts})
    return proof(said, folder, part, model.digest)


def network_of(model: Model, cond: Mapping[str, Any] | None) -> UNet | DiT:
    """The network to write, as far as pipelines of diffusers can run it at all.

    Raises:
        ValueError: For data, a codec or a network that are not theirs.
    """
    network: Any = model.denoiser.network
    if not isinstance(model.codec, Identity):
        raise ValueError(f"codec {type(model.codec).__name__}: DDPMPipeline samples pictures without a codec")
    if not isinstance(network, UNet | DiT):
        raise ValueError(
            f"network {type(network).__name__} has no counterpart in diffusers; UNet and DiT have (or --format onnx)"
        )
    if isinstance(network, UNet):
        multiple = 2 ** (len(network.widths) - 1)
        if odd := [side for side in network.shape[1:] if side % multiple]:
            raise ValueError(
                f"pictures of side {odd[0]}: UNet2DModel of {len(network.widths)} levels takes multiples of {multiple}"
            )
    return fixed(model, cond) if cond else network


def fixed(model: Model, cond: Mapping[str, Any]) -> UNet:
    """The network that answers as under these conditions, and takes none: their vectors are added to a bias.

    Raises:
        ValueError: For an unknown condition, one that is left open beside them, or a network without such a bias.
    """
    given = model.conditions(cond, 1)
    network: Any = copy.deepcopy(model.denoiser.network)
    if left := [name for name in network.conds if name not in given]:
        raise ValueError(f"--cond fixes {', '.join(given)} but not {', '.join(left)}: fix all (NAME=none is the null) or none")
    if not isinstance(network, UNet) or any(condition.route != "vector" for condition in network.conds.values()):
        raise ValueError("--cond: only conditions of route 'vector' of a UNet can be fixed in its weights")
    embed = network.embed
    with torch.no_grad():
        bias: Any = embed.out.bias
        bias += embed.add(torch.zeros_like(bias)[None], given)[0]
    embed.names, embed.conditions, network.conds = [], nn.ModuleList(), {}
    return network


def _json(path: Path, told: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
