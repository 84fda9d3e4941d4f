"""Weights of `UNet2DModel` (Hugging Face diffusers, Apache-2.0): google/ddpm-* and what others trained with it.

The configuration is the content of their `config.json`. Attention may have the old names (query, key, value, proj_attn).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from unnoise.network import UNet
from unnoise.nn import Attention, Downsample, Residual, Upsample
from unnoise.zoo.anatomy import anatomy
from unnoise.zoo.links import Config, Link, Plan, Weights, build, joined, labels, refuse, residual, same, table, take, write

__all__ = ["dump", "load", "make", "plan"]

DEFAULTS = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
    "add_attention": True,
}
FEATURES = {(True, 0): "cos sin", (False, 1): "sin cos", (True, 1): "cos sin endpoint"}  # of flip_sin_to_cos, freq_shift
NULL = "_null_class"  # our word in their configuration, where names that begin so are left alone
TABLE = "embed.conditions.0.table.weight"
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def make(config: Config) -> UNet:
    """The network of a configuration, without their weights. See `plan`."""
    return plan(config).make()


def plan(config: Config) -> Plan:
    """The network that a configuration describes.

    With `num_class_embeds` it has the condition "label". Theirs has no row for none, unless `_null_class` says that the last
    one is that, as `dump` writes where there is one. Twice as many channels out as in are a learned variance.

    Raises:
        ValueError: For options that `UNet` does not have.
    """
    full = take(config, DEFAULTS, "UNet2DModel")
    refuse(
        full,
        center_input_sample=False,
        time_embedding_type="positional",
        mid_block_type="UNetMidBlock2D",
        mid_block_scale_factor=1,
        class_embed_type=None,
    )
    features = FEATURES.get((full["flip_sin_to_cos"], full["freq_shift"]))
    if (
        full["act_fn"] not in ("silu", "swish")
        or features is None
        or full["out_channels"] not in (full["in_channels"], 2 * full["in_channels"])
    ):
        raise ValueError("expected silu, sines and cosines of DDPM or ADM, and as many channels out as in, or twice as many")
    scale_shift = full["resnet_time_scale_shift"] == "scale_shift"
    if scale_shift and full["add_attention"] and full["attn_norm_num_groups"] != full["norm_num_groups"]:
        raise ValueError("resnet_time_scale_shift = 'scale_shift': expected attn_norm_num_groups equal to norm_num_groups")
    side = full["sample_size"] or 2 ** (len(full["block_out_channels"]) - 1)
    sides = (side, side) if isinstance(side, int) else tuple(side)
    width, *_ = full["block_out_channels"]
    head = full["attention_head_dim"]
    keys = {
        "width": width,
        "multipliers": [size / width for size in full["block_out_channels"]],
        "blocks": full["layers_per_block"],
        "attention": _attention(full),
        "middle": full["add_attention"],
        "heads": 1 if head is None else None,
        "head_width": head or 1,
        "dropout": full["dropout"],
        "embedding": "scale_shift" if scale_shift else "add",
        "resample": _resample(full),
        "variance": full["out_channels"] == 2 * full["in_channels"],
        "features": features,
        "dim": full["time_embedding_dim"],
        "groups": full["norm_num_groups"],
        "eps": full["norm_eps"],
    }
    classes = full["num_class_embeds"]
    known = labels(classes - 1 if classes and config.get(NULL) else classes)
    return Plan(UNet, (full["in_channels"], *sides), known, keys)


def load(state_dict: Weights, config: Config, own: bool = False) -> UNet:
    """The network of a state dict; `own`: its tensors are nobody else's, and need no copy.

    Raises:
        ValueError: For weights or options that do not fit.
    """
    old = any(".query." in name for name in state_dict)
    links = partial(_links, names=OLD if old else {}, null=bool(config.get(NULL)))
    return build(partial(make, config), links, state_dict, own=own)


def dump(network: UNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the state dict of a network in two dimensions, under the new names.

    The class after the last, which is none, is written too (see `make`), unless it is all zeros.

    Raises:
        ValueError: For a network that they do not have.
    """
    null = bool(network.embed.names) and bool(network.state_dict()[TABLE][-1].any())
    return _config(network, null), write(network, _links(network, names={}, null=null))


def _attention(full: Config) -> list[int]:
    """The levels with attention; theirs may differ between the way down and the way up, ours may not."""
    down, up = full["down_block_types"], tuple(reversed(full["up_block_types"]))
    kinds = {"DownBlock2D": "UpBlock2D", "AttnDownBlock2D": "AttnUpBlock2D", "ResnetDownsampleBlock2D": "ResnetUpsampleBlock2D"}
    if tuple(kinds.get(kind) for kind in down) != up:
        raise ValueError(f"up_block_types {full['up_block_types']} are not those of the way down, {tuple(down)}, in reverse")
    return [level for level, kind in enumerate(down) if kind == "AttnDownBlock2D"]


def _resample(full: Config) -> str:
    """One way for all levels, down and up."""

    def way(kind: str, attended: str) -> str:
        return "resnet" if kind.startswith("Resnet") else full[attended] if kind.startswith("Attn") else "conv"

    ways = {way(kind, "downsample_type") for kind in full["down_block_types"][:-1]}
    ways |= {way(kind, "upsample_type") for kind in full["up_block_types"][:-1]}
    if ways == {"resnet"}:
        return "residual"
    if ways <= {"conv"}:
        return "conv" if full["downsample_padding"] else "conv_right"
    raise ValueError("expected every level to be resampled in the same way, by a convolution or in a residual block")


def _config(network: UNet, null: bool) -> dict[str, Any]:
    made, (channels, *sides) = anatomy(network), network.shape
    if made["resample"] == "pool" or len(sides) != 2 or made["features"] == "fourier":
        raise ValueError("UNet2DModel has two dimensions, convolutions or residual blocks to resample, and sines and cosines")
    if network.widths[0] != made["width"]:
        raise ValueError(
            f"UNet2DModel has as many features of the level as channels at full size, not {made['width']} and "
            f"{network.widths[0]}: the first of the multipliers is 1"
        )
    classes = [len(condition.classes) for condition in network.conds.values()]
    if classes != classes[:1] or 0 in classes:
        raise ValueError("UNet2DModel takes one condition of classes at most")
    flip, shift = {features: pair for pair, features in FEATURES.items()}[made["features"]]
    plain = "Resnet{}sampleBlock2D" if made["resample"] == "residual" else "{}Block2D"
    kinds = ["Attn{}Block2D" if level in made["attention"] else plain for level in range(len(network.widths))]
    way, scale_shift = "resnet" if made["resample"] == "residual" else "conv", made["embedding"] == "scale_shift"
    return {
        "_class_name": "UNet2DModel",
        **DEFAULTS,
        "sample_size": sides[0] if sides[0] == sides[1] else sides,
        "in_channels": channels,
        "out_channels": channels * (1 + network.variance),
        "time_embedding_dim": made["dim"] if made["dim"] != 4 * made["width"] else None,
        "freq_shift": shift,
        "flip_sin_to_cos": flip,
        "down_block_types": [kind.format("Down") for kind in kinds],
        "up_block_types": [kind.format("Up") for kind in reversed(kinds)],
        "block_out_channels": network.widths,
        "layers_per_block": network.blocks,
        "downsample_padding": 0 if made["resample"] == "conv_right" else 1,
        "downsample_type": way,
        "upsample_type": way,
        "dropout": made["dropout"],
        "attention_head_dim": _head(made),
        "norm_num_groups": made["groups"],
        "attn_norm_num_groups": made["groups"] if scale_shift else None,
        "norm_eps": made["eps"],
        "resnet_time_scale_shift": made["embedding"] if scale_shift else "default",
        "num_class_embeds": classes[0] + null if classes else None,
        "add_attention": made["middle"],
        **({NULL: True} if null else {}),
    }


def _head(made: Config) -> int | None:
    if made["heads"] in (None, 1):
        return None if made["heads"] else made["head_width"]
    raise ValueError(f"UNet2DModel cannot have {made['heads']} heads of several widths; it has one, or heads of equal width")


NAMES = ("norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut")


def _links(network: UNet, names: Mapping[str, str], null: bool = False) -> Iterator[Link]:
    yield from same("embed.hidden", "time_embedding.linear_1")
    yield from same("embed.out", "time_embedding.linear_2")
    if network.embed.names:
        yield Link(TABLE, ("class_embedding.weight",)) if null else table(TABLE, "class_embedding.weight")
    yield from same("stem", "conv_in")
    count, levels = network.blocks + 1, len(network.widths)
    for number in range(len(network.down)):
        level, place = divmod(number, count)
        yield from _chain(network.down[number], f"down.{number}", f"down_blocks.{level}", place, "downsamplers.0", names)
    yield from residual(network.middle[0], "middle.0", "mid_block.resnets.0", NAMES)
    if len(network.middle) > 2:
        yield from _attend("middle.1", "mid_block.attentions.0", names)
    last = len(network.middle) - 1
    yield from residual(network.middle[last], f"middle.{last}", "mid_block.resnets.1", NAMES)
    for number in range(levels * count):
        level, place = divmod(number, count)
        yield from _chain(network.up[number], f"up.{number}", f"up_blocks.{level}", place, "upsamplers.0", names)
    yield from same("out.0", "conv_norm_out")
    yield from same("out.2", "conv_out")


def _chain(chain: nn.Module, ours: str, theirs: str, place: int, resampler: str, names: Mapping[str, str]) -> Iterator[Link]:
    """One chain: theirs keeps blocks, attention and resampling of a level in lists of their own."""
    for number, layer in enumerate(chain.children()):
        mine = f"{ours}.{number}"
        match layer:
            case Residual() if layer.resample is None:
                yield from residual(layer, mine, f"{theirs}.resnets.{place}", NAMES)
            case Residual():
                yield from residual(layer, mine, f"{theirs}.{resampler}", NAMES)
            case Attention():
                yield from _attend(mine, f"{theirs}.attentions.{place}", names)
            case Downsample():
                yield from same(f"{mine}.conv", f"{theirs}.{resampler}.conv")
            case Upsample():
                yield from same(f"{mine}.1", f"{theirs}.{resampler}.conv")


def _attend(ours: str, theirs: str, names: Mapping[str, str]) -> Iterator[Link]:
    q, k, v, out = (f"{theirs}.{names.get(name, name)}" for name in ("to_q", "to_k", "to_v", "to_out.0"))
    yield from same(f"{ours}.norm", f"{theirs}.group_norm")
    yield from joined(f"{ours}.qkv", (q, k, v))
    yield from same(f"{ours}.out", out)
