"""Broadcasting, and randomness that is a function of its arguments."""

from __future__ import annotations

import pytest
import torch

from unnoise.tensor import WORD, Rng, _philox, expand, masked_mean, permutation


@pytest.mark.parametrize(
    ("word", "known"),
    [(0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)), (WORD, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD))],
)
def test_philox_known_answers(word: int, known: tuple[int, ...]) -> None:
    """Salmon et al., Random123, known-answer tests of philox4x32-10: all bits 0, all bits 1."""
    full = torch.tensor([word])
    assert tuple(int(part) for part in _philox([full[:, None]] * 4, (full, full))) == known


def test_philox_known_answer_of_pi() -> None:
    """The third of them: counter and key from the digits of pi."""
    counter = [torch.tensor([[word]]) for word in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)]
    words = _philox(counter, (torch.tensor([0xA4093822]), torch.tensor([0x299F31D0])))
    assert [int(word) for word in words] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_a_draw_is_a_function_of_its_arguments() -> None:
    rng = Rng([3, 5])
    draw = rng.normal((4,), "a")
    assert torch.equal(draw, Rng([3, 5]).normal((4,), "a"))
    others = [rng.normal((4,), "b"), rng.normal((4,), "a", counter=1), rng.at(0).normal((4,), "a"), rng.at(1).normal((4,), "a")]
    others += [Rng([3, 5], index=1).normal((4,), "a"), Rng([4, 6]).normal((4,), "a"), draw.flip(0)]
    draws = [draw, *others]
    assert all(not torch.isclose(a, b).any() for i, a in enumerate(draws) for b in draws[:i])


def test_a_stream_does_not_know_its_batch() -> None:
    whole = Rng([7, 8, 9], index=[0, 1, 2])
    for b, seed in enumerate((7, 8, 9)):
        alone = Rng(seed, index=b)
        assert torch.equal(alone.normal((3, 2), "x")[0], whole.normal((3, 2), "x")[b])
        assert torch.equal(whole[b : b + 1].at(4).bits(5, "x"), alone.at(4).bits(5, "x"))
    assert torch.equal(Rng(7, index=torch.arange(3)).uniform((), "t"), Rng([7, 7, 7], index=[0, 1, 2]).uniform((), "t"))


def test_a_mirrored_stream_draws_the_opposite() -> None:
    rng, turned = Rng([3, 5, 7]), Rng([3, 5, 7]).mirrored([False, True, False])
    sign = torch.tensor([1.0, -1.0, 1.0])[:, None]
    for plain, other in ((rng, turned), (rng.at(2), turned.at(2)), (rng[1:], turned[1:]), (rng, turned.to("cpu"))):
        assert torch.equal(other.normal((5,), "x"), sign[-len(plain) :] * plain.normal((5,), "x"))
        assert torch.equal(other.bits(5, "x"), plain.bits(5, "x"))
    assert torch.equal(turned.mirrored([True, True, False]).normal((5,), "x"), sign[[1, 0, 0]] * rng.normal((5,), "x"))


def test_a_longer_draw_of_bits_begins_like_a_shorter() -> None:
    assert torch.equal(Rng(1).bits(8, "x"), Rng(1).bits(16, "x").reshape(1, 4, 4)[:, :, :2].reshape(1, 8))


def test_seeds_of_any_size_and_sign() -> None:
    seeds = [0, -1, 1 << 40, (1 << 40) + 1, 1 << 63]
    draws = Rng(seeds).bits(2, "x")
    assert len({tuple(row) for row in draws.tolist()}) == len(seeds)
    assert torch.equal(Rng([-1]).bits(2, "x"), Rng([(1 << 64) - 1]).bits(2, "x"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments(dtype: torch.dtype) -> None:
    normal, uniform = (draw("x" * 3, dtype).double() for draw in (_normal, _uniform))
    n = normal.numel()
    for power, expected, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert float((normal**power).mean()) == pytest.approx(expected, abs=4 * (spread / n) ** 0.5)
    assert float(uniform.mean()) == pytest.approx(0.5, abs=4 * (1 / 12 / n) ** 0.5)
    assert float(uniform.var()) == pytest.approx(1 / 12, rel=0.01)
    assert uniform.min() > 0 and uniform.max() < 1
    assert abs(float((normal[0] * normal[1]).mean())) < 4 * (2 / n) ** 0.5  # streams are independent


def _normal(purpose: str, dtype: torch.dtype) -> torch.Tensor:
    return Rng([1, 2]).normal((100, 1000), purpose, dtype=dtype)


def _uniform(purpose: str, dtype: torch.dtype) -> torch.Tensor:
    return Rng([1, 2]).uniform((100, 1000), purpose, dtype=dtype)


def test_integers_are_even() -> None:
    counts = Rng(5).integers(7, (70_000,), "x")[0].bincount(minlength=7)
    assert len(counts) == 7 and (counts - 10_000).abs().max() < 400


def test_a_permutation_is_one() -> None:
    shuffled = permutation(1000, 3, "order")
    assert torch.equal(shuffled.sort().values, torch.arange(1000))
    assert torch.equal(shuffled, permutation(1000, 3, "order"))
    assert not torch.equal(shuffled, permutation(1000, 3, "order", 1))


def test_expand() -> None:
    assert expand(torch.ones(2), torch.ones(2, 3, 4)).shape == (2, 1, 1)
    assert expand(torch.ones(2), torch.ones(2)).shape == (2,)


def test_masked_mean() -> None:
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    assert masked_mean(x).tolist() == [2.5, 6.5]
    mask = torch.tensor([[[1], [0]], [[0], [0]]])
    assert masked_mean(x, mask).tolist() == [1.5, 0.0]
