"""The schedulers of Hugging Face diffusers in our words: which schedule, prediction, level, sampler, times and guidance one is.

Everything that a configuration can say is one row of a table below: taken over, without effect, or refused by its name. What
comes out as another walk than theirs, if only by a little, is told in `differs`.

A class of theirs is a solver (`unnoise.zoo.solvers`) with a table of betas; its keys stand in `scheduler_config.json`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from unnoise.zoo.links import Config
from unnoise.zoo.solvers import CLASSES, Section, Solver

__all__ = ["CLASSES", "Mapped", "mapped"]


class Mapped(NamedTuple):
    """A scheduler as the sections of a recipe.

    Attributes:
        sections: schedule, prediction, level, sampler, times, guidance.
        differs: One sentence for each thing in which our walk is not theirs to the last digit.
    """

    sections: dict[str, Section]
    differs: tuple[str, ...]


COMMON: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "timestep_spacing": None,
    "steps_offset": 0,
    "rescale_betas_zero_snr": False,
    "clip_sample": None,
    "clip_sample_range": 1.0,
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "variance_type": None,
    "skip_prk_steps": False,
    "solver_order": 2,
    "solver_type": None,
    "algorithm_type": None,
    "lower_order_final": True,
    "euler_at_final": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_lu_lambdas": False,
    "final_sigmas_type": "zero",
    "predict_x0": True,
    "disable_corrector": (),
    "eta": 0.0,
}
# Options that only these values have a counterpart for.
KEPT: dict[str, tuple[Any, ...]] = {
    "use_beta_sigmas": (False,),
    "use_flow_sigmas": (False,),
    "flow_shift": (1.0,),
    "use_dynamic_shifting": (False,),
    "time_shift_type": ("exponential",),
    "lambda_min_clipped": (float("-inf"),),
    "interpolation_type": ("linear",),
    "timestep_type": ("discrete",),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "solver_p": (None,),
    "shift_terminal": (None,),
}
# Of the first versions, which theirs does not read any more.
FORGOTTEN = ("tensor_format", "timestep_values", "timesteps", "predict_epsilon", "num_inference_steps")
PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


def mapped(config: Config, steps: int) -> Mapped:
    """A scheduler's configuration in our words, for walks of so many steps.

    Raises:
        ValueError: For a class, an option or a value that has no counterpart, by its name.
    """
    name = str(config.get("_class_name")).replace("Parallel", "")
    if name not in CLASSES:
        raise ValueError(f"scheduler {config.get('_class_name')!r} has no counterpart here; there are {', '.join(CLASSES)}")
    solver = CLASSES[name]
    full = _options(name, config, {**COMMON, **solver.defaults})
    full["timestep_spacing"] = full["timestep_spacing"] or solver.spacing
    schedule, notes = _schedule(full, solver)
    times, differs, level = _times(name, full, solver)
    sampler = solver.sampler(full, steps)
    notes += [*differs, *_order_notes(full, steps)]
    sections: dict[str, Section] = {
        "schedule": schedule,
        "prediction": {PREDICTIONS[full["prediction_type"]]: {}},
        "level": level,
    }
    sections |= {"sampler": sampler, "times": times}
    if rules := _guidance(full, solver):
        sections["guidance"] = rules
    return Mapped(sections, tuple(notes))


def _options(name: str, config: Config, defaults: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in config.items() if not key.startswith("_") and key not in FORGOTTEN}
    for key, value in given.items():
        if key in KEPT and value not in KEPT[key]:
            raise ValueError(f"{name}: {key} = {value!r} has no counterpart here; expected {KEPT[key][0]!r}")
        if key not in defaults and key not in KEPT and key not in ("snr", "sampling_eps", "correct_steps"):
            raise ValueError(f"{name}: the option {key!r} is not known here")
    full = defaults | {key: value for key, value in given.items() if key in defaults}
    if full["prediction_type"] not in PREDICTIONS:
        raise ValueError(f"{name}: prediction_type = {full['prediction_type']!r}; expected one of {', '.join(PREDICTIONS)}")
    size = full["num_train_timesteps"]
    if type(size) is not int or not 2 <= size <= 100_000:
        raise ValueError(f"{name}: num_train_timesteps = {size!r}; expected 2 to 100,000")
    return full


def _schedule(full: Config, solver: Solver) -> tuple[Section, list[str]]:
    """The table: by its name where ours has one, else beta by beta."""
    section = _table(full)
    if full["rescale_betas_zero_snr"]:
        exact = solver.clips is not None and not solver.in_ratio
        section = {"ZeroSNR": {"schedule": section}} if exact else {"Discrete": {"betas": _nearly_zero(section)}}
    spaced = full["use_karras_sigmas"] or full["use_exponential_sigmas"]
    if solver.in_ratio and full["timestep_spacing"] == "linspace" and not spaced:
        section = {"Chords": {"schedule": section}}
    scaled = solver.in_ratio and (full["timestep_spacing"] != "leading" or spaced)
    return section, ["the first noise has the variance of x_t, in diffusers that of its noise alone"] * scaled


def _table(full: Config) -> Section:
    size, start, end = full["num_train_timesteps"], full["beta_start"], full["beta_end"]
    if full["trained_betas"] is not None:
        return {"Discrete": {"betas": [float(beta) for beta in full["trained_betas"]]}}
    match full["beta_schedule"]:
        case "linear":
            return {"LinearBetas": {"steps": size, "start": start * size / 1000, "end": end * size / 1000}}
        case "scaled_linear":
            return {"ScaledLinearBetas": {"steps": size, "start": start, "end": end}}
        case "squaredcos_cap_v2":
            return {"CosineBetas": {"steps": size}}
        case "sigmoid":
            rise = torch.linspace(-6, 6, size, dtype=torch.float64).sigmoid()
            return {"Discrete": {"betas": (rise * (end - start) + start).tolist()}}
    raise ValueError(f"beta_schedule = {full['beta_schedule']!r} has no counterpart here; expected linear, scaled_linear, "
                     "squaredcos_cap_v2 or sigmoid")  # fmt: skip


def _nearly_zero(section: Section) -> list[float]:
    """The betas of a table rescaled to end without signal, of which 2^-24 is kept: what these solvers do, who divide by it."""
    from unnoise import schedule

    (name, keys), *_ = section.items()
    betas = schedule.ZeroSNR(getattr(schedule, name)(**keys)).betas.clone()
    betas[-1] = 1 - 2.0**-24 / (1 - betas[:-1]).prod()
    if not 0 < betas[-1] < 1:
        raise ValueError(
            f"rescale_betas_zero_snr = True leaves more signal at the last entry of {name} than before it; expected False"
        )
    return betas.tolist()


def _times(name: str, full: Config, solver: Solver) -> tuple[Section, list[str], Section]:
    """The rule, what it differs in, and what the network is told."""
    level: Section = {"index": {}}
    differs: list[str] = []
    rule: Section
    if full["use_karras_sigmas"] or full["use_exponential_sigmas"] or full["use_lu_lambdas"]:
        rule = {"Karras": {}} if full["use_karras_sigmas"] else {"LogSNR": {}}
        if solver.spare:
            level = {"nearest": {}}
        if solver.in_ratio and full["timestep_spacing"] != "linspace":
            differs.append("the walk takes in the whole table, in diffusers from the first to the last of the entries chosen")
        if name.startswith("KDPM2") and full["use_karras_sigmas"]:
            differs.append("the network is told entries between those of the table, in diffusers every other one is rounded")
        if solver.spare and (full["use_exponential_sigmas"] or full["beta_schedule"] == "squaredcos_cap_v2"):
            differs.append("the network is told the nearest entry of the table, in diffusers the one below")
    else:
        rule, differs = _spacing(name, full, solver)
    if name in ("LMSDiscreteScheduler", "PNDMScheduler") and full["set_alpha_to_one"]:  # its step to data is of full order
        rule = {"Final": {"times": rule, "data": True}}
    elif solver.ends(full):
        rule = {"Final": {"times": rule}}
        differs += ["the end is x_t, in diffusers x_t / alpha"] * solver.in_ratio
    first = full["steps_offset"] if full["timestep_spacing"] == "leading" else full["timestep_spacing"] == "trailing"
    if name == "DDPMScheduler" and full["variance_type"] == "fixed_large" and first:
        differs.append(
            "the walk ends without noise, in diffusers with that of its last step if it does not end on the first entry"
        )
    return rule, differs, level


def _spacing(name: str, full: Config, solver: Solver) -> tuple[Section, list[str]]:
    strides = name in ("DDIMScheduler", "PNDMScheduler")
    match full["timestep_spacing"]:
        case "leading":
            return {"Leading": {"offset": full["steps_offset"], "spare": solver.spare}}, []
        case "trailing":
            note = "each step begins where the last ended, where diffusers strays if the steps do not divide the table"
            return {"Trailing": {}}, [note] * strides
        case "linspace":
            rule: Section = {"Linspace": {"rounded": not solver.in_ratio, "spare": solver.spare}}
            strayed = "each step begins where the last ended; in diffusers its end is the start less a whole stride"
            return rule, [strayed] * strides
    raise ValueError(f"timestep_spacing = {full['timestep_spacing']!r}; expected leading, trailing or linspace")


def _order_notes(full: Config, steps: int) -> list[str]:
    kind, third = full["algorithm_type"], full["solver_order"] > 2
    falls = full["lower_order_final"] and (third or full["final_sigmas_type"] == "sigma_min")
    notes = ["in diffusers the order of the last steps falls below 15 of them; here by --set sampler.NAME.lower=true"]
    notes = notes * bool(kind and falls and steps >= 15)
    bent = "the bend of x0 counts as its equation says, which diffusers has with another sign"
    return notes + [bent] * (kind == "sde-dpmsolver++" and third)


def _guidance(full: Config, solver: Solver) -> Section:
    if full["thresholding"] and solver.thresholds:
        most = float(full["sample_max_value"])
        return {"Threshold": {"share": float(full["dynamic_thresholding_ratio"]), "high": 1.0, "most": most}}
    clips = solver.clips if full["clip_sample"] is None else full["clip_sample"] and solver.clips is not None
    size = float(full["clip_sample_range"])
    return {"Clip": {"low": -size, "high": size}} if clips else {}
