"""Where published weights are: a folder or file here, or a name on the hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from unnoise.zoo.folder import is_folder, read_folder
from unnoise.zoo.parts import Parts
from unnoise.zoo.preset import PRESETS, read_file
from unnoise.zoo.read import readable

__all__ = ["find", "parts"]

# What is fetched: our folders, and of others the network and its scheduler. Pickles only where they are asked for.
OURS = ("recipe.toml", "data.json", "weights.safetensors", "certificate.json", "README.md")
WANTED: tuple[str, ...] = ("model_index.json", *OURS)
WANTED += tuple(
    f"{place}{name}"
    for place in ("", "unet/", "transformer/", "scheduler/")
    for name in ("config.json", "scheduler_config.json", "diffusion_pytorch_model*.safetensors", "*.safetensors.index.json")
)
PICKLES = ("diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.bin")
REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def find(source: Path | str, *, revision: str | None = None, offline: bool = False, pickles: bool = False) -> Path:
    """The folder or file that a source names; a name on the hub is fetched into its cache, or found there.

    Args:
        source: A path, or "owner/name" on the hub where there is no such path.
        revision: Of the hub: a branch, a tag or a commit.
        offline: Look into the cache alone; so does HF_HUB_OFFLINE=1.
        pickles: Fetch a .bin too.

    Raises:
        ValueError: If there is no such path or repository, or it cannot be reached.
    """
    path = Path(source)
    if path.exists():
        if revision:
            raise ValueError(f"{source} is a path here: --revision {revision} is for names on the hub")
        return path
    name = str(source)
    if not REPOSITORY.fullmatch(name) or ".." in name or name.startswith("."):
        raise ValueError(f"{source}: no such file or folder, and no name on the hub (owner/name)")
    return _fetch(name, revision, offline, (*WANTED, *PICKLES) if pickles else WANTED)


def parts(path: Path, preset: str | None = None, pickles: bool = False) -> Parts:
    """The model at a path.

    Raises:
        ValueError: If it is of no known kind, or not whole.
    """
    with readable(path):
        return _parts(path, preset, pickles)


def _parts(path: Path, preset: str | None, pickles: bool) -> Parts:
    if path.is_file():
        return read_file(path, preset)
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    if is_folder(path):
        if preset:
            raise ValueError(f"{path} says what it is: --preset {preset} is for files of weights alone")
        return read_folder(path, pickles)
    files = [file for file in sorted(path.iterdir()) if file.suffix in (".pt", ".pth", ".ckpt", ".bin", ".safetensors")]
    if len(files) == 1 and (preset or files[0].stem in PRESETS):
        return read_file(files[0], preset)
    hint = f"; name one of its files: {', '.join(file.name for file in files[:4])}" if files else ""
    raise ValueError(f"{path}: no model_index.json, config.json or recipe.toml in it{hint}")


def _fetch(name: str, revision: str | None, offline: bool, wanted: tuple[str, ...]) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(f"{name}: no such path; for names on the hub: pip install 'unnoise[hub]'") from error
    from huggingface_hub import errors

    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    where = f"{name}@{revision}" if revision else name
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, local_files_only=offline, allow_patterns=list(wanted), etag_timeout=10
        )
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{where}: no such revision on the hub; its page lists branches and tags") from error
    except errors.GatedRepoError as error:
        raise ValueError(f"{where}: its owner must let you in, on its page; then `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(f"{where}: no such repository on the hub, or it is private: `hf auth login`") from error
    except errors.LocalEntryNotFoundError as error:
        mend = (
            "without --offline and HF_HUB_OFFLINE it is fetched" if offline else "is there a network? A copied folder works too"
        )
        raise ValueError(f"{where}: not in the hub's cache here; {mend}") from error
    except (OSError, errors.HfHubHTTPError, RuntimeError) as error:
        raise ValueError(f"{where}: the hub cannot be reached: {str(error).splitlines()[0][:160]}") from error
    return Path(folder)
