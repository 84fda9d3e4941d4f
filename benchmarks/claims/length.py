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
        Said("T = 400", "T = 100", "bound"),
        Said("T = 400, 10 steps", "T = 10"),
    ],
    ("frechet", "accuracy", "bound"),
)
