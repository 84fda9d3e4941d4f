"""Weights of Improved DDPM and ADM: improved_diffusion and guided_diffusion (OpenAI, MIT licence).

Their configuration is that of their network's constructor: `image_size`, `model_channels`, `attention_resolutions` as rates of
downsampling, and so on. `PRESETS` has those of all published files, by the file's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from unnoise.condition import Condition
from unnoise.network import Classifier, UNet
from unnoise.nn import Attention, Downsample, Residual, Upsample
from unnoise.operator.shown import SEEN
from unnoise.zoo.anatomy import anatomy
from unnoise.zoo.links import Config, Link, Plan, Weights, build, flat, labels, refuse, residual, same, table, take, write
from unnoise.zoo.published import GUIDED as PRESETS

__all__ = ["PRESETS", "dump", "load", "make", "plan"]

COMMON = {
    "image_size": ...,
    "in_channels": 3,
    "model_channels": ...,
    "out_channels": ...,
    "num_res_blocks": ...,
    "attention_resolutions": ...,
    "dropout": 0,
    "channel_mult": (1, 2, 4, 8),
    "conv_resample": True,
    "num_heads": 1,
    "num_head_channels": -1,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "use_new_attention_order": False,
    "num_heads_upsample": -1,
    "dims": 2,
    "use_checkpoint": False,  # this and the next are how a network is run: read, and without effect
    "use_fp16": False,
}
UNET = {**COMMON, "num_classes": None, "super_resolution": False}
CLASSIFIER = {**COMMON, "pool": "adaptive"}


def make(config: Config) -> UNet | Classifier:
    """The network of a configuration, without their weights. See `plan`."""
    return plan(config).make()


def plan(config: Config) -> Plan:
    """The network that a configuration describes; one with a `pool` is a classifier's.

    `super_resolution` (ours: they have a class of its own) adds the condition "seen" of route "concat", x's low-resolution
    fellow enlarged to x's sides. A class-conditional network has the condition "label"; theirs has no row for none.

    Raises:
        ValueError: For options that do not fit.
    """
    return _classifier(config) if "pool" in config else _unet(config)


def load(state_dict: Weights, config: Config, own: bool = False) -> UNet | Classifier:
    """The network of a state dict; `own`: its tensors are nobody else's, and need no copy.

    Raises:
        ValueError: For weights or options that do not fit.
    """
    new = config.get("use_new_attention_order", COMMON["use_new_attention_order"])
    return build(partial(make, config), partial(_links, new=new), state_dict, own=own)


def dump(network: UNet | Classifier) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the state dict of a network in two dimensions; attention in their new order.

    Raises:
        ValueError: For a network that they do not have.
    """
    return _config(network), write(network, _links(network, new=True))


def _config(network: UNet | Classifier) -> dict[str, Any]:
    made, (channels, side, *others) = anatomy(network), network.shape
    by_number = made["heads"] is not None
    refuse(made, groups=32, eps=1e-5, middle=True, features="cos sin", dim=4 * made["width"])
    if others != [side] or made["resample"] == "conv_right":
        raise ValueError("their networks take squares, and have no resampling 'conv_right'")
    config = {
        "image_size": side,
        "in_channels": channels,
        "model_channels": made["width"],
        "out_channels": network.out[-1].out_channels if isinstance(network, UNet) else network.classes,
        "num_res_blocks": made["blocks"],
        "attention_resolutions": [2**level for level in made["attention"]],
        "dropout": made["dropout"],
        "channel_mult": made["multipliers"],
        "conv_resample": made["resample"] != "pool",
        "num_heads": made["heads"] if by_number else 1,
        "num_head_channels": -1 if by_number else made["head_width"],
        "use_scale_shift_norm": made["embedding"] == "scale_shift",
        "resblock_updown": made["resample"] == "residual",
        "use_new_attention_order": True,
    }
    if isinstance(network, Classifier):
        return config | {"pool": network.pool}
    return config | _conditions(network)


def _conditions(network: UNet) -> dict[str, Any]:
    classes = [len(c.classes) for c in network.conds.values() if c.route == "vector"]
    beside = [c.shape for c in network.conds.values() if c.route == "concat"]
    if classes not in ([], classes[:1]) or 0 in classes or beside not in ([], [network.shape]):
        raise ValueError("their networks take one condition of classes at most, and one picture of x's shape beside x")
    return {"num_classes": classes[0] if classes else None, "super_resolution": bool(beside)}


def _shared(full: Config) -> dict[str, Any]:
    """The options of both networks, in our words."""
    refuse(full, num_heads_upsample=-1, dims=2)
    rates = [2**level for level in range(len(full["channel_mult"]))]
    resample = "residual" if full["resblock_updown"] else "conv" if full["conv_resample"] else "pool"
    by_number = full["num_head_channels"] == -1
    return {
        "width": full["model_channels"],
        "multipliers": full["channel_mult"],
        "blocks": full["num_res_blocks"],
        "attention": [level for level, rate in enumerate(rates) if rate in full["attention_resolutions"]],
        "heads": full["num_heads"] if by_number else None,
        "head_width": 64 if by_number else full["num_head_channels"],
        "dropout": full["dropout"],
        "embedding": "scale_shift" if full["use_scale_shift_norm"] else "add",
        "resample": resample,
        "groups": 32,
    }


def _unet(config: Config) -> Plan:
    full = take(config, UNET, "UNetModel")
    shape = (full["in_channels"], full["image_size"], full["image_size"])
    low = {SEEN: Condition(route="concat", shape=shape, drop=0.0)} if full["super_resolution"] else {}
    if full["out_channels"] not in (shape[0], 2 * shape[0]):
        raise ValueError(f"out_channels = {full['out_channels']}: expected {shape[0]}, or {2 * shape[0]} with a variance")
    variance = full["out_channels"] == 2 * shape[0]
    return Plan(UNet, shape, labels(full["num_classes"]) | low, {"variance": variance, **_shared(full)})


def _classifier(config: Config) -> Plan:
    full = take(config, CLASSIFIER, "EncoderUNetModel")
    shape = (full["in_channels"], full["image_size"], full["image_size"])
    return Plan(Classifier, shape, {}, {"classes": full["out_channels"], "pool": full["pool"], **_shared(full)})


NAMES = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection")


def _links(network: UNet | Classifier, new: bool) -> Iterator[Link]:
    yield from same("embed.hidden", "time_embed.0")
    yield from same("embed.out", "time_embed.2")
    if network.embed.names:
        yield table("embed.conditions.0.table.weight", "label_emb.weight")
    yield from same("stem", "input_blocks.0.0")
    for number, chain in enumerate(network.down):
        yield from _chain(chain, f"down.{number}", f"input_blocks.{number + 1}", new)
    yield from _chain(network.middle, "middle", "middle_block", new)
    if isinstance(network, UNet):
        for number, chain in enumerate(network.up):
            yield from _chain(chain, f"up.{number}", f"output_blocks.{number}", new)
        yield from same("out.0", "out.0")
        yield from same("out.2", "out.2")
    else:
        yield from _pool(network)


def _chain(chain: nn.Module, ours: str, theirs: str, new: bool) -> Iterator[Link]:
    for number, layer in enumerate(chain.children()):
        mine, their = f"{ours}.{number}", f"{theirs}.{number}"
        match layer:
            case Residual():
                yield from residual(layer, mine, their, NAMES)
            case Attention():
                yield from same(f"{mine}.norm", f"{their}.norm")
                yield from flat(f"{mine}.qkv", f"{their}.qkv", 1) if new else _legacy(f"{mine}.qkv", f"{their}.qkv", layer.heads)
                yield from flat(f"{mine}.out", f"{their}.proj_out", 1)
            case Downsample():
                yield from same(f"{mine}.conv", f"{their}.op")
            case Upsample():
                yield from same(f"{mine}.1", f"{their}.conv")


def _legacy(ours: str, theirs: str, heads: int) -> Iterator[Link]:
    """Queries, keys and values whose order is by head first: (heads, 3, D), where ours is (3, heads, D)."""

    def swap(first: int) -> Callable[[Tensor], Tensor]:
        return lambda w: w.unflatten(0, (first, 3 * heads // first, -1)).transpose(0, 1).flatten(0, 2)

    to, back = swap(heads), swap(3)
    yield Link(f"{ours}.weight", (f"{theirs}.weight",), lambda w: to(w.flatten(1)), lambda w: (back(w)[..., None],))
    yield Link(f"{ours}.bias", (f"{theirs}.bias",), to, lambda b: (back(b),))


def _pool(network: Classifier) -> Iterator[Link]:
    """The end of a classifier; where theirs averages inside, ours counts the same."""
    yield from same("out.0", "out.0")
    match network.pool:
        case "attention":
            yield Link("out.2.positions", ("out.2.positional_embedding",), lambda p: p.T, lambda p: (p.T,))
            yield from flat("out.2.qkv", "out.2.qkv_proj", 1)
            yield from flat("out.2.out", "out.2.c_proj", 1)
        case "adaptive":
            yield from flat("out.3", "out.3", 2)
        case "spatial":
            yield from same("out.2", "out.2")
        case "spatial_v2":
            yield from same("out.1", "out.1")
            yield from same("out.3", "out.3")
