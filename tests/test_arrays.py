"""Pictures as the rows of an array, and labels as EDM writes them: read like any folder."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.domain import Images


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))


def pixels(*shape: int, dtype: str = "uint8") -> np.ndarray:
    drawn = np.random.default_rng(0).integers(0, 256, shape)
    return drawn.astype(dtype) if dtype != "float32" else (drawn / 255).astype(dtype)


def whole(images: Images) -> dict[str, torch.Tensor]:
    dataset = images.dataset("train")
    return dataset.batch(torch.arange(len(dataset)))


FORMS: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
    "grey": (pixels(12, 6, 5), (1, 6, 5)),
    "colour": (pixels(12, 6, 5, 3), (3, 6, 5)),
    "colour first": (pixels(12, 3, 6, 5), (3, 6, 5)),
    "deep": (pixels(12, 6, 5, dtype="uint16"), (1, 6, 5)),
    "float": (pixels(12, 6, 5, 3, dtype="float32"), (3, 6, 5)),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("form", ["npy", "npz", "packed"])
def test_an_array_is_a_set_of_pictures(name: str, form: str, tmp_path: Path) -> None:
    x, shape = FORMS[name]
    path = tmp_path / f"set.{form[:3] if form != 'packed' else 'npz'}"
    if form == "npy":
        np.save(path, x)
    else:
        (np.savez if form == "npz" else np.savez_compressed)(path, pictures=x)
    images = Images(str(path))
    assert images.shape == shape and len(images.dataset("train")) == 12
    first = x.reshape(12, *shape) if x.ndim == 3 or name == "colour first" else x.transpose(0, 3, 1, 2)
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[str(x.dtype)]
    assert torch.allclose(whole(images)["x"], torch.from_numpy(2 * first.astype("float64") / top - 1).float(), atol=1e-6)


def test_four_channels_of_bytes_have_alpha(tmp_path: Path) -> None:
    x = pixels(3, 6, 6, 4)
    x[..., 3] = 0  # all of it is seen through
    np.savez(tmp_path / "set.npz", rgba=x)
    assert whole(Images(str(tmp_path / "set.npz"), background="white"))["x"].eq(1).all()
    assert Images(str(tmp_path / "set.npz"), channels=4).shape == (4, 6, 6)


def test_other_arrays_are_conditions(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "arr_0": pixels(24, 6, 6, 3),
        "arr_1": np.arange(24) % 11,
        "age": np.arange(24) / 4,
        "place": np.arange(48.0).reshape(24, 2),
        "kind": np.array(["cat", "dog", ""] * 8),
        "elsewhere": np.arange(5),
    }
    np.savez(tmp_path / "samples_24x6x6x3.npz", **said)
    images = Images(str(tmp_path / "samples_24x6x6x3.npz"), held_out=0.0)
    batch = whole(images)
    assert images.conds["label"].classes == tuple(f"{number:02d}" for number in range(11))
    assert batch["label"].tolist() == said["arr_1"].tolist()
    assert batch["age"].tolist() == said["age"].tolist() and batch["place"].tolist() == said["place"].tolist()
    assert images.conds["kind"].classes == ("cat", "dog") and batch["kind"].tolist() == [0, 1, 2] * 8  # 2: none is said
    assert "elsewhere" not in images.conds


def save_objects(path: Path) -> None:
    np.savez(path, x=np.array([{"a": 1}, None], dtype=object))


def save_a_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1200, 1024, 1024)})
        for _ in range(1200):
            file.write(bytes(1 << 20))


REFUSED = {
    "two arrays of pictures": (
        lambda path: np.savez(path, a=pixels(3, 4, 4), b=pixels(3, 4, 4)),
        "expected one array of pictures",
    ),
    "no pictures": (lambda path: np.savez(path, a=pixels(3, 4)), r"it holds a \(3, 4\) uint8"),
    "objects": (save_objects, "Python objects"),
    "columns": (lambda path: np.savez(path, a=np.asfortranarray(pixels(3, 4, 4))), "ascontiguousarray"),
    "no archive": (lambda path: path.write_bytes(b"PK nothing"), "a damaged array"),
    "a bomb": (save_a_bomb, "refused as a bomb"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_array_of_pictures_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, line = REFUSED[name]
    write(tmp_path / "set.npz")
    with pytest.raises(ValueError, match=line) as error:
        Images(str(tmp_path / "set.npz")).dataset("train")
    assert "\n" not in str(error.value)


def test_an_array_that_ends_early_is_damaged(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", pixels(12, 6, 6))
    content = (tmp_path / "set.npy").read_bytes()
    (tmp_path / "set.npy").write_bytes(content[:-50])
    with pytest.raises(ValueError, match=r"a damaged array \(it ends early\)"):
        Images(str(tmp_path / "set.npy")).dataset("train")


def test_the_labels_of_a_dataset_json(tmp_path: Path) -> None:
    told = []
    for number in range(24):
        file = tmp_path / "set" / "00000" / f"img{number:08d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(6, 6) + np.uint8(number)).save(file)
        told.append([f"00000/{file.name}", number % 11])
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": told}))
    images = Images(str(tmp_path / "set"), held_out=0.0)
    assert images.conds["label"].classes == tuple(f"{number:02d}" for number in range(11))
    assert whole(images)["label"].tolist() == [number for _, number in told]
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": None}))
    assert not Images(str(tmp_path / "set")).conds
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": {"a": 1}}))
    with pytest.raises(ValueError, match=r'dataset\.json: expected "labels"'):
        Images(str(tmp_path / "set")).dataset("train")
