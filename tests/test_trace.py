"""A golden loss trace: the first 50 steps of a small training, so that no change of the arithmetic goes unseen."""

import json
from pathlib import Path

import torch

from unnoise.recipe import Recipe
from unnoise.task.train import train

CHANGES = [
    "network.UNet.width=8",
    "network.UNet.heads=1",
    "train.Trainer.steps=50",
    "train.Trainer.batch=32",
    "train.Trainer.log_every=10",
    "train.Trainer.preview_every=0",
    "train.Trainer.validate_every=50",
    "train.Trainer.tensorboard=false",
    "model.Defaults.batch=10",
]
LOSSES = [0.84295, 0.80324, 0.7276, 0.67905, 0.62409]


def test_the_losses_are_what_they_were(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(Recipe.read("digits", CHANGES), tmp_path, device="cpu", report=False, say=lambda line: None)
    finally:
        torch.set_num_threads(threads)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(LOSSES), rtol=2e-3, atol=0)
    held_out = next(row["held_out"] for row in rows if "held_out" in row)
    assert len(held_out) == 5 and all(0 < loss < 2 for loss in held_out.values())
