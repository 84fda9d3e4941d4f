"""Laws of operators: adjoint, pseudo-inverse, spectrum, over all members; and what each of them is."""

import inspect
import io

import numpy as np
import pytest
import torch
from torch import Tensor

from unnoise import operator
from unnoise.operator import (
    JPEG,
    Blur,
    Clip,
    Composed,
    Crop,
    Downsample,
    Fourier,
    Function,
    GaussianBlur,
    Gray,
    Identity,
    Mask,
    Matrix,
    Measurement,
    MotionBlur,
    Operator,
    Quantize,
    noise_std,
)
from unnoise.operator.solve import conjugate_gradients, dot
from unnoise.tensor import Rng

SHAPES = [(2, 1, 16, 16), (2, 3, 24, 16), (2, 3, 15, 21)]


def normal(shape: tuple[int, ...], purpose: str = "x", dtype: torch.dtype = torch.float32) -> Tensor:
    return Rng(range(shape[0])).normal(shape[1:], purpose, dtype=dtype)


def members(shape: tuple[int, ...]) -> list[Operator]:
    """At least one of each class, made for a shape."""
    side = shape[-2:]
    hole = (Rng(0).uniform(side, "hole")[0] < 0.6).float()
    soft = Rng(0).uniform(side, "soft")[0] * hole
    kernel = Rng(0).uniform((5, 3), "kernel")[0]
    kernel /= kernel.sum()
    lines = (Rng(0).uniform(side[-1:], "lines")[0] < 0.5).float().expand(side)
    return [
        Identity(), Mask(hole), Mask(soft), Mask(torch.zeros(side)), Mask(torch.ones(side)), Crop(3, 0, 2, 5), Gray(),
        Downsample(4, "area"), Downsample(2), Downsample(4), Downsample(4, "lanczos"), Downsample(3, "area"),
        GaussianBlur(0.7), GaussianBlur(3.0), MotionBlur(7.0, 30.0), MotionBlur(1.0), Blur(kernel),
        Blur(kernel, "reflect"), Blur(kernel, "valid"),
        MotionBlur(4.0, 70.0, "valid"), Fourier(lines),
        Quantize(8), Clip(-0.5, 0.5), JPEG(50), Function(torch.tanh, torch.atanh),
        Composed(Gray(), Downsample(2)), Crop(2, 2, 2, 2) @ MotionBlur(5.0, 45.0), Downsample(2, "area") @ GaussianBlur(1.0),
        Mask(hole) @ GaussianBlur(0.7), Gray() @ Mask(hole), Identity() @ Downsample(2), Downsample(2) @ Identity(),
        Matrix(Rng(0).normal((7, shape[1] * side[0] * side[1]), "matrix")[0]),
    ]  # fmt: skip


def cases() -> list[object]:
    return [pytest.param(shape, o, id=f"{shape[1:]}-{i}-{o!r}"[:70]) for shape in SHAPES for i, o in enumerate(members(shape))]


every = pytest.mark.parametrize(("shape", "a"), cases())
linear = pytest.mark.parametrize(("shape", "a"), [case for case in cases() if case.values[1].linear])  # type: ignore[attr-defined]


def test_members_are_covered() -> None:
    known = {type(member) for member in members(SHAPES[0])} | {Operator}
    assert known >= {getattr(operator, n) for n in operator.__all__ if _is_operator(getattr(operator, n))}


def _is_operator(member: object) -> bool:
    return inspect.isclass(member) and issubclass(member, Operator)


@linear
def test_adjoint(shape: tuple[int, ...], a: Operator) -> None:
    """<A x, y> = <x, A^T y> to 1e-5 of |A x| |y|; by hand as by automatic differentiation."""
    x = normal(shape)
    image = a(x)
    y = normal(image.shape, "y")
    if image.is_complex():
        y = torch.complex(y, normal(image.shape, "imaginary"))
    size = dot(image, image).sqrt() * dot(y, y).sqrt() + 1e-30
    back = a.adjoint(y, x)
    assert back.shape == x.shape and back.dtype == x.dtype
    assert ((dot(image, y) - dot(x, back)).abs() / size).max() < 1e-5
    torch.testing.assert_close(back, Operator.adjoint(a, y, x), rtol=1e-4, atol=1e-5)


@every
def test_pseudo_inverse(shape: tuple[int, ...], a: Operator) -> None:
    """A pinv A = A to 1e-4 of the largest value; JPEG where whole blocks are."""
    x = normal(shape)
    image = a(x)
    if isinstance(a, JPEG) and (shape[-1] % 16 or shape[-2] % (16 if shape[1] == 3 else 8)):
        return
    again = a(a.pinv(image, x))
    assert (again - image).abs().max() <= 1e-4 * max(float(image.abs().max()), 1e-6)


@linear
def test_pseudo_inverse_is_the_least(shape: tuple[int, ...], a: Operator) -> None:
    """pinv A is an orthogonal projection: it is its own square, symmetric, and never lengthens."""
    x, other = normal(shape, dtype=torch.float64), normal(shape, "other", torch.float64)
    if isinstance(a, Downsample | GaussianBlur) or a.spectrum(x) is None:
        return  # singular values that nearly vanish make it a projection in exact arithmetic only
    seen, other_seen = (a.pinv(a(part), part) for part in (x, other))
    torch.testing.assert_close(a.pinv(a(seen), x), seen, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(dot(seen, other), dot(x, other_seen), rtol=1e-5, atol=1e-5)


@linear
def test_spectrum(shape: tuple[int, ...], a: Operator) -> None:
    """V is unitary, A = U S V^T, and U^T y has what y has of A's range."""
    x = normal(shape, dtype=torch.float64)
    spectrum = a.spectrum(x)
    if spectrum is None:
        return
    inside = spectrum.into(x)
    torch.testing.assert_close(spectrum.back(inside), x)
    torch.testing.assert_close(inside.abs().square().flatten(1).sum(1), x.square().flatten(1).sum(1))
    torch.testing.assert_close(spectrum.seen(a(x)), (spectrum.s * inside).expand_as(inside), rtol=1e-6, atol=1e-9)
    y = a(normal(shape, "y", torch.float64)) + 0.1
    torch.testing.assert_close(spectrum.back(spectrum.s * spectrum.seen(y)), a.adjoint(y, x), rtol=1e-6, atol=1e-9)


@every
def test_gradients_are_finite(shape: tuple[int, ...], a: Operator) -> None:
    x = (normal(shape) / 3).requires_grad_()
    image = a(x)
    grad = torch.autograd.grad((torch.view_as_real(image) if image.is_complex() else image).square().sum(), x)[0]
    assert grad.isfinite().all()
    assert grad.abs().max() > 0 or not image.abs().max() > 0


@every
def test_a_sample_does_not_depend_on_its_batch(shape: tuple[int, ...], a: Operator) -> None:
    x = normal(shape)
    torch.testing.assert_close(a(x)[1:], a(x[1:]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos", "area"])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_downsample_is_pillows(kernel: str, factor: int) -> None:
    from PIL import Image

    x = normal((1, 1, 24, 36))[0, 0]
    size = 36 // factor, 24 // factor
    filters = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS, "area": Image.Resampling.BOX}
    theirs = np.asarray(Image.fromarray(x.numpy(), "F").resize(size, filters[kernel]))
    ours = Downsample(factor, kernel)(x[None, None])[0, 0]  # type: ignore[arg-type]
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-6)


def test_area_of_odd_sides_keeps_the_mean() -> None:
    x = normal((1, 1, 15, 15))
    y = Downsample(4, "area")(x)
    assert y.shape == (1, 1, 4, 4)
    torch.testing.assert_close(y.mean(), x.mean())


def test_blurs_keep_what_is_even() -> None:
    ones = torch.ones(1, 1, 20, 24)
    for blur in (GaussianBlur(2.0), MotionBlur(9.0, 20.0)):
        torch.testing.assert_close(blur(ones), ones)
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    places = torch.arange(41, dtype=torch.float64) - 20
    spread = GaussianBlur(3.0)(point)[0, 0]
    assert float((spread.sum(0) * places**2).sum()) == pytest.approx(9.0, rel=0.01)
    line = MotionBlur(9.0, 0.0)(point)[0, 0]
    torch.testing.assert_close(line[20, 17:24], torch.full((7,), 1 / 9, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    up = MotionBlur(9.0, 45.0)(point)[0, 0]
    assert up[18, 22] > 0.1 > up[22, 22] - 1e-9, "counter-clockwise from the horizontal, rows grow downward"


def test_convolution_is_a_sum() -> None:
    kernel, x = normal((3, 5)), normal((1, 1, 8, 9))
    y = Blur(kernel)(x)
    by_hand = sum(kernel[i, j] * x.roll((i - 1, j - 2), (-2, -1)) for i in range(3) for j in range(5))
    torch.testing.assert_close(y, by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5), (4, 2), (9, 1)])
def test_borders_are_mirrored_or_left_out(shape: tuple[int, int]) -> None:
    kernel, x = normal(shape), normal((1, 2, 7, 9))
    (height, width), size = shape, x.shape[-2:]
    down, right = height // 2, width // 2  # a kernel's middle; a convolution looks the other way round
    wide = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (height, height), (width, width)), "symmetric"))
    by_hand = sum(
        kernel[i, j] * wide.roll((i - down, j - right), (-2, -1))[..., height : height + size[0], width : width + size[1]]
        for i in range(height)
        for j in range(width)
    )
    torch.testing.assert_close(Blur(kernel, "reflect")(x), by_hand, rtol=1e-4, atol=1e-5)
    if height < size[0]:
        inside = by_hand[..., height - 1 - down : size[0] - down, width - 1 - right : size[1] - right]
        torch.testing.assert_close(Blur(kernel, "valid")(x), inside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_pillows(quality: int, mode: str) -> None:
    """Within a level or two on average (theirs rounds to 8 bits and smooths chroma); far nearer than the picture itself."""
    from PIL import Image

    colours = GaussianBlur(8.0)(normal((1, len(mode), 48, 64))) * 6
    smooth = GaussianBlur(2.0)(normal((1, 1, 48, 64), "brightness")) * 2 + colours
    pixels = ((smooth.clamp(-0.6, 0.6) + 1) * 127.5).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(), mode).save(file, "JPEG", quality=quality, subsampling=2)
    theirs = np.asarray(Image.open(file), dtype=np.float32).reshape(pixels.shape)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    ours = ((JPEG(quality)(x)[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    far, lost = np.abs(ours - theirs).mean(), np.abs(theirs - pixels).mean()
    assert far < (1.0 if mode == "L" else 2.0) or far < 0.3 * lost


def test_white_is_repainted() -> None:
    x = torch.ones(1, 1, 2, 2)
    white = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(Mask(white)(x)[0, 0], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))


def test_through_a_decoder() -> None:
    """What is measured of a latent's picture."""

    def decode(z: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(z, scale_factor=4.0).tanh()

    z = normal((2, 3, 4, 4))
    through = Downsample(4, "area") @ decode
    torch.testing.assert_close(through(z), z.tanh(), rtol=1e-5, atol=1e-6)
    assert not through.linear
    with pytest.raises(ValueError, match="not linear"):
        through.adjoint(z, z)
    with pytest.raises(ValueError, match="no pseudo-inverse"):
        through.pinv(z, z)


def test_not_linear_has_no_adjoint() -> None:
    with pytest.raises(ValueError, match="not linear"):
        Quantize(4).adjoint(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    "make",
    [lambda: Downsample(0), lambda: GaussianBlur(0.0), lambda: MotionBlur(-1.0), lambda: Quantize(1), lambda: JPEG(0),
     lambda: Measurement(Identity(), torch.zeros(1), -1.0), lambda: Gray((1.0, 1.0))(torch.zeros(1, 3, 2, 2)),
     lambda: MotionBlur(3.0, 0.0, "zero"), lambda: Blur(torch.ones(3, 3), "valid")(torch.zeros(1, 1, 2, 5))],
)  # fmt: skip
def test_options_are_checked(make: object) -> None:
    with pytest.raises(ValueError, match=r"given|expected"):
        make()  # type: ignore[operator]


def test_measurement_is_finite() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Measurement(Identity(), torch.tensor([float("nan")]))


@pytest.mark.parametrize("std", [0.05, 0.1, 0.3])
def test_noise_is_estimated(std: float) -> None:
    edges = torch.ones(1, 1, 128, 128)
    edges[..., 40:90, 30:100] = -1
    edges[..., 60:70, :] = 0.3
    assert noise_std(edges + std * normal((1, 1, 128, 128))) == pytest.approx(std, rel=0.07)
    assert noise_std(edges) < 1e-6
    colours = edges * torch.tensor([1.0, 0.3, -0.5])[:, None, None]
    assert noise_std(colours + std * normal((1, 3, 128, 128))) == pytest.approx(std, rel=0.05)
    assert noise_std((edges + std * normal((1, 1, 128, 128))).expand(-1, 3, -1, -1)) == pytest.approx(std, rel=0.07), (
        "grey in RGB"
    )
    assert noise_std(std * normal((1, 1, 3, 9))) == 0, "too small to tell"


def test_texture_is_no_noise() -> None:
    """Where part of a picture is flat, or its colours move together."""
    texture = GaussianBlur(0.5)(normal((1, 1, 64, 64), "texture"))
    texture[..., :28] = 0.2
    assert noise_std(texture) < 0.02 < 0.1 * float(texture[..., 28:].std())
    coloured = texture[..., 28:] * torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    assert noise_std(coloured + 0.05 * normal((1, 3, 64, 36))) == pytest.approx(0.05, rel=0.1)


def test_conjugate_gradients_solve_each_sample() -> None:
    b = normal((3, 20), dtype=torch.float64)
    root = normal((3, 20, 20), "root", torch.float64)
    matrix = root @ root.mT + torch.eye(20)
    x = conjugate_gradients(lambda v: (matrix @ v[..., None])[..., 0], b)
    torch.testing.assert_close((matrix @ x[..., None])[..., 0], b, rtol=1e-6, atol=1e-6)
