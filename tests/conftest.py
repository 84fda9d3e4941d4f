"""What many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of decoded pictures that is this test's alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("UNNOISE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of 8 x 8 grey digits, by class, with random weights: read it, do not change it."""
    import torch

    from unnoise.recipe import Recipe
    from unnoise.task.train import build

    tiny = ["network.UNet.width=8", "network.UNet.heads=1", "model.Defaults.batch=8"]
    model = build(Recipe.read("digits", tiny), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    folder = tmp_path_factory.mktemp("run")
    model.save(folder)
    return folder
