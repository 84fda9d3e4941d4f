"""What a U-Net is made of, read off the network itself: what an export needs to know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from torch import nn

from unnoise.network import Classifier, UNet
from unnoise.nn import AdaptiveNorm, Attention, AttentionPool, Downsample, Residual, Sinusoidal

T = TypeVar("T")


def anatomy(network: UNet | Classifier) -> dict[str, Any]:
    """The options of `UNet` that make a network of the same layers; of a classifier, that make its way down.

    Raises:
        ValueError: For a network whose layers disagree about an option.
    """
    width = network.embed.hidden.in_features
    blocks = [layer for layer in network.modules() if isinstance(layer, Residual)]
    norms = [layer for layer in network.modules() if isinstance(layer, nn.GroupNorm)]
    return {
        "width": width,
        "multipliers": [_whole(size / width) for size in network.widths],
        "blocks": network.blocks,
        "attention": [level for level in range(len(network.widths)) if _attends(network, level)],
        "middle": len(network.middle) > 2,
        **_heads(network),
        "dropout": _one("dropout", (block.dropout.p for block in blocks)),
        "embedding": "scale_shift" if isinstance(blocks[0].norm2, AdaptiveNorm) else "add",
        "resample": _resample(network),
        "features": _features(network.embed.features),
        "dim": network.embed.hidden.out_features,
        "groups": _one("groups", (norm.num_groups for norm in norms)),
        "eps": _one("eps", (norm.eps for norm in norms)),
    }


def _attends(network: UNet | Classifier, level: int) -> bool:
    return any(isinstance(layer, Attention) for layer in network.down[level * (network.blocks + 1)].children())


def _heads(network: UNet | Classifier) -> dict[str, Any]:
    """The width of a head if it is the same everywhere, else their number."""
    layers = [layer for layer in network.modules() if isinstance(layer, Attention | AttentionPool)]
    numbers = {layer.heads for layer in layers}
    widths = {layer.qkv.in_features // layer.heads for layer in layers}
    if len(widths) == 1 and (len(numbers) > 1 or numbers != {1}):
        return {"heads": None, "head_width": widths.pop()}
    return {"heads": _one("heads", numbers or {1}), "head_width": 64}


def _features(layer: nn.Module) -> str:
    if not isinstance(layer, Sinusoidal):
        return "fourier"
    return "cos sin endpoint" if layer.endpoint and layer.order == "cos sin" else layer.order


def _resample(network: UNet | Classifier) -> str:
    if len(network.widths) == 1:
        return "conv"
    match next(network.down[network.blocks].children()):
        case Residual():
            return "residual"
        case Downsample() as layer:
            return "conv_right" if layer.before else "conv"
    return "pool"


def _one(option: str, values: Iterable[T]) -> T:
    first, *others = set(values)
    if others:
        several = ", ".join(map(str, sorted([first, *others])))  # type: ignore[type-var]
        mend = f"train with --set network.UNet.{option}=NUMBER to export"
        raise ValueError(f"{option} of this network's layers are {several}, where others know one number for all: {mend}")
    return first


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number
