"""How alike two pictures look, as far as a network that names what is on photographs can tell.

The weights are somebody's: a file of the `lpips` package's state dict, or one of torchvision's AlexNet or VGG-16 and one of the
package's linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in [-1, 1]
TINY = 1e-10  # added to lengths of features
# Convolutions by their place in torchvision's `features`; each row is a stage, compared at its end.
ALEX = ((0,), (3,), (6,), (8,), (10,))
VGG = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
POOLS = {ALEX: (3, (1, 2)), VGG: (2, (1, 2, 3, 4))}  # side of a pool of stride 2, and the stages that begin with one
CONVOLUTION = re.compile(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)")
LINEAR = re.compile(r"(?:lin|lins\.)(\d)\.model\.1\.weight")
EXPECTED = "expected `lpips.LPIPS(net='alex' or 'vgg').state_dict()`, or torchvision's network and the package's linear layers"


class LPIPS:
    """Learned perceptual similarity: squared distances of features of unit length, weighed by channel.

        sum over stages of the mean over places of sum_c w_c (f_c / |f| - g_c / |g|)^2

    0 where both pictures are the same; the less the more alike.

    Args:
        weights: By their names in the `lpips` package or in torchvision; others are passed over.
        name: Where they came from, for the message.

    Raises:
        ValueError: If they are not those of AlexNet or VGG-16 with a linear layer a stage.

    Reference: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018, eq. 1. arXiv:1801.03924
    """

    def __init__(self, weights: Mapping[str, Tensor], name: str = "the weights") -> None:
        found = {(int(m[1]), m[2]): value.float() for m, value in _matched(CONVOLUTION, weights)}
        self.linear = {int(m[1]): value.float() for m, value in _matched(LINEAR, weights)}
        places = tuple(sorted({place for place, _ in found}))
        stages = next((net for net in POOLS if places == sum(net, ())), None)
        if stages is None or set(self.linear) != set(range(len(stages))):
            raise ValueError(f"{name}: no network of LPIPS (convolutions {places}, linear {sorted(self.linear)}); {EXPECTED}")
        self.stages = stages
        self.convolutions = {place: (found[place, "weight"], found.get((place, "bias"))) for place in places}
        channels = 3
        for k, stage in enumerate(stages):
            for place in stage:
                weight, bias = self.convolutions[place]
                if weight.ndim != 4 or weight.shape[1] != channels or bias is None or bias.shape != weight.shape[:1]:
                    raise ValueError(f"{name}: features.{place} is {tuple(weight.shape)} for {channels} channels; {EXPECTED}")
                channels = weight.shape[0]
            if self.linear[k].shape != (1, channels, 1, 1):
                raise ValueError(f"{name}: lin{k} is {tuple(self.linear[k].shape)}, expected (1, {channels}, 1, 1); {EXPECTED}")

    @torch.no_grad()
    def __call__(self, x: Tensor, reference: Tensor) -> Tensor:
        """Of each pair, (B,); pictures (B, 1 or 3, H, W) in [-1, 1], grey ones as three equal channels.

        Raises:
            ValueError: For pictures too small for the network (below 32 pixels or so).
        """
        total = torch.zeros(len(x))
        for k, (f, g) in enumerate(zip(self._features(x), self._features(reference), strict=True)):
            off = f / (f.norm(dim=1, keepdim=True) + TINY) - g / (g.norm(dim=1, keepdim=True) + TINY)
            total += (self.linear[k] * off.square()).sum(1).mean((1, 2))
        return total

    def _features(self, x: Tensor) -> Iterable[Tensor]:
        x = x.float().expand(-1, 3, -1, -1)
        shift, scale = (x.new_tensor(part)[:, None, None] for part in (SHIFT, SCALE))
        size, x, (side, pooled) = x.shape[-2:], (x - shift) / scale, POOLS[self.stages]
        for k, stage in enumerate(self.stages):
            if k in pooled:
                if min(x.shape[-2:]) < side:
                    raise ValueError(f"LPIPS: pictures of {size[1]} x {size[0]} pixels are too small for its network")
                x = F.max_pool2d(x, side, 2)
            for place in stage:
                weight, bias = self.convolutions[place]
                stride, pad = (4, 2) if weight.shape[-1] == 11 else (1, weight.shape[-1] // 2)
                x = F.conv2d(x, weight, bias, stride, pad).relu()
            yield x


def _matched(pattern: re.Pattern[str], weights: Mapping[str, Tensor]) -> Iterable[tuple[re.Match[str], Tensor]]:
    return ((match, value) for key, value in weights.items() if (match := pattern.fullmatch(key)))
