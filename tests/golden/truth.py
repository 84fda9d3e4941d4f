"""Closed forms for mixtures of Gaussians, and what samplers make of normal data."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from unnoise import schedule
from unnoise.denoiser import Denoise, Gaussian, Mixture
from unnoise.guidance import CFG, Guided
from unnoise.sampler import DDIM, Ancestral, Heun, Sampler, UniPC, encode
from unnoise.times import Given, Karras

from .harness import Case, Result, stored, within

CLASSES = 2  # component k is of class k mod 2
STEPS = 800  # of a walk that stands for the solution of its equation


def noising(case: Case) -> tuple[schedule.Schedule, float]:
    """The schedule of a case by name, and the factor from its t to ours."""
    numbers = {name: _numbers(text) for name, text in case.hyper["schedules"].items()}
    name = case.params["schedule"]
    match name:
        case "vp_linear":
            return schedule.VP(*numbers[name]), 1.0
        case "vp_cosine":
            return schedule.Cosine(math.inf, -math.inf), 1.0
        case "ve":
            return schedule.VE(*numbers[name]), 1.0
        case "edm":  # sigma = t
            return schedule.EDM(0.0, *numbers[name], rho=1.0), 1 / numbers[name][0]
    raise ValueError(f"no schedule {name!r}")


def _numbers(text: str) -> list[float]:
    """The values that end a formula: '(b0,b1)=(0.1, 20.0)' or 'sigma_max=80.0'; none for a formula without."""
    tail = text.rsplit("=", 1)[1].strip(" ()")
    try:
        return [float(number) for number in tail.split(",")]
    except ValueError:
        return []


def mixture(case: Case, of: schedule.Schedule, first_only: bool = False) -> Mixture:
    """The data of the item, or its first component alone."""
    weights, means, covariances = (case.shared(f"mix/{name}") for name in ("w", "mu", "cov"))
    if first_only:
        return Mixture(of, weights[:1], means[:1], covariances[:1])
    return Mixture(of, weights, means, covariances, [k % CLASSES for k in range(len(weights))])


def label(number: int, rows: Tensor) -> dict[str, Tensor]:
    return {"label": torch.full((len(rows),), number)}


def measured(case: Case, whole: Mixture) -> tuple[Mixture, Tensor, Tensor, float]:
    """The mixture given the item's measurement, and the measurement."""
    keys = next(c["inputs"] for c in case.about["cases"] if set(c["inputs"]) == {"A", "y"})
    a, y, std = case.shared(keys["A"]), case.shared(keys["y"]), float(case.shared("inverse/sigma_y"))
    return whole.given(a, y, std), a, y, std


def truth_mixture(case: Case) -> Mapping[str, Result]:
    if "prior" in case.params:
        return inverse(case)
    if "schedule" not in case.params:
        clean = schedule.EDM(0.0, 1.0, rho=1.0)  # sigma_0 = 0
        x = case.inputs["x0"]
        return {
            "log_prob": mixture(case, clean).log_prob(x, 0.0),
            "log_prob_gaussian0": mixture(case, clean, first_only=True).log_prob(x, 0.0),
        }
    return ends(case) if "t_end" in case.params else moment(case)


def inverse(case: Case) -> Mapping[str, Result]:
    prior = mixture(case, schedule.VP(), first_only=case.params["prior"] != "mixture")
    a, y, std = case.inputs["A"], case.inputs["y"], float(case.shared("inverse/sigma_y"))
    posterior = prior.given(a, y, std)
    mean = posterior.weights @ posterior.means
    off = posterior.means - mean
    within_and_between = posterior.covariances + off[:, :, None] * off[:, None]
    return {
        "weights": posterior.weights,
        "means": posterior.means,
        "covs": posterior.covariances,
        "posterior_mean": mean,
        "posterior_cov": torch.einsum("k,kde->de", posterior.weights, within_and_between),
        "log_evidence": prior.log_evidence(a, y, std),
    }


def moment(case: Case) -> Mapping[str, Result]:
    """All that is known of x_t at one time."""
    of, factor = noising(case)
    whole, first, x_t, t = mixture(case, of), mixture(case, of, first_only=True), case.inputs["xt"], case.params["t"] * factor
    given, a, y, std = measured(case, whole)
    alpha, sigma = of(torch.tensor(t, dtype=torch.float64))
    x0, covariance, plain = whole(x_t, t), whole.posterior_covariance(x_t, t), whole.score(x_t, t)
    log_class = whole.log_class(x_t, t)
    results: dict[str, Result] = {
        "a": alpha,
        "s": sigma,
        "log_prob": whole.log_prob(x_t, t),
        "score": plain,
        "posterior_mean": x0,
        "responsibilities": whole.responsibilities(x_t, t),
        "eps": (x_t - alpha * x0) / sigma,
        "posterior_cov": covariance,
        "posterior_cov_times_noise": torch.einsum("bde,be->bd", covariance, case.shared("noise")),
        "posterior_cov_trace": covariance.diagonal(dim1=1, dim2=2).sum(1),
        "score_given_y": given.score(x_t, t),
        "grad_log_p_y_given_xt": given.score(x_t, t) - plain,
        "log_p_y_given_xt": given.log_prob(x_t, t) + whole.log_evidence(a, y, std) - whole.log_prob(x_t, t),
        "posterior_mean_given_y": given(x_t, t),
        "score_gaussian0": first.score(x_t, t),
        "posterior_mean_gaussian0": first(x_t, t),
    }
    for number in range(CLASSES):
        cond = label(number, x_t)
        results[f"log_p_class{number}"] = log_class[:, number]
        results[f"score_class{number}"] = whole.score(x_t, t, cond)
        results[f"classifier_grad{number}"] = grad = class_gradient(whole, x_t, t, number)
        results[f"score_guided_class{number}"] = plain + case.hyper["classifier_scale"] * grad
        # The rule itself is tried on the equation's ends; here, at little noise, a score made of x0 has too few digits.
        results[f"score_cfg_class{number}"] = torch.lerp(plain, whole.score(x_t, t, cond), case.hyper["cfg_weight"])
    return results


def class_gradient(whole: Mixture, x_t: Tensor, t: float, number: int) -> Tensor:
    x_t = x_t.clone().requires_grad_()
    return torch.autograd.grad(whole.log_class(x_t, t)[:, number].sum(), x_t)[0]


def ends(case: Case) -> Mapping[str, Result]:
    """Where the probability-flow equation leads, by a fine walk."""
    of, factor = noising(case)
    whole, first = mixture(case, of), mixture(case, of, first_only=True)
    x, high, low = case.inputs["x_T"], case.params["t_end"] * factor, case.params["t_min"] * factor
    few = x[: len(case.outputs["ode_end_given_y"])]
    solved = {
        "ode_end": flow(whole, x, high, low),
        "ode_end_cfg_class1": flow(Guided(whole, CFG(case.hyper["cfg_weight"])), few, high, low, label(1, few)),
        "ode_end_given_y": flow(measured(case, whole)[0], few, high, low),
        "ode_end_gaussian0": flow(first, x, high, low),
        "encode_end": flow(whole, case.outputs["encode_start"], low, high),
    }
    results: dict[str, Result] = {role: within(value, "ode") for role, value in solved.items()}
    results["log_prob_tmin"] = whole.log_prob(case.outputs["encode_start"], low)
    # The start of the encoding comes without its origin: clean data noised up to t_min.
    alpha, sigma = of(torch.tensor(low, dtype=torch.float64))
    clean = next(c["inputs"]["x0"] for c in case.about["cases"] if "x0" in c["inputs"])
    results["encode_start"] = within(alpha * case.shared(clean) + sigma * case.shared("noise"), "ode")
    return results


def flow(denoiser: Denoise, x: Tensor, start: float, end: float, cond: Mapping[str, Tensor] | None = None) -> Tensor:
    """The probability flow from one time to another, by a walk of the third order, evenly in log-SNR."""
    low, high = denoiser.schedule.log_snr(torch.tensor(sorted([start, end]), dtype=torch.float64)).flip(0).tolist()
    times = denoiser.schedule.time(torch.linspace(low, high, STEPS, dtype=torch.float64)).tolist()
    walk = Given((max(start, end), *times[1:-1], min(start, end)), final=True)
    return UniPC(order=3)(denoiser, x, walk, cond) if start > end else encode(UniPC(order=3), denoiser, x, walk, cond)


def samplers(case: Case) -> Mapping[str, Result]:
    """Mean and variance of a sampler's output: on normal data a sampler is linear in its start and in each of its draws."""
    of, walk, sampler, spread = chain(case) if "timesteps" in case.inputs else edm(case)
    mean, variance = case.shared("mu"), case.shared("lambda")
    rows, width = len(walk) + 1, len(mean)
    x = torch.zeros(rows, width, dtype=torch.float64)
    x[1] = 1  # row 0 starts from 0 and draws 0, row 1 starts from 1, row k + 2 draws 1 at the k-th step
    draws = torch.zeros(len(walk) - 1, rows, width, dtype=torch.float64)
    draws[range(rows - 2), range(2, rows)] = 1
    x0 = sampler(Gaussian(of, mean, torch.diag(variance)), x, walk, rng=stored(draws))
    gains = x0[1:] - x0[0]
    return {"mean": x0[0], "variance": (gains[0] * spread) ** 2 + (gains[1:] ** 2).sum(0)}


def chain(case: Case) -> tuple[schedule.Schedule, Given, Sampler, float]:
    of = schedule.LinearBetas()
    walk = Given(tuple((of.times[case.inputs["timesteps"]]).sort(descending=True).values.tolist()))
    family, _, variance = case.params["sampler"].partition("_")
    return of, walk, Ancestral(variance=variance) if family == "ddpm" else DDIM(case.params["eta"]), 1.0


def edm(case: Case) -> tuple[schedule.Schedule, Given, Sampler, float]:
    params = case.params
    of = schedule.EDM(params["sigma_min"], params["sigma_max"], params["rho"])
    # With alpha = 1 DDIM is Euler's method in sigma; the step to sigma = 0 is the last denoising.
    return of, Karras(params["rho"])(of, params["N"]), Heun() if params["sampler"] == "heun" else DDIM(), params["sigma_max"]
