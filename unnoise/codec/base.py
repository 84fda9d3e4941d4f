"""How x is compressed before it is noised; pictures that are small enough are not."""

from __future__ import annotations

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
