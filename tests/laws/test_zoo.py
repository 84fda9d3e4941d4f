"""Laws of the zoo: published sizes, weights there and back, and one clear line for what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unnoise.condition import Condition
from unnoise.network import Classifier, DiT, NCSNpp, UNet
from unnoise.zoo import diffusers, dit, edm, guided
from unnoise.zoo.anatomy import anatomy
from unnoise.zoo.links import labels

DDPM = {
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "downsample_padding": 0,
    "attention_head_dim": None,
    "norm_eps": 1e-6,
}


def ddpm(widths: list[int], attended: int, size: int) -> dict[str, Any]:
    """The configuration of a google/ddpm file."""
    kinds = ["AttnDownBlock2D" if level == attended else "DownBlock2D" for level in range(len(widths))]
    up = [kind.replace("Down", "Up") for kind in reversed(kinds)]
    return {**DDPM, "sample_size": size, "block_out_channels": widths, "down_block_types": kinds, "up_block_types": up}


DDPM_CONFIGS = {
    "ddpm cifar10": ddpm([128, 256, 256, 256], 1, 32),
    "ddpm lsun, celeba-hq": ddpm([128, 128, 256, 256, 512, 512], 4, 256),
}
# Parameters in millions as published, and exactly as counted here; of each network as its own code has it, that is without the
# row for none where a table of classes has none. A: Dhariwal and Nichol (2021), hyperparameters, "model size"; B: names of files
# and read-me of openai/improved-diffusion; C: Ho et al. (2020), section 4 and appendix B; D: Karras et al. (2022), "model size";
# E: Peebles and Xie (2023), table 1. Where somebody publishes the very number, ours is that number: DiT's code prints 675,129,632
# for XL/2, 294,912 of them positions, which are no parameters here; DDPM's two are counted in diffusers' own class, below. Of the
# others the papers say as much as stands in the first column, and the second holds what was counted once.
PUBLISHED: dict[str, tuple[float, int, Callable[[], nn.Module]]] = {
    **{
        name: (millions, count, lambda name=name: guided.make(guided.PRESETS[name].config))
        for name, millions, count in (
            ("64x64_diffusion", 296, 295_904_454),  # A
            ("128x128_diffusion", 422, 421_529_606),
            ("256x256_diffusion", 554, 553_838_086),
            ("256x256_diffusion_uncond", 552, 552_814_086),
            ("512x512_diffusion", 559, 558_997_638),
            ("lsun_bedroom", 552, 552_814_086),
            ("64_256_upsampler", 312, 311_795_910),
            ("128_512_upsampler", 309, 308_835_270),
            ("64x64_classifier", 65, 65_438_568),
            ("128x128_classifier", 43, 42_568_040),
            ("256x256_classifier", 54, 54_096_360),
            ("512x512_classifier", 54, 54_448_360),
            ("lsun_cat", 552, 552_814_086),
            ("lsun_horse", 552, 552_814_086),
            ("lsun_horse_nodropout", 552, 552_814_086),
            ("imagenet64_uncond_100M_1500K", 121, 121_063_942),  # B: "100M" is said of 120 million
            ("imagenet64_uncond_vlb_100M_1500K", 121, 121_063_942),
            ("cifar10_uncond_50M_500K", 52.5, 52_546_438),
            ("cifar10_uncond_vlb_50M_500K", 52.5, 52_546_438),
            ("lsun_uncond_100M_1200K_bs128", 114, 113_676_678),  # DDPM's size, C, and 6 channels out
            ("lsun_uncond_100M_2400K_bs64", 114, 113_676_678),
            ("imagenet64_cond_270M_250K", 270, 273_049_350),
            ("upsample_cond_500K", 280, 279_792_390),
        )
    },
    "ddpm cifar10": (35.7, 35_746_307, lambda: diffusers.make(DDPM_CONFIGS["ddpm cifar10"])),  # C
    "ddpm lsun, celeba-hq": (114, 113_673_219, lambda: diffusers.make(DDPM_CONFIGS["ddpm lsun, celeba-hq"])),
    "DDPM++ cifar10": (55.7, 55_732_739, lambda: NCSNpp((3, 32, 32))),  # D
    "DDPM++ ffhq": (61.8, 61_804_419, lambda: NCSNpp((3, 64, 64), multipliers=(1, 2, 2, 2), attention=(2,))),
    **{
        name: (millions, count, lambda name=name: edm.make(edm.PRESETS[name].config))
        for name, millions, count in (
            ("edm-cifar10-32x32-cond-vp", 56, 55_735_299),
            ("edm-cifar10-32x32-cond-ve", 56, 56_400_643),
            ("edm-cifar10-32x32-uncond-vp", 56, 55_733_891),
            ("edm-cifar10-32x32-uncond-ve", 56, 56_397_827),
            ("edm-ffhq-64x64-uncond-vp", 62, 61_805_571),
            ("edm-ffhq-64x64-uncond-ve", 62, 62_761_091),
            ("edm-afhqv2-64x64-uncond-vp", 62, 61_805_571),
            ("edm-afhqv2-64x64-uncond-ve", 62, 62_761_091),
        )
    },
    "edm adm": (295.9, 295_899_267, lambda: edm.make(edm.PRESETS["edm-imagenet-64x64-cond-adm"].config)),
    **{
        name: (millions, count, lambda name=name: dit.make(dit.PRESETS[name].config))
        for name, millions, count in (
            ("DiT-S/2", 33, 32_865_056),  # E
            ("DiT-S/4", 33, 32_920_448),
            ("DiT-S/8", 33, 33_142_016),
            ("DiT-B/2", 130, 130_315_808),
            ("DiT-B/4", 130, 130_426_496),
            ("DiT-B/8", 131, 130_869_248),
            ("DiT-L/2", 458, 457_840_672),
            ("DiT-L/4", 458, 457_988_224),
            ("DiT-L/8", 459, 458_578_432),
            ("DiT-XL/2", 675, 674_834_720),
            ("DiT-XL/4", 675, 675_000_704),
            ("DiT-XL/8", 676, 675_664_640),
            ("DiT-XL-2-256x256", 675, 674_834_720),
            ("DiT-XL-2-512x512", 675, 674_834_720),
        )
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_their_published_size(name: str) -> None:
    millions, count, make = PUBLISHED[name]
    with torch.device("meta"):
        network = make()
    rows = 0
    if isinstance(network, UNet) and network.embed.names:
        rows = network.embed.hidden.out_features  # for none, which is ours
    if isinstance(network, NCSNpp) and "augment" in network.conds:
        rows = 10 * network.embed.hidden.in_features  # nine flags of what is given, and a bias
    assert sum(parameter.numel() for parameter in network.parameters()) - rows == count
    assert count / 1e6 == pytest.approx(millions, rel=0.015)


@pytest.mark.parametrize("name", ["ddpm cifar10", "ddpm lsun, celeba-hq"])
def test_ddpm_has_the_size_that_diffusers_counts(name: str) -> None:
    UNet2DModel = pytest.importorskip("diffusers").UNet2DModel
    with torch.device("meta"):
        theirs = UNet2DModel.from_config(DDPM_CONFIGS[name])
    assert theirs.num_parameters() == PUBLISHED[name][1]


def test_no_preset_is_left_out() -> None:
    assert {name for room in (guided, edm, dit) for name in room.PRESETS} <= set(PUBLISHED) | {"edm-imagenet-64x64-cond-adm"}


@pytest.mark.parametrize("room", [guided, edm, dit], ids=["guided", "edm", "dit"])
def test_every_published_configuration_makes_a_network(room: Any) -> None:
    for published in room.PRESETS.values():
        with torch.device("meta"):
            assert isinstance(room.make(published.config), UNet | Classifier | NCSNpp | DiT)


SMALL: dict[str, Any] = {"width": 32, "multipliers": (1, 2), "blocks": 1, "groups": 32, "features": "cos sin"}
LOW = {"seen": Condition(route="concat", shape=(3, 8, 8))}
ROUND_TRIPS: dict[str, tuple[Any, Any, Callable[[], nn.Module]]] = {
    "guided": (guided, guided.dump, lambda: UNet((3, 8, 8), labels(4) | LOW, **SMALL, head_width=16, attention=(0, 1))),
    "guided heads": (
        guided,
        guided.dump,
        lambda: UNet((3, 8, 8), **SMALL, heads=2, embedding="add", resample="residual", variance=True),
    ),
    "guided pool": (guided, guided.dump, lambda: UNet((1, 8, 8), **SMALL, heads=4, resample="pool", attention=(), dropout=0.2)),
    "classifier": (guided, guided.dump, lambda: Classifier((3, 8, 8), 5, width=32, multipliers=(1, 1), groups=32, heads=2)),
    "spatial": (guided, guided.dump, lambda: Classifier((3, 8, 8), 5, "spatial_v2", 32, (1, 2), 1, groups=32, resample="conv")),
    "diffusers": (
        diffusers,
        diffusers.dump,
        lambda: UNet(
            (3, 8, 8), labels(3), 16, (1, 2), 1, (1,), heads=1, embedding="add", resample="conv_right", groups=4, eps=1e-6
        ),
    ),
    "diffusers residual": (
        diffusers,
        diffusers.dump,
        lambda: UNet((3, 8, 8), width=16, blocks=1, head_width=8, resample="residual", features="sin cos", groups=8, dim=32),
    ),
    "diffusers bare": (
        diffusers,
        diffusers.dump,
        lambda: UNet((3, 8, 8), width=16, attention=(), middle=False, embedding="add", features="cos sin endpoint", groups=8),
    ),
    "dit": (dit, dit.dump, lambda: DiT((4, 8, 8), labels(3), width=24, depth=2, heads=3, variance=True, ratio=3.0)),
    "dit diffusers": (
        dit,
        dit.dump_diffusers,
        lambda: DiT((4, 8, 8), labels(3), width=24, depth=2, heads=3, features="cos sin endpoint", eps=(1e-6, 1e-5)),
    ),
    "dit diffusers, each": (
        dit,
        dit.dump_diffusers,
        lambda: DiT((4, 8, 8), labels(3), width=16, depth=3, heads=2, features="cos sin endpoint", embeddings=3),
    ),
}


def awake(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def asked(network: nn.Module) -> Tensor:
    """An answer with a class, where it takes one, and the condition beside x."""
    generator = torch.Generator().manual_seed(2)
    conds = getattr(network, "conds", {})
    x = torch.randn(2, *network.shape, generator=generator)
    cond = {
        name: torch.tensor([0, 2]) if c.classes else torch.randn(2, *c.shape, generator=generator) for name, c in conds.items()
    }
    return network(x, torch.tensor([1.0, 500.0]), *([cond] if cond else []))


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_dumped_and_loaded_is_the_same(name: str) -> None:
    room, dump, make = ROUND_TRIPS[name]
    network = awake(make())
    config, weights = dump(network)
    config = json.loads(json.dumps(config))
    back = room.load(weights, config).eval()
    assert torch.allclose(asked(back), asked(network), atol=1e-5)
    again, twice = dump(back)
    assert json.loads(json.dumps(again)) == config and all(torch.equal(twice[key], value) for key, value in weights.items())


def test_a_loaded_network_owns_its_weights_and_takes_their_precision() -> None:
    config, weights = diffusers.dump(awake(ROUND_TRIPS["diffusers"][2]()))
    kept = {key: value.clone() for key, value in weights.items()}
    network = diffusers.load(weights, config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(weights[key], value) for key, value in kept.items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    for given, expected in ((torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        network = diffusers.load({key: value.to(given) for key, value in weights.items()}, config)
        assert {tensor.dtype for tensor in network.state_dict().values()} == {expected}


@pytest.mark.parametrize("name", ["guided", "guided heads", "guided pool", "diffusers", "diffusers residual", "diffusers bare"])
def test_the_anatomy_of_a_network_makes_it_again(name: str) -> None:
    network = ROUND_TRIPS[name][2]()
    twin = UNet(network.shape, network.conds, variance=network.variance, **anatomy(network))
    assert anatomy(twin) == anatomy(network)
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}


def test_weights_that_do_not_fit_are_told_in_one_line() -> None:
    config, weights = guided.dump(ROUND_TRIPS["guided"][2]())
    with pytest.raises(ValueError, match=r"the weights have no 'out.0.bias'"):
        guided.load({key: value for key, value in weights.items() if key != "out.0.bias"}, config)
    with pytest.raises(ValueError, match="the weights have 'more', for which"):
        guided.load(weights | {"more": torch.zeros(1)}, config)
    with pytest.raises(ValueError, match=r"'input_blocks.0.0.weight' gives \(32, 6, 3, 3\) in place of \(32, 3, 3, 3\)"):
        guided.load(weights, config | {"super_resolution": False})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: guided.make({"image_size": 8}), "'model_channels' is missing"),
        (lambda: guided.make({"image_sise": 8}), "no option 'image_sise'"),
        (lambda: diffusers.make({"time_embedding_type": "fourier"}), "time_embedding_type = 'fourier' has no counterpart"),
        (lambda: diffusers.make({"up_block_types": ["UpBlock2D"] * 4}), "are not those of the way down"),
        (lambda: diffusers.make({"downsample_type": "resnet"}), "every level to be resampled in the same way"),
        (lambda: diffusers.make({"resnet_time_scale_shift": "scale_shift"}), "expected attn_norm_num_groups equal"),
        (lambda: diffusers.make({"in_channels": 4}), "as many channels out as in"),
        (lambda: edm.make({"img_resolution": 8, "img_channels": 3, "encoder_type": "cat"}), "encoder_type and decoder_type of"),
        (
            lambda: edm.make({"img_resolution": 8, "img_channels": 3, "model_type": "Other"}),
            "model_type = 'Other' has no counter",
        ),
        (lambda: dit.make({"num_attention_heads": 2, "norm_type": "layer_norm"}), "norm_type = 'layer_norm' has no counterpart"),
        (lambda: guided.dump(UNet((3, 8, 8), width=16)), "eps|groups"),
        (lambda: diffusers.dump(UNet((3, 8), width=32, groups=8)), "UNet2DModel has two dimensions"),
        (lambda: dit.dump(DiT((4, 9, 9), labels(2), width=8, depth=1, heads=1)), "squares of whole patches"),
    ],
)
def test_what_has_no_counterpart_is_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_edm_reads_skips_and_a_variance() -> None:
    """Weights under their names, made from ours by the links: what the golden references do not have."""
    config = {"img_resolution": 8, "img_channels": 2, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
    config |= {"attn_resolutions": [4], "encoder_type": "skip", "decoder_type": "skip", "resample_filter": [1, 3, 3, 1]}
    network = awake(edm.make(config, variance=True))
    ours, theirs = network.state_dict(), {}
    for link in edm._ncsnpp(config, network):
        (name,) = link.theirs
        value = ours[link.ours]
        theirs[f"model.{name}"] = value[..., None, None] if ".proj.w" in name else value
        if "qkv" in name:  # theirs has q, k and v side by side for each channel
            value = value.unflatten(0, (3, -1)).transpose(0, 1).flatten(0, 1)
            theirs[f"model.{name}"] = value[..., None, None] if name.endswith("weight") else value
    theirs["model.enc.4x4_down.skip.resample_filter"] = torch.ones(1, 1, 4, 4)
    back = edm.load(theirs, config)
    assert back.variance and "model.dec.8x8_aux_up.resample_filter" in theirs
    x, level = torch.randn(2, 2, 8, 8), torch.tensor([0.1, 0.5])
    assert torch.equal(back.eval()(x, level), network(x, level))
