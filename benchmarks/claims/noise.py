"""Walks with and without noise, at each budget of evaluations."""

from benchmarks.claims._claim import Arm, Claim, Said

BUDGETS = (5, 10, 20, 50)
SAMPLERS = {"deterministic": "sampler=DDIM", "stochastic": "sampler=Ancestral"}

CLAIM = Claim(
    "At few steps the deterministic walk (DDIM) is the better one; at many the stochastic one (ancestral sampling) is.",
    "Song et al. 2021, section 5.1 and table 1, arXiv:2010.02502",
    {
        f"{name}, {steps}": Arm([], [sampler, f"model.Defaults.steps={steps}"])
        for steps in BUDGETS
        for name, sampler in SAMPLERS.items()
    },
    [
        *(Said(f"deterministic, {steps}", f"stochastic, {steps}") for steps in BUDGETS[:3]),
        Said("stochastic, 50", "deterministic, 50"),
    ],
    ("frechet", "accuracy"),
)
