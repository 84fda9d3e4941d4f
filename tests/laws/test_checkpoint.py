"""Laws of `train/`: a checkpoint is whole or not there; weights are read back or refused."""

import errno
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training import Points, denoise, network, silent, two

from unnoise.train import Trainer, latest, prune, read_weights, save, write_weights
from unnoise.train import disk as disk_module


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "delete", "empty"])
def test_a_damaged_checkpoint_is_skipped_and_named(tmp_path, name, damage):
    two(tmp_path)
    file = tmp_path / "state" / "step-6" / name
    content = bytearray(file.read_bytes())
    if damage == "delete":
        file.unlink()
    else:
        content[len(content) // 2] ^= 0x41
        file.write_bytes({"cut": content[: len(content) // 2], "flip": content, "empty": b""}[damage])
    said: list[str] = []
    found = latest(tmp_path, said.append)
    assert found is not None and found.step == 3 and float(found.tensors["w"][0]) == 3
    assert len(said) == 1 and said[0].startswith("skipped step-6: ") and name in said[0] and "\n" not in said[0]
    with pytest.raises(ValueError, match="step-6"):
        prune(tmp_path, 6, 1)
    assert (tmp_path / "state" / "step-3").exists()
    save(tmp_path, 6, {"w": torch.ones(2)}, {})
    assert latest(tmp_path, silent).step == 6  # type: ignore[union-attr]


def test_nothing_begins_anew_unasked(tmp_path):
    assert latest(tmp_path) is None
    two(tmp_path)
    for path in (tmp_path / "state").glob("*/manifest.json"):
        path.unlink()
    with pytest.raises(ValueError, match="no whole checkpoint"):
        latest(tmp_path, silent)


def test_pruning_keeps_the_newest(tmp_path):
    for step in (2, 10, 9, 30):
        save(tmp_path, step, {}, {})
    prune(tmp_path, 10, 2)  # 30 lies beyond the run, which went on from an earlier one
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-10", "step-9"]
    prune(tmp_path, 10, 0)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["step-10"]


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    two(tmp_path)
    real, written = disk_module.write, []

    def full_at_second(path, chunks):
        written.append(path)
        if len(written) == 2:
            path.write_bytes(b"half")
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError:
                raise RuntimeError("unexpected pos 20001664 vs 20001616")  # noqa: B904 - as torch does
        return real(path, chunks)

    monkeypatch.setattr(disk_module, "write", full_at_second)
    with pytest.raises(OSError, match=r"disk full: .*state needs [\d,]+ bytes, [\d,]+ are free") as error:
        save(tmp_path, 9, {"w": torch.ones(50)}, {})
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-3", "step-6"]

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="disk full"):
        Trainer(5, 4).fit(network(), denoise, Points(), tmp_path / "new", say=silent)


# -- weights


def test_weights_come_back(tmp_path):
    tensors = {
        "bf16": torch.randn(3, 5).to(torch.bfloat16),
        "scalar": torch.tensor(3, dtype=torch.int64),
        "bool": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 4),
        "strided": torch.randn(4, 6).t(),
        "nhwc": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "double": torch.randn(2, dtype=torch.float64),
    }
    path = tmp_path / "weights.safetensors"
    write_weights(path, tensors, {"name": "Ä"})
    read, metadata = read_weights(path)
    assert metadata == {"name": "Ä"} and list(tmp_path.iterdir()) == [path]
    for other in (read, load_file(path)):
        assert other.keys() == tensors.keys()
        assert all(torch.equal(other[k], v) and other[k].dtype == v.dtype for k, v in tensors.items())


def hostile(kind: str, path: Path) -> None:
    write_weights(path, {"w": torch.full((20,), math.nan if kind == "nan" else 1.0)})
    content = path.read_bytes()
    header = b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}'
    made = {
        "nan": content,
        "cut": content[:-1],
        "longer": content + b"0",
        "tiny": b"abc",
        "text": b"not a tensor file, but long enough to have a header",
        "bomb": (1 << 60).to_bytes(8, "little") + content[8:],
        "shape": len(header).to_bytes(8, "little") + header + b"0000",
    }
    path.write_bytes(made[kind])


@pytest.mark.parametrize("kind", ["nan", "cut", "longer", "tiny", "text", "bomb", "shape"])
def test_hostile_weights_are_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    hostile(kind, path)
    with pytest.raises(ValueError, match=r"w\.safetensors: ") as error:
        read_weights(path)
    assert "\n" not in str(error.value)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_weights(tmp_path / "nowhere.safetensors")
