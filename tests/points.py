"""Fifty points in eight dimensions, to train on where what is trained does not matter."""

from torch import Tensor, arange

from unnoise.tensor import Rng


class Points:
    x = Rng(1, arange(50)).normal((8,), "points")

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor, rng: Rng | None = None) -> dict[str, Tensor]:
        return {"x": self.x[indices]}
