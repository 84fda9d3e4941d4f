"""Diffusion, a variational autoencoder and an adversarial network at equal training: quality, coverage, speed."""

from benchmarks.claims._claim import Arm, Claim, Said

CLAIM = Claim(
    "Of quality, coverage and speed each family has two: adversarial networks lack coverage, variational autoencoders quality, "
    "diffusion models speed.",
    "Xiao et al. 2022, section 1 and figure 1, arXiv:2112.07804",
    {
        "diffusion": Arm(["schedule=Cosine", "prediction=v", "sampler=FlowAdams", "times=Auto", "model.Defaults.steps=20"]),
        "autoencoder": Arm(recipe="vae-digits", updates=5000),
        "adversarial": Arm(recipe="gan-digits", updates=2000),
    },
    [
        Said("diffusion", "autoencoder"),
        Said("diffusion", "adversarial"),
        Said("diffusion", "adversarial", "recall"),
        Said("autoencoder", "diffusion", "seconds"),
        Said("adversarial", "diffusion", "seconds"),
    ],
    ("frechet", "accuracy", "precision", "recall", "seconds"),
)
