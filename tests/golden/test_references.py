"""Schedules, predictions, denoisers and chains against golden references."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from . import ddgan, guided, harness, lucidrains, score_sde, truth
from .harness import Builder, Case, Excuse

ITEMS: dict[str, Builder] = {
    "ddgan": ddgan.ddgan,
    "guided_schedules": guided.schedules,
    "guided_steps": guided.steps,
    "guided_loops": guided.loops,
    "lucidrains_gaussian": lucidrains.lucidrains,
    "score_sde": score_sde.score_sde,
    "truth_mixture_2d": truth.truth_mixture,
    "truth_mixture_64d": truth.truth_mixture,
    "truth_samplers_gaussian": truth.samplers,
}

BITS = ("total_bpd", "prior_bpd", "vb", "xstart_mse", "mse")

EXCUSES: list[Excuse] = [
    *(Excuse("guided_loops", lambda params: "sampler" not in params, "bound in bits", role, later=True) for role in BITS),
    Excuse("lucidrains_gaussian", lambda params: "offset_noise_strength" in params, "offset noise", "loss_offset", later=True),
    Excuse("score_sde", lambda params: "hutchinson" in params, "exact likelihood", later=True),
    Excuse("score_sde", lambda params: "model" in params and "continuous" not in params, "losses of score_sde", later=True),
    Excuse("score_sde", lambda params: list(params) == ["sde"], "exact likelihood", "prior_logp", later=True),
    *(
        Excuse(item, lambda params: "t_end" in params, "exact likelihood", "log_prob_ode_prior", later=True)
        for item in ("truth_mixture_2d", "truth_mixture_64d")
    ),
]


def test_reference(case: Case, judge: Callable[..., None]) -> None:
    judge(case, ITEMS, EXCUSES)


def test_every_item_of_the_folder_is_known(goldens: Path) -> None:
    """Checked here, checked by another module, or said to be later: never passed over."""
    modules = (importlib.import_module(f".{path.stem}", __package__) for path in Path(__file__).parent.glob("test_*.py"))
    known = set(harness.LATER).union(*(getattr(module, "ITEMS", {}) for module in modules))
    assert set(harness.items(goldens)) <= known
