"""Schedulers of diffusers in our words walk as theirs do, where diffusers is installed; what differs is told."""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unnoise.denoiser import Denoise, Denoiser
from unnoise.guidance import Guided
from unnoise.recipe import Recipe
from unnoise.zoo.scheduler import CLASSES, mapped

BETAS: dict[str, dict[str, Any]] = {
    "linear": {},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012},
    "squaredcos_cap_v2": {},
    "sigmoid": {},
}
SPACINGS = ("leading", "trailing", "linspace")
OWN: dict[str, list[dict[str, Any]]] = {  # what else each class can say
    "DDPMScheduler": [
        *({"variance_type": kind} for kind in ("fixed_small", "fixed_small_log", "fixed_large")),
        {"trained_betas": torch.linspace(1e-4, 0.03, 500).tolist(), "num_train_timesteps": 500},
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "clip_sample": False},
        {"clip_sample_range": 0.5, "prediction_type": "sample"},
    ],
    "DDIMScheduler": [
        {"set_alpha_to_one": False, "steps_offset": 1},
        {"clip_sample": False},
        {"prediction_type": "v_prediction"},
    ],
    "PNDMScheduler": [
        {"skip_prk_steps": True, "steps_offset": 1},
        {"set_alpha_to_one": True, "skip_prk_steps": True},
        {},
    ],
    "DPMSolverMultistepScheduler": [
        *({"solver_order": order} for order in (1, 2, 3)),
        {"solver_type": "heun", "algorithm_type": "sde-dpmsolver++"},
        {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
        {"use_karras_sigmas": True},
    ],
    "DPMSolverSinglestepScheduler": [{"lower_order_final": True}, {"lower_order_final": True, "solver_order": 3}],
    "UniPCMultistepScheduler": [
        {"solver_order": 3},
        {"use_karras_sigmas": True},
        {"disable_corrector": [0], "solver_type": "bh1"},
    ],
    "DEISMultistepScheduler": [{"solver_order": 3}, {"use_karras_sigmas": True}],
    "EulerDiscreteScheduler": [{}, {"use_karras_sigmas": True}, {"final_sigmas_type": "sigma_min"}],
    "HeunDiscreteScheduler": [{}, {"clip_sample": True}, {"use_karras_sigmas": True}],
    "LMSDiscreteScheduler": [{}, {"use_exponential_sigmas": True}],
}
SPACED = [  # the classes whose entries can be spaced otherwise
    name for name in CLASSES if name != "DPMSolverSinglestepScheduler"
]


class Nearly(nn.Module):
    """What a network for data of unit variance says, nearly: a little of it is no straight line."""

    def __init__(self, kept: Tensor, kind: str) -> None:
        super().__init__()
        self.kept, self.kind = kept.double(), kind

    def forward(self, x: Tensor, level: Tensor, cond: Any = None) -> Tensor:
        at = level.double().clamp(0, len(self.kept) - 1)
        low = at.floor().long().clamp(max=len(self.kept) - 2)
        kept = torch.lerp(self.kept[low], self.kept[low + 1], at - low).to(x.dtype)[:, None]
        scale = {"epsilon": (1 - kept).sqrt(), "sample": kept.sqrt(), "v_prediction": torch.zeros_like(kept)}[self.kind]
        return scale * x + 0.02 * torch.sin(3 * x + 0.01 * level[:, None].to(x.dtype))


def theirs(scheduler: Any, network: nn.Module, noise: Tensor, n: int) -> Tensor:
    try:
        scheduler.set_timesteps(n)
    except (IndexError, ValueError):  # with sigmas of 10^4 theirs loses count, in single precision
        return noise * torch.nan
    x, generator = noise * scheduler.init_noise_sigma, torch.Generator().manual_seed(1)
    draws = "generator" in inspect.signature(scheduler.step).parameters
    for t in scheduler.timesteps:
        said = network(scheduler.scale_model_input(x, t), torch.full((len(x),), float(t)))
        try:
            x = scheduler.step(said, t, x, **({"generator": generator} if draws else {})).prev_sample
        except (IndexError, AssertionError):
            return noise * torch.nan
    return x


def ours(sections: Mapping[str, Any], network: nn.Module, noise: Tensor, n: int) -> Tensor:
    recipe = Recipe({"domain": {"Images": {"root": "none"}}, "network": {"UNet": {}}, **sections})
    recipe.check()
    recipe = Recipe.parse(recipe.resolved().dump())
    schedule = recipe.build("schedule")
    denoiser: Denoise = Denoiser(network, schedule, recipe.build("prediction", schedule=schedule), recipe.build("level"))
    rules, generator = recipe.build_all("guidance"), torch.Generator().manual_seed(1)
    denoiser = Guided(denoiser, *rules) if rules else denoiser
    rng: Callable[..., Tensor] = lambda like, t, s: torch.randn(like.shape, generator=generator)  # noqa: E731
    return recipe.build("sampler")(denoiser, noise.clone(), recipe.build("times")(schedule, n), rng=rng)


def apart(name: str, options: Mapping[str, Any], n: int) -> tuple[float, tuple[str, ...]]:
    diffusers = pytest.importorskip("diffusers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = getattr(diffusers, name)(**options)
    found = mapped({**scheduler.config, "_class_name": name}, n)
    network = Nearly(scheduler.alphas_cumprod, scheduler.config.prediction_type)
    noise = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    expected = theirs(scheduler, network, noise, n)
    if not expected.isfinite().all():
        return 0.0, ("theirs fails",)
    return float((ours(found.sections, network, noise, n) - expected).abs().max() / expected.abs().max()), found.differs


@pytest.mark.parametrize("name", CLASSES)
def test_walks_as_theirs(name: str) -> None:
    checked = 0
    spacings: list[dict[str, Any]] = [{"timestep_spacing": kind} for kind in SPACINGS] if name in SPACED else [{}]
    kinds = ["linear", "scaled_linear", *(["squaredcos_cap_v2"] if not CLASSES[name].in_ratio else [])]  # of sigmas up to 10^4
    kinds += ["sigmoid"] * (name == "DDPMScheduler")  # the others do not have it
    rows = list(itertools.product(spacings, OWN.get(name, [{}]), kinds, (10, 16)))
    for spacing, own, betas, n in rows[:: max(1, len(rows) // 12) | 1]:
        options = {"beta_schedule": betas, **BETAS[betas], **spacing, **own}
        error, differs = apart(name, options, n)
        first = all("first noise" in sentence or "the end is" in sentence for sentence in differs)
        assert error < (1e-4 if not differs else 1e-2 if first else torch.inf), (options, n, differs)
        checked += not differs
    assert checked >= 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "os.system"}, "scheduler 'os.system' has no counterpart here; there are DDPMScheduler"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "has no counterpart here"),
        ({"_class_name": "DDPMScheduler", "colour": 1}, "the option 'colour' is not known here"),
        ({"_class_name": "DDPMScheduler", "variance_type": "learned"}, "variance_type = 'learned' has no counterpart"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "laplace"}, "beta_schedule = 'laplace' has no counterpart"),
        ({"_class_name": "DDPMScheduler", "prediction_type": "flow"}, "prediction_type = 'flow'; expected one of epsilon"),
        ({"_class_name": "DDIMScheduler", "timestep_spacing": "odd"}, "timestep_spacing = 'odd'; expected leading"),
        ({"_class_name": "DDIMScheduler", "num_train_timesteps": 10**9}, "num_train_timesteps = 1000000000; expected 2 to"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "use_flow_sigmas = True has no counterpart"),
        ({"_class_name": "EulerDiscreteScheduler", "interpolation_type": "log_linear"}, "interpolation_type = 'log_linear'"),
        ({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "deis"}, "algorithm_type = 'deis' of solver_order = 2"),
        ({"_class_name": "UniPCMultistepScheduler", "rescale_betas_zero_snr": True}, "leaves more signal at the last entry"),
        ({"_class_name": "DPMSolverSinglestepScheduler"}, "lower_order_final = False has no counterpart"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mapped(config, 10)


def test_a_table_without_signal_at_its_end_walks_as_theirs() -> None:
    options = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    error, differs = apart(
        "DPMSolverMultistepScheduler", {**options, "beta_schedule": "scaled_linear", **BETAS["scaled_linear"]}, 10
    )
    assert error < 1e-4 and not differs
