"""LPIPS: the numbers of its own package, the names that its weights come in, and what is no network of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unnoise.metric.perceptual import LPIPS
from unnoise.tensor import Rng

ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
VGG = {
    place: (wide, before, 3)
    for place, before, wide in [
        (0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256),
        (17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512),
    ]
}  # fmt: skip
STAGES = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


def weights(net: str) -> dict[str, Tensor]:
    """Weights that follow from their names, as torchvision's."""
    found = {}
    for place, (wide, before, side) in (ALEX if net == "alex" else VGG).items():
        shape = (wide, before, side, side)
        found[f"features.{place}.weight"] = Rng(0).normal(shape, f"features.{place}.weight")[0] * (2 / (before * side**2)) ** 0.5
        found[f"features.{place}.bias"] = Rng(0).normal((wide,), f"features.{place}.bias")[0] * (2 / 100) ** 0.5
    for k, wide in enumerate(STAGES[net]):
        found[f"lin{k}.model.1.weight"] = Rng(0).normal((1, wide, 1, 1), f"lin{k}.model.1.weight")[0].abs()
    return found


def pictures() -> tuple[Tensor, Tensor]:
    x, y = (Rng([1, 2]).normal((3, 48, 40), name).clamp(-1, 1) for name in ("x", "y"))
    x[1] = x[1] * 0.2 + y[1] * 0.8
    return x, y


@pytest.mark.parametrize(
    ("net", "theirs"),  # of lpips 0.1.4 with these weights and pictures
    [("alex", [1.4754284620285034, 0.0920654758810997]), ("vgg", [1.2557215690612793, 0.10877976566553116])],
)
def test_numbers_are_those_of_the_package(net: str, theirs: list[float]) -> None:
    x, y = pictures()
    torch.testing.assert_close(LPIPS(weights(net))(x, y), torch.tensor(theirs), rtol=1e-4, atol=1e-6)


def test_the_same_is_at_distance_nothing_and_grey_is_three_channels() -> None:
    x, y = pictures()
    distance = LPIPS(weights("alex"))
    assert distance(x, x).abs().max() == 0 and torch.equal(distance(x, y), distance(y, x))
    torch.testing.assert_close(distance(x[:, :1], y), distance(x[:, :1].expand(-1, 3, -1, -1), y))


def test_names_of_the_package_are_read() -> None:
    ours = weights("alex")
    renamed = {
        key.replace("features.", f"net.slice{1 + [0, 3, 6, 8, 10].index(int(key.split('.')[1]))}.")
        if "features" in key
        else key: v
        for key, v in ours.items()
    }
    doubled = {f"lins.{key[3]}.model.1.weight": value for key, value in ours.items() if key.startswith("lin")}
    x, y = pictures()
    package = {**renamed, **doubled, "scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    assert torch.equal(LPIPS(package)(x, y), LPIPS(ours)(x, y))


def test_what_is_no_network_of_it() -> None:
    ours = weights("alex")
    few = {key: value for key, value in ours.items() if not key.startswith("lin4")}
    wrong = {**ours, "features.3.weight": ours["features.3.weight"][:, :10]}
    other = {**ours, "lin0.model.1.weight": torch.ones(1, 3, 1, 1)}
    for bad, said in ((few, "linear"), (wrong, r"features\.3"), (other, "lin0"), ({}, "no network")):
        with pytest.raises(ValueError, match=said):
            LPIPS(bad)
    with pytest.raises(ValueError, match="too small"):
        LPIPS(ours)(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
