"""Classifier-free guidance: what more of it gives, and takes."""

from benchmarks.claims._claim import Arm, Claim, Said

SCALES = (1, 1.5, 2, 4)
WALK = ["sampler=DDIM", "model.Defaults.steps=25"]

CLAIM = Claim(
    "Guidance trades diversity for fidelity: with the scale more samples are what was asked for, and fewer of the data are "
    "reached; the Frechet distance is best at a small scale.",
    "Ho & Salimans 2022, section 4 and table 1, arXiv:2207.12598",
    {f"scale {scale:g}": Arm([], [f"guidance.CFG.scale={scale}", *WALK]) for scale in SCALES},
    [
        Said("scale 2", "scale 1", "accuracy"),
        Said("scale 1", "scale 2", "recall"),
        Said("scale 1", "scale 4", "recall"),
        Said("scale 1.5", "scale 1"),
        Said("scale 1.5", "scale 4"),
    ],
    ("frechet", "accuracy", "precision", "recall"),
    "The trade is there at every scale. What is not there is a small scale that is better than none on the Frechet "
    "distance: the network tells the ten digits apart without help (96 % at scale 1), so that guidance has little to give "
    "and diversity to take.",
)
