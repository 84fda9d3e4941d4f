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
