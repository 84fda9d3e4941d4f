"""A model out of its run, for others: as a folder of ours, a pipeline of diffusers, an ONNX file or a torch program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import unnoise
from unnoise import share
from unnoise.certificate import Certificate, answers, compare, questions
from unnoise.denoiser import Recogniser
from unnoise.engine import Call, Session, write_onnx, write_program
from unnoise.engine.onnx import DIGEST, EXPORTED
from unnoise.model import Model, load
from unnoise.share.folder import describe
from unnoise.task.export import diffusers

__all__ = ["FORMATS", "export"]

FORMATS = ("unnoise", "diffusers", "onnx", "torch-export")
PROGRAM = "model.pt2"
TOLERANCE = {"onnx": 1e-4, "torch-export": 1e-5}
CHANGED = ("sampler", "times", "guidance", "model")


def export(
    run: Path,
    out: Path,
    form: str,
    *,
    cond: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    license: str | None = None,
    datasets: Sequence[str] = (),
    half: bool = False,
) -> Certificate:
    """Writes a run's model into a new folder, which gets its name when what is in it has proved equal.

    Args:
        run: The run.
        out: The folder; absent or empty.
        form: Of `FORMATS`.
        cond: For diffusers: conditions to fix for good.
        overrides: "section.Name.key=value" of sampler, times, guidance and model: how the model is sampled by default.
        license, datasets: For the model card, as hubs name them.
        half: Weights in half precision, of the format "unnoise".

    Raises:
        ValueError: For a folder that is no run, what the format cannot say, or a proof that fails.
    """
    if form not in FORMATS:
        raise ValueError(f"--format {form}: expected one of {', '.join(FORMATS)}")
    if cond and form != "diffusers":
        raise ValueError(f"--cond fixes conditions for diffusers; the format {form} keeps them")
    if half and form != "unnoise":
        raise ValueError(f"--half is for the format unnoise; --format {form} keeps the precision of the weights")
    for override in overrides:
        if override.partition(".")[0].partition("=")[0] not in CHANGED:
            raise ValueError(f"--set {override}: an export changes {', '.join(CHANGED)} alone; the rest is trained")
    model = load(run, overrides=overrides)
    if isinstance(model.denoiser, Recogniser):
        raise ValueError(f"{run} is a classifier, which samples nothing; models that sample are exported")
    row, report = share.read_run(run)
    about: dict[str, Any] = {"license": license, "datasets": datasets, "row": row, "report": report}
    card = share.Card(out.resolve().name, form, **about)
    if form == "unnoise":
        return share.save(model, out, card, half)
    with share.finished(out) as draft:
        if form == "diffusers":
            certificate = diffusers.write(model, draft, cond)
            card = share.Card(card.name, form, **about, stock=_stock(draft), fixed=cond)
        else:
            describe(model, draft)
            certificate = _program(model, draft, form)
        certificate.write(draft)
        (draft / "README.md").write_text(card.text(model, certificate), "utf-8")
    return certificate


def _program(model: Model, folder: Path, form: str) -> Certificate:
    """The network as one file, asked beside the one it came from."""
    network: Any = model.denoiser.network
    if form == "onnx":
        import onnxruntime

        write_onnx(network, folder / EXPORTED, {DIGEST: model.digest})
        other: Any = Session(folder / EXPORTED, network)
        side = {"version": onnxruntime.__version__, "file": EXPORTED}
    else:
        write_program(network, folder / PROGRAM)
        module, names = torch.export.load(folder / PROGRAM).module(), Call(network).names
        other = lambda x, level, cond: module(x, level, *(cond[name] for name in names))  # noqa: E731
        side = {"version": torch.__version__, "file": PROGRAM}
    t = torch.tensor([1.0, 0.75, 0.5, 0.25, max(model.denoiser.schedule.t_min, 1e-3)], dtype=torch.float64)
    asked = questions(network.shape, network.conds, model.denoiser.level(model.denoiser.schedule, t).tolist())
    mine = answers(network, asked)
    compared = [
        compare(f"outputs of {form} at batch {batch}", answers(other, asked, batch), mine, TOLERANCE[form])
        for batch in (1, 3, 16)
    ]
    sides = {"unnoise": {"version": unnoise.__version__, "torch": torch.__version__, "weights": model.digest}, form: side}
    return Certificate(sides, asked.facts(), compared).demand()


def _stock(folder: Path) -> dict[str, str] | None:
    """What the loop in the card names, where the network is told a class and `DDPMPipeline` cannot tell it."""
    part = "unet" if (folder / "unet").is_dir() else "transformer"
    config = json.loads((folder / part / "config.json").read_text("utf-8"))
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    classes = config.get("num_class_embeds")
    if part == "unet" and not classes:
        return None
    null = classes - 1 if classes and config.get("_null_class") else config.get("num_embeds_ada_norm")
    told = {"network": config["_class_name"], "scheduler": scheduler["_class_name"], "part": part}
    return {**told, "null": f"; {null} is none" if null else "", "expand": ".expand(1)" if part == "transformer" else ""}
