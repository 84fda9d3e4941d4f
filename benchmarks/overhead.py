"""What a step costs outside the denoiser, against two other libraries: `python -m benchmarks overhead [ROUNDS]`.

The denoiser returns a constant. Rounds are interleaved and medians taken, one thread, in one process. diffusers and k-diffusion
are used where they can be imported (k-diffusion's own heavy imports are stood in for); folders with them may be named in
UNNOISE_PEERS, separated as in PYTHONPATH.
"""

from __future__ import annotations

import gc
import importlib.machinery
import itertools
import json
import os
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unnoise.denoiser import Answer
from unnoise.sampler import DDIM, DPM2, Brownian, DPMpp2M, DPMpp2S, Heun, Sampler
from unnoise.schedule import EDM, Schedule
from unnoise.tensor import Rng
from unnoise.times import Times, Uniform

STEPS = 25
SIZES = ((1, 3, 32, 32), (64, 3, 32, 32), (1, 4, 512, 512))
GOALS = {"dpmpp2m / k-diffusion dpmpp_2m": 0.4, "dpmpp2m / diffusers DPM++2M": 0.2, "brownian / k-diffusion brownian": 0.1}
STOOD_IN = ("torchvision", "clean_fid", "cleanfid", "clip", "resize_right", "skimage", "jsonmerge", "kornia", "accelerate",
            "wandb", "dctorch", "dctorch.functional", "torchvision.transforms", "torchvision.transforms.functional",
            "cleanfid.inception_torchscript", "PIL.Image", "safetensors.torch", "tqdm.auto", "tqdm", "torchdiffeq")  # fmt: skip


class Constant:
    """A denoiser that costs nothing."""

    evaluations = 1

    def __init__(self, schedule: Schedule, x0: Tensor) -> None:
        self.schedule, self.said, self.conds = schedule, Answer(x0), {}

    def project(self, x: Tensor, cond: Any = None) -> Tensor:
        return x

    def answer(self, x_t: Tensor, t: Any, cond: Any = None) -> Answer:
        return self.said

    def __call__(self, x_t: Tensor, t: Any, cond: Any = None) -> Tensor:
        return self.said.x0


class Part(types.ModuleType):
    """A module in the place of one that is not installed: it has whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {})


def peers() -> dict[str, Any]:
    """Modules of the other libraries, as far as they are here."""
    sys.path += [path for path in os.environ.get("UNNOISE_PEERS", "").split(os.pathsep) if path]
    found: dict[str, Any] = {}
    try:
        from diffusers import DPMSolverMultistepScheduler

        found["diffusers"] = DPMSolverMultistepScheduler
    except ImportError as error:
        print(f"no diffusers: {error}", file=sys.stderr)
    stand_in()
    try:
        from k_diffusion import sampling

        found["k_diffusion"] = sampling
    except ImportError as error:
        print(f"no k-diffusion: {error}", file=sys.stderr)
    return found


def stand_in() -> None:
    """Puts empty parts where k-diffusion imports libraries that its samplers never use."""
    for name in STOOD_IN:
        try:
            __import__(name)
        except Exception:  # whatever keeps an unused library from being imported is no matter here
            part = Part(name)
            part.__spec__ = importlib.machinery.ModuleSpec(name, None)
            part.__path__ = []
            sys.modules[name] = part
    if isinstance(sys.modules["tqdm.auto"], Part):
        sys.modules["tqdm.auto"].trange = lambda n, disable=None: range(n)  # type: ignore[attr-defined]


def ours(sampler: Sampler, schedule: Schedule, times: Times, x: Tensor) -> Callable[[], object]:
    denoiser, steps = Constant(schedule, torch.zeros_like(x)), times(schedule, STEPS)
    rng = Rng(range(len(x))) if sampler.stochastic else None
    return lambda: sampler(denoiser, x, steps, rng=rng)


def brownian_ours(x: Tensor) -> Callable[[], object]:
    """The noise of a walk alone."""
    schedule = EDM()
    steps = Uniform()(schedule, STEPS)

    def run() -> None:
        noise = Brownian(Rng(range(len(x))), schedule, steps)
        for t, s in itertools.pairwise(steps):
            noise(x, t, s)

    return run


def theirs(found: dict[str, Any], x: Tensor) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {}
    x0 = torch.zeros_like(x)
    if "k_diffusion" in found:
        sampling = found["k_diffusion"]
        sigmas = sampling.get_sigmas_karras(STEPS, 0.002, 80.0)
        model: Callable[..., Tensor] = lambda x, sigma, **_: x0  # noqa: E731
        runs["k-diffusion dpmpp_2m"] = lambda: sampling.sample_dpmpp_2m(model, x, sigmas, disable=True)

        def tree() -> None:
            noise = sampling.BrownianTreeNoiseSampler(x, sigmas[-2], sigmas[0], seed=list(range(len(x))))
            for k in range(STEPS - 1):
                noise(sigmas[k], sigmas[k + 1])

        runs["k-diffusion brownian"] = tree
    if "diffusers" in found:
        scheduler = found["diffusers"](beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)

        def walk() -> None:
            scheduler.set_timesteps(STEPS)
            state = x
            for t in scheduler.timesteps:
                state = scheduler.step(x0, t, state).prev_sample

        runs["diffusers DPM++2M"] = walk
    return runs


def memory(sampler: Sampler) -> int:
    """The most states that a walk holds while the network works, beside the one that the network is given."""
    gc.collect()  # what an earlier call left in cycles is not this walk's
    x = torch.randn(1, 4, 256, 128)
    most = 0

    class Counting(Constant):
        def answer(self, x_t: Tensor, t: Any, cond: Any = None) -> Answer:
            nonlocal most
            held = {part.data_ptr() for part in gc.get_objects() if type(part) is Tensor and part.shape == x.shape}
            most = max(most, len(held - {x.data_ptr(), x_t.data_ptr()}))
            return Answer(torch.zeros_like(x))

    schedule = EDM()
    steps, rng = Uniform()(schedule, STEPS), Rng(0) if sampler.stochastic else None
    sampler(Counting(schedule, torch.zeros(())), x, steps, rng=rng)
    return most


def main(rounds: int = 15) -> None:
    torch.set_num_threads(1)
    found, results, ratios = peers(), {}, {}
    for shape in SIZES:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        runs = {
            "dpmpp2m": ours(DPMpp2M(), EDM(), Uniform(), x),
            "ddim": ours(DDIM(), EDM(), Uniform(), x),
            "dpmpp2m sde": ours(DPMpp2M(eta=1.0), EDM(), Uniform(), x),
            "brownian": brownian_ours(x),
            **theirs(found, x),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        slow = {"k-diffusion brownian": max(2, rounds // 5)}
        for turn in range(rounds + 1):
            for name, run in runs.items():
                if turn > slow.get(name, rounds):
                    continue
                began = time.perf_counter()
                run()
                times[name] += [time.perf_counter() - began] if turn else []  # the first round warms up
        medians = {name: statistics.median(taken) / STEPS * 1e3 for name, taken in times.items()}
        name = "x".join(map(str, shape))
        results[name] = {run: round(value, 4) for run, value in medians.items()}
        ratios[name] = {
            pair: round(medians[pair.split(" / ")[0]] / medians[other], 4)
            for pair in GOALS
            if (other := pair.split(" / ")[1]) in medians
        }
        print(name, results[name], ratios[name], file=sys.stderr)
    held = {repr(sampler): memory(sampler) for sampler in (DDIM(), DPMpp2M(), Heun(), DPM2(), DPMpp2S(), DPMpp2M(eta=1.0))}
    print(json.dumps({"ms a step": results, "ratios": ratios, "goals": GOALS, "steps": STEPS, "rounds": rounds,
                      "states held beside the network's input": held}, indent=1))  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
