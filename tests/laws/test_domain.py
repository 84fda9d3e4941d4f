"""Laws of every domain: what is saved is loaded, facts stand for the data, batches are functions of their arguments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import unnoise.domain
from unnoise.domain import Digits, Domain, Images, Points
from unnoise.domain.toy import SHAPES
from unnoise.tensor import Rng


def picture_folder(folder: Path) -> Path:
    """40 random pictures of 6 x 5 RGB in two classes, with a number for most of them."""
    from PIL import Image

    random = np.random.default_rng(0)
    lines = ["file_name,age"]
    for i in range(40):
        path = folder / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (6, 5, 3), np.uint8)).save(path)
        lines.append(f"{path.relative_to(folder)},{'' if i % 10 == 0 else i}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder


CASES = {
    **{f"Points-{name}": lambda folder, name=name: Points(name, n=500) for name in SHAPES},
    "Digits": lambda folder: Digits(),
    "Images": lambda folder: Images(str(picture_folder(folder)), flip=True),
}


@pytest.fixture(params=CASES)
def domain(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Domain:
    monkeypatch.setenv("UNNOISE_CACHE", str(tmp_path / "cache"))
    return CASES[request.param](tmp_path / "data")


def test_every_domain_has_a_case() -> None:
    members = [getattr(unnoise.domain, name) for name in unnoise.domain.__all__]
    concrete = {m.__name__ for m in members if isinstance(m, type) and issubclass(m, Domain) and m is not Domain}
    assert concrete == {case.split("-")[0] for case in CASES}


def test_save_then_load_is_the_same(domain: Domain, tmp_path: Path) -> None:
    x = domain.dataset().batch(torch.arange(8))["x"]
    paths = domain.save(x, tmp_path / "out", [f"s{i}" for i in range(8)], [{"seed": str(i)} for i in range(8)])
    torch.testing.assert_close(domain.load(paths), x, atol=1e-6, rtol=0)


def test_project_twice_is_once(domain: Domain) -> None:
    x = torch.randn(4, *domain.shape)
    torch.testing.assert_close(domain.project(domain.project(x)), domain.project(x))


def test_batches_are_functions_of_their_arguments(domain: Domain) -> None:
    dataset, indices, rng = domain.dataset(), torch.tensor([3, 0, 3]), Rng(5, torch.arange(3))
    for first, second in (
        (dataset.batch(indices), domain.dataset().batch(indices)),
        (dataset.batch(indices, rng), dataset.batch(indices, rng)),
        (dataset.batch(indices)["x"][1:2], dataset.batch(indices[1:2])["x"]),
    ):
        torch.testing.assert_close(first, second, atol=0, rtol=0, equal_nan=True)
    batch = dataset.batch(indices)
    assert batch["x"].shape == (3, *domain.shape) and batch["x"].dtype == torch.float32
    torch.testing.assert_close(batch["x"][0], batch["x"][2])
    assert set(batch) == {"x", *domain.conds}
    for name, condition in domain.conds.items():
        assert batch[name].shape == (3, *condition.shape)
        assert batch[name].dtype == (torch.int64 if condition.classes else torch.float32)


def test_facts_stand_for_the_data(domain: Domain, tmp_path: Path) -> None:
    facts = json.loads(json.dumps(domain.facts(), allow_nan=False))
    absent = type(domain)(root="nowhere") if isinstance(domain, Images) else domain
    known = absent.with_facts(facts)
    assert known.shape == domain.shape and known.conds == domain.conds
    x = torch.rand(2, *domain.shape) * 2 - 1
    texts = [[path.read_bytes() for path in d.save(x, tmp_path / "out", ["a", "b"])] for d in (domain, known)]
    assert texts[0] == texts[1]
    assert {name: value.shape for name, value in known.draw(Rng([1, 2, 3])).items()} == {
        name: (3, *condition.shape) for name, condition in domain.conds.items()
    }


def test_splits_are_apart(domain: Domain) -> None:
    whole = {split: domain.dataset(split) for split in ("train", "val")}
    for split, dataset in whole.items():
        assert len(dataset) == domain.facts()["splits"][split] > 0
    train, val = ({x.numpy().tobytes() for x in d.batch(torch.arange(len(d)))["x"]} for d in whole.values())
    assert not train & val
    with pytest.raises(ValueError, match="no split 'valid'"):
        domain.dataset("valid")


def test_grid_is_one_picture(domain: Domain) -> None:
    assert min(domain.grid(torch.zeros(5, *domain.shape)).size) > 5


@pytest.mark.parametrize("name", SHAPES)
def test_points_have_unit_variance(name: str) -> None:
    dataset = Points(name, n=2000).dataset()
    x = dataset.batch(torch.arange(2000))["x"]
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.mean(0), torch.zeros(2), atol=1e-4, rtol=0)


def test_points_of_a_larger_set_begin_with_those_of_a_smaller() -> None:
    small, large = Points(n=10)._raw("train")[0], Points(n=20)._raw("train")[0]
    torch.testing.assert_close(small, large[:10])


def test_digits_are_the_real_ones() -> None:
    digits = Digits()
    splits = digits.facts()["splits"]
    assert sum(splits.values()) == 1797 and all(0.08 < splits[part] / 1797 < 0.12 for part in ("val", "test"))
    datasets = pytest.importorskip("sklearn.datasets")
    ours = np.rint(digits._data[0][:, 0] / 255 * 16)
    np.testing.assert_array_equal(ours, datasets.load_digits().images)
    np.testing.assert_array_equal(digits._data[1]["label"], datasets.load_digits().target)


@pytest.mark.parametrize("bad", [{"name": "three_moons"}, {"n": 1}])
def test_points_refuse_what_cannot_be(bad: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        Points(**bad)
