"""A model to the hub: the folder that an export writes, and nothing of the run besides."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from unnoise.certificate import FILE
from unnoise.engine.program import demand
from unnoise.task.export import export

NAME = re.compile(r"[\w.-]+/[\w.-]+")
ALLOWED = (
    "README.md", FILE, "recipe.toml", "data.json", "weights.safetensors", "model_index.json", "model.onnx", "model.onnx.data",
    "model.pt2", "unet/*", "transformer/*", "scheduler/*",
)  # fmt: skip


def push(
    run: Path,
    name: str,
    *,
    private: bool = False,
    token_file: Path | None = None,
    license: str | None = None,
    datasets: Sequence[str] = (),
) -> str:
    """Makes a repository on the hub, if it is not there, and uploads a model; returns its address.

    A run is first written as `unnoise export` would; a folder that this wrote goes as it is. Never the state of training, its log
    or the paths of its data.

    Args:
        run: A run, or the folder of an export.
        name: "owner/name".
        private: Of a new repository.
        token_file: Holds the token; without it, that of `hf auth login` or of HF_TOKEN.
        license, datasets: For the model card of a run.

    Raises:
        ValueError: For a name or folder that is none, a missing package, or if the hub refuses.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name on the hub; expected owner/name")
    demand("huggingface_hub", extra="hub")
    token = _token(token_file)
    with _folder(Path(run), name, license, datasets) as folder:
        return _upload(folder, name, private, token)


@contextmanager
def _folder(run: Path, name: str, license: str | None, datasets: Sequence[str]) -> Iterator[Path]:
    if (run / FILE).is_file() and (run / "README.md").is_file():
        if license or datasets:
            raise ValueError(f"{run} has its model card already; give --license and --dataset to `unnoise export`")
        yield run
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name.partition("/")[2]
        export(run, folder, "unnoise", license=license, datasets=datasets)
        yield folder


def _upload(folder: Path, name: str, private: bool, token: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = HfApi(token=token)
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(ALLOWED), commit_message=f"{folder.name}, by unnoise"
        )
    except LocalTokenNotFoundError as error:
        raise ValueError("the hub wants a token: --token-file FILE, or `hf auth login` once") from error
    except HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else None
        if code in (401, 403):
            raise ValueError(
                f"the hub refuses {name} to this token ({code}): give one that may write there, --token-file FILE"
            ) from error
        raise ValueError(f"the hub answered {code} to {name}: {' '.join(str(error).split())[:200]}") from error
    except OfflineModeIsEnabled as error:
        raise ValueError("HF_HUB_OFFLINE is set, and nothing can be pushed without the hub: unset it") from error
    except Exception as error:  # of the network: which class it is depends on the library that the hub's speaks HTTP by
        if not isinstance(error, OSError) and not type(error).__module__.startswith(("httpx", "requests")):
            raise
        raise ValueError(f"the hub cannot be reached ({' '.join(str(error).split())[:200]}); is there a network?") from error
    return str(address)


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--token-file {file}: cannot be read") from error
    if not token or len(token.split()) != 1:
        raise ValueError(f"--token-file {file}: expected one token and nothing else")
    return token
