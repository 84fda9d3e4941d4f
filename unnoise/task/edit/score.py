"""How near results are to what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from unnoise.domain.pictures import Pictures
from unnoise.metric.perceptual import LPIPS
from unnoise.metric.pixels import psnr, ssim
from unnoise.task.edit.jobs import Job
from unnoise.task.edit.picture import read
from unnoise.task.edit.sheet import mean
from unnoise.train.weights import read_weights
from unnoise.zoo.pickled import read_pickled

Score = Mapping[str, float]  # "PSNR" in dB, "SSIM", and "LPIPS" where its weights are at hand


def lpips(files: Sequence[Path]) -> LPIPS | None:
    """The perceptual distance whose weights lie in these files, one or several; None without any.

    Raises:
        ValueError: If they are none.
    """
    weights: dict[str, Tensor] = {}
    for file in files:
        weights |= read_weights(file)[0] if file.suffix == ".safetensors" else read_pickled(file)
    return LPIPS(weights, ", ".join(map(str, files))) if files else None


def reference(path: Path, file: Path, job: Job, domain: Pictures) -> Tensor:
    """What the result should be, as the sheet shows results: a file, or that of the input's name in a folder.

    Raises:
        ValueError: If it is of another size.
    """
    found = read(path / file.name if path.is_dir() else path, domain)
    if found.size != job.picture.size:
        given, wanted = (f"{size[1]} x {size[0]}" for size in (found.size, job.picture.size))
        raise ValueError(f"{path}: {given} pixels; the result has {wanted}")
    return found.x if job.picture.mode == "grey" or found.x.shape[1] > 1 else found.x.expand(-1, 3, -1, -1)


def scores(baseline: Tensor, shown: Tensor, reference: Tensor, perceptual: LPIPS | None) -> dict[str, Score]:
    """Of the baseline, of the samples' mean, and of a sample on average."""
    single = [_score(one[None], reference, perceptual) for one in shown]
    return {
        "baseline": _score(baseline.expand_as(reference), reference, perceptual),
        "mean": _score(mean(shown), reference, perceptual),
        "sample": {name: sum(one[name] for one in single) / len(single) for name in single[0]},
    }


def _score(x: Tensor, reference: Tensor, perceptual: LPIPS | None) -> Score:
    found = {"PSNR": psnr(x, reference), "SSIM": ssim(x, reference)}
    return found if perceptual is None else found | {"LPIPS": float(perceptual(x, reference))}
