"""Cosine against linear and quadratic betas."""

from benchmarks.claims._claim import Arm, Claim, Said

CLAIM = Claim(
    "The linear schedule destroys small pictures too early; the cosine schedule is better.",
    "Nichol & Dhariwal 2021, section 3.2, arXiv:2102.09672",
    {
        "cosine": Arm(),
        "linear": Arm(["schedule=LinearBetas"]),
        "quadratic": Arm(["schedule=QuadraticBetas"]),
    },
    [
        Said("cosine", "linear"),
        Said("cosine", "linear", "bound"),
        Said("cosine", "quadratic"),
        Said("quadratic", "linear"),
    ],
    ("frechet", "accuracy", "bound"),
)
