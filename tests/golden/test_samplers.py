"""Samplers and times against golden references."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .harness import Builder, Case, Excuse
from .losses import edm_item, kdiffusion
from .samplers_diffusers import diffusers, strays


def bends_wrong(keys: Mapping[str, Any]) -> bool:
    return keys.get("algorithm_type") == "sde-dpmsolver++" and keys.get("solver_order") == 3


ITEMS: dict[str, Builder] = {"diffusers_schedulers": diffusers, "edm": edm_item, "k_diffusion": kdiffusion}
EXCUSES: list[Excuse] = [
    Excuse(
        "diffusers_schedulers",
        lambda params: strays(params) and params["scheduler"] == "PNDMScheduler",
        "PNDM steps by T // n, which is not the stride of its own list: the state's level and the network's part ways",
    ),
    Excuse(
        "diffusers_schedulers",
        lambda params: "_churn" in params.get("kwargs", {}),
        "Euler's churn adds noise after the network was asked, and steps on with an answer about another state",
        "[tfs]*[lyo]*",
    ),
    Excuse(
        "diffusers_schedulers",
        lambda params: bends_wrong(params.get("kwargs", {})),
        "the second derivative's weight has the wrong sign of 1/2, and does not vanish with the step",
    ),
]


def test_reference(case: Case, judge: Callable[..., None]) -> None:
    judge(case, ITEMS, EXCUSES)
