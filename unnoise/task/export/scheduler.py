"""Our sampler, times and clipping as one scheduler of diffusers, or a refusal by name. Times are known by what they visit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from unnoise.denoiser import Denoiser
from unnoise.guidance import CFG, Clip, Guidance
from unnoise.model import Model
from unnoise.sampler import DDIM, Ancestral, DPMpp2M, DPMpp3M, Sampler
from unnoise.schedule import Discrete
from unnoise.task.export.table import PREDICTIONS, betas, chain
from unnoise.times import Given, Leading, Linspace, Times, Trailing


@dataclass(frozen=True)
class Stock:
    """What a pipeline of diffusers does, in its words and in ours.

    Args:
        name, config: Of the scheduler.
        denoiser: Our network told and read as that pipeline does.
        table: Its schedule.
        sampler, guidance, times: The same walk as ours.
    """

    name: str
    config: Mapping[str, Any]
    denoiser: Denoiser
    table: Discrete
    sampler: Sampler
    guidance: tuple[Guidance, ...]
    times: Given


def stock(model: Model, network: nn.Module) -> Stock:
    """The scheduler that says the same as a model does by default, for its network or one with the conditions fixed.

    Raises:
        ValueError: For what no scheduler that `DDPMPipeline` can run says; names it.
    """
    table, kind = chain(model.denoiser)
    clip = clipping(model.guidance)
    name, options, sampler = walker(model.sampler, clip)
    if getattr(network, "variance", False) != (options.get("variance_type") == "learned_range"):
        raise ValueError(
            f"sampler {model.sampler!r}: of a network that learned a variance diffusers runs Ancestral(variance='learned'), "
            "and that of no other"
        )
    steps = model.defaults.steps
    spacing, times = visited(model.times.unfitted, table, steps, name)
    _check_end(name, options, times, table)
    config = {"num_train_timesteps": len(table), **betas(table), "prediction_type": kind, **options, **spacing}
    rules = () if clip is None else (Clip(-clip, clip),)
    denoiser = Denoiser(network, table, PREDICTIONS[kind])
    return Stock(name, config, denoiser.eval(), table, sampler, rules, times)


def clipping(rules: list[Guidance]) -> float | None:
    """Where x0 is clipped, if it is."""
    rules = [rule for rule in rules if not (isinstance(rule, CFG) and rule.scale == 1)]
    if not rules:
        return None
    rule, *more = rules
    if more or not isinstance(rule, Clip) or rule.low != -rule.high:
        raise ValueError(
            f"guidance {rules}: a pipeline of diffusers clips at most, evenly on both sides; export it without the rest"
        )
    return rule.high


def walker(sampler: Sampler, clip: float | None) -> tuple[str, dict[str, Any], Sampler]:
    """The scheduler's class, its options beside table and times, and the sampler of ours that it is."""
    clipped = {"clip_sample": clip is not None, "clip_sample_range": 1.0 if clip is None else clip}
    match sampler:
        case Ancestral(variance="small" | "large" | "learned"):
            kind = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}[sampler.variance]
            return "DDPMScheduler", {"variance_type": kind, **clipped}, sampler
        case DDIM(eta=0) if sampler.raw or clip is None:
            return "DDIMScheduler", clipped, DDIM(raw=True)
        case DDIM(raw=False) | DPMpp2M() if sampler.eta in (0, 1):
            return "DPMSolverMultistepScheduler", _solver(sampler, clip), sampler
    raise ValueError(
        f"sampler {sampler!r} is none that DDPMPipeline can run; export with --set sampler=DDIM, Ancestral, DPMpp2M "
        "(eta 0 or 1) or DPMpp3M with halved = true"
    )


def visited(rule: Times, table: Discrete, steps: int, name: str) -> tuple[dict[str, Any], Given]:
    """The spacing of theirs that visits the entries which our rule does in the model's number of steps, and these times."""
    times = rule(table, steps)
    spare = name == "DPMSolverMultistepScheduler"
    spacings: dict[str, Times] = {"trailing": Trailing(), "linspace": Linspace(spare=spare)}
    spacings = {"leading 0": Leading(0, spare), "leading 1": Leading(1, spare), **spacings}
    for kind, theirs in spacings.items():
        try:
            places = theirs(table, steps)
        except ValueError:
            continue
        if not times.final and len(times) == len(places) == steps and _near(times, places) and _follows(name, places, table):
            spacing, _, offset = kind.partition(" ")
            return {"timestep_spacing": spacing, "steps_offset": int(offset or 0)}, places
    raise ValueError(
        f"times {rule!r} at {steps} steps are no spacing of {name} (leading, trailing, linspace); "
        f"export with --set times=Trailing and a number of steps that divides {len(table)}"
    )


def _solver(sampler: Any, clip: float | None) -> dict[str, Any]:
    order = sampler.order
    if clip not in (None, 1.0):
        raise ValueError(f"Clip at {clip:g}: DPMSolverMultistepScheduler can clip at 1 alone")
    if isinstance(sampler, DPMpp3M) and (sampler.lower or not sampler.halved or sampler.eta):
        raise ValueError(
            f"sampler {sampler!r}: DPMSolverMultistepScheduler of order 3 has eta = 0, lower = false and halved = true"
        )
    return {
        "algorithm_type": "sde-dpmsolver++" if sampler.eta else "dpmsolver++",
        "solver_order": order,
        "solver_type": getattr(sampler, "rule", "midpoint"),
        "lower_order_final": False,
        "final_sigmas_type": "zero",
        # Their threshold, a quantile between 1 and sample_max_value, is 1: clipping.
        "thresholding": clip is not None,
        "sample_max_value": 1.0,
    }


def _check_end(name: str, options: Mapping[str, Any], times: Given, table: Discrete) -> None:
    """What their code does at the ends, where ours does the right thing."""
    last = round(times[-1] * len(table)) - 1
    if options.get("variance_type") in ("fixed_large", "learned_range") and last > 0:
        raise ValueError(
            f"DDPMScheduler of variance {options['variance_type']} adds noise to the picture where its last entry is not 0 "
            f"but {last}; export with --set times=Leading or Linspace"
        )
    if name == "DPMSolverMultistepScheduler" and table.alphas[-1] == 0:
        raise ValueError("DPMSolverMultistepScheduler divides by alpha, which is 0 at the end of this table; export with DDIM")


def _follows(name: str, times: Given, table: Discrete) -> bool:
    """Whether a scheduler's own steps are those of its list: DDIM's go T // n entries, whatever the next of the list is."""
    if name != "DDIMScheduler":
        return True
    stride, entries = len(table) // len(times), [round(t * len(table)) - 1 for t in times]
    ends = [*entries[1:], -1]
    return all(entry - stride == end for entry, end in zip(entries[:-1], ends, strict=False)) and entries[-1] < stride


def _near(a: Given, b: Given) -> bool:
    return all(abs(x - y) < 1e-9 for x, y in zip(a, b, strict=True))
