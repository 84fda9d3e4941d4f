"""Exports: what other programs make of them is what we make ourselves."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unnoise.denoiser import Denoiser
from unnoise.guidance import Guided
from unnoise.model import Model, load
from unnoise.recipe import Recipe
from unnoise.schedule import Discrete
from unnoise.task.export import diffusers, export
from unnoise.task.export.table import PREDICTIONS, chain
from unnoise.train import read_weights
from unnoise.zoo import diffusers as names

LABEL = {"label": {"route": "vector", "shape": [], "classes": ["cat", "dog", "eel"], "drop": 0.1}}
BASE = {"domain": {"Images": {"root": ""}}, "schedule": {"LinearBetas": {}}, "prediction": {"eps": {}}, "guidance": {"Clip": {}}}
NET = {"width": 16, "multipliers": [1, 2], "blocks": 1, "groups": 8}


def make(sections: dict[str, Any], shape: tuple[int, ...] = (3, 8, 8), conds: dict[str, Any] | None = None) -> Model:
    """A model of pictures that are nowhere, with weights that matter."""
    import tomli_w

    facts = {"shape": list(shape), "depth": "uint8", "range": [0, 255], "channels": "rgb" if shape[0] == 3 else "grey"}
    conds = conds or {}
    columns = {"counts": {name: [1] * 3 for name in conds}, "spread": {}, "table": {name: [0, 1, 2] for name in conds}}
    facts |= {"transform": {"resize": "lanczos", "crop": "center", "background": "white"}, "conds": conds, **columns}
    recipe = Recipe.parse(tomli_w.dumps({**BASE, "network": {"UNet": NET}, **sections}))
    generator = torch.Generator().manual_seed(len(str(sections)))
    model = Model(recipe, facts)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    model.denoiser.eval().requires_grad_(False)
    return model


def saved(model: Model, folder: Path) -> Path:
    model.save(folder, {"format": "unnoise", "step": "7"})
    return folder


def drawn(number: int) -> tuple[dict[str, Any], tuple[int, ...], dict[str, Any], dict[str, Any] | None]:
    """The number-th random configuration that stock classes can express: recipe, shape, conditions, those to fix."""
    pick = random.Random(number)
    levels = pick.choice([0, 1, 2])
    groups = pick.choice([4, 8])
    heads: dict[str, Any] = pick.choice([{"heads": 1}, {"head_width": 8}])
    learned = pick.random() < 0.2
    net = {
        "width": pick.choice([16, 24]), "multipliers": [1, *(pick.choice([1, 2, 3]) for _ in range(levels))],
        "blocks": pick.choice([1, 2]),
        "attention": [level for level in range(levels + 1) if pick.random() < 0.4], "middle": pick.random() < 0.7, **heads,
        "embedding": pick.choice(["add", "scale_shift"]), "groups": groups, "eps": pick.choice([1e-5, 1e-6]),
        "resample": pick.choice(["conv", "conv_right", "residual"]), "variance": learned, "dropout": pick.choice([0.0, 0.1]),
        "features": pick.choice(["cos sin", "sin cos", "cos sin endpoint"]), "dim": pick.choice([32, 64]),
    }  # fmt: skip
    kinds: list[tuple[str, dict[str, Any], list[str]]] = [
        ("Ancestral", {"variance": pick.choice(["small", "large"])}, ["Leading", "Linspace"]),
        ("DDIM", {"raw": True}, ["Leading", "Trailing"]),
        ("DDIM", {"eta": pick.choice([0.0, 1.0])}, ["Trailing"]),
        ("DPMpp2M", {"eta": pick.choice([0.0, 1.0]), "rule": pick.choice(["midpoint", "heun"])}, ["Trailing", "Spare"]),
        ("DPMpp3M", {"halved": True}, ["Trailing", "Spare"]),
    ]
    sampler, options, spacings = kinds[number % 5]
    if learned:
        sampler, options, spacings = "Ancestral", {"variance": "learned"}, ["Leading"]
    spacing = pick.choice(spacings)
    times = {"Linspace": {"spare": True}} if spacing == "Spare" else {spacing: {}}
    conds = LABEL if pick.random() < 0.4 else {}
    sections = {
        "schedule": {pick.choice(["LinearBetas", "ScaledLinearBetas", "CosineBetas", "SigmoidBetas", "Cosine", "VP"]): {}},
        "prediction": {pick.choice(["eps", "v", "x0"]): {}},
        "network": {"UNet": net}, "sampler": {sampler: options}, "times": times,
        "guidance": {"Clip": {}} if pick.random() < 0.7 else {}, "model": {"Defaults": {"steps": pick.choice([4, 5, 8])}},
    }  # fmt: skip
    shape = (pick.choice([1, 3]), 8, pick.choice([8, 16]))
    return sections, shape, conds, {"label": pick.choice(["cat", "eel", None])} if conds else None


def ours(model: Model, network: Any, seed: int) -> Tensor:
    """Our pictures in [0, 1], from noise of a generator of torch's."""
    schedule = model.denoiser.schedule
    denoiser: Any = Denoiser(network, schedule, model.denoiser.predict)
    if not isinstance(schedule, Discrete):
        table, kind = chain(model.denoiser)
        denoiser = Denoiser(network, table, PREDICTIONS[kind])
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *network.shape, generator=draws)
    guided = Guided(denoiser, *model.guidance) if model.guidance else denoiser
    times = model.times(denoiser.schedule, model.defaults.steps)
    x = model.sampler(guided, x, times, rng=lambda like, t, s: torch.randn(like.shape, generator=draws))
    return (x / 2 + 0.5).clamp(0, 1)


def theirs(folder: Path, steps: int, seed: int) -> Tensor:
    stock_library = pytest.importorskip("diffusers")
    pipeline = stock_library.DDPMPipeline.from_pretrained(folder, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(2, torch.Generator().manual_seed(seed), num_inference_steps=steps, output_type="np").images
    return torch.from_numpy(made).movedim(-1, 1)


@pytest.mark.parametrize("number", range(20))
def test_diffusers_samples_the_same_pictures(number: int, tmp_path: Path) -> None:
    sections, shape, conds, fixed = drawn(number)
    model = make(sections, shape, conds)
    certificate = diffusers.write(model, tmp_path, fixed)
    assert certificate.passed and len(certificate.comparisons) == 4
    network = diffusers.network_of(model, fixed)
    made = theirs(tmp_path, model.defaults.steps, number)
    assert (made - ours(model, network, number)).abs().max() <= 1e-4
    back = names.load(
        read_weights(tmp_path / "unet" / diffusers.WEIGHTS)[0], json.loads((tmp_path / "unet" / "config.json").read_text())
    )
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in back.state_dict().items())


FEW = {"model": {"Defaults": {"steps": 4}}, "times": {"Trailing": {}}, "sampler": {"DPMpp2M": {}}}


def code(folder: Path) -> str:
    """The Python of a model card, for this folder."""
    text = (folder / "README.md").read_text().replace("THIS_FOLDER", str(folder))
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_a_model_told_a_class_keeps_it_and_its_null(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    run = saved(make(FEW, (1, 8, 8), LABEL), tmp_path / "run")
    export(run, tmp_path / "out", "diffusers")
    ours = load(run).denoiser.network
    config = json.loads((tmp_path / "out" / "unet" / "config.json").read_text())
    assert config["num_class_embeds"] == 4 and config["_null_class"]
    back = names.load(read_weights(tmp_path / "out" / "unet" / diffusers.WEIGHTS)[0], config)
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in back.state_dict().items())
    made: dict[str, Any] = {}
    exec(code(tmp_path / "out").replace("torch.tensor([3])", "torch.tensor([1])"), made)  # the card's own loop
    assert made["x"].shape == (1, 1, 8, 8) and made["x"].isfinite().all()


def test_what_goes_out_comes_in_again(tmp_path: Path) -> None:
    model = make(FEW, (1, 8, 8))
    export(saved(model, tmp_path / "run"), tmp_path / "out", "diffusers")
    back = Model.from_pretrained(tmp_path / "out")
    ours = model.denoiser.network.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in back.denoiser.network.state_dict().items())
    assert (back.sample(2, seed=3, steps=4) - model.sample(2, seed=3, steps=4)).abs().max() <= 1e-5


def test_a_transformer_goes_out(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    net = {"DiT": {"width": 24, "depth": 2, "heads": 3, "features": "cos sin endpoint", "eps": [1e-6, 1e-5]}}
    run = saved(make({**FEW, "network": net}, (1, 8, 8), LABEL), tmp_path / "run")
    certificate = export(run, tmp_path / "out", "diffusers")
    assert len(certificate.comparisons) == 4 and not (tmp_path / "out" / "model_index.json").exists()
    made: dict[str, Any] = {}
    exec(code(tmp_path / "out"), made)
    assert made["x"].shape == (1, 1, 8, 8)


def test_a_saved_model_is_loaded_anywhere(tmp_path: Path) -> None:
    model = make(FEW, (1, 8, 8), LABEL)
    model.recipe = Recipe.parse(model.recipe.dump().replace('root = ""', 'root = "/home/me/pictures"'))
    model.save_pretrained(tmp_path / "out", license="mit")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "certificate.json", "data.json", "recipe.toml", "weights.safetensors",
    ]  # fmt: skip
    assert not any(b"/home/me" in path.read_bytes() for path in (tmp_path / "out").iterdir())
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    back = load(tmp_path / "elsewhere")
    assert torch.equal(back.sample(2, seed=1), model.sample(2, seed=1))
    exec(code(tmp_path / "elsewhere"), {})
    told = json.loads((tmp_path / "elsewhere" / "certificate.json").read_text())
    assert told["verdict"] == "equal" and told["comparisons"][0]["absolute"] == 0
    with pytest.raises(ValueError, match="is not empty; name a new folder"):
        model.save_pretrained(tmp_path / "elsewhere")


def test_half_precision_is_half_the_size_and_proved(tmp_path: Path) -> None:
    run = saved(make({}), tmp_path / "run")
    certificate = export(run, tmp_path / "half", "unnoise", half=True)
    whole, weights = run / "weights.safetensors", tmp_path / "half" / "weights.safetensors"
    assert {one.dtype for one in read_weights(weights)[0].values()} == {torch.float16}
    assert weights.stat().st_size < 0.55 * whole.stat().st_size
    assert certificate.line()
    kept, before = (load(folder).denoiser.state_dict() for folder in (weights.parent, run))
    assert all(one.dtype == torch.float32 and torch.equal(one, before[name].half().float()) for name, one in kept.items())
    with pytest.raises(ValueError, match="--half"):
        export(run, tmp_path / "onnx", "onnx", half=True)


@pytest.mark.slow
def test_programs_answer_as_the_network(tmp_path: Path) -> None:
    run = saved(make(FEW, (1, 8, 8), LABEL), tmp_path / "run")
    given = {"x": torch.randn(3, 1, 8, 8), "level": torch.tensor([0.0, 500.0, 999.0]), "label": torch.tensor([0, 2, 3])}
    ours = load(run).denoiser.network(given["x"], given["level"], {"label": given["label"]})
    for form, tolerance in (("torch-export", 1e-5), ("onnx", 1e-4)):
        certificate = export(run, tmp_path / form, form)
        assert certificate.passed and all(one.tolerance == tolerance for one in certificate.comparisons)
        made: dict[str, Any] = {name: value.numpy() if form == "onnx" else value for name, value in given.items()}
        exec(code(tmp_path / form), made)  # the card's own call
        assert (torch.as_tensor(made["output"]) - ours).abs().max() <= tolerance


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"times": {"LogSNR": {}}}, "times LogSNR.* export with --set times=Trailing"),
    ({"sampler": {"Heun": {}}}, "sampler Heun.* is none that DDPMPipeline can run"),
    ({"sampler": {"DDIM": {"raw": True}}, "model": {"Defaults": {"steps": 7}}}, "a number of steps that divides 1000"),
    ({"schedule": {"Flow": {}}, "prediction": {"flow": {}}}, "prediction 'flow' on Flow.* is none of diffusers'"),
    ({"schedule": {"VE": {}}, "prediction": {"v": {}}}, "prediction 'v' on VE"),
    ({"level": {"log_snr": {}}}, "level 'log_snr': diffusers tells a network the entry of its table"),
    ({"guidance": {"Clip": {"low": -2.0, "high": 2.0}}}, "can clip at 1 alone"),
    ({"guidance": {"CFG": {"scale": 2.0}}}, "a pipeline of diffusers clips at most"),
    (
        {"network": {"UNet": {**NET, "groups": 0, "width": 32}}},
        r"groups of this network's layers are 8, 16, .* --set network.UNet.groups=NUMBER",
    ),
    ({"network": {"UNet": {**NET, "variance": True}}}, "of a network that learned a variance diffusers runs Ancestral"),
    ({"network": {"UNet": {**NET, "multipliers": [2, 2]}}}, "the first of the multipliers is 1"),
    ({"network": {"MLP": {}}}, "network MLP has no counterpart in diffusers"),
    ({"network": {"UNet": {**NET, "multipliers": [1, 1, 1, 1, 1]}}}, "takes multiples of 16"),
    ({"sampler": {"Ancestral": {"variance": "large"}}}, "adds noise to the picture where its last entry is not 0"),
]


@pytest.mark.parametrize(("change", "line"), REFUSED, ids=[line[:20] for _, line in REFUSED])
def test_what_stock_classes_cannot_say_is_refused_by_name(change: dict[str, Any], line: str, tmp_path: Path) -> None:
    model = make({**FEW, **change}, (1, 8, 8))
    with pytest.raises(ValueError, match=line) as error:
        diffusers.write(model, tmp_path)
    assert "\n" not in str(error.value)


def test_a_condition_is_fixed_as_a_whole_or_not(tmp_path: Path) -> None:
    model = make(FEW, (1, 8, 8), LABEL | {"kind": LABEL["label"]})
    with pytest.raises(ValueError, match=r"fixes label but not kind: fix all \(NAME=none is the null\) or none"):
        diffusers.write(model, tmp_path, {"label": "dog"})
    with pytest.raises(ValueError, match="one condition of classes at most"):
        diffusers.write(model, tmp_path)
    diffusers.write(model, tmp_path, {"label": "dog", "kind": None})
    assert (
        theirs(tmp_path, 4, 0) - ours(model, diffusers.network_of(model, {"label": "dog", "kind": None}), 0)
    ).abs().max() <= 1e-4


def test_a_proof_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = saved(make(FEW, (1, 8, 8)), tmp_path / "run")
    from unnoise.task.export import proof

    monkeypatch.setattr(proof, "answers", lambda *given: torch.rand(3))
    with pytest.raises(ValueError, match=r"do not agree: .*nothing was written"):
        export(run, tmp_path / "out", "diffusers")
    for form, line in (("gguf", "expected one of unnoise"), ("onnx", "--cond fixes conditions for diffusers")):
        with pytest.raises(ValueError, match=line):
            export(run, tmp_path / "out", form, cond={"label": 1} if form == "onnx" else None)
    with pytest.raises(ValueError, match=r"--set schedule\.VP=1: an export changes"):
        export(run, tmp_path / "out", "diffusers", overrides=["schedule.VP=1"])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
