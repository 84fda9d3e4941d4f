"""The residual block of the U-Nets and of the autoencoders."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.nn.conv import conv
from unnoise.nn.norm import AdaptiveNorm, Norm
from unnoise.tensor import expand


class Residual(nn.Module):
    """Norm, SiLU, convolution, embedding in; norm, SiLU, dropout, convolution; added to the input.

    Args:
        spatial: Number of dimensions.
        channels, out: Of input and output; where they differ, a 1x1 convolution carries the input across.
        dim: Of the embedding, which comes activated; 0: there is none.
        scale_shift: The embedding scales and shifts the second norm (ADM); else it is added before it (DDPM).
        resample: Applied to both branches between the first activation and convolution (BigGAN): Halve(), Double() or Fir(...).
        dropout: Share of activations dropped before the second convolution.
        groups, eps: As for Norm.
        zero: Start with a second convolution of zeros: the block is then its shortcut.
        project: The shortcut is a 1x1 convolution in any case, after the resampling if there is one (NCSN++).
        scale: Of the sum; sqrt(1/2) keeps its variance (NCSN++).

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020, appendix B. arXiv:2006.11239;
        Dhariwal and Nichol, Diffusion Models Beat GANs, 2021, section 3. arXiv:2105.05233
    """

    def __init__(
        self,
        spatial: int,
        channels: int,
        out: int,
        dim: int = 0,
        scale_shift: bool = False,
        resample: nn.Module | None = None,
        dropout: float = 0.0,
        groups: int | None = None,
        eps: float = 1e-5,
        zero: bool = True,
        project: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.resample, self.scale = resample, scale
        self.norm1 = Norm(channels, groups, eps)
        self.conv1 = conv(spatial, channels, out)
        self.norm2 = AdaptiveNorm(out, dim, groups, eps) if scale_shift else Norm(out, groups, eps)
        self.linear = nn.Linear(dim, out) if dim and not scale_shift else None
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv(spatial, out, out)
        self.shortcut = conv(spatial, channels, out, kernel=1, padding=0) if project or channels != out else nn.Identity()
        if zero:
            for parameter in self.conv2.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = F.silu(self.norm1(x))  # (B, C, ...)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv1(h)  # (B, out, ...)
        if self.linear is not None:
            h = h + expand(self.linear(embedding), h)
        h = self.norm2(h, embedding) if isinstance(self.norm2, AdaptiveNorm) else self.norm2(h)
        h = self.shortcut(x) + self.conv2(self.dropout(F.silu(h)))
        return h if self.scale == 1 else h * self.scale
