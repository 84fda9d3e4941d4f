"""Pictures as most training scripts read them: a folder, each file opened and decoded whenever it is asked for."""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


class Folder(Dataset):
    """The JPEG and PNG files below a folder."""

    def __init__(self, root: Path) -> None:
        self.paths = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as file:
            return as_tensor(file)


def as_tensor(file: Image.Image) -> Tensor:
    """A picture in [-1, 1], (3, H, W), mirrored half of the time."""
    x = torch.from_numpy(np.array(file.convert("RGB"), np.float32)).permute(2, 0, 1) / 127.5 - 1
    return x.flip(2) if torch.rand(()) < 0.5 else x


def batches(root: Path, batch: int, workers: int = 0) -> Iterator[Tensor]:
    """Shuffled batches without end."""
    loader = DataLoader(Folder(root), batch, shuffle=True, num_workers=workers, drop_last=True)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def unpacked(archive: Path, below: Path, most: int = 0) -> Path:
    """Unpacks the training pictures of an archive, or the first `most` of each of its folders; returns their folder.

    A folder is what has been unpacked before.
    """
    if archive.is_dir():
        return archive
    taken: dict[str, int] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            folder = str(Path(member.name).parent)
            if member.isfile() and member.name.startswith("train/") and (not most or taken.get(folder, 0) < most):
                taken[folder] = taken.get(folder, 0) + 1
                tar.extract(member, below, filter="data")
    return below / "train"
