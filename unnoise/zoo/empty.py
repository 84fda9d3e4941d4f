"""Networks made without values, to be filled from a file: no time for random numbers, no memory for what hostile recipes say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unnoise.train.weights import misfits
from unnoise.zoo.links import LENGTH, bound, bounded

__all__ = ["Making", "check_sizes", "fill", "made", "unfilled"]


@dataclass(frozen=True)
class Making:
    """A network is to be made without values, of so many tensors as its file has."""

    tensors: int


TABLE = 100_000  # entries of a schedule


def check_sizes(sections: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
    """ValueError for a recipe whose network or schedule has a number or a list beyond all bounds."""
    for name, keys in sections.get("network", {}).items():
        for key, value in keys.items():
            bound(f"[network.{name}] {key}", value)
    for place, value in _leaves("[schedule]", sections.get("schedule", {})):
        size = len(value) if isinstance(value, list) else value if isinstance(value, int) else 0
        if size > TABLE:
            raise ValueError(f"{place}: a table of {size:,} entries; expected {TABLE:,} at most")


def _leaves(place: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{place} {key}", inner)
    else:
        yield place, value


class Undrawn(TorchFunctionMode):
    """Initial values are not drawn: there is no place for them, and on "meta" torch imports its compiler to draw some."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def made(network: nn.Module | Making | None, make: Callable[[], nn.Module]) -> nn.Module:
    """The network given; or the one made, without values if so asked for."""
    if isinstance(network, Making):
        with bounded(network.tensors + LENGTH), torch.device("meta"), Undrawn():
            return make()
    return make() if network is None else network


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Puts tensors into a module in place of its own, strictly by name and shape; they are the module's from now on.

    Raises:
        ValueError: Names or shapes differ; says which, and that they come from `source`.
    """
    targets = module.state_dict()
    misfits(targets, tensors, source)
    module.load_state_dict({name: tensors[name].to(target.dtype) for name, target in targets.items()}, assign=True)


def unfilled(module: nn.Module) -> bool:
    """Whether something in the module has no values still: what no state dict has."""
    return any(tensor.is_meta for tensor in itertools.chain(module.parameters(), module.buffers()))
