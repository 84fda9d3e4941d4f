"""A network run by ONNX Runtime, in the place of one of torch."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unnoise.condition import complete
from unnoise.engine.program import INPUTS, OPSET, demand, write_onnx
from unnoise.tensor import Cond
from unnoise.train import disk

ENGINES = ("eager", "onnx")
EXPORTED = "model.onnx"  # in a folder that an export wrote
CACHE = "engines"  # in a run folder
DIGEST = "unnoise.weights"  # of the weights' file, in the file's metadata
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Session(nn.Module):
    """A network that ONNX Runtime computes: takes and answers what the one it was written from does, without gradients.

    On the CPU each thread computes rows of its own, as many as every other: a network's single operations are too short to be
    shared among threads without loss. Only where there are fewer rows than threads all of them work on each operation.

    Args:
        path: Of the ONNX file.
        network: What it was written from; only its shape, conditions and variance are asked.
        device: "cpu" or "cuda".

    Raises:
        ValueError: If ONNX Runtime is not installed, or not for this device.
    """

    def __init__(self, path: Path, network: Any, device: str = "cpu") -> None:
        super().__init__()
        demand("onnxruntime")
        import onnxruntime

        if PROVIDERS.get(device) not in onnxruntime.get_available_providers():
            raise ValueError(
                f"--engine onnx on {device}: this onnxruntime has {', '.join(onnxruntime.get_available_providers())}"
            )
        self.shape, self.conds, self.variance = tuple(network.shape), dict(network.conds), bool(network.variance)
        self.path, self.providers = path, [PROVIDERS[device]]
        self.threads = torch.get_num_threads() if device == "cpu" else 1
        self.runtime = self._started(threads=1)
        self.facts = {"engine": "onnx", "onnxruntime": onnxruntime.__version__}
        self.digest = self.runtime.get_modelmeta().custom_metadata_map.get(DIGEST, "")
        self.taken = {node.name for node in self.runtime.get_inputs()}

    def forward(self, x: Tensor, level: Tensor, cond: Cond | None = None) -> Tensor:
        if x.requires_grad and torch.is_grad_enabled():
            raise ValueError("a guidance needs gradients through the network, which the ONNX engine has not: use --engine eager")
        given = dict(zip(INPUTS, (x.float(), level.float()), strict=True)) | complete(self.conds, cond, len(x), x.device)
        feeds = {name: value.detach().cpu().contiguous().numpy() for name, value in given.items() if name in self.taken}
        return torch.from_numpy(self._shared(feeds, len(x))).to(x.device, x.dtype)

    def _shared(self, feeds: dict[str, np.ndarray], batch: int) -> np.ndarray:
        """The output, by all threads."""
        if self.threads == 1:
            return self.runtime.run(None, feeds)[0]
        if batch < self.threads:
            return self.wide.run(None, feeds)[0]
        rows = -(-batch // self.threads)
        # Parts of equal length, though the last ones overlap: what is computed of a row may depend on how many there are.
        firsts = [min(first, batch - rows) for first in range(0, batch, rows)]
        parts = [{name: value[first : first + rows] for name, value in feeds.items()} for first in firsts]
        answers = list(self.pool.map(lambda part: self.runtime.run(None, part)[0], parts))
        whole = np.empty((batch, *answers[0].shape[1:]), answers[0].dtype)
        for first, answer in zip(firsts, answers, strict=True):
            whole[first : first + rows] = answer
        return whole

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, "onnx")

    @cached_property
    def wide(self) -> Any:
        """The same on all threads at once, for few rows; made when it is first needed."""
        return self._started(self.threads)

    def _started(self, threads: int) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        return onnxruntime.InferenceSession(str(self.path), options, providers=self.providers)


def session(network: Any, folder: Path, weights: str, device: str = "cpu") -> Session:
    """A network's session; its ONNX file is written into `folder/engines` on first use, and kept under the digest of the weights.

    Args:
        network: With its weights.
        folder: Of the run.
        weights: Digest of their file.
        device: "cpu" or "cuda".

    Raises:
        ValueError: If the packages for it are not installed, or the folder cannot be written to.
    """
    about = f"{weights} {type(network).__name__} {torch.__version__} {OPSET}"
    path = folder / CACHE / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.onnx"
    if not path.is_file():
        try:
            path.parent.mkdir(exist_ok=True)
            draft = disk.scratch(path)
            write_onnx(network, draft, {DIGEST: weights})
            os.replace(draft, path)
            for older in path.parent.glob("*.onnx"):  # of weights that training has left behind
                if older != path:
                    older.unlink(missing_ok=True)
        except OSError as error:
            raise ValueError(
                f"{path.parent} cannot be written to ({error}), where the ONNX engine is kept; copy the run"
            ) from error
    made = Session(path, network, device)
    if made.digest != weights:
        raise ValueError(f"{path} was not made of the weights beside it; remove it")
    return made


def attach(denoiser: Any, engine: str, folder: Path, weights: str, device: torch.device | str = "cpu") -> str:
    """Puts another engine in the place of a denoiser's network; the digest of the weights that it runs.

    Args:
        denoiser: Whose network is replaced.
        engine: Of `ENGINES`.
        folder: A run folder, or one with an exported file.
        weights: Digest of the network's weights.
        device: Where it runs.

    Raises:
        ValueError: For an unknown engine, or one that cannot run here.
    """
    if engine != "onnx":
        raise ValueError(f"--engine {engine}: expected one of {', '.join(ENGINES)}")
    kind, network = torch.device(device).type, denoiser.network
    path = exported(folder)
    made = Session(path, network, kind) if path else session(network, folder, weights, kind)
    denoiser.network = made
    return made.digest


def exported(folder: Path) -> Path | None:
    """The ONNX file that an export left in a folder, if it is one."""
    path = folder / EXPORTED
    return path if path.is_file() else None
