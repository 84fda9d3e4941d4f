"""Walks of other libraries on our denoisers: every deterministic sampler and spacing of diffusers, k-diffusion and azula.

Each walk is a function (denoiser, noise, nfe) -> end, with noise ~ N(0, I) for the start; it may take at most `nfe` evaluations.
Folders with the libraries may be named in UNNOISE_PEERS, separated as in PYTHONPATH.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.overhead import stand_in
from unnoise.denoiser import Denoise
from unnoise.schedule import Schedule
from unnoise.tensor import Cond

Run = Callable[["Counted", Tensor, int], Tensor]
SPACINGS: tuple[dict[str, Any], ...] = (
    *({"timestep_spacing": name} for name in ("linspace", "leading", "trailing")),
    *({name: True} for name in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")),
)
DEFAULT = "diffusers DPMSolverMultistep linspace"  # DPM++2M as it comes


class Counted:
    """A denoiser of a fixed condition that counts its answers, and computes in its own precision whatever it is given."""

    def __init__(self, denoiser: Denoise, cond: Cond | None = None, dtype: torch.dtype = torch.float64) -> None:
        self.denoiser, self.schedule, self.cond, self.dtype, self.nfe = denoiser, denoiser.schedule, cond, dtype, 0

    def __call__(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        self.nfe += 1
        return self.denoiser(x_t.to(self.dtype), t, self.cond).to(x_t)


def walks(schedule: Schedule) -> dict[str, Run]:
    """Every walk of every library that is here, by name."""
    sys.path += [path for path in os.environ.get("UNNOISE_PEERS", "").split(os.pathsep) if path and path not in sys.path]
    stand_in()
    found: dict[str, Run] = {}
    for family in (_k_diffusion, _azula, _diffusers):
        try:
            found |= dict(family(schedule))
        except ImportError as error:
            raise ImportError(f"{error}; name the folders of diffusers, k-diffusion and azula in UNNOISE_PEERS") from error
    return found


def grids(schedule: Schedule) -> dict[str, Callable[[int], Tensor]]:
    """n times from 1 to t_min, (n,), in the spacings that k-diffusion and azula can be given."""
    ends = torch.tensor([1.0, schedule.t_min], dtype=torch.float64)
    first, last = (schedule.log_snr(ends) / -2).tolist()

    def at(log_ratio: Tensor) -> Tensor:
        t = schedule.time(-2 * log_ratio)
        return torch.cat([ends[:1], t[1:-1], ends[1:]]) if len(t) > 1 else ends[:1]

    def karras(n: int, rho: float = 7.0) -> Tensor:
        from k_diffusion.sampling import get_sigmas_karras

        return at(get_sigmas_karras(n, torch.tensor(last).double().exp(), torch.tensor(first).double().exp(), rho)[:-1].log())

    return {
        "karras": karras,
        "exponential": lambda n: at(torch.linspace(first, last, n, dtype=torch.float64)),
        "uniform t": lambda n: torch.linspace(1, schedule.t_min, n, dtype=torch.float64),
    }


def _k_diffusion(schedule: Schedule) -> Iterator[tuple[str, Run]]:
    from k_diffusion import sampling

    one = {
        "euler": sampling.sample_euler,
        "lms": sampling.sample_lms,
        "dpmpp_2m": sampling.sample_dpmpp_2m,
        "dpmpp_2m_sde eta 0": _quiet(sampling.sample_dpmpp_2m_sde),
        "dpmpp_2m_sde heun eta 0": _quiet(sampling.sample_dpmpp_2m_sde, solver_type="heun"),
        "dpmpp_3m_sde eta 0": _quiet(sampling.sample_dpmpp_3m_sde),
    }
    two = {
        "heun": sampling.sample_heun,
        "dpm_2": sampling.sample_dpm_2,
        "dpmpp_2s eta 0": lambda *a, **k: sampling.sample_dpmpp_2s_ancestral(*a, eta=0.0, **k),
    }

    def run(sampler: Any, grid: Callable[[int], Tensor], halved: bool, fast: bool = False) -> Run:
        def walk(denoiser: Counted, noise: Tensor, nfe: int) -> Tensor:
            n = (nfe + 1) // 2 if halved else nfe
            model, (_, sigma) = _in_sigma(denoiser), _ratio(schedule, grid(n))
            x = noise * (1 + sigma[0] ** 2).sqrt().item()
            if fast:
                return sampler(model, x, sigma[-1], sigma[0], nfe, disable=True)
            return sampler(model, x, torch.cat([sigma, sigma.new_zeros(1)]), disable=True)

        return walk

    for spacing, grid in grids(schedule).items():
        for name, sampler in one.items():
            yield f"k-diffusion {name} {spacing}", run(sampler, grid, False)
        for name, sampler in two.items():
            yield f"k-diffusion {name} {spacing}", run(sampler, grid, True)
    yield "k-diffusion dpm_fast", run(sampling.sample_dpm_fast, grid, False, fast=True)


def _quiet(sampler: Any, **options: Any) -> Any:
    """An SDE sampler without its noise: eta = 0, and nothing drawn."""
    return lambda *a, **k: sampler(*a, eta=0.0, noise_sampler=lambda *_: 0.0, **options, **k)


def _ratio(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = schedule(t)
    return alpha, sigma / alpha


def _in_sigma(denoiser: Counted) -> Callable[..., Tensor]:
    """The denoiser as a function of x_t / alpha_t and sigma_t / alpha_t."""
    schedule = denoiser.schedule

    def model(x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        t, alpha = _at(schedule, float(sigma.reshape(-1)[0]))
        return denoiser(x * alpha, t)

    return model


@functools.cache
def _at(schedule: Schedule, ratio: float) -> tuple[float, float]:
    """The time at which sigma / alpha has this value, and its alpha."""
    t = schedule.time(-2 * torch.tensor([ratio], dtype=torch.float64).log())
    return float(t), float(schedule(t)[0])


def _azula(schedule: Schedule) -> Iterator[tuple[str, Run]]:
    from azula import sample
    from azula.denoise import DiracPosterior

    class Adapter(torch.nn.Module):
        def __init__(self, denoiser: Counted) -> None:
            super().__init__()
            self.denoiser = denoiser

        @staticmethod
        def schedule(t: Tensor) -> tuple[Tensor, Tensor]:
            return schedule(t.double())

        def forward(self, x: Tensor, t: Tensor, **_: Any) -> Any:
            return DiracPosterior(mean=self.denoiser(x, float(t)))

    def run(kind: Any, grid: Callable[[int], Tensor], **options: Any) -> Run:
        class Timed(kind):  # type: ignore[misc]
            timesteps = property(lambda self: grid(self.steps + 1))

        def walk(denoiser: Counted, noise: Tensor, nfe: int) -> Tensor:
            alpha, sigma = schedule(torch.ones(1, dtype=torch.float64))
            n = (nfe - 1) // 2 if kind is sample.HeunSampler else nfe - 1
            sampler = Timed(Adapter(denoiser), steps=n, silent=True, dtype=torch.float64, **options)
            x = sampler(noise * (alpha**2 + sigma**2).sqrt().item())
            return denoiser(x, schedule.t_min)

        return walk

    kinds: list[tuple[str, dict[str, int]]] = [("DDIMSampler", {}), ("EulerSampler", {}), ("HeunSampler", {})]
    kinds += [(f"{name}Sampler", {"order": order}) for name in ("zAB", "vAB", "zEAB", "xEAB", "REAB") for order in (2, 3)]
    for (kind, options), (spacing, grid) in itertools.product(kinds, grids(schedule).items()):
        yield f"azula {kind} {options.get('order', '')} {spacing}", run(getattr(sample, kind), grid, **options)


def _diffusers(schedule: Schedule) -> Iterator[tuple[str, Run]]:
    from diffusers import schedulers

    if bool((schedule(torch.linspace(0, 1, 9, dtype=torch.float64))[0] == 1).all()):
        yield from _diffusers_edm(schedule, schedulers)
        return
    size = len(schedule) if hasattr(schedule, "__len__") else 1000
    kept = schedule(torch.arange(size + 1, dtype=torch.float64) / size)[0] ** 2
    betas = getattr(schedule, "betas", 1 - kept[1:] / kept[:-1])
    solvers: list[tuple[str, dict[str, Any]]] = [("DPMSolverMultistep", {}), ("DPMSolverMultistep", {"solver_type": "heun"})]
    solvers += [
        ("DPMSolverMultistep", {"solver_order": 3}),
        ("DPMSolverMultistep", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    ]
    solvers += [("DPMSolverMultistep", {"lower_order_final": False}), ("DPMSolverMultistep", {"euler_at_final": True})]
    solvers += [("DPMSolverSinglestep", {"solver_order": order}) for order in (2, 3)]
    solvers += [("UniPCMultistep", {"solver_order": order, "solver_type": kind}) for order in (2, 3) for kind in ("bh2", "bh1")]
    solvers += [("DEISMultistep", {"solver_order": order}) for order in (2, 3)]
    solvers += [(name, {}) for name in ("DDIM", "PNDM", "EulerDiscrete", "HeunDiscrete", "KDPM2Discrete", "LMSDiscrete")]

    for (name, options), spacing in itertools.product(solvers, SPACINGS):
        kind = getattr(schedulers, f"{name}Scheduler")
        full = {**options, **spacing, **({"skip_prk_steps": True} if name == "PNDM" else {})}
        full |= {"clip_sample": False} if name == "DDIM" else {}
        known = kind.__init__.__wrapped__.__code__.co_varnames
        if all(key in known for key in full):
            shown = [f"{key}={value}" for key, value in options.items()] + [
                v if k == "timestep_spacing" else k for k, v in spacing.items()
            ]
            yield f"diffusers {name} {' '.join(map(str, shown))}", _scheduled(kind, full, betas.tolist(), size, schedule)


def _scheduled(kind: Any, options: dict[str, Any], betas: list[float], size: int, schedule: Schedule) -> Run:
    def walk(denoiser: Counted, noise: Tensor, nfe: int) -> Tensor:
        for n in (nfe, nfe - 1, (nfe + 1) // 2):
            scheduler = kind(num_train_timesteps=size, trained_betas=betas, **options)
            scheduler.set_timesteps(n)
            if len(scheduler.timesteps) <= nfe:
                break
        x = noise * float(scheduler.init_noise_sigma)
        for t in scheduler.timesteps:
            at = ((t.double() + 1) / size).reshape(1)
            seen = scheduler.scale_model_input(x, t).to(noise)
            alpha, sigma = (c.to(noise) for c in schedule(at))
            eps = (seen - alpha * denoiser(seen, float(at))) / sigma
            x = scheduler.step(eps, t, x).prev_sample
        return x

    return walk


def _diffusers_edm(schedule: Schedule, schedulers: Any) -> Iterator[tuple[str, Run]]:
    (high, low) = schedule(torch.tensor([1.0, schedule.t_min], dtype=torch.float64))[1].tolist()
    ends = {"sigma_min": low, "sigma_max": high, "sigma_data": 1.0}
    solvers = [("EDMEuler", {}), *(("EDMDPMSolverMultistep", {"solver_order": order}) for order in (2, 3))]
    for (name, options), spacing in itertools.product(solvers, ("karras", "exponential")):
        yield (
            f"diffusers {name} {options or ''} {spacing}",
            _edm(getattr(schedulers, f"{name}Scheduler"), {**options, **ends, "sigma_schedule": spacing}),
        )


def _edm(kind: Any, options: dict[str, Any]) -> Run:
    def walk(denoiser: Counted, noise: Tensor, nfe: int) -> Tensor:
        scheduler = kind(**options)
        scheduler.set_timesteps(nfe)
        model = _in_sigma(denoiser)
        x = noise * float(scheduler.init_noise_sigma)
        for i, t in enumerate(scheduler.timesteps):
            sigma = scheduler.sigmas[i].double()
            seen = scheduler.scale_model_input(x, t).to(noise)  # c_in x; the network behind it is made of the denoiser
            x0 = model(x.to(noise), sigma)
            c_skip, c_out = 1 / (sigma**2 + 1), sigma / (sigma**2 + 1).sqrt()
            output = (x0 - c_skip.to(noise) * x) / c_out.to(noise)
            del seen
            x = scheduler.step(output, t, x).prev_sample
        return x

    return walk
