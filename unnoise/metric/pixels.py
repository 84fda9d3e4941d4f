"""How near a picture is to the one it should be, pixel by pixel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, WIDTH = 11, 1.5  # of the Gaussian in which structure is compared: pixels, standard deviation
SMALL = (0.01, 0.03)  # shares of the range that keep quotients finite


def psnr(x: Tensor, reference: Tensor, span: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(span^2 / mean square error); infinite where both are the same.

    Args:
        x, reference: Of one shape.
        span: Of possible values; that of [-1, 1] if not given.
    """
    error = float((x.double() - reference.double()).square().mean())
    return 10 * math.log10(span**2 / error) if error else math.inf


def ssim(x: Tensor, reference: Tensor, span: float = 2.0) -> float:
    """Structural similarity of pictures, (B, C, H, W): 1 where they are the same.

        mean of (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2))

    over all places of a Gaussian window of 11 pixels (or as many as an odd number of them fit), of each channel.

    Reference: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004, eq. 13.
    """
    side = min(WINDOW, *(s - (s + 1) % 2 for s in x.shape[-2:]))
    tap = (-((torch.arange(side, dtype=torch.float64) - side // 2) ** 2) / (2 * WIDTH**2)).exp()
    window = (tap[:, None] * tap / tap.sum() ** 2)[None, None]

    def local(of: Tensor) -> Tensor:
        return F.conv2d(of.flatten(0, 1)[:, None], window.to(of))

    x, y = x.double(), reference.double()
    c_1, c_2 = ((share * span) ** 2 for share in SMALL)
    m_x, m_y = local(x), local(y)
    s_x, s_y, s_xy = local(x * x) - m_x**2, local(y * y) - m_y**2, local(x * y) - m_x * m_y
    return float(((2 * m_x * m_y + c_1) * (2 * s_xy + c_2) / ((m_x**2 + m_y**2 + c_1) * (s_x + s_y + c_2))).mean())
