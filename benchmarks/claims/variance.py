"""A learned variance where steps are few."""

from benchmarks.claims._claim import Arm, Claim, Said

LEARNED = ["network.UNet.variance=true", "loss.Hybrid.times=Stratified"]
WALKS = {steps: [f"model.Defaults.steps={steps}"] for steps in (5, 10, 50)}

CLAIM = Claim(
    "With a learned variance ancestral sampling stays good at few steps, where both fixed ones fail.",
    "Nichol & Dhariwal 2021, sections 3.1 and 4 and figure 8, arXiv:2102.09672",
    {
        f"{name}, {steps}": Arm(train, [*walk, f"sampler.Ancestral.variance={name}"])
        for steps, walk in WALKS.items()
        for name, train in (("learned", LEARNED), ("small", []), ("large", []))
    },
    [Said(f"learned, {steps}", f"{other}, {steps}") for steps in WALKS for other in ("small", "large")],
    ("frechet", "accuracy"),
)
