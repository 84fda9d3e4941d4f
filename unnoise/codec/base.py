"""How x is compressed before it is noised; pictures that are small enough are not."""

from __future__ import annotations

import math
from abc import abstractmethod

from torch import Tensor, nn


class Codec(nn.Module):
    """Data to latents of unit scale, and back."""

    @abstractmethod
    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """Of one latent, for data of this shape."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """The latents z of x."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The data of latents z."""


class Identity(Codec):
    """No compression: z = x."""

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        return data

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, z: Tensor) -> Tensor:
        return z


class Scaled(Codec):
    """Latents that are the data times a number, z = factor x: for data of another scale than 1.

    Args:
        factor: Not 0.

    Raises:
        ValueError: If it is.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        if not factor:
            raise ValueError("factor = 0; expected another number")
        self.factor = factor

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        return data

    def encode(self, x: Tensor) -> Tensor:
        return x * self.factor

    def decode(self, z: Tensor) -> Tensor:
        return z / self.factor


class Offset(Codec):
    """Offset noise by its law: latents whose channel means are small, so that plain noise moves the brightness of data much.

        x = z + (gain - 1) mean(z),   gain = sqrt(1 + strength^2 n)

    with the mean over the n places of each channel. What is eps ~ N(0, I) for z is noise of covariance I + strength^2 1 1^T in
    each channel for x, the law of eps + strength (one normal number a channel). Training, walks of all kinds, guidance and the
    prior that they begin from then have this one law, where `Denoising.offset` changes the training alone and samples begin
    from another noise than the last that was trained. The loss counts brightness as one direction of z among n, though (there
    gain^2 times): it is learnt late, and errors in it come out gain times as large. Of z |z| < 2 for
    data in [-1, 1], which `Clip` would cut: give it high = 2 and low = -2, or do without.

    Args:
        strength: 0.1 in the reference; 0 is `Identity`.

    Raises:
        ValueError: For a negative number.

    Reference: Guttenberg, Diffusion with Offset Noise, 2023 (crosslabs.org); what it mends: Lin et al., Common Diffusion Noise
    Schedules and Sample Steps Are Flawed, 2023, section 2. arXiv:2305.08891
    """

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__()
        if not strength >= 0:
            raise ValueError(f"strength = {strength}; expected 0 or more")
        self.strength = strength

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        return data

    def encode(self, x: Tensor) -> Tensor:
        return x + (1 / self._gain(x) - 1) * self._mean(x)

    def decode(self, z: Tensor) -> Tensor:
        return z + (self._gain(z) - 1) * self._mean(z)

    def _gain(self, x: Tensor) -> float:
        return math.sqrt(1 + self.strength**2 * math.prod(x.shape[2:]))

    def _mean(self, x: Tensor) -> Tensor:
        return x.mean(tuple(range(2, x.ndim)), keepdim=True) if x.ndim > 2 else x
