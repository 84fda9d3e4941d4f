"""Denoising diffusion GAN: a short chain with a first, nearly clean level, and draws of its posterior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from unnoise.schedule import Discrete

from .harness import Case, Result

CLEAN_BETA, T_CLEAN = 1e-8, 1e-3  # the reference's first beta, and the time that its tables begin at


def signal(case: Case, u: float) -> float:
    """alpha^2 at u in [0, 1], up to a factor."""
    low, high = case.params["beta_min"], case.params["beta_max"]
    t = T_CLEAN + (1 - T_CLEAN) * u
    if case.params["use_geometric"]:
        return 1 - low * (high / low) ** t
    return math.exp(-(t**2) * (high - low) / 2 - t * low)


def ddgan(case: Case) -> Mapping[str, Result]:
    steps = case.params["num_timesteps"]
    grid = [signal(case, i / steps) for i in range(steps + 1)]
    betas = [1 - later / earlier for earlier, later in pairwise(grid)]
    forward, backward = Discrete([CLEAN_BETA, *betas]), Discrete(betas)  # the second's clean data are the first's entry 0
    t = backward.times
    c_x, c_t, small = backward.posterior(t - 1 / steps, t)
    if "x_init" in case.inputs:
        return {"sample": sample(case, c_x, c_t, small)}
    if "noise" in case.inputs:
        at = case.inputs["t"]
        shape = (-1, *[1] * (case.inputs["x0"].ndim - 1))
        c_x, c_t, std = (c[at].reshape(shape) for c in (c_x, c_t, small))
        return {"x_t": c_x * case.inputs["x0"] + c_t * case.inputs["x_t_plus_one"] + std * case.inputs["noise"]}
    if "x0" in case.inputs:
        return pairs(case, forward)
    (_, sigmas_cum) = forward(forward.times)
    return {
        "betas": forward.betas,
        "sigmas": forward.betas.sqrt(),
        "a_s": (1 - forward.betas).sqrt(),
        "a_s_cum": forward.alphas,
        "sigmas_cum": sigmas_cum,
        "post_alphas_cumprod": backward.alphas**2,
        "post_variance": small**2,
        "post_coef1": c_x,
        "post_coef2": c_t,
        "post_log_variance_clipped": (small**2).clamp(min=1e-20).log(),
        "time_schedule": T_CLEAN + (1 - T_CLEAN) * torch.arange(steps + 1).double() / steps,
    }


def pairs(case: Case, forward: Discrete) -> Mapping[str, Result]:
    """x_t by the jump, x_{t+1} by one step from it."""
    at, x0 = case.inputs["t"], case.inputs["x0"]
    t = (at + 1).double() / len(forward)
    shape = (-1, *[1] * (x0.ndim - 1))
    alpha, sigma, scale, std = (c.reshape(shape) for c in (*forward(t), *forward.transition(t, t + 1 / len(forward))))
    x_t = alpha * x0 + sigma * case.inputs["noise_drawn_second"]
    return {"x_t": x_t, "x_t_plus_one": scale * x_t + std * case.inputs["noise_drawn_first"]}


def sample(case: Case, c_x: Tensor, c_t: Tensor, small: Tensor) -> Tensor:
    """The reference's loop: a draw of the posterior for each guess of the toy generator."""
    x = case.inputs["x_init"]
    for draw, i in enumerate(reversed(range(len(c_x)))):
        latent = case.inputs["latents"][draw].mean(1).reshape(-1, *[1] * (x.ndim - 1))
        guess = torch.tanh(0.8 * x + 0.1 * i + latent)
        x = c_x[i] * guess + c_t[i] * x + small[i] * case.inputs["noises"][draw]
    return x
