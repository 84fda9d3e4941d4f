"""Weights under other names: which of our tensors is which of theirs, and how one becomes the other.

An adapter lists the links of a network once; `read` follows them from their state dict to ours, `write` back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unnoise.condition import Condition
from unnoise.nn import AdaptiveNorm

Weights = Mapping[str, Tensor]
Config = Mapping[str, Any]
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Link:
    """One tensor of ours, and those of theirs that say the same.

    Args:
        ours: Its name in our state dict.
        theirs: Names in theirs; none where ours follows from the network's shape and is not in their files.
        join: Theirs to ours.
        split: Ours to theirs, as many as there are names.
    """

    ours: str
    theirs: tuple[str, ...]
    join: Callable[..., Tensor] = lambda tensor: tensor
    split: Callable[[Tensor], tuple[Tensor, ...]] = lambda tensor: (tensor,)


def build(make: Callable[[], N], links: Callable[[N], Iterable[Link]], theirs: Weights, left: Iterable[str] = ()) -> N:
    """A network with their weights, of their precision (half becomes single). `left`: endings of names without a use.

    Raises:
        ValueError: If a tensor is missing, superfluous or of another shape.
    """
    with torch.device("meta"):
        network = make()
    found, ours, unused = network.state_dict(), {}, set(theirs)
    dtype = functools.reduce(torch.promote_types, {w.dtype for w in theirs.values() if w.is_floating_point()}, torch.float32)
    for link in links(network):
        if missing := [name for name in link.theirs if name not in theirs]:
            raise ValueError(f"the weights have no {missing[0]!r}: they are not of this configuration")
        tensor = link.join(*(theirs[name].to(dtype) for name in link.theirs)).to(dtype)
        if tensor.shape != found[link.ours].shape:
            wanted, given = tuple(found[link.ours].shape), tuple(tensor.shape)
            raise ValueError(f"{link.theirs[0]!r} gives {given} in place of {wanted}: the weights are not of this configuration")
        ours[link.ours] = tensor.clone(memory_format=torch.contiguous_format)
        unused -= set(link.theirs)
    if strange := sorted(name for name in unused if not name.endswith(tuple(left))):
        raise ValueError(f"the weights have {strange[0]!r}, for which this configuration has no place")
    network.load_state_dict(ours, assign=True)
    return network


def write(network: nn.Module, links: Iterable[Link]) -> dict[str, Tensor]:
    """The network's weights under their names."""
    ours, theirs = network.state_dict(), {}
    for link in links:
        for name, tensor in zip(link.theirs, link.split(ours[link.ours]), strict=True):
            theirs[name] = tensor.clone(memory_format=torch.contiguous_format)
    return theirs


def same(ours: str, theirs: str) -> Iterator[Link]:
    """The weight and the bias of a layer, as they are."""
    for kind in ("weight", "bias"):
        yield Link(f"{ours}.{kind}", (f"{theirs}.{kind}",))


def flat(ours: str, theirs: str, spatial: int) -> Iterator[Link]:
    """A linear layer that theirs writes as a convolution of side 1 over so many dimensions."""
    yield Link(f"{ours}.weight", (f"{theirs}.weight",), lambda w: w.flatten(1), lambda w: (w[(..., *[None] * spatial)],))
    yield Link(f"{ours}.bias", (f"{theirs}.bias",))


def joined(ours: str, theirs: tuple[str, ...]) -> Iterator[Link]:
    """A layer that theirs has in parts, by its outputs."""
    for kind in ("weight", "bias"):
        yield Link(f"{ours}.{kind}", tuple(f"{name}.{kind}" for name in theirs), _cat, lambda w: w.chunk(len(theirs)))


def residual(block: nn.Module, ours: str, theirs: str, names: tuple[str, str, str, str, str, str]) -> Iterator[Link]:
    """A residual block. `names` are theirs of norm1, conv1, the embedding's layer, norm2, conv2 and the shortcut."""
    adaptive = isinstance(block.norm2, AdaptiveNorm)
    mine = ("norm1", "conv1", *(("norm2.linear", "norm2.norm") if adaptive else ("linear", "norm2")), "conv2", "shortcut")
    for my, their in zip(mine, names, strict=True):
        if my != "shortcut" or not isinstance(block.shortcut, nn.Identity):
            yield from same(f"{ours}.{my}", f"{theirs}.{their}")


def table(ours: str, theirs: str) -> Link:
    """A table of classes that has no row for none: there, ours answers zeros."""
    return Link(ours, (theirs,), lambda rows: torch.cat([rows, torch.zeros_like(rows[:1])]), lambda rows: (rows[:-1],))


def labels(number: int | None) -> dict[str, Condition]:
    """The condition of networks that know their classes by number only."""
    return {"label": Condition(classes=tuple(map(str, range(number))))} if number else {}


def refuse(config: Config, **kept: Any) -> None:
    """ValueError for an option of theirs that is set to what our network does not have; `kept` are the values it has."""
    for option, value in kept.items():
        if config.get(option, value) != value:
            raise ValueError(f"{option} = {config[option]!r} has no counterpart here; expected {value!r}")


def take(config: Config, defaults: Config, name: str) -> dict[str, Any]:
    """Their defaults with the configuration upon them.

    Raises:
        ValueError: For an option that they do not have, or one without a default that is not given.
    """
    if unknown := [option for option in config if option not in defaults and not option.startswith("_")]:
        raise ValueError(f"{name} has no option {unknown[0]!r}")
    full = {**defaults, **{option: value for option, value in config.items() if option in defaults}}
    if absent := [option for option, value in full.items() if value is ...]:
        raise ValueError(f"{name}: {absent[0]!r} is missing")
    return full


def _cat(*parts: Tensor) -> Tensor:
    return torch.cat(parts)
