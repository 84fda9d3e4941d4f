"""How the network is told the level of noise: a norm that is steered, or a number that is added."""

from benchmarks.claims._claim import Arm, Claim, Said

CLAIM = Claim(
    "Adaptive group normalisation is better than adding the embedding of the time.",
    "Dhariwal & Nichol 2021, section 3.1 and table 3, arXiv:2105.05233",
    {"adaptive norm": Arm(), "added": Arm(["network.UNet.embedding=add"])},
    [Said("adaptive norm", "added")],
)
