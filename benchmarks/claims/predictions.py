"""What the network predicts: noise, data, the step's mean, velocity."""

from benchmarks.claims._claim import Arm, Claim, Said

CLAIM = Claim(
    "Predicting the noise makes better samples than predicting the data or the mean of the step. (The velocity came later.)",
    "Ho et al. 2020, sections 3.2 and 4.2, arXiv:2006.11239; the velocity: Salimans & Ho 2022, section 4, arXiv:2202.00512",
    {
        "noise": Arm(),
        "data": Arm(["prediction=x0"]),
        "mean": Arm(["prediction=Mean"]),
        "velocity": Arm(["prediction=v"]),
    },
    [Said("noise", "data"), Said("noise", "mean"), Said("velocity", "noise")],
)
