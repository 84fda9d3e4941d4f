"""Absolute against squared error."""

from benchmarks.claims._claim import Arm, Claim, Said

CLAIM = Claim(
    "The squared error (L2) and the absolute one (L1) make samples of like quality, but those of L1 are less diverse.",
    "Saharia et al. 2022 (Palette), section 5, arXiv:2111.05826",
    {"L2": Arm(), "L1": Arm(["loss.Denoising.error=absolute"])},
    [Said("L2", "L1", "recall"), Said("L2", "L1"), Said("L1", "L2", "precision")],
    ("frechet", "precision", "recall"),
)
