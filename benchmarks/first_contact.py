"""The field's first example, a published DDPM of 256 x 256 pictures: loaded in a fresh process here and by diffusers, in turn,
and the same picture at equal noise.

`python -m benchmarks first_contact [--rounds=7] [--pictures=DDPM,DDIM] [--steps=10] [--threads=1] [--folder=DIR]`; needs
diffusers. The configuration is google/ddpm-celebahq-256's with random weights, 113,673,219 parameters, as diffusers saves them.
Goal: at most 1.3 times the time.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

GOAL = 1.3
CONFIG: dict[str, Any] = {
    "sample_size": 256,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 2,
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "attention_head_dim": None,
    "norm_eps": 1e-6,
}
OURS = "from unnoise import Model; Model.from_pretrained({folder!r})"
THEIRS = "from diffusers import DDPMPipeline; DDPMPipeline.from_pretrained({folder!r})"
Noises = list[torch.Tensor]


def save(folder: Path) -> int:
    """The pipeline, and its number of parameters."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    network = UNet2DModel(**CONFIG)
    DDPMPipeline(unet=network, scheduler=DDPMScheduler()).save_pretrained(folder)
    return sum(parameter.numel() for parameter in network.parameters())


def process(code: str, folder: Path, threads: int) -> tuple[float, float]:
    """Seconds of a fresh process, by the clock and of the processor."""
    before, start = os.times(), time.perf_counter()
    told = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code.format(folder=str(folder))], check=True, env=told,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return time.perf_counter() - start, used


def loaded(folder: Path, rounds: int, threads: int) -> dict[str, Any]:
    """Both in turn, after one round that fills the cache of files."""
    rows = []
    for _ in range(rounds + 1):
        rows.append([*process(OURS, folder, threads), *process(THEIRS, folder, threads)])
        print(f"ours {rows[-1][0]:.2f} s, theirs {rows[-1][2]:.2f} s", file=sys.stderr)
    ours, ours_used, theirs, theirs_used = zip(*rows[1:], strict=True)
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "ours_s": round(statistics.median(ours), 2),
        "theirs_s": round(statistics.median(theirs), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_of_processor_time": round(statistics.median(ours_used) / statistics.median(theirs_used), 3),
    }


@contextlib.contextmanager
def drawing(noises: Noises, *places: str) -> Iterator[None]:
    """diffusers draws these."""
    given = iter(noises)
    with contextlib.ExitStack() as stack:
        for place in places:
            stack.enter_context(patch(f"diffusers.{place}.randn_tensor", lambda *args, **options: next(given)))
        yield


def pictures(folder: Path, kind: str, steps: int) -> dict[str, float]:
    """One picture of each library at equal noise, how far they are apart, and how far theirs is from itself where the first noise
    is another float32, by its last digit; values in [0, 1]."""
    import diffusers

    from unnoise import Model, sampler

    noises = [torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(k)) for k in range(steps + 1)]
    pipeline = getattr(diffusers, f"{kind}Pipeline").from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    low = kind.lower()

    def drawn(noises: Noises) -> torch.Tensor:
        with drawing(noises, f"pipelines.{low}.pipeline_{low}", f"schedulers.scheduling_{low}"):
            return torch.from_numpy(pipeline(num_inference_steps=steps, output_type="np").images).movedim(-1, 1)

    rounded = drawn([noises[0] * (1 + 2**-23), *noises[1:]])
    start = time.perf_counter()
    theirs = drawn(noises)
    middle = time.perf_counter()
    model, rest = Model.from_pretrained(folder), iter(noises[1:])
    walker = model.sampler if kind == "DDPM" else sampler.DDIM(raw=True)
    with torch.no_grad():
        times = model.times(model.denoiser.schedule, steps)
        x = walker(model.guided(model.guidance), noises[0].clone(), times, rng=lambda like, t, s: next(rest))
    ours_s = time.perf_counter() - middle
    return {
        "largest_difference": float(((x / 2 + 0.5).clamp(0, 1) - theirs).abs().max()),
        "theirs_of_itself": float((rounded - theirs).abs().max()),
        "ours_s": round(ours_s, 1),
        "theirs_s": round(middle - start, 1),
    }


def main(*arguments: str) -> None:
    options = {"rounds": "7", "pictures": "DDPM,DDIM", "steps": "10", "threads": "1", "folder": ""}
    options |= dict(argument.removeprefix("--").split("=") for argument in arguments)
    torch.set_num_threads(int(options["threads"]))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options["folder"] or scratch) / "ddpm-celebahq-256"
        result: dict[str, Any] = {"goal": GOAL, "parameters": 113_673_219 if folder.exists() else save(folder)}
        if int(options["rounds"]):
            result["loading"] = loaded(folder, int(options["rounds"]), int(options["threads"]))
        kinds = filter(None, options["pictures"].split(","))
        result["pictures"] = {kind: pictures(folder, kind, int(options["steps"])) for kind in kinds}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
