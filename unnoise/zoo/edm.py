"""Weights of EDM: `SongUNet` (DDPM++, NCSN++) and `DhariwalUNet` (NVlabs, for non-commercial use).

The configuration has the arguments of their preconditioned network (`model_type`, `img_resolution`, `img_channels`,
`label_dim`) and of the network inside. `PRESETS` has those of the published files. There is no export: theirs are pickles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from unnoise.condition import Condition
from unnoise.network import NCSNpp, UNet
from unnoise.network.ncsnpp import SkipInput
from unnoise.nn import Attention, Fir, Fourier, Residual
from unnoise.zoo.links import Config, Link, Plan, Weights, build, labels, refuse, residual, same, take
from unnoise.zoo.published import EDM as PRESETS

__all__ = ["PRESETS", "load", "make", "plan"]

COMMON = {
    "model_type": "SongUNet",
    "img_resolution": ...,
    "img_channels": ...,
    "label_dim": 0,
    "augment_dim": 0,
    "label_dropout": 0,
    "use_fp16": False,
}
SONG = {
    **COMMON,
    "model_channels": 128,
    "channel_mult": (1, 2, 2, 2),
    "channel_mult_emb": 4,
    "num_blocks": 4,
    "attn_resolutions": (16,),
    "dropout": 0.10,
    "embedding_type": "positional",
    "channel_mult_noise": 1,
    "encoder_type": "standard",
    "decoder_type": "standard",
    "resample_filter": (1, 1),
}
DHARIWAL = {
    **COMMON,
    "model_channels": 192,
    "channel_mult": (1, 2, 3, 4),
    "channel_mult_emb": 4,
    "num_blocks": 3,
    "attn_resolutions": (32, 16, 8),
    "dropout": 0.10,
}
FEATURES = {"positional": "sin cos", "fourier": "fourier"}
WAYS = {"standard": "none", "skip": "skip", "residual": "residual"}


def make(config: Config, variance: bool = False) -> NCSNpp | UNet:
    """The network of a configuration, without their weights. See `plan`."""
    return plan(config, variance).make()


def plan(config: Config, variance: bool = False) -> Plan:
    """The network that a configuration describes.

    With `label_dim` it has the condition "label", none being what zeros are to theirs; with `augment_dim` "augment", a
    vector.

    Raises:
        ValueError: For options that do not fit.
    """
    return _dhariwal(config, variance) if config.get("model_type") == "DhariwalUNet" else _song(config, variance)


def load(state_dict: Weights, config: Config, own: bool = False) -> NCSNpp | UNet:
    """The network of a state dict, whose names may begin with "model.". `own`: its tensors are nobody else's, and need no copy.

    Raises:
        ValueError: For weights or options that do not fit.
    """
    theirs = {name.removeprefix("model."): tensor for name, tensor in state_dict.items()}
    variance = has_variance(state_dict, config)
    links = _unet if config.get("model_type") == "DhariwalUNet" else _ncsnpp
    return build(partial(make, config, variance), partial(links, config), theirs, left=[".resample_filter"], own=own)


def has_variance(state_dict: Weights, config: Config) -> bool:
    """Whether the network ends with twice the channels, of which the second half is a variance."""
    side = config.get("img_resolution")
    ends = ("out_conv.bias", f"dec.{side}x{side}_aux_conv.bias")
    last = [state_dict[name] for end in ends for name in (end, f"model.{end}") if name in state_dict]
    return bool(last) and len(last[0]) == 2 * config.get("img_channels", 0)


def _shape(full: Config) -> tuple[int, int, int]:
    return full["img_channels"], full["img_resolution"], full["img_resolution"]


def _attention(full: Config) -> list[int]:
    sides = [full["img_resolution"] >> level for level in range(len(full["channel_mult"]))]
    return [level for level, side in enumerate(sides) if side in full["attn_resolutions"]]


def _song(config: Config, variance: bool) -> Plan:
    full = take(config, SONG, "SongUNet")
    refuse(full, model_type="SongUNet", channel_mult_emb=4)
    if full["embedding_type"] not in FEATURES or {full["encoder_type"], full["decoder_type"]} - set(WAYS):
        raise ValueError(f"expected embedding_type of {list(FEATURES)}, encoder_type and decoder_type of {list(WAYS)}")
    augment = {"augment": Condition(shape=(full["augment_dim"],))} if full["augment_dim"] else {}
    keys = {
        "width": full["model_channels"],
        "multipliers": full["channel_mult"],
        "blocks": full["num_blocks"],
        "attention": _attention(full),
        "dropout": full["dropout"],
        "variance": variance,
        "features": FEATURES[full["embedding_type"]],
        "noise": full["channel_mult_noise"],
        "inputs": WAYS[full["encoder_type"]],
        "outputs": WAYS[full["decoder_type"]],
        "taps": full["resample_filter"],
    }
    return Plan(NCSNpp, _shape(full), augment | labels(full["label_dim"]), keys)


def _dhariwal(config: Config, variance: bool) -> Plan:
    full = take(config, DHARIWAL, "DhariwalUNet")
    refuse(full, augment_dim=0)
    keys = {
        "width": full["model_channels"],
        "multipliers": full["channel_mult"],
        "blocks": full["num_blocks"],
        "attention": _attention(full),
        "dropout": full["dropout"],
        "resample": "residual",
        "variance": variance,
        "dim": full["channel_mult_emb"] * full["model_channels"],
    }
    return Plan(UNet, _shape(full), labels(full["label_dim"]), keys)


def _ncsnpp(config: Config, network: NCSNpp) -> Iterator[Link]:
    if isinstance(network.embed.features, Fourier):
        yield Link("embed.features.frequencies", ("map_noise.freqs",))
    yield from same("embed.hidden", "map_layer0")
    yield from same("embed.out", "map_layer1")
    for number, name in enumerate(network.embed.names):
        ours = f"embed.conditions.{number}"
        if name == "label":
            yield Link(f"{ours}.table.weight", ("map_label.weight", "map_label.bias"), _scaled)
        else:  # no bias, and nothing for the flags of what is given
            yield Link(f"{ours}.out.weight", ("map_augment.weight",), lambda w: torch.cat([w, torch.zeros_like(w)], dim=1))
            yield Link(f"{ours}.out.bias", ("map_augment.weight",), lambda w: torch.zeros_like(w[:, 0]))
    yield from _down(config, network)
    for place, block in network.inputs.items():
        ours, aux = f"inputs.{place}", f"enc.{_size(config, (int(place) + 1) // (network.blocks + 1))}_aux"
        skip = isinstance(block, SkipInput)
        yield from same(f"{ours}.project" if skip else f"{ours}.conv", f"{aux}_skip" if skip else f"{aux}_residual")
        yield from _kernel(block.halve, f"{ours}.halve", f"{aux}_down" if skip else f"{aux}_residual")
    top = len(network.widths) - 1
    for step, chains in enumerate(network.up):
        size = _size(config, top - step)
        for number, chain in enumerate(chains.children()):
            yield from _chain(chain, f"up.{step}.{number}", f"dec.{size}_block{number}")
        if step > 0:
            yield from _chain(network.larger[step - 1], f"larger.{step - 1}", f"dec.{size}_up")
        if step > 0 and network.enlarge is not None:
            yield from _kernel(network.enlarge, "enlarge", f"dec.{size}_aux_up")
    for number, _ in enumerate(reversed(network.outs)):
        ours, size = f"outs.{len(network.outs) - 1 - number}", _size(config, number)
        yield from same(f"{ours}.0", f"dec.{size}_aux_norm")
        yield from same(f"{ours}.2", f"dec.{size}_aux_conv")


def _unet(config: Config, network: UNet) -> Iterator[Link]:
    yield from same("embed.hidden", "map_layer0")
    yield from same("embed.out", "map_layer1")
    if network.embed.names:
        yield Link("embed.conditions.0.table.weight", ("map_label.weight",), _rows)
    yield from _down(config, network)
    top = len(network.widths) - 1
    for number, chain in enumerate(network.up):
        step, place = divmod(number, network.blocks + 1)
        for order, layer in enumerate(chain.children()):
            up = isinstance(layer, Residual) and layer.resample is not None
            theirs = f"dec.{_size(config, top - step - 1)}_up" if up else f"dec.{_size(config, top - step)}_block{place}"
            yield from _layer(layer, f"up.{number}.{order}", theirs)
    yield from same("out.0", "out_norm")
    yield from same("out.2", "out_conv")


def _down(config: Config, network: NCSNpp | UNet) -> Iterator[Link]:
    """What both have: the way down and the middle."""
    yield from same("stem", f"enc.{_size(config, 0)}_conv")
    for number, chain in enumerate(network.down):
        level, place = divmod(number, network.blocks + 1)
        last = place == network.blocks
        name = f"enc.{_size(config, level + 1)}_down" if last else f"enc.{_size(config, level)}_block{place}"
        yield from _chain(chain, f"down.{number}", name)
    smallest = _size(config, len(network.widths) - 1)
    first, attention, second = network.middle
    yield from _layer(first, "middle.0", f"dec.{smallest}_in0")
    yield from _layer(attention, "middle.1", f"dec.{smallest}_in0")
    yield from _layer(second, "middle.2", f"dec.{smallest}_in1")


def _size(config: Config, level: int) -> str:
    side = config["img_resolution"] >> level
    return f"{side}x{side}"


def _chain(chain: nn.Module, ours: str, theirs: str) -> Iterator[Link]:
    """A block of theirs holds its attention."""
    for number, layer in enumerate(chain.children()):
        yield from _layer(layer, f"{ours}.{number}", theirs)


def _layer(layer: nn.Module, ours: str, theirs: str) -> Iterator[Link]:
    if isinstance(layer, Residual):
        yield from residual(layer, ours, theirs, ("norm0", "conv0", "affine", "norm1", "conv1", "skip"))
        yield from _kernel(layer.resample, f"{ours}.resample", f"{theirs}.conv0")
    if isinstance(layer, Attention):
        thirds: Callable[[Tensor], Tensor] = partial(_thirds, layer.heads)
        yield from same(f"{ours}.norm", f"{theirs}.norm2")
        yield Link(f"{ours}.qkv.weight", (f"{theirs}.qkv.weight",), lambda w: thirds(w.flatten(1)))
        yield Link(f"{ours}.qkv.bias", (f"{theirs}.qkv.bias",), thirds)
        yield Link(f"{ours}.out.weight", (f"{theirs}.proj.weight",), lambda w: w.flatten(1))
        yield Link(f"{ours}.out.bias", (f"{theirs}.proj.bias",))


def _kernel(layer: object, ours: str, theirs: str) -> Iterator[Link]:
    if isinstance(layer, Fir):
        yield Link(f"{ours}.kernel", (f"{theirs}.resample_filter",))


def _thirds(heads: int, w: Tensor) -> Tensor:
    """Rows by (head, channel, one of q k v) in our order, (one of q k v, head, channel)."""
    return w.unflatten(0, (heads, -1, 3)).movedim(2, 0).flatten(0, 2)


def _rows(w: Tensor) -> Tensor:
    """A linear map of one-hot classes as a table, with what it makes of zeros as the last row."""
    return torch.cat([w.T, torch.zeros_like(w.T[:1])])


def _scaled(w: Tensor, b: Tensor) -> Tensor:
    """The same of one-hot classes times sqrt(their number), with a bias."""
    return _rows(math.sqrt(w.shape[1]) * w) + b
