"""Networks, their weights' other names, and walks with them, against golden references."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unnoise.zoo import diffusers

from . import harness, networks
from .harness import Builder, Case, Excuse

ITEMS: dict[str, Builder] = {
    "diffusers_dit": networks.diffusers_dit,
    "diffusers_unet2d_celeba": networks.unet2d,
    "diffusers_unet2d_cifar": networks.unet2d,
    "dit": networks.facebook_dit,
    "edm_networks": networks.edm_networks,
    "guided_classifier_guidance": networks.classifier_guidance,
    "guided_unet": networks.guided_unet,
}
PIPELINES = ("diffusers_unet2d_celeba", "diffusers_unet2d_cifar")
TABLE = "the timesteps kept are those of a scheduler that was not yet told the number of steps: its whole table"
# diffusers itself, run in float64 throughout, is 1.3e-6 from these pictures, and 5e-7 with its table in single precision.
SINGLE = "pictures that are not of float64 throughout: compared as of single precision, in a test of its own"
EXCUSES: list[Excuse] = [
    *(Excuse(item, lambda params: "eta" in params, TABLE, "timesteps") for item in PIPELINES),
    *(Excuse(item, lambda params: "num_inference_steps" in params, SINGLE, "images") for item in PIPELINES),
]


def test_reference(case: Case, judge: Callable[..., None]) -> None:
    judge(case, ITEMS, EXCUSES)


def test_pictures_of_pipelines_agree_in_single_precision(goldens: Path) -> None:
    for item in PIPELINES:
        for case in harness.cases(goldens, item) if item in harness.items(goldens) else []:
            if "num_inference_steps" in case.params:
                images = networks.unet2d(case)["images"]
                assert isinstance(images, harness.Named)
                torch.testing.assert_close(images.value, case.outputs["images"], **case.about["tolerance"]["float32"])


def test_old_names_of_attention_give_the_same_network(goldens: Path) -> None:
    """Files of an item whose state dict has the names of old checkpoints."""
    found = 0
    for item in (item for item in ITEMS if item in harness.items(goldens)):
        case = harness.cases(goldens, item)[0]
        for file in (file for file in case.about["files"] if "legacy_keys" in file):
            folder = networks.saved(case) / "unet"
            config = json.loads((folder / "config.json").read_text())
            new = diffusers.load(networks.weights(folder / "diffusion_pytorch_model.safetensors"), config)
            old = diffusers.load(networks.weights(goldens / file), config)
            assert all(torch.equal(old.state_dict()[name], tensor) for name, tensor in new.state_dict().items())
            found += 1
    if not found:
        pytest.skip("no item has a file with legacy keys")
