"""Weights under other names: which of our tensors is which of theirs, and how one becomes the other.

An adapter lists the links of a network once; `read` follows them from their state dict to ours, `write` back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from unnoise.condition import Condition
from unnoise.nn import AdaptiveNorm

Weights = Mapping[str, Tensor]
Config = Mapping[str, Any]
N = TypeVar("N", bound=nn.Module)


# No configuration of published weights comes near these; beyond them it is a slip or an attack.
NUMBER = 1 << 20  # the largest number
LENGTH = 64  # of a list
CLASSES = 100_000


class Plan(NamedTuple):
    """A network before it is made: what a recipe says of it, and what its domain does.

    Attributes:
        kind: Of `unnoise.network`.
        shape, conds: Handed over by the domain; a kind without conditions takes none.
        keys: The rest of its arguments; None where the default is meant.
    """

    kind: type[nn.Module]
    shape: tuple[int, ...]
    conds: Mapping[str, Condition]
    keys: Mapping[str, Any]

    def make(self) -> Any:
        """The network, fresh."""
        conds = {"conds": self.conds} if self.conds else {}
        return self.kind(shape=self.shape, **conds, **self.keys)

    def section(self) -> dict[str, dict[str, Any]]:
        """`[network.Name]` of a recipe."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self.keys.items()}
        return {self.kind.__name__: {key: value for key, value in plain.items() if value is not None}}


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


def build(
    make: Callable[[], N],
    links: Callable[[N], Iterable[Link]],
    theirs: Weights,
    left: Iterable[str] = (),
    own: bool = False,
) -> N:
    """A network with their weights, of their precision (half becomes single).

    Args:
        make: Makes the network.
        links: Of that network.
        theirs: Their state dict.
        left: Endings of names without a use.
        own: The tensors are nobody else's: the network keeps those that need no change, without a copy.

    Raises:
        ValueError: If a tensor is missing, superfluous or of another shape.
    """
    with bounded(2 * len(theirs) + LENGTH), torch.device("meta"):
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
        ours[link.ours] = tensor.contiguous() if own else tensor.clone(memory_format=torch.contiguous_format)
        unused -= set(link.theirs)
    if strange := sorted(name for name in unused if not name.endswith(tuple(left))):
        raise ValueError(f"the weights have {strange[0]!r}, for which this configuration has no place")
    network.load_state_dict(ours, assign=True)
    return network


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """No more parameters than these may be made inside: a network of a million layers is no network of a file of a hundred.

    Raises:
        ValueError: Where more are, or a size overflows.
    """
    made = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal made
        made += 1
        if made > most:
            raise ValueError("the weights are fewer than this configuration has: they are not of it")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise ValueError("the configuration has sizes that no network can have") from error
    finally:
        handle.remove()


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
    """The condition of networks that know their classes by number only.

    Raises:
        ValueError: For more than 100,000.
    """
    if (number or 0) > CLASSES:
        raise ValueError(f"{number} classes; expected {CLASSES} at most")
    return {"label": Condition(classes=tuple(map(str, range(number))))} if number else {}


def refuse(config: Config, **kept: Any) -> None:
    """ValueError for an option of theirs that is set to what our network does not have; `kept` are the values it has."""
    for option, value in kept.items():
        if config.get(option, value) != value:
            raise ValueError(f"{option} = {config[option]!r} has no counterpart here; expected {value!r}")


def take(config: Config, defaults: Config, name: str) -> dict[str, Any]:
    """Their defaults with the configuration upon them.

    Raises:
        ValueError: For an option that they do not have, one without a default that is not given, or one out of all bounds.
    """
    for option, value in config.items():
        bound(f"{name}: {option}", value)
    if unknown := [option for option in config if option not in defaults and not option.startswith("_")]:
        raise ValueError(f"{name} has no option {unknown[0]!r}")
    full = {**defaults, **{option: value for option, value in config.items() if option in defaults}}
    if absent := [option for option, value in full.items() if value is ...]:
        raise ValueError(f"{name}: {absent[0]!r} is missing")
    return full


def bound(place: str, value: Any) -> None:
    """ValueError for a number, or a list, beyond all bounds."""
    if isinstance(value, list | tuple):
        if len(value) > LENGTH:
            raise ValueError(f"{place} is a list of {len(value)}; expected {LENGTH} at most")
        for one in value:
            bound(place, one)
    elif isinstance(value, int | float) and not -NUMBER <= value <= NUMBER:
        raise ValueError(
            f"{place} = {value:g}: no network has such a size" if abs(value) < 1e300 else f"{place} is out of bounds"
        )
    elif isinstance(value, Mapping):
        raise ValueError(f"{place} is a table; expected a number, a text or a list")


def _cat(*parts: Tensor) -> Tensor:
    return torch.cat(parts)
