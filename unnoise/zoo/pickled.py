"""Weights in PyTorch's own file, .pt, .pth, .bin or .ckpt: a zip archive of a pickle and the values that it names.

It is read only where someone asks for just that, and by torch's loader of weights alone, which builds tensors and runs nothing.
What that loader trusts is looked at first: the archive, the names in the pickle and what they may build, and last whether each
tensor has values of its own.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.train.weights import nonfinite

__all__ = ["read_pickled"]

DIRECTORY = 3 << 20  # bytes of the archive's table of contents
MOST = 20_000  # tensors
PICKLE = 2 << 20  # bytes
STEPS = 200_000  # of the pickle's machine
KINDS = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool", "ComplexFloat")
# What the pickle may name: how tensors are put together, and nothing else.
KNOWN = {("torch._utils", name) for name in ("_rebuild_tensor_v2", "_rebuild_parameter")}
KNOWN |= {("torch", f"{kind}Storage") for kind in KINDS}
EMPTY = ("collections", "OrderedDict")  # only ever made empty: filled at once, one list would make gigabytes
CODES = {
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "REDUCE", "BUILD",
    "BINPERSID",
}  # fmt: skip
WRAPPED = ("state_dict", "model", "ema", "params", "params_ema")  # a state dict may lie under one of these


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The state dict in such a file, mapped into memory.

    Raises:
        ValueError: If it is of another kind, names anything but tensors, is damaged or a trick, or holds NaN or infinity.
    """
    try:
        _look(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except ValueError:
        raise
    except Exception as error:  # the loader has no error of its own; whatever it cannot read is no file of weights
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path}: cannot be read as weights: {first[:200]}") from error
    tensors = _tensors(path, loaded)
    _own_values(path, tensors)
    if bad := nonfinite(tensors):
        raise ValueError(f"{path}: tensor {bad!r} holds values that are not finite; the file is of no use")
    return tensors


def _look(path: Path) -> None:
    """ValueError unless the archive is what torch writes, byte for byte accounted for, and its pickle builds tensors alone."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError(f"{path}: not an archive of PyTorch 1.6 or later; load and save it anew where it is trusted")
        _directory(path, file, size)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _entries(path, entries, size)
        names = [entry.filename for entry in entries]
        if any("/code/" in name or name.endswith("constants.pkl") for name in names):
            raise ValueError(f"{path}: a TorchScript archive, which is a program; expected a state dict")
        pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
        if [entry.filename.count("/") for entry in pickles] != [1] or not pickles[0].filename.endswith("/data.pkl"):
            raise ValueError(f"{path}: expected one data.pkl in the archive, given {[e.filename[:40] for e in pickles[:4]]}")
        if pickles[0].file_size > PICKLE:
            raise ValueError(f"{path}: a pickle of {pickles[0].file_size:,} bytes; expected {PICKLE:,} at most")
        _steps(path, archive.read(pickles[0]))


def _directory(path: Path, file: Any, size: int) -> None:
    """ValueError for a table of contents too large to be read: what it says of itself, at the end of the file."""
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise ValueError(f"{path}: the archive has no end; the file is not whole")
    length = struct.unpack("<I", tail[at + 12 : at + 16])[0]
    if length == 0xFFFFFFFF:
        wide = tail.rfind(b"PK\x06\x06", 0, at)
        length = struct.unpack("<Q", tail[wide + 40 : wide + 48])[0] if wide >= 0 and len(tail) >= wide + 48 else size
    if length > min(DIRECTORY, size):
        raise ValueError(f"{path}: a table of contents of {length:,} bytes; expected {DIRECTORY:,} at most")


def _entries(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    """ValueError for entries that are compressed, lie upon each other, lead elsewhere or have the same name."""
    names = {entry.filename for entry in entries}
    if len(entries) > MOST + 16 or len(names) != len(entries):
        raise ValueError(f"{path}: {len(entries):,} entries, {len(names):,} names; expected {MOST:,} at most, each once")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise ValueError(f"{path}: {entry.filename[:60]!r} is compressed or encrypted, which torch's files never are")
        if entry.filename.startswith("/") or ".." in entry.filename.split("/") or "\\" in entry.filename:
            raise ValueError(f"{path}: {entry.filename[:60]!r} leads out of the archive")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise ValueError(f"{path}: {entry.filename[:60]!r} lies upon another entry of the archive")
        end = entry.header_offset + 30 + len(entry.filename.encode()) + entry.file_size
    if end > size:
        raise ValueError(f"{path}: its entries take {end:,} bytes of a file of {size:,}; it is not whole")


def _steps(path: Path, pickle: bytes) -> None:
    """ValueError for a pickle that names anything but tensors, or is long; nothing of it is run."""
    kept: set[Any] = set()  # places of the memo that hold EMPTY
    wanted: list[str] = []  # the steps that must come next
    try:
        for number, (code, argument, _) in enumerate(pickletools.genops(pickle)):
            if number > STEPS:
                raise ValueError(f"more than {STEPS:,} steps")
            if code.name not in CODES:
                raise ValueError(f"it has a step {code.name}, which builds no tensor")
            if wanted and code.name in ("BINPUT", "LONG_BINPUT") and len(wanted) == 2:
                kept.add(argument)
                continue
            if wanted and code.name != wanted.pop(0):
                raise ValueError("it makes a dictionary that is not empty at first")
            named = tuple(str(argument).split(" ", 1)) if code.name == "GLOBAL" else ()
            if named and named != EMPTY and named not in KNOWN:
                raise ValueError(f"it names {'.'.join(named)[:80]!r}, which is no part of a tensor")
            if named == EMPTY or (code.name in ("BINGET", "LONG_BINGET") and argument in kept):
                wanted = ["EMPTY_TUPLE", "REDUCE"]
    except ValueError as error:
        raise ValueError(f"{path}: the pickle is refused: {error}") from error


def _tensors(path: Path, loaded: object) -> dict[str, Tensor]:
    """The state dict itself, or under the one name that it is wrapped in."""
    wrapped = [loaded[name] for name in WRAPPED if name in loaded] if isinstance(loaded, Mapping) else []
    inner = wrapped[0] if wrapped and isinstance(wrapped[0], Mapping) else loaded
    if not isinstance(inner, Mapping) or not inner or not all(isinstance(name, str) for name in inner):
        raise ValueError(f"{path}: expected a state dict, names with their tensors, given {type(inner).__name__}")
    for name, value in inner.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ValueError(f"{path}: {name[:60]!r} is no plain tensor but {type(value).__name__}; expected a state dict")
    if len(inner) > MOST:
        raise ValueError(f"{path}: {len(inner):,} tensors; expected {MOST:,} at most")
    return {name: value.detach() for name, value in inner.items()}


def _own_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """ValueError where one value serves twice: in a tensor by its strides, or in two tensors."""
    spans: list[tuple[int, int, str]] = []
    for name, tensor in tensors.items():
        dense = 1
        for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
            if length > 1 and stride < dense:
                raise ValueError(f"{path}: tensor {name[:60]!r} of shape {tuple(tensor.shape)} has fewer values than places")
            dense = stride * length if length > 1 else dense
        if tensor.numel():
            reach = 1 + sum(stride * (length - 1) for stride, length in zip(tensor.stride(), tensor.shape, strict=True))
            spans.append((tensor.data_ptr(), tensor.data_ptr() + reach * tensor.itemsize, name))
    end = 0
    for first, last, name in sorted(spans):
        if first < end:
            raise ValueError(f"{path}: tensor {name[:60]!r} shares its values with another one")
        end = last
