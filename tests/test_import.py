"""Published weights in: directories of diffusers and files by preset become runs that answer and walk as they did there."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

import unnoise
from unnoise import Model
from unnoise.codec import Scaled
from unnoise.condition import Condition
from unnoise.network import Classifier, DiT, NCSNpp, UNet
from unnoise.task.bring import bring
from unnoise.tensor import Rng
from unnoise.zoo import diffusers, dit, edm, guided
from unnoise.zoo.links import labels

FEATURES = [(True, 0), (False, 1), (True, 1)]


def drawn(seed: int) -> dict[str, Any]:
    """A small configuration of UNet2DModel, of all that we take."""
    draw = random.Random(seed)
    levels, groups = draw.choice([1, 2, 3]), draw.choice([2, 4])
    resampled = draw.choice(["conv", "conv", "resnet"])
    plain = "ResnetDownsampleBlock2D" if resampled == "resnet" else "DownBlock2D"
    kinds = [draw.choice([plain, "AttnDownBlock2D"]) for _ in range(levels)]
    flip, shift = draw.choice(FEATURES)
    scale_shift = draw.random() < 0.3
    channels = draw.choice([1, 2, 3])
    widths = [8 * draw.choice([1, 2, 3]) for _ in range(levels)]
    return {
        "sample_size": draw.choice([8, 12, [8, 16]]),
        "in_channels": channels,
        "out_channels": channels * draw.choice([1, 1, 2]),
        "layers_per_block": draw.choice([1, 2]),
        "block_out_channels": widths,
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up").replace("sampleB", "sampleB") for kind in reversed(kinds)],
        "flip_sin_to_cos": flip,
        "freq_shift": shift,
        "downsample_padding": draw.choice([0, 1]),
        "downsample_type": resampled,
        "upsample_type": resampled,
        "attention_head_dim": draw.choice([None, 4, 8]),
        "norm_num_groups": groups,
        "attn_norm_num_groups": groups if scale_shift else None,
        "resnet_time_scale_shift": "scale_shift" if scale_shift else "default",
        "norm_eps": draw.choice([1e-5, 1e-6]),
        "num_class_embeds": draw.choice([None, 5]),
        "add_attention": draw.choice([True, True, False]),
        "time_embedding_dim": draw.choice([None, 24]),
        "dropout": draw.choice([0.0, 0.1]),
        "act_fn": draw.choice(["silu", "swish"]),
    }


def asked(network: Any, theirs: Any, classes: int | None, channels: int, sides: list[int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x, level = torch.randn(3, channels, *sides, generator=generator), torch.tensor([0.0, 250.0, 999.0])
    label = torch.tensor([0, 3, 4]) if classes else None
    with torch.no_grad():
        said = theirs(x, level, label).sample
        return network(x, level, {} if label is None else {"label": label}), said


@pytest.mark.parametrize("seed", range(20))
def test_a_directory_of_diffusers_answers_the_same(seed: int, tmp_path: Path) -> None:
    UNet2DModel = pytest.importorskip("diffusers").UNet2DModel
    config = drawn(seed)
    torch.manual_seed(seed)
    theirs = UNet2DModel(**config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    form = seed % 4  # one file, several, the old names, a pickle
    theirs.save_pretrained(tmp_path, max_shard_size="30KB" if form == 1 else "1GB", safe_serialization=form != 3)
    if form == 2:
        file = tmp_path / "diffusion_pytorch_model.safetensors"
        new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        renamed = {}
        for name, tensor in load_file(file).items():
            old = next((name.replace(f".{n}.", f".{o}.") for n, o in new.items() if f".{n}." in name), name)
            renamed[old] = tensor
        save_file(renamed, file)
    model = Model.from_pretrained(tmp_path, pickles=form == 3)
    sides = config["sample_size"] if isinstance(config["sample_size"], list) else [config["sample_size"]] * 2
    ours, said = asked(model.denoiser.network, theirs, config["num_class_embeds"], config["in_channels"], sides)
    assert torch.allclose(ours, said, atol=1e-5, rtol=1e-5)
    assert model.domain.shape == (config["in_channels"], *sides)


def test_a_pickle_is_read_by_explicit_import_alone(tmp_path: Path) -> None:
    theirs = pytest.importorskip("diffusers").UNet2DModel(**drawn(0))
    theirs.save_pretrained(tmp_path / "theirs", safe_serialization=False)
    with pytest.raises(ValueError, match=r"has its weights as a pickle alone.*unnoise import"):
        Model.from_pretrained(tmp_path / "theirs")
    certificate, _ = bring(tmp_path / "theirs", tmp_path / "run")
    assert certificate.passed and unnoise.load(tmp_path / "run").domain.shape


def pipeline(folder: Path, kind: str, scheduler: Any) -> Any:
    module = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = module.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    made = getattr(module, kind)(unet=unet, scheduler=scheduler)
    made.save_pretrained(folder)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
def test_pipelines_make_the_same_pictures_at_equal_noise(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("diffusers")
    theirs = pipeline(tmp_path / "theirs", f"{kind}Pipeline", getattr(module, f"{kind}Scheduler")())
    noises = [torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(k)) for k in range(11)]
    drawn = iter(noises)
    for place in (f"pipelines.{kind.lower()}.pipeline_{kind.lower()}", f"schedulers.scheduling_{kind.lower()}"):
        monkeypatch.setattr(f"diffusers.{place}.randn_tensor", lambda *args, **options: next(drawn))
    expected = torch.from_numpy(theirs(num_inference_steps=10, output_type="np").images).movedim(-1, 1)

    certificate, differs = bring(tmp_path / "theirs", tmp_path / "run")
    told = json.loads((tmp_path / "run" / "certificate.json").read_text())
    assert certificate.passed and differs == () and "UNet2DModel" in str(told["sides"]) and told["verdict"] == "equal"
    model = unnoise.load(tmp_path / "run")
    assert model.defaults.steps == (1000 if kind == "DDPM" else 50)
    ours = iter(noises[1:])
    visited = model.times(model.denoiser.schedule, 10)
    denoiser = model.guided(model.guidance)
    x = model.sampler(denoiser, noises[0].clone(), visited, rng=lambda like, t, s: next(ours))
    assert torch.allclose((x / 2 + 0.5).clamp(0, 1), expected, atol=1e-4)
    assert torch.equal(model.sample(2, steps=3), Model.from_pretrained(tmp_path / "run").sample(2, steps=3))


def test_in_double_precision_a_walk_of_ddim_is_theirs(tmp_path: Path) -> None:
    """In float32 a deterministic walk's pictures are apart by rounding, which its first steps, from little signal, enlarge."""
    theirs = pipeline(tmp_path, "DDIMPipeline", pytest.importorskip("diffusers").DDIMScheduler())
    model = Model.from_pretrained(tmp_path)
    denoiser, unet, scheduler = model.denoiser.double(), theirs.unet.double(), theirs.scheduler
    unet.time_proj = denoiser.network.embed.features  # theirs is of float32 in any case, and so is its table
    unet.time_proj.register_forward_pre_hook(lambda module, given: (given[0].double(),))
    scheduler.alphas_cumprod = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    scheduler.set_timesteps(10)
    x = noise = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
        ours = model.sampler(model.guided(model.guidance), noise, model.times(denoiser.schedule, 10))
    assert (ours - x).abs().max() <= 1e-10


def test_a_folder_without_a_scheduler_says_what_is_assumed(tmp_path: Path) -> None:
    pytest.importorskip("diffusers").UNet2DModel(**drawn(4)).save_pretrained(tmp_path)
    assert Model.from_pretrained(tmp_path).notes == ("no scheduler is given: DDPM's own is assumed",)


SMALL: dict[str, Any] = {"width": 32, "multipliers": (1, 2), "blocks": 1, "groups": 32, "features": "cos sin"}
EDM_CONFIG = {"model_type": "DhariwalUNet", "img_resolution": 8, "img_channels": 3, "label_dim": 4, "model_channels": 32,
              "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}  # fmt: skip
FILES: dict[str, tuple[Any, Any, type]] = {
    "guided": (guided, lambda: UNet((3, 8, 8), labels(4), **SMALL, head_width=16, variance=True), UNet),
    "classifier": (guided, lambda: Classifier((3, 8, 8), 5, width=32, multipliers=(1, 1), groups=32, heads=2), Classifier),
    "dit": (dit, lambda: DiT((4, 8, 8), labels(3), width=24, depth=2, heads=3, variance=True), DiT),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_file_of_weights_becomes_a_run(name: str, ending: str, tmp_path: Path) -> None:
    room, make, kind = FILES[name]
    torch.manual_seed(1)
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    config, weights = room.dump(network)
    (tmp_path / "config.json").write_text(json.dumps(config))
    file = tmp_path / f"weights{ending}"
    torch.save(weights, file) if ending == ".pt" else save_file(weights, file)
    certificate, _ = bring(file, tmp_path / "run", preset=str(tmp_path / "config.json"))
    assert certificate.passed and "was at hand" in certificate.note
    model = unnoise.load(tmp_path / "run")
    again = model.denoiser.network
    assert isinstance(again, kind)
    if name == "guided":  # theirs has no row for none
        network.embed.conditions[0].table.weight.data[-1] = 0
    assert all(torch.equal(again.state_dict()[key], value) for key, value in network.state_dict().items())
    if name != "classifier":
        x = model.sample(1, steps=3, cond={"label": 1})
        assert x.shape == (1, *network.shape) and x.isfinite().all()


def test_edm_weights_with_their_configuration(tmp_path: Path) -> None:
    network = edm.make(EDM_CONFIG)
    theirs = {}
    for link in edm._unet(EDM_CONFIG, network):  # their names, of values that the links can take
        shape = network.state_dict()[link.ours].shape
        shape = (shape[1], shape[0] - 1) if "map_label" in link.theirs[0] else shape
        for their in link.theirs:
            theirs[their] = 0.05 * torch.randn(*shape, *([1, 1] if ".qkv.w" in their or ".proj.w" in their else []))
    torch.save(theirs, tmp_path / "weights.pt")
    (tmp_path / "edm.json").write_text(json.dumps(EDM_CONFIG))
    bring(tmp_path / "weights.pt", tmp_path / "run", preset=str(tmp_path / "edm.json"))
    model = unnoise.load(tmp_path / "run")
    assert type(model.sampler).__name__ == "Heun" and model.defaults.steps == 40
    assert model.sample(1, steps=3, cond={"label": 2}).isfinite().all()


def test_a_preset_is_guessed_from_the_name_or_asked_for(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1)}, tmp_path / "256x256_difusion.pt")
    with pytest.raises(ValueError, match=r"--preset NAME.*256x256_diffusion"):
        Model.from_pretrained(tmp_path / "256x256_difusion.pt")
    torch.save({"w": torch.ones(1)}, tmp_path / "edm-cifar10-32x32-cond-vp.pt")
    with pytest.raises(ValueError, match="the weights are fewer than this configuration has"):
        Model.from_pretrained(tmp_path / "edm-cifar10-32x32-cond-vp.pt")
    with pytest.raises(ValueError, match="a pickle of a program, which is never run here"):
        (tmp_path / "edm.pkl").write_bytes(b"cos\nsystem\n")
        Model.from_pretrained(tmp_path / "edm.pkl")


def test_every_preset_makes_a_recipe_that_holds() -> None:
    from unnoise.recipe import Recipe
    from unnoise.zoo.links import build
    from unnoise.zoo.preset import PRESETS, ROOMS

    assert len(PRESETS) > 40 and build and NCSNpp
    for family, published in PRESETS.values():
        plan = ROOMS[family].plan(published.config)
        loss = "CrossEntropy" if plan.kind is Classifier else "Denoising"
        rest = {"schedule": {"VP": {}}, "prediction": {"v": {}}, "loss": {loss: {}}}
        recipe = Recipe({"domain": {"Images": {"root": "none"}}, "network": plan.section(), **rest})
        recipe.check()
        with torch.device("meta"):
            keys = {"classes": 1000} if plan.kind is Classifier else {"conds": plan.conds}
            keys = {} if "classes" in plan.keys else keys
            made = recipe.build("network", shape=plan.shape, **keys)
            mine = plan.make()
        assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in mine.state_dict().items()}


def test_an_upsampler_enlarges_pictures_once_it_is_imported(tmp_path: Path) -> None:
    """It is shown the small picture as it was there: means of areas, enlarged bilinearly."""
    from PIL import Image

    from unnoise.operator import Downsample
    from unnoise.task.edit import Wish, edit
    from unnoise.task.sample import Order

    seen = {"seen": Condition(route="concat", shape=(3, 8, 8))}
    network = UNet((3, 8, 8), labels(4) | seen, 32, (1, 2), 1, groups=32, head_width=16, attention=(1,), variance=True)
    config, weights = guided.dump(network)
    save_file({key: value.contiguous() for key, value in weights.items()}, tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text(json.dumps(config))
    model = Model.from_pretrained(tmp_path / "net.safetensors", preset=str(tmp_path / "net.json"))
    assert model.shown and model.shown.members == (Downsample(4, "area", "bilinear"),)
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    small = F.interpolate(x, 2, mode="area")
    expected = F.interpolate(small, 8, mode="bilinear", align_corners=False)
    assert torch.allclose(model.shown.of(x, Rng([0, 1]))["seen"], expected, atol=1e-6)
    model.save(tmp_path / "run")
    Image.new("RGB", (2, 2), (90, 20, 200)).save(tmp_path / "small.png")
    order = Order([0], {"label": 2}, ["model.Defaults.steps=3"])
    (one,) = edit(tmp_path / "run", [tmp_path / "small.png"], Wish("upscale", 4, n=1), order, tmp_path / "out")
    assert Image.open(one.paths[0]).size == (8, 8)


def test_scaled_latents_come_back() -> None:
    codec, x = Scaled(8.0), torch.randn(2, 4, 8, 8)
    assert torch.equal(codec.decode(codec.encode(x)), x) and codec.shape((4, 8, 8)) == (4, 8, 8)
    with pytest.raises(ValueError, match="factor = 0"):
        Scaled(0.0)


def test_dumps_stay_what_they_were() -> None:
    """The configuration that an export writes is one that an import takes."""
    config, weights = diffusers.dump(UNet((3, 8, 8), width=16, blocks=1, head_width=8, features="sin cos", groups=8))
    assert torch.equal(diffusers.load(weights, config).state_dict()["stem.weight"], weights["conv_in.weight"])


def test_a_pipeline_of_dit_gives_latents_and_names_of_classes(tmp_path: Path) -> None:
    module = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = module.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8, patch_size=2,
        num_embeds_ada_norm=3, norm_num_groups=4,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path / "theirs" / "transformer")
    module.DDIMScheduler(clip_sample=False).save_pretrained(tmp_path / "theirs" / "scheduler")
    parts = {"transformer": "DiTTransformer2DModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler"}
    index = {"_class_name": "DiTPipeline", **{name: ["diffusers", kind] for name, kind in parts.items()}}
    index["id2label"] = {"0": "tench, Tinca tinca", "1": "goldfish", "2": "shark"}
    (tmp_path / "theirs" / "model_index.json").write_text(json.dumps(index))
    certificate, differs = bring(tmp_path / "theirs", tmp_path / "run")
    assert certificate.passed and "DiTTransformer2DModel" in str(certificate.sides) and "latents" in differs[0]
    model = unnoise.load(tmp_path / "run")
    assert model.domain.conds["label"].classes == ("tench", "goldfish", "shark")
    x = model.sample(1, steps=3, cond={"label": "goldfish"})
    assert x.shape == (1, 4, 8, 8) and model.denoiser.network.variance
    path, *_ = model.domain.save(x.clamp(-1, 1), tmp_path / "samples", ["0"])
    assert path.suffix == ".npy" and torch.allclose(model.domain.load([path]), x.clamp(-1, 1))
