"""The simple loss against the variational bound itself."""

from benchmarks.claims._claim import Arm, Claim, Said

CLAIM = Claim(
    "Training on the simple loss makes better samples; training on the variational bound gives better likelihoods.",
    "Ho et al. 2020, section 4.1 and table 1, arXiv:2006.11239",
    {"simple": Arm(), "bound": Arm(["loss.Variational.times=Stratified"])},
    [Said("simple", "bound"), Said("bound", "simple", "bound")],
    ("frechet", "accuracy", "bound"),
)
