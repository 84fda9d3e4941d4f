"""Exports: what other programs make of them is what we make ourselves."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unnoise.denoiser import Denoiser
from unnoise.guidance import Guided
from unnoise.model import Model
from unnoise.recipe import Recipe
from unnoise.schedule import Discrete
from unnoise.task.export import diffusers
from unnoise.task.export.scheduler import PREDICTIONS, chain
from unnoise.train import read_weights
from unnoise.zoo import diffusers as names

LABEL = {"label": {"route": "vector", "shape": [], "classes": ["cat", "dog", "eel"], "drop": 0.1}}
BASE = {"domain": {"Images": {"root": ""}}, "schedule": {"LinearBetas": {}}, "prediction": {"eps": {}}, "guidance": {"Clip": {}}}
NET = {"width": 16, "multipliers": [1, 2], "blocks": 1, "groups": 8}


def make(sections: dict[str, Any], shape: tuple[int, ...] = (3, 8, 8), conds: dict[str, Any] | None = None) -> Model:
    """A model of pictures that are nowhere, with weights that matter."""
    import tomli_w

    facts = {"shape": list(shape), "depth": "uint8", "range": [0, 255], "channels": "rgb" if shape[0] == 3 else "grey"}
    conds = conds or {}
    columns = {"counts": {name: [1] * 3 for name in conds}, "spread": {}, "table": {name: [0, 1, 2] for name in conds}}
    facts |= {"transform": {"resize": "lanczos", "crop": "center", "background": "white"}, "conds": conds, **columns}
    recipe = Recipe.parse(tomli_w.dumps({**BASE, "network": {"UNet": NET}, **sections}))
    generator = torch.Generator().manual_seed(len(str(sections)))
    model = Model(recipe, facts)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    model.denoiser.eval().requires_grad_(False)
    return model


def saved(model: Model, folder: Path) -> Path:
    model.save(folder, {"format": "unnoise", "step": "7"})
    return folder


def drawn(number: int) -> tuple[dict[str, Any], tuple[int, ...], dict[str, Any], dict[str, Any] | None]:
    """The number-th random configuration that stock classes can express: recipe, shape, conditions, those to fix."""
    pick = random.Random(number)
    levels = pick.choice([0, 1, 2])
    groups = pick.choice([4, 8])
    heads: dict[str, Any] = pick.choice([{"heads": 1}, {"head_width": 8}])
    learned = pick.random() < 0.2
    net = {
        "width": pick.choice([16, 24]), "multipliers": [1, *(pick.choice([1, 2, 3]) for _ in range(levels))],
        "blocks": pick.choice([1, 2]),
        "attention": [level for level in range(levels + 1) if pick.random() < 0.4], "middle": pick.random() < 0.7, **heads,
        "embedding": pick.choice(["add", "scale_shift"]), "groups": groups, "eps": pick.choice([1e-5, 1e-6]),
        "resample": pick.choice(["conv", "conv_right", "residual"]), "variance": learned, "dropout": pick.choice([0.0, 0.1]),
        "features": pick.choice(["cos sin", "sin cos", "cos sin endpoint"]), "dim": pick.choice([32, 64]),
    }  # fmt: skip
    kinds: list[tuple[str, dict[str, Any], list[str]]] = [
        ("Ancestral", {"variance": pick.choice(["small", "large"])}, ["Leading", "Linspace"]),
        ("DDIM", {"raw": True}, ["Leading", "Trailing"]),
        ("DDIM", {"eta": pick.choice([0.0, 1.0])}, ["Trailing"]),
        ("DPMpp2M", {"eta": pick.choice([0.0, 1.0]), "rule": pick.choice(["midpoint", "heun"])}, ["Trailing", "Spare"]),
        ("DPMpp3M", {"halved": True}, ["Trailing", "Spare"]),
    ]
    sampler, options, spacings = kinds[number % 5]
    if learned:
        sampler, options, spacings = "Ancestral", {"variance": "learned"}, ["Leading"]
    spacing = pick.choice(spacings)
    times = {"Linspace": {"spare": True}} if spacing == "Spare" else {spacing: {}}
    conds = LABEL if pick.random() < 0.4 else {}
    sections = {
        "schedule": {pick.choice(["LinearBetas", "ScaledLinearBetas", "CosineBetas", "SigmoidBetas", "Cosine", "VP"]): {}},
        "prediction": {pick.choice(["eps", "v", "x0"]): {}},
        "network": {"UNet": net}, "sampler": {sampler: options}, "times": times,
        "guidance": {"Clip": {}} if pick.random() < 0.7 else {}, "model": {"Defaults": {"steps": pick.choice([4, 5, 8])}},
    }  # fmt: skip
    shape = (pick.choice([1, 3]), 8, pick.choice([8, 16]))
    return sections, shape, conds, {"label": pick.choice(["cat", "eel", None])} if conds else None


def ours(model: Model, network: Any, seed: int) -> Tensor:
    """Our pictures in [0, 1], from noise of a generator of torch's."""
    schedule = model.denoiser.schedule
    denoiser: Any = Denoiser(network, schedule, model.denoiser.predict)
    if not isinstance(schedule, Discrete):
        table, kind = chain(model.denoiser)
        denoiser = Denoiser(network, table, PREDICTIONS[kind])
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *network.shape, generator=draws)
    guided = Guided(denoiser, *model.guidance) if model.guidance else denoiser
    times = model.times(denoiser.schedule, model.defaults.steps)
    x = model.sampler(guided, x, times, rng=lambda like, t, s: torch.randn(like.shape, generator=draws))
    return (x / 2 + 0.5).clamp(0, 1)


def theirs(folder: Path, steps: int, seed: int) -> Tensor:
    stock_library = pytest.importorskip("diffusers")
    pipeline = stock_library.DDPMPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(2, torch.Generator().manual_seed(seed), num_inference_steps=steps, output_type="np").images
    return torch.from_numpy(made).movedim(-1, 1)


@pytest.mark.parametrize("number", range(20))
def test_diffusers_samples_the_same_pictures(number: int, tmp_path: Path) -> None:
    sections, shape, conds, fixed = drawn(number)
    model = make(sections, shape, conds)
    certificate = diffusers.write(model, tmp_path, fixed)
    assert certificate.passed and len(certificate.comparisons) == 4
    network = diffusers.network_of(model, fixed)
    made = theirs(tmp_path, model.defaults.steps, number)
    assert (made - ours(model, network, number)).abs().max() <= 1e-4
    back = names.load(
        read_weights(tmp_path / "unet" / diffusers.WEIGHTS)[0], json.loads((tmp_path / "unet" / "config.json").read_text())
    )
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in back.state_dict().items())
