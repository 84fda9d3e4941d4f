"""k-diffusion: grids, samplers on an exact mixture, and the discrete map between sigma and t."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from unnoise.denoiser import Denoiser
from unnoise.prediction import edm
from unnoise.sampler import (
    DDIM,
    DPM2,
    LMS,
    Adaptive,
    DPMpp2M,
    DPMpp2S,
    DPMpp3M,
    DPMppSDE,
    Euler,
    Heun,
    Sampler,
    Singlestep,
)  # fmt: skip
from unnoise.schedule import VE, VP, ScaledLinearBetas
from unnoise.times import Given, Karras, Linspace, LogSNR, PolyExponential, Uniform

from .harness import Case, Result, along, stored
from .samplers_mixture import Exact, by_step, exploding, walk_of

ROOM = 2.0  # above the first sigma, for churn


def kdiffusion(case: Case) -> dict[str, Result]:
    params = case.params
    if params.get("sampler", "").startswith(("dpm_fast", "dpm_adaptive")):
        return between(case)
    if "sampler" in params:
        return walk(case)
    if "sigma_data" in params:
        return denoiser(case)
    if "vp" in params:
        return grids(case)
    return table(case) if "betas" in params else split(case)


def member(case: Case) -> Sampler:
    params = case.params
    churn = dict(zip(("churn", "churn_from", "churn_to", "churn_scale"), params.get("s_churn_tmin_tmax_noise", ()), strict=False))
    eta, rule = params.get("eta", 0.0), params.get("solver_type", "midpoint")
    return {
        "euler": lambda: Euler(**churn, along="ratio"),
        "heun": lambda: Heun(**churn),
        "dpm_2": lambda: DPM2(**churn),
        "lms": lambda: LMS(params["order"]),
        "dpmpp_2m": lambda: DPMpp2M(),
        "euler_ancestral": lambda: DDIM(eta),
        "dpm_2_ancestral": lambda: DPM2(eta=eta),
        "dpmpp_2s_ancestral": lambda: DPMpp2S(eta=eta),
        "dpmpp_sde": lambda: DPMppSDE(eta=eta),
        "dpmpp_2m_sde": lambda: DPMpp2M(eta, rule),
        "dpmpp_3m_sde": lambda: DPMpp3M(eta, halved=True),
    }[params["sampler"]]()


def walk(case: Case) -> dict[str, Result]:
    sigmas, x = case.inputs["sigmas"], case.inputs["x_start"]
    schedule, noises = exploding(ROOM * float(sigmas[0])), case.inputs.get("noises")
    times = walk_of(schedule, sigmas)
    always = case.params["noise_draws"] == len(sigmas) - 1 and "s_churn_tmin_tmax_noise" in case.params
    source = by_step(times, noises) if always else stored([] if noises is None else noises)
    sampler, exact = member(case), Exact(case, schedule)
    end = sampler(exact, x, times, rng=source)
    each = 2 if isinstance(sampler, (Heun, DPM2, DPMpp2S)) else 1  # evaluations in a step; a state counts once churned
    return {"sample": along(end), "states": along(torch.stack(exact.asked[::each]))}


def between(case: Case) -> dict[str, Result]:
    """The two samplers that choose their own grid in log sigma between two sigmas."""
    params, x = case.params, case.inputs["x_start"]
    schedule = exploding(params["sigma_max"])
    denoise = Exact(case, schedule)
    ends = torch.tensor([params["sigma_max"], params["sigma_min"]], dtype=torch.float64)
    if params["sampler"] == "dpm_adaptive":
        sampler = Adaptive(params["order"], params["rtol"], params["atol"], norm="batch")
        *_, last = sampler.walk(denoise, x, walk_of(schedule, ends))
        assert last.nfe == params["info"]["nfe"]
        each = params["order"]
        return {"sample": along(last.x), "states": along(torch.stack([*denoise.asked[each::each], last.x]))}
    n = params["n"]
    blocks = [3] * (n // 3 - 1) + [2, 1] if n % 3 == 0 else [3] * (n // 3) + [n % 3]
    shares = [(i + j / size) / len(blocks) for i, size in enumerate(blocks) for j in range(size)] + [1.0]
    sigmas = torch.lerp(*ends.log(), torch.tensor(shares, dtype=torch.float64)).exp()
    first = [sum(blocks[:i]) for i in range(len(blocks))]
    last = Singlestep(3, "eps", "paper")(denoise, x, walk_of(schedule, sigmas))
    return {"sample": along(last), "states": along(torch.stack([denoise.asked[i] for i in first]))}


def grids(case: Case) -> dict[str, Result]:
    params = case.params
    exploding = VE(params["sigma_min"], params["sigma_max"])
    vp = VP(params["vp"]["beta_min"], params["vp"]["beta_min"] + params["vp"]["beta_d"], params["vp"]["eps_s"])
    rules = {
        "karras": (exploding, Karras(params["rho"])),
        "exponential": (exploding, LogSNR()),
        "polyexponential": (exploding, PolyExponential(exponent(case.outputs["polyexponential"][:-1]))),
        "vp": (vp, Uniform()),
    }
    found: dict[str, Result] = {}
    for name, (schedule, rule) in rules.items():
        alpha, sigma = schedule(torch.tensor(list(rule(schedule, params["n"])), dtype=torch.float64))
        found[name] = torch.cat([sigma / alpha, torch.zeros(1, dtype=torch.float64)])
    return found


def exponent(sigmas: Tensor) -> float:
    """The power of a polyexponential grid, which the description does not state, from its second value."""
    logs = sigmas.log()
    share = (logs[1] - logs[-1]) / (logs[0] - logs[-1])
    return float(share.log()) / math.log(1 - 1 / (len(sigmas) - 1))


def split(case: Case) -> dict[str, Result]:
    """The two parts of an ancestral step, from the weights of DDIM's."""
    rows = []
    for start, end, eta in case.inputs["sigma_from_to_eta"].tolist():
        schedule = exploding(start)
        kept, _, up = DDIM(eta).plan(schedule, Given((1.0, end / start)))[0][:3]
        rows.append([kept * start, up])
    return {"down_up": torch.tensor(rows, dtype=torch.float64)}


class Inner(nn.Module):
    """F(x, sigma) of the item."""

    def forward(self, x: Tensor, level: Tensor, cond: object) -> Tensor:
        return torch.tanh(x) + 0.1 * level.log()[:, None, None, None]


def denoiser(case: Case) -> dict[str, Result]:
    sigma, x, noise = (case.inputs[name] for name in ("sigma", "x", "noise"))
    schedule, predict = exploding(2 * float(sigma.max())), partial(edm, sigma_data=case.params["sigma_data"])
    c_skip, c_out, c_in = predict(torch.ones_like(sigma), sigma)
    answer = Denoiser(Inner(), schedule, predict, lambda schedule, t: schedule(t)[1])
    noised = x + noise * sigma[:, None, None, None]
    return {"c_skip": c_skip, "c_out": c_out, "c_in": c_in, "denoised": answer(noised, schedule.time(-2 * sigma.log()))}


def table(case: Case) -> dict[str, Result]:
    kind, ends = case.params["betas"].split()
    assert kind == "scaled_linear"
    schedule = ScaledLinearBetas(case.params["T"], *map(float, ends.split("..")))
    size, ratios = len(schedule), schedule.sigmas / schedule.alphas
    entries = schedule.time(-2 * case.inputs["sigma"].log()) * size - 1
    clamped = entries.clamp(0, size - 1)
    nearest = (case.inputs["sigma"].log()[:, None] - ratios.log()).abs().argmin(1)
    grid = torch.tensor(list(Linspace(rounded=False)(schedule, 10)), dtype=torch.float64)
    return {
        "t_to_sigma": (schedule.log_snr((case.inputs["t"] + 1) / size) / -2).exp(),
        "sigma_to_t": clamped,
        "sigma_to_t_quantized": nearest,
        "get_sigmas_10": torch.cat([(schedule.log_snr(grid) / -2).exp(), torch.zeros(1, dtype=torch.float64)]),
        "sigma_min": ratios[0],
        "sigma_max": ratios[-1],
    }
