"""Pictures as the rows of one array: a .npy, or a .npz with an array of pictures and what is said of them beside it.

Read in one pass, a row at a time; nothing is unpickled. Each row is handed on as a file of its own, so that whatever holds for a
folder of pictures holds here.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from unnoise.domain.archive import DAMAGED, MAX_MEMBER, MAX_RATIO, MAX_TOTAL
from unnoise.domain.files import Item, class_names, stamp, suffix

ARRAYS = (".npy", ".npz")
LABELS = ("label", "labels", "y", "class", "classes", "arr_1")  # what the numbers of classes are called


class Head(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


class Arrays:
    """The pictures of an array (N, H, W), (N, H, W, C) or (N, C, H, W); other arrays of N rows are columns of conditions.

    Whole numbers named `label` (or `y`, or `arr_1`, as guided-diffusion has it) are classes; four channels of bytes have alpha.

    Raises:
        ValueError: For a file that is damaged, holds no array of pictures or more than one, or unpacks to far more than it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: dict[str, str] = {}
        self.others: Counter[str] = Counter()

    def signature(self) -> list[Any]:
        return [str(self.path.resolve()), *stamp(self.path.stat())]

    def items(self) -> Iterator[Item]:
        try:
            with self._opened() as archive:
                heads = {name: self._head(archive, name) for name in self._names(archive)}
                pictures = self._pictures(heads)
                count, *_ = heads[pictures].shape
                names = [f"{row:0{len(str(count - 1))}d}" for row in range(count)]
                columns = {name: head for name, head in heads.items() if name != pictures and head.shape[:1] == (count,)}
                if rows := self._columns(archive, columns):
                    lines = [json.dumps({"file_name": f"{name}.npy", **row}) for name, row in zip(names, rows, strict=True)]
                    yield "metadata.jsonl", partial(io.BytesIO, "\n".join(lines).encode())
                with self._member(archive, pictures) as file:
                    shape, dtype = self._read_head(file)
                    for name in names:
                        row = np.frombuffer(_exactly(file, math.prod(shape[1:]) * dtype.itemsize), dtype).reshape(shape[1:])
                        yield f"{name}.npy", partial(io.BytesIO, _file(row))
        except DAMAGED as error:
            raise ValueError(f"{self.path}: a damaged array ({error}); fetch or write it again") from error

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile | None]:
        if suffix(self.path.name) == ".npy":
            yield None
            return
        with zipfile.ZipFile(self.path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_TOTAL + MAX_RATIO * self.path.stat().st_size:
                raise ValueError(f"{self.path}: unpacks to more than {MAX_RATIO} times its size; refused as a bomb")
            yield archive

    def _names(self, archive: zipfile.ZipFile | None) -> list[str]:
        return [self.path.stem] if archive is None else [name[:-4] for name in archive.namelist() if name.endswith(".npy")]

    def _member(self, archive: zipfile.ZipFile | None, name: str) -> IO[bytes]:
        return self.path.open("rb") if archive is None else archive.open(f"{name}.npy")

    def _head(self, archive: zipfile.ZipFile | None, name: str) -> Head:
        with self._member(archive, name) as file:
            return self._read_head(file)

    def _read_head(self, file: IO[bytes]) -> Head:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
        except ValueError as error:
            raise ValueError(f"{self.path}: not an array of numpy's ({error})") from error
        if dtype.hasobject:
            raise ValueError(f"{self.path}: holds an array of Python objects, which only a program could read; refused")
        if by_columns and len(shape) > 2:
            raise ValueError(f"{self.path}: an array in the order of columns; save numpy.ascontiguousarray of it")
        return Head(shape, dtype)

    def _pictures(self, heads: dict[str, Head]) -> str:
        found = [name for name, (shape, dtype) in heads.items() if len(shape) in (3, 4) and all(shape) and dtype.kind in "biuf"]
        if len(found) != 1:
            told = ", ".join(f"{name} {head.shape} {head.dtype}" for name, head in heads.items()) or "nothing"
            raise ValueError(
                f"{self.path}: expected one array of pictures, (N, H, W), (N, H, W, C) or (N, C, H, W); it holds {told}"
            )
        return found[0]

    def _columns(self, archive: zipfile.ZipFile | None, heads: dict[str, Head]) -> list[dict[str, Any]]:
        """What the other arrays say of each row."""
        columns: dict[str, list[Any]] = {}
        for name, (shape, dtype) in heads.items():
            small = len(shape) == 1 or (len(shape) == 2 and dtype.kind in "iuf")
            if not small or dtype.kind not in "biufU" or math.prod(shape) * dtype.itemsize > MAX_MEMBER:
                continue
            with self._member(archive, name) as file:
                values = np.load(io.BytesIO(file.read()), allow_pickle=False)
            label = name in LABELS and values.ndim == 1 and dtype.kind in "iu"
            columns["label" if label else name] = class_names(values.tolist()) if label else values.tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _exactly(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise EOFError("it ends early")
    return content


def _file(pixels: np.ndarray) -> bytes:
    """One picture as a file: PNG where it has alpha, which an array cannot say."""
    out = io.BytesIO()
    if pixels.ndim == 3 and pixels.shape[2] == 4 and pixels.dtype == np.uint8:
        from PIL import Image

        Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    else:
        np.save(out, pixels, allow_pickle=False)
    return out.getvalue()
