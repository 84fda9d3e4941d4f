"""Objectives, bounds and likelihoods against references: guided-diffusion, score_sde, EDM, k-diffusion and closed forms.

Bounds of the references are in bits a dimension; their index i is entry i of our tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unnoise import prediction
from unnoise.denoiser import Denoise, Denoiser
from unnoise.guidance import Clip, Guided
from unnoise.level import Level, c_noise, index
from unnoise.likelihood import Flow, bits, bound, prior_kl
from unnoise.loss import Decoder, Denoising, Hybrid, Importance, Variational, Weight, plain, snr
from unnoise.loss.base import Noised, noised
from unnoise.loss.vlb import approximate_cdf, chain, normal_kl, terms
from unnoise.loss.weights import EDM, SoftMinSNR
from unnoise.prediction import Prediction
from unnoise.schedule import VP, Discrete
from unnoise.tensor import Rng, expand

from . import guided, samplers_edm, samplers_kdiffusion, score_sde, truth
from .harness import Case, Result, within

TANH = Decoder(256, "tanh")
OFFSET = 8.0  # bits: score_sde's data are uint8 / 256


class Draws:
    """Randomness that gives stored draws: one for all purposes, or a list in order."""

    def __init__(self, *noises: Tensor) -> None:
        self.noises = list(noises)

    def to(self, device: object) -> Draws:
        return self

    def normal(self, *unused: object, **also: object) -> Tensor:
        return self.noises.pop(0) if len(self.noises) > 1 else self.noises[0]


def draws(*noises: Tensor) -> Rng:
    return Draws(*noises)  # type: ignore[return-value]


def guided_losses(case: Case) -> Mapping[str, Result]:
    given = case.inputs
    if "model_mean_type" in case.params:
        return trained(case)
    if "log_scale" in case.params:
        return {"log_prob": TANH(given["x"], given["means"], torch.tensor(case.params["log_scale"], dtype=torch.float64))}
    if "mean1" in given:
        return {"normal_kl": normal_kl(given["mean1"], given["logvar1"] / 2, given["mean2"], given["logvar2"] / 2)}
    return {"cdf": approximate_cdf(given["x"])}


def trained(case: Case) -> Mapping[str, Result]:
    """Every objective, for an output that was stored."""
    params, given = case.params, case.inputs
    schedule, kind = guided.TABLES[params["schedule"]](params["T"]), params["model_var_type"]
    size, learned, batch = len(schedule), kind.startswith("LEARNED"), {"x": given["x0"]}
    steps, k = chain(schedule, schedule.times.tolist()), given["t"]
    small, large = (expand(part[k].log(), given["x0"]) for part in (steps.small, steps.large))

    def fraction(second: Tensor) -> Tensor:
        return second if kind == "LEARNED_RANGE" else 2 * (second / 2 - small) / (large - small) - 1

    predict: Mapping[str, Prediction] = {
        "EPSILON": prediction.eps,
        "START_X": prediction.x0,
        "PREVIOUS_X": prediction.Mean(schedule),
    }
    network = guided.Stored(given["model_out"], fraction if learned else None)
    model = Denoiser(network, schedule, predict[params["model_mean_type"]])
    variance: Any = "learned" if learned else kind.removeprefix("FIXED_").lower()
    rng, t = draws(given["noise"]), steps.t[k]
    whole = Variational(variance=variance, decoder=TANH).at(model, batch, t, rng)  # n terms, in bits
    simple = Denoising().at(model, batch, t, rng)
    found: dict[str, Result] = {"KL/loss": whole / size, "RESCALED_KL/loss": whole}
    for name, share in (("MSE", 1 / size), ("RESCALED_MSE", 0.001)):
        hybrid = Hybrid(share=share, decoder=TANH)
        mixed = hybrid.at(model, batch, t, rng) if learned else simple
        found |= {f"{name}/mse": simple, f"{name}/vb": whole * share, f"{name}/loss": mixed}
    # A predicted mean is the mean: clipping what it says of x leaves it as it is.
    clipped = model if params["model_mean_type"] == "PREVIOUS_X" else Guided(model, Clip())
    for name, asked in (("vb_bpd_clip0", model), ("vb_bpd_clip1", clipped)):
        found[name] = step(asked, schedule, given["x0"], k, given["noise"], variance)
    return found | {"prior_bpd": in_bits(prior_kl(schedule, given["x0"]))}


def step(asked: Denoise, schedule: Discrete, x: Tensor, k: Tensor, noise: Tensor, variance: str) -> Tensor:
    """One term of the bound, (B,), in bits."""
    steps = chain(schedule, schedule.times.tolist())
    t = steps.t[k]
    alpha, sigma = (expand(c, x) for c in schedule(t))
    at = Noised(x, alpha * x + sigma * noise, t, alpha, sigma, {}, None)
    return in_bits(terms(steps, k, at, asked.answer(at.x_t, t), variance, TANH))  # type: ignore[arg-type]


def in_bits(nats: Tensor) -> Tensor:
    return nats.flatten(1).mean(1) / math.log(2)


def guided_loops(case: Case) -> Mapping[str, Result]:
    """The walks, and the whole bound term by term; columns of the reference fall in t."""
    found = dict(guided.loops(case))
    if "sampler" in case.params:
        return found
    params, x, noises = case.params, case.inputs["x0"], list(case.inputs["noises"])
    schedule = guided.TABLES[params["schedule"]](params["T"])
    walk, scale = (
        guided.respaced(params["timestep_respacing"], schedule),
        1000 / params["T"] if params["rescale_timesteps"] else 1.0,
    )
    learned = params["learn_sigma"]
    toy = guided.Toy(case.hyper["a"], case.hyper["w"], case.hyper["b"] if learned else None)
    predict = prediction.x0 if params["predict_xstart"] else prediction.eps
    denoiser: Denoise = Denoiser(toy, schedule, predict, lambda schedule, t: scale * index(schedule, t))
    if params["clip_denoised"]:
        denoiser = Guided(denoiser, Clip())
    variance: Any = "learned" if learned else params["fixed_variance_if_not_learned"].removeprefix("FIXED_").lower()
    told = bound(denoiser, x, walk, draws(*noises), variance=variance, decoder=TANH)
    assert told.steps is not None
    errors = []
    for t, noise in zip(walk, noises, strict=True):
        alpha, sigma = (float(c) for c in schedule(torch.tensor(t, dtype=torch.float64)))
        x0 = denoiser(alpha * x + sigma * noise, t)
        errors.append([((x0 - x) ** 2).flatten(1).mean(1), (((x - x0) * alpha / sigma) ** 2).flatten(1).mean(1)])
    return found | {
        "total_bpd": told.total / math.log(2),
        "prior_bpd": told.prior / math.log(2),
        "vb": told.steps.flip(1) / math.log(2),
        "xstart_mse": torch.stack([x0 for x0, _ in errors], 1),
        "mse": torch.stack([eps for _, eps in errors], 1),
    }


def resampler(case: Case) -> Mapping[str, Result]:
    """The law of the times after each update, and what the losses are divided by."""
    law = Importance(case.hyper["T"], case.hyper["history_per_term"], case.hyper["uniform_prob"])
    after, shares = [], []
    for part, losses in zip(case.inputs["ts"], case.inputs["losses"], strict=True):
        law.hear(part, losses)
        p = law.probabilities()
        after.append(p if bool((law.counts == law.history).all()) else torch.ones_like(p))
        shares.append(1 / (law.parts * p))
    return {"weights_after": torch.stack(after), "importance_weights": torch.stack(shares)}


class Tanh(torch.nn.Module):
    """tanh(x), whatever the level."""

    def forward(self, x: Tensor, level: Tensor, cond: object) -> Tensor:
        return x.tanh()


def scored(case: Case) -> Mapping[str, Result]:
    """score_sde: walks and coefficients as before, and what is asked of likelihoods and losses."""
    if "hutchinson" in case.params:
        return flow(case)
    if "model" in case.params and "continuous" not in case.params:
        return score_losses(case)
    found = dict(score_sde.score_sde(case))
    if list(case.params) == ["sde"]:
        std = case.hyper["ve"]["sigma_max"] if case.params["sde"] == "ve" else 1.0
        found["prior_logp"] = (
            torch.distributions.Normal(*torch.tensor([0.0, std], dtype=torch.float64))
            .log_prob(case.inputs["x"])
            .flatten(1)
            .sum(1)
        )
    return found


def flow(case: Case) -> Mapping[str, Result]:
    of, x = score_sde.continuous(case), case.inputs["data"]
    exact, start, dims = score_sde.data(case, of), case.params["eps"], x[0].numel()
    std = score_sde.options(case)["sigma_max"] if case.params["sde"] == "ve" else 1.0
    found = Flow("exact", rtol=1e-9, atol=1e-9, start=start, spread=std)(exact, x)
    told = bits(found.log_prob, dims) + OFFSET
    results: dict[str, Result] = {
        name: within(told, "ode_and_likelihood") for name in ("bpd", "bpd_tight", "exact_bpd_with_prior")
    }
    results |= {name: within(found.latent, "ode_and_likelihood") for name in ("z", "z_tight", "exact_z")}
    # The data themselves, without noise, by a law without noise.
    clean = torch.distributions.Normal(case.shared("data/mean_pix"), case.shared("data/std_pix")).log_prob(x).flatten(1).sum(1)
    results["exact_log_p_eps"] = exact.log_prob(x, start)
    return results | {"exact_log_p0": clean, "exact_bpd_log_p0": bits(clean, dims) + OFFSET}


def score_losses(case: Case) -> Mapping[str, Result]:
    params, x = case.params, case.inputs["data"]
    if "sde" not in params:
        return chain_losses(case)
    of = score_sde.continuous(case)
    shares = [float(u) for u in params["t"].split("u=[")[1].rstrip("]").split(",")]
    t = torch.tensor([u * (1 - params["eps"]) + params["eps"] for u in shares], dtype=torch.float64)
    predict = prediction.score if params["sde"] == "ve" else score_sde.unscaled
    objective = Denoising(snr, per="log_snr" if params["likelihood_weighting"] else "t")
    losses = objective.at(Denoiser(Tanh(), of, predict), {"x": x}, t, draws(case.inputs["z"]))
    return {"loss": (losses if params["reduce_mean"] else losses * x[0].numel() / 2).mean()}


def chain_losses(case: Case) -> Mapping[str, Result]:
    """Losses on the entries of the two tables; that of variance exploding counts them from the noisiest."""
    x, labels, vp = case.inputs["data"], case.inputs["labels"], "noise" in case.outputs
    like = Case(
        case.folder, case.item, next(i for i, c in enumerate(case.about["cases"]) if c["params"] == {"sde": "vp" if vp else "ve"})
    )
    table = score_sde.table(like)
    noise = case.outputs["noise" if vp else "unit_noise"]  # given, though listed as a result
    t = ((labels + 1) if vp else (len(table) - labels)).double() / len(table)
    model = Denoiser(Tanh(), table, score_sde.unscaled if vp else prediction.score)
    losses = Denoising(snr).at(model, {"x": x}, t, draws(noise))
    # The one is a mean, the other half a sum.
    return {"noise" if vp else "unit_noise": noise, "loss": (losses if vp else losses * x[0].numel() / 2).mean()}


def edm_item(case: Case) -> Mapping[str, Result]:
    return edm_loss(case) if "loss" in case.params else samplers_edm.edm_item(case)


def edm_loss(case: Case) -> Mapping[str, Result]:
    """Losses before they are averaged, in every place."""
    kind, draw, x = case.params["loss"], case.inputs["level_draw"].flatten(), case.inputs["images"]
    predict: Prediction = prediction.eps
    level: Level = c_noise
    if kind == "EDM":
        mean, std = case.params["P_mean_std"]
        sigma, predict = (mean + std * draw).exp(), partial(prediction.edm, sigma_data=case.params["sigma_data"])
    elif kind == "VE":
        low, high = samplers_edm.ENDS["ve"]
        sigma, level = low * (high / low) ** draw, (lambda of, t: (of(t)[1] / 2).log())
        predict = lambda alpha, sigma: (alpha, sigma, alpha)  # noqa: E731
    else:
        vp = VP()
        sigma = samplers_edm.ratios(vp, 1 + draw * (samplers_edm.LEAST - 1))
        level = lambda of, t: 999 * vp.time(-2 * of(t)[1].log())  # noqa: E731
    schedule = samplers_kdiffusion.exploding(2 * float(sigma.max()))
    model = Denoiser(Slight(), schedule, predict, level)
    at = noised(model, {"x": x}, schedule.time(-2 * sigma.log()), draws(case.inputs["noise"]))
    objective = Denoising(EDM(case.params["sigma_data"]) if kind == "EDM" else snr)
    return {"loss": objective.errors(model, at, model(at.x_t, at.t))}


class Slight(torch.nn.Module):
    """tanh(x) + 0.01 level."""

    def forward(self, x: Tensor, level: Tensor, cond: object) -> Tensor:
        return x.tanh() + 0.01 * expand(level, x)


def kdiffusion(case: Case) -> Mapping[str, Result]:
    if "sigma_data" not in case.params:
        return samplers_kdiffusion.kdiffusion(case)
    found = dict(samplers_kdiffusion.denoiser(case))
    weights: Mapping[str, Weight] = {
        "karras": plain,
        "soft-min-snr": SoftMinSNR(case.params["sigma_data"] ** -2),
        "snr": snr,
    }
    sigma, x = case.inputs["sigma"], case.inputs["x"]
    schedule = samplers_kdiffusion.exploding(2 * float(sigma.max()))
    predict = partial(prediction.edm, sigma_data=case.params["sigma_data"])
    model = Denoiser(samplers_kdiffusion.Inner(), schedule, predict, lambda schedule, t: schedule(t)[1])
    weight = weights[case.params.get("weighting", "snr")]
    c_out = predict(torch.ones_like(sigma), sigma)[1]
    loss = Denoising(weight).at(model, {"x": x}, schedule.time(-2 * sigma.log()), draws(case.inputs["noise"]))
    return found | {"loss": loss, "weight": weight(torch.ones_like(sigma), sigma, c_out) * c_out**2}


def truth_mixture(case: Case) -> Mapping[str, Result]:
    """The closed forms, and the exact likelihood by our own solver and trace."""
    found = dict(truth.truth_mixture(case))
    if "t_end" in case.params:
        of, factor = truth.noising(case)
        end, start = case.params["t_end"] * factor, case.params["t_min"] * factor
        exploding = float(of(torch.ones(1, dtype=torch.float64))[0]) == 1
        spread = float(of(torch.tensor(end, dtype=torch.float64))[1]) if exploding else 1.0
        flow = Flow("exact", rtol=1e-8, atol=1e-8, start=start, end=end, spread=spread)
        found["log_prob_ode_prior"] = within(flow(truth.mixture(case, of), case.outputs["encode_start"]).log_prob, "ode")
    return found
