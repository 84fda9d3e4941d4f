"""The solvers of Hugging Face diffusers by the names of their classes: the sampler that each is, and what it does to times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from unnoise.zoo.links import Config

__all__ = ["CLASSES", "Section", "Solver"]

Section = dict[str, dict[str, Any]]

VARIANCES = {
    None: "small",
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "learned_range": "learned",
}


class Solver(NamedTuple):
    """A class of theirs.

    Attributes:
        sampler: From its options and the number of steps.
        spacing: Of the entries, where the configuration is silent.
        spare: It counts an entry more, for its step to data (see `times.Leading`).
        in_ratio: Its state is x / alpha, and between two entries sigma / alpha is linear.
        ends: Its last step ends on the first entry rather than on data.
        clips: It brings x0 back into the range of the data unless told otherwise; None: it cannot.
        defaults: Other than `COMMON`.
    """

    sampler: Callable[[Config, int], Section]
    spacing: str = "linspace"
    spare: bool = False
    in_ratio: bool = False
    ends: Callable[[Config], bool] = lambda full: False
    clips: bool | None = None
    thresholds: bool = False
    defaults: Mapping[str, Any] = {}


def _ddpm(full: Config, steps: int) -> Section:
    if full["variance_type"] not in VARIANCES:
        raise ValueError(f"variance_type = {full['variance_type']!r} has no counterpart here; "
                         f"expected one of {', '.join(filter(None, VARIANCES))}")  # fmt: skip
    return {"Ancestral": {"variance": VARIANCES[full["variance_type"]]}}


def _lower(full: Config, steps: int) -> bool:
    return bool(full["lower_order_final"]) and steps < 15


def _dpm(full: Config, steps: int) -> Section:
    order, kind = full["solver_order"], full["algorithm_type"]
    eta, rule = float(kind.startswith("sde")), {"midpoint": "midpoint", "heun": "heun"}.get(full["solver_type"], "midpoint")
    if kind not in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++") or order not in (1, 2, 3):
        raise ValueError(f"algorithm_type = {kind!r} of solver_order = {order!r} has no counterpart here")
    if not kind.endswith("++"):
        keys = {"order": order, "eta": eta, "rule": rule, "lower": _lower(full, steps), "halved": True}
        return {"DPMSolver": keys}
    if order == 1:
        return {"DDIM": {"eta": eta}}
    keys = {"eta": eta, "rule": rule, "lower": _lower(full, steps)}
    return {"DPMpp2M": keys} if order == 2 else {"DPMpp3M": {**keys, "halved": True}}


def _singlestep(full: Config, steps: int) -> Section:
    unknown = {"dpmsolver": "eps", "dpmsolver++": "x0"}.get(full["algorithm_type"])
    if unknown is None or not full["lower_order_final"]:
        raise ValueError(f"algorithm_type = {full['algorithm_type']!r} with lower_order_final = {full['lower_order_final']} "
                         "has no counterpart here; expected dpmsolver or dpmsolver++, and True")  # fmt: skip
    return {"Singlestep": {"order": full["solver_order"], "unknown": unknown, "rule": full["solver_type"] or "midpoint"}}


def _unipc(full: Config, steps: int) -> Section:
    keys = {"order": full["solver_order"], "unknown": "x0" if full["predict_x0"] else "eps"}
    keys |= {"variant": full["solver_type"] if full["solver_type"] in ("bh1", "bh2") else "bh2"}
    return {"UniPC": {**keys, "lower": bool(full["lower_order_final"]), "uncorrected": list(full["disable_corrector"])}}


def _deis(full: Config, steps: int) -> Section:
    return {"DEIS": {"order": full["solver_order"], "lower": _lower(full, steps) and not full["use_karras_sigmas"]}}


def _sigma_min(full: Config) -> bool:
    return bool(full["final_sigmas_type"] == "sigma_min")


CLASSES: dict[str, Solver] = {
    "DDPMScheduler": Solver(_ddpm, "leading", clips=True, thresholds=True),
    "DDIMScheduler": Solver(
        lambda full, steps: {"DDIM": {"eta": float(full["eta"]), "raw": True}},
        "leading",
        clips=True,
        thresholds=True,
        ends=lambda full: not full["set_alpha_to_one"],
    ),
    "PNDMScheduler": Solver(
        lambda full, steps: {"PNDM": {"warmup": "heun" if full["skip_prk_steps"] else "runge_kutta"}},
        "leading",
        ends=lambda full: not full["set_alpha_to_one"],
        defaults={"set_alpha_to_one": False},
    ),
    "DPMSolverMultistepScheduler": Solver(
        _dpm,
        spare=True,
        thresholds=True,
        ends=_sigma_min,
        defaults={"algorithm_type": "dpmsolver++"},
    ),
    "DPMSolverSinglestepScheduler": Solver(
        _singlestep,
        spare=True,
        thresholds=True,
        ends=_sigma_min,
        defaults={"algorithm_type": "dpmsolver++", "lower_order_final": False},
    ),
    "UniPCMultistepScheduler": Solver(_unipc, spare=True, thresholds=True, ends=_sigma_min),
    "DEISMultistepScheduler": Solver(_deis, spare=True, thresholds=True, ends=lambda full: True),
    "EulerDiscreteScheduler": Solver(lambda full, steps: {"Euler": {"along": "ratio"}}, in_ratio=True, ends=_sigma_min),
    "EulerAncestralDiscreteScheduler": Solver(lambda full, steps: {"DDIM": {"eta": 1.0}}, in_ratio=True),
    "HeunDiscreteScheduler": Solver(
        lambda full, steps: {"Heun": {}},
        in_ratio=True,
        clips=False,
        defaults={"beta_start": 0.00085, "beta_end": 0.012},
    ),
    "KDPM2DiscreteScheduler": Solver(
        lambda full, steps: {"DPM2": {}},
        in_ratio=True,
        defaults={"beta_start": 0.00085, "beta_end": 0.012},
    ),
    "KDPM2AncestralDiscreteScheduler": Solver(
        lambda full, steps: {"DPM2": {"eta": 1.0}},
        in_ratio=True,
        defaults={"beta_start": 0.00085, "beta_end": 0.012},
    ),
    "LMSDiscreteScheduler": Solver(lambda full, steps: {"LMS": {}}, in_ratio=True),
}
