"""Published weights made into a run folder, with a certificate of what they were compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import unnoise
from unnoise import share
from unnoise.certificate import Certificate, Comparison, Questions, answers, compare, questions
from unnoise.model import FILES, Model, load
from unnoise.network import Classifier, DiT, UNet
from unnoise.zoo import diffusers, dit, guided
from unnoise.zoo.folder import reference
from unnoise.zoo.source import find, parts

__all__ = ["bring"]

TOLERANCE = 1e-5
SIDE = 64  # pixels at which a network that takes any sides is asked
DUMPS: dict[str, Any] = {"guided": guided, "dit": dit, "diffusers": diffusers}


def bring(
    source: Path | str,
    run: Path,
    *,
    preset: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    pickles: bool = True,
) -> tuple[Certificate, tuple[str, ...]]:
    """Writes a published model into a new run folder, on which every verb works; its certificate, and in what its walks differ.

    Args:
        source, preset, revision, offline, pickles: As `Model.from_pretrained` takes them.
        run: The folder; absent or empty.

    Raises:
        ValueError: If there is no such model, it is of a kind that has no counterpart, damaged, or does not answer as it should.
    """
    path = find(source, revision=revision, offline=offline, pickles=pickles)
    with share.finished(run) as draft:
        if (path / FILES[0]).is_file():
            model = load(path)
            model.save(draft)
            again = compare("weights, written and read again", *_flat(model.denoiser, load(draft).denoiser), 0.0)
            sides = {"unnoise": _self(), str(source): {"weights": model.digest}}
            certificate = Certificate(sides, {}, (again,), "a run folder of unnoise, whose own certificate stands in its source")
        else:
            found = parts(path, preset, pickles)
            model = Model.assembled(found)
            model.save(draft, {"imported": Path(source).name if Path(source).exists() else str(source)})
            certificate = _certificate(str(source), path, found.origin, model)
        certificate.demand().write(draft)
    return certificate, model.notes


def _certificate(source: str, path: Path, origin: Mapping[str, Any], model: Model) -> Certificate:
    """The network beside theirs where their code is installed, else there and back."""
    network: Any = model.denoiser.network
    theirs: dict[str, Any] = {"source": source, "files": _digests(path), "preset": origin.get("preset")}
    installed = _version("diffusers") if origin["family"] == "diffusers" else None
    if installed:
        asked, other = _questions(network, null=isinstance(network, DiT)), reference(path)
        ours = answers(network, asked)
        said = answers(lambda x, level, cond: other(x, level, cond.get("label")).sample, asked)
        sides = {"unnoise": _self(), f"diffusers {installed} {type(other).__name__}": theirs}
        return Certificate(sides, asked.facts(), (compare("network outputs", ours, said, TOLERANCE),))
    there_and_back = _there_and_back(origin["family"], network, path, origin)
    note = f"no code of {origin['family']} was at hand to be asked; names, shapes and every value of its weights were"
    return Certificate({"unnoise": _self(), origin["family"]: theirs}, {}, (there_and_back,), note)


def _there_and_back(family: str, network: nn.Module, path: Path, origin: Mapping[str, Any]) -> Comparison:
    """Ours to theirs to ours; where there is no way to theirs, the file read a second time."""
    if family == "edm":
        again = parts(path, str(origin["preset"])).network
        return compare("weights, read twice", *_flat(network, again), 0.0)
    room = DUMPS[family]
    config, weights = room.dump(network)
    return compare("weights ours -> theirs -> ours", *_flat(network, room.load(weights, config)), 0.0)


def _questions(network: Any, null: bool) -> Questions:
    sides = [min(side, SIDE) for side in network.shape[1:]] if isinstance(network, UNet | Classifier) else network.shape[1:]
    return questions((network.shape[0], *sides), getattr(network, "conds", {}), null=null)


def _flat(one: nn.Module, other: nn.Module) -> tuple[Tensor, Tensor]:
    a, b = one.state_dict(), other.state_dict()
    return (torch.cat([tensors[name].flatten().float() for name in sorted(a)]) for tensors in (a, b))  # type: ignore[return-value]


def _digests(path: Path) -> dict[str, str]:
    """SHA-256 of the files of weights."""
    files = (
        [path]
        if path.is_file()
        else [f for place in (path, path / "unet", path / "transformer") for f in sorted(place.glob("diffusion_*"))]
    )
    found = {}
    for file in files:
        with open(file, "rb") as opened:
            found[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def _self() -> dict[str, str]:
    return {"version": unnoise.__version__, "torch": torch.__version__}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
