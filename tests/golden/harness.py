"""Golden references: numbers of other implementations and closed forms, read from a folder and compared with ours.

A folder holds for each item `<item>.json` (what was computed, from which parameters) and `<item>.safetensors`. A builder turns a
case's parameters and inputs into outputs by role; nothing here or in a builder knows a case by its name. All is float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from unnoise.sampler.base import Noise

DEFAULT = Path(__file__).parents[2] / "../shared/goldens"

# Items of rooms that are not built yet: counted apart, never as passed.
LATER = {
    "diffusers_sd1": "networks",
    "diffusers_sd2": "networks",
    "diffusers_misc": "networks",
    "diffusers_kl": "codecs",
    "diffusers_vq": "codecs",
    "edm2_ops": "networks",
    "edm2_networks": "networks",
    "latent_diffusion": "codecs",
    "diffwave": "audio",
}


class Named(NamedTuple):
    """A result that is compared under a named tolerance of its item, or relative to its largest value (a trajectory)."""

    value: Tensor
    tolerance: str = ""
    along: bool = True


Result = Tensor | Named | float


def along(value: Tensor) -> Named:
    """The points of a walk: the relative tolerance is of their largest value."""
    return Named(value)


def within(value: Tensor, tolerance: str) -> Named:
    """A result with a tolerance of its own in the item's description."""
    return Named(value, tolerance)


@dataclass(frozen=True)
class Case:
    """One case: its parameters, and its tensors by role. `.f64` is left out of roles, and `.f32` roles are left out."""

    folder: Path
    item: str
    number: int

    @property
    def about(self) -> Mapping[str, Any]:
        return describe(self.folder, self.item)

    @property
    def id(self) -> str:
        return f"{self.item}-{self.about['cases'][self.number]['id']}"

    @property
    def params(self) -> Mapping[str, Any]:
        return self.about["cases"][self.number]["params"]

    @property
    def hyper(self) -> Mapping[str, Any]:
        return self.about["hyper_parameters"]

    @property
    def inputs(self) -> dict[str, Tensor]:
        return self._tensors("inputs")

    @property
    def outputs(self) -> dict[str, Tensor]:
        return self._tensors("outputs")

    def shared(self, key: str) -> Tensor:
        """A tensor of the item by its key: those that belong to no case."""
        tensor = tensors(self.folder, self.item)[key]
        return tensor.double() if tensor.is_floating_point() else tensor

    def _tensors(self, side: str) -> dict[str, Tensor]:
        roles = self.about["cases"][self.number][side]
        return {role.removesuffix(".f64"): self.shared(key) for role, key in roles.items() if not role.endswith(".f32")}


class Excuse(NamedTuple):
    """Why some roles of some cases are not held against us: a fault of the reference, or (`later`) a room not built yet."""

    item: str
    when: Callable[[Mapping[str, Any]], bool]
    reason: str
    roles: str = "*"
    later: bool = False


class Verdict(NamedTuple):
    """What came of a case. `error` is the largest |a - b| / max|b| of its roles, `worst` the role with it."""

    item: str
    status: str  # passed | excepted | later | failed
    reasons: tuple[str, ...]
    error: float
    worst: str
    faults: tuple[str, ...]


Builder = Callable[[Case], Mapping[str, Result]]


@cache
def describe(folder: Path, item: str) -> Mapping[str, Any]:
    return json.loads((folder / f"{item}.json").read_text())


@cache
def tensors(folder: Path, item: str) -> Mapping[str, Tensor]:
    with safe_open(folder / f"{item}.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the file is no mapping)


def items(folder: Path) -> list[str]:
    """The items of a folder, by its descriptions."""
    return [path.stem for path in sorted(folder.glob("*.json")) if path.with_suffix(".safetensors").exists()]


def cases(folder: Path, item: str) -> list[Case]:
    return [Case(folder, item, number) for number in range(len(describe(folder, item)["cases"]))]


def compare(case: Case, build: Builder, excuses: Sequence[Excuse]) -> Verdict:
    """Builds a case and compares each role that is not excused. A role that the builder does not give is a fault."""
    mine = [excuse for excuse in excuses if excuse.item == case.item and excuse.when(case.params)]
    kept, used = {}, []
    for role, expected in case.outputs.items():
        if hits := [excuse for excuse in mine if fnmatch(role, excuse.roles)]:
            used += hits
        else:
            kept[role] = expected
    results = build(case) if kept else {}
    errors, faults = {"": 0.0}, []
    for role, expected in kept.items():
        if role not in results:
            faults.append(f"{role}: not built")
            continue
        errors[role], fault = difference(results[role], expected, case.about["tolerance"]["float64"])
        faults += [f"{role}: {fault}"] * bool(fault)
    worst = max(errors, key=errors.__getitem__)
    status = "failed" if faults else "later" if any(e.later for e in used) else "excepted" if used else "passed"
    reasons = tuple(dict.fromkeys(excuse.reason for excuse in used))
    return Verdict(case.item, status, reasons, errors[worst], worst, tuple(faults))


def difference(result: Result, expected: Tensor, tolerance: Mapping[str, Any]) -> tuple[float, str]:
    """The largest error relative to the largest value, and what is wrong with the result, if anything."""
    value, name, whole = result if isinstance(result, Named) else (result, "", False)
    value = torch.as_tensor(value, dtype=torch.float64)
    expected = expected.double()
    if value.shape != expected.shape:
        return 0.0, f"shape {tuple(value.shape)} in place of {tuple(expected.shape)}"
    limits = tolerance[name] if name else tolerance
    same = value == expected  # infinities of one sign too
    error = torch.where(same, 0.0, (value - expected).abs()).nan_to_num(torch.inf)
    size = expected.abs().where(expected.isfinite(), torch.zeros(()).double())
    largest = size.max() if size.numel() else torch.zeros(()).double()
    allowed = limits["atol"] + limits["rtol"] * (largest if whole else size)
    relative = float(error.max() / largest.clamp(min=1e-300)) if error.any() else 0.0
    if (error <= allowed).all():
        return relative, ""
    return relative, f"off by {float(error.max()):.3g}, {float((error / allowed).max()):.3g} times what is allowed"


def stored(noises: Iterable[Tensor]) -> Noise:
    """A source of noise for a walk: what was stored, in the order of drawing."""
    draws = iter(noises)
    return lambda like, t, s: next(draws)
