"""Tensors in a file: safetensors, written so that it is whole or absent, read with suspicion. Never a pickle."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from . import disk

MAX_HEADER = 3 << 20  # bytes
MAX_TENSORS = 20_000

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "C64": torch.complex64,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as one safetensors file, atomically.

    Args:
        tensors: Any dtype of `DTYPES`, any device and strides; they are written contiguous, one at a time.
        metadata: Strings for the file's header.

    Raises:
        OSError: The disk is full: one line with path, needed and free bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.room(path.parent, nbytes(tensors)):
        disk.replace(path, serialise(tensors, metadata))


def read_weights(path: Path, *, finite: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file; return its tensors (on the CPU) and the metadata of its header.

    Before anything is allocated the header must be of at most 3 MB and 20,000 tensors, and sizes must sum to the file.

    Raises:
        ValueError: The file is missing, is not whole, or is not such a file; or, if `finite`, holds NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = _check_header(Path(path))
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: {error}; the file is damaged") from error
    if finite and (bad := nonfinite(tensors)):
        raise ValueError(f"{path}: tensor '{bad}' holds values that are not finite; the file is of no use")
    return tensors, metadata


def assign(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy `tensors` into a module's parameters and buffers, strictly by name and shape.

    Raises:
        ValueError: Names or shapes differ; says which, and that they come from `source`. Nothing is copied then.
    """
    copy(module.state_dict(), tensors, source)


@torch.no_grad()
def copy(targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy `tensors` into `targets` of the same names and shapes, or raise ValueError and copy nothing."""
    misfits(targets, tensors, source)
    for name, target in targets.items():
        target.copy_(tensors[name])


def misfits(targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str) -> None:
    """ValueError if names or shapes of `tensors`, which come from `source`, are not those of `targets`."""
    wrong = [f"lacks '{name}'" for name in targets if name not in tensors]
    wrong += [f"has '{name}', which is unknown here" for name in tensors if name not in targets]
    wrong += [
        f"'{name}' has shape {tuple(tensors[name].shape)}, expected {tuple(target.shape)}"
        for name, target in targets.items()
        if name in tensors and tensors[name].shape != target.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise ValueError(f"{source} does not fit this model: {'; '.join(wrong[:3])}{more}")


def nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first name whose tensor holds NaN or infinity, if any."""
    floating = ((name, tensor) for name, tensor in tensors.items() if tensor.is_floating_point())
    return next((name for name, tensor in floating if not bool(torch.isfinite(tensor).all())), None)


def nbytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes that the tensors take in a file, with some for its header."""
    return sum(tensor.nbytes + len(name) + 128 for name, tensor in tensors.items())


def serialise(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file, a tensor at a time: a header of 8 + n bytes, then the values without a gap."""
    # Wide types first and a header of a multiple of 8 bytes: every tensor then starts at a multiple of its item's size.
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in names:
        tensor = tensors[name]
        span = [offset, offset := offset + tensor.nbytes]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": span}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for name in names:
        flat = gathered(tensors[name]).detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor that lies in parts (a DTensor); all processes ask for it at once."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _check_header(path: Path) -> dict[str, str]:
    """Check a safetensors file's header against its size; return the metadata."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a .safetensors file")
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, MAX_HEADER):
            raise ValueError(f"{path}: not a whole safetensors file (header of {length:,} bytes, file of {size:,})")
        text = file.read(length)
    marks = sum(text.count(mark) for mark in (b",", b"[", b"{", b":"))
    try:
        if marks > 16 * MAX_TENSORS:
            raise ValueError("too many values")
        header = json.loads(text, object_pairs_hook=_once)
        metadata = header.pop("__metadata__", {})
        spans = sorted(_span(entry) for entry in header.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a safetensors file (its header cannot be read)") from error
    ends = [0, *(end for _, end in spans)]
    if len(spans) > MAX_TENSORS or [begin for begin, _ in spans] != ends[:-1] or 8 + length + ends[-1] != size:
        raise ValueError(f"{path}: the sizes in the header do not sum to the file's {size:,} bytes; it is damaged")
    return {str(key): str(value) for key, value in metadata.items()}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object of which no key is given twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _span(entry: Mapping) -> tuple[int, int]:
    """Begin and end of one tensor in the file; ValueError unless dtype and shape take just that."""
    begin, end = entry["data_offsets"]
    count = 1
    for length in entry["shape"]:
        if type(length) is not int or length < 0:
            raise ValueError("bad shape")
        count *= length
    if end - begin != count * DTYPES[entry["dtype"]].itemsize:
        raise ValueError("bad size")
    return begin, end
