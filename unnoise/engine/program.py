"""A network as one graph of tensor operations, for any size of the batch: as `torch.export` and as ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from unnoise.condition import Conditions, complete

OPSET = 20
INPUTS, OUTPUT = ("x", "level"), "output"
LARGE = 1_900_000_000  # bytes: a single ONNX file ends at 2 GB; beyond, the weights lie beside it


class Call(nn.Module):
    """A network whose conditions are plain arguments, in the order of their names: what exports can write down."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.names = network, sorted(network.conds)

    def forward(self, x: Tensor, level: Tensor, *cond: Tensor) -> Tensor:
        return self.network(x, level, dict(zip(self.names, cond, strict=True)))


def arguments(shape: tuple[int, ...], conds: Conditions, batch: int = 2) -> tuple[Tensor, ...]:
    """An example of what a network takes: x, level, and each condition at its null, in the order of their names."""
    null = complete(conds, None, batch, "cpu")
    return torch.zeros(batch, *shape), torch.zeros(batch), *(null[name] for name in sorted(conds))


def program(network: Any) -> ExportedProgram:
    """A network's graph in float32, for batches of any size."""
    given = arguments(network.shape, network.conds)
    batch = {0: Dim.DYNAMIC}
    conds = (tuple(batch for _ in given[2:]),) if given[2:] else ()
    with _quiet(), torch.no_grad():
        return torch.export.export(Call(network).eval(), given, dynamic_shapes=(batch, batch, *conds))


def write_program(network: Any, path: Path) -> None:
    """Writes a network as a `.pt2` file, which `torch.export.load(path).module()` makes callable: (x, level, *conditions)."""
    torch.export.save(program(network), path)


def write_onnx(network: Any, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a network as an ONNX file: inputs `x`, `level` and the names of the conditions, output `output`; float32, any batch.

    Args:
        network: On the CPU.
        path: Of the file; the weights of networks of 2 GB and more lie beside it, in `<path>.data`.
        metadata: Kept in the file.

    Raises:
        ValueError: If the packages for it are not installed.
    """
    demand("onnx", "onnxscript")
    large = sum(weight.nbytes for weight in network.state_dict().values()) > LARGE
    with _quiet():
        made: Any = torch.onnx.export(
            program(network),
            input_names=[*INPUTS, *sorted(network.conds)],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    made.model.metadata_props.update(metadata or {})
    made.save(str(path), external_data=large)


def demand(*packages: str, extra: str = "onnx") -> None:
    """ValueError, with what to install, where a package is missing; `extra` is that of ours which has them."""
    from importlib.util import find_spec

    if missing := [name for name in packages if find_spec(name) is None]:
        raise ValueError(f"this needs {' and '.join(missing)}, which is not installed: pip install 'unnoise[{extra}]'")


@contextmanager
def _quiet() -> Iterator[None]:
    """What exporters say on the way of packages that nobody asked for, and of their own future, left unsaid."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
