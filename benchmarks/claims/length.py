"""How many steps the chain has that is trained on."""

from benchmarks.claims._claim import Arm, Claim, Said

CLAIM = Claim(
    "A longer chain makes better samples and a better bound, walked from end to end; and its network may be walked in few steps "
    "all the same.",
    "Ho et al. 2020, section 4 (T = 1000), arXiv:2006.11239; Nichol & Dhariwal 2021, section 3 (T = 4000), arXiv:2102.09672",
    {
        "T = 10": Arm(["schedule.CosineBetas.steps=10", "model.Defaults.steps=10"]),
        "T = 100": Arm(["schedule.CosineBetas.steps=100", "model.Defaults.steps=100"]),
        "T = 400": Arm(["schedule.CosineBetas.steps=400", "model.Defaults.steps=400"]),
        "T = 400, 10 steps": Arm(["schedule.CosineBetas.steps=400", "model.Defaults.steps=400"], ["model.Defaults.steps=10"]),
    },
    [
        Said("T = 100", "T = 10"),
        Said("T = 400", "T = 100"),
        Said("T = 100", "T = 10", "bound"),
        Said("T = 400", "T = 100", "bound"),
        Said("T = 400, 10 steps", "T = 10"),
    ],
    ("frechet", "accuracy", "bound"),
    "Longer chains do make better samples, up to a length that pictures this small reach at T = 100. Not so the bound. Its "
    "terms (first seed), T = 10 and T = 100: reconstruction 3.33 and 2.31 bits/dim, denoising 1.07 and 2.52. With the exact "
    "denoiser the steps at little noise that the longer chain has more of would cost less than they save; with a network "
    "of 800 updates they cost more. And a chain of ten steps is better learnt on its own than picked out of four hundred.",
)
