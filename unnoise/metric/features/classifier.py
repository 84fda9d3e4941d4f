"""A small convolutional classifier of the data's own: it recognises samples, and its last layer is where sets are compared.

It never takes part in generation and shares nothing with the diffusion model: own network, own training, own randomness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.metric.features.base import Stored, batches, initialise, layer, pooled, standardise
from unnoise.tensor import Rng

FEATURES = 64
SIDE = 64  # larger pictures are averaged down to this
ANGLE, SCALE, SHEAR, SHIFT = 0.15, 0.1, 0.1, 0.08  # largest change in training: radians, shares, and shares of the side


class Classifier(Stored):
    """Convolutions with batch normalisation; the sides are halved until the shorter is below 8.

    Args:
        shape: Of one picture, (C, H, W), H and W at least 8.
        classes: How many there are.
        data: What it was trained on, as a digest; kept in its file.

    Raises:
        ValueError: For another shape, or fewer than two classes.
    """

    kind, facts = "classifier", ("shape", "classes", "data")
    mean: Tensor
    std: Tensor

    def __init__(self, shape: Sequence[int], classes: int, data: str = "") -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 8:
            raise ValueError(f"shape {tuple(shape)}: the classifier takes pictures (C, H, W) of at least 8 x 8")
        if classes < 2:
            raise ValueError(f"{classes} classes: at least 2 are needed to tell them apart")
        self.shape, self.classes, self.data = tuple(shape), classes, data
        self.register_buffer("mean", torch.zeros(shape[0], 1, 1))
        self.register_buffer("std", torch.ones(shape[0], 1, 1))
        side = min(SIDE, *shape[1:])
        width = 32 if side < 16 else 16  # the first layers of larger pictures cost most and need least
        layers = [layer(shape[0], width)]
        while side >= 8:
            layers += [nn.MaxPool2d(2), layer(width, 2 * width), layer(2 * width, 2 * width)]
            width, side = 2 * width, side // 2
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.neck = nn.Sequential(nn.Linear(4 * width, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (B, classes)."""
        return self.head(self._penultimate(x))

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees of pictures, (B, 64)."""
        return self.whole(self._penultimate, x)

    @torch.no_grad()
    def probabilities(self, rows: Tensor) -> Tensor:
        """Of each class, (B, classes), for pictures of these features, (B, 64)."""
        return self.head(rows).softmax(1)

    def predict(self, x: Tensor) -> Tensor:
        """The most likely class of each picture, (B,)."""
        return self.whole(self, x).argmax(1)

    def accuracy(self, x: Tensor, labels: Tensor) -> float:
        """Share of pictures that are recognised as what they are."""
        return float((self.predict(x) == labels).double().mean())

    def _penultimate(self, x: Tensor) -> Tensor:
        return self.neck(self.body((pooled(x, SIDE) - self.mean) / self.std))


def train(
    x: Tensor, labels: Tensor, classes: int, *, steps: int = 600, batch: int = 128, lr: float = 3e-3, seed: int = 0
) -> Classifier:
    """A classifier of pictures x, (N, C, H, W), with labels (N,) in [0, classes), in training for `steps` batches.

    Pictures are turned, scaled, sheared and shifted a little, never mirrored. Everything is a function of the arguments; the
    global random state is left as it is. AdamW, one cycle of learning rates. Some 10 s for 8 x 8 pictures, 1 min for 28 x 28.
    """
    with torch.random.fork_rng(devices=[]):
        classifier = Classifier(x.shape[1:], classes)
    initialise(classifier, Rng(seed))
    standardise(classifier, x)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=lr, weight_decay=0.02, betas=(0.9, 0.98))
    classifier.train()
    for step, rows in batches(len(x), batch, steps, seed, "classifier order"):
        rng = Rng(seed, torch.arange(batch)).at(step)
        optimizer.param_groups[0]["lr"] = lr * _cycle(step / steps)
        loss = F.cross_entropy(classifier(_moved(x[rows], rng)), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return classifier.eval()


def _moved(x: Tensor, rng: Rng) -> Tensor:
    """Each picture turned, scaled, sheared and shifted at random; what comes in at the border is the border's value."""
    u = 2 * rng.uniform((6,), "move") - 1  # (B, 6)
    angle, scale = ANGLE * u[:, 0], 1 + SCALE * u[:, 1]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    across = torch.stack([cos, -sin + SHEAR * u[:, 2], 2 * SHIFT * u[:, 4]], 1)
    down = torch.stack([sin, cos, 2 * SHIFT * u[:, 5]], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _cycle(done: float) -> float:
    """The learning rate's share of its peak: up in the first fifth, then down along a cosine."""
    return done / 0.2 if done < 0.2 else (1 + math.cos(math.pi * (done - 0.2) / 0.8)) / 2
