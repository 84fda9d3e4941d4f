"""The pictures at the head of the README, made by one run: samples, a film of noise becoming pictures, inpainting.

    python examples/hero.py runs/mnist docs

Nothing is picked: the seeds are 0, 1, 2, ... What is inpainted are samples, too.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

import unnoise
from unnoise.sampler import FlowAdams
from unnoise.task.edit import Wish, edit
from unnoise.task.report.walks import unit
from unnoise.task.sample import Order
from unnoise.times import Auto

SIDE, GAP = 64, 6  # pixels of a picture on a sheet, and between two
COLUMNS, ROWS, FILMED = 12, 4, 10
HOLD = 1800  # milliseconds of the film's last frame
STEP, FRAMES = 110, 24
HOLED = (4, 5, 8)  # the classes that are inpainted


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Pictures in rows on white, smoothly enlarged."""
    width, height = (GAP + max(map(len, rows)) * (SIDE + GAP), GAP + len(rows) * (SIDE + GAP))
    made = Image.new("RGB", (width, height), "white")
    for i, row in enumerate(rows):
        for k, one in enumerate(row):
            big = one.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            made.paste(big, (GAP + k * (SIDE + GAP), GAP + i * (SIDE + GAP)))
    return made


def samples(model: unnoise.Model, out: Path) -> None:
    pictures = model.images(COLUMNS * ROWS)
    rows = [pictures[first : first + COLUMNS] for first in range(0, len(pictures), COLUMNS)]
    sheet(rows).quantize(128, dither=Image.Dither.NONE).save(out / "hero-samples.png", optimize=True)


def film(model: unnoise.Model, out: Path) -> None:
    """x_t of some samples at each step of their walk, then the samples."""
    states: list[tuple[float, Tensor]] = []
    model.defaults = dataclasses.replace(model.defaults, batch=FILMED)
    walk = {"steps": FRAMES, "sampler": FlowAdams(), "times": Auto()}
    x = model.sample(FILMED, seed=100, callback=lambda moment: states.append((moment.t, moment.x)), **walk)  # type: ignore[arg-type]
    frames = [sheet([model.domain.to_pil(unit(model, x_t, t).clamp(-1, 1))]) for t, x_t in states[:-1]]  # type: ignore[attr-defined]
    frames.append(sheet([model.domain.to_pil(x)]))  # type: ignore[attr-defined]
    delays = [STEP] * (len(frames) - 1) + [HOLD]
    first, *others = frames
    first.save(out / "hero-denoising.webp", save_all=True, append_images=others, duration=delays, loop=0, quality=60, method=4)


def inpainting(run: Path, model: unnoise.Model, out: Path) -> None:
    """Samples with a hole, and what else could be there."""
    rows, (_, height, width) = [], model.domain.shape
    name, condition = next(iter(model.conds.items()))
    holes = [(0, 0, width, height // 2 - 1), (0, height // 2, width, height), (width // 2, 0, width, height)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for k, box in enumerate(holes):
            cond = {name: condition.classes[HOLED[k] % len(condition.classes)]}
            [own] = model.images(1, seed=k, cond=cond)
            hole = Image.new("L", own.size, 0)
            ImageDraw.Draw(hole).rectangle(box, fill=255)
            hole.save(folder / "hole.png")
            own.save(folder / f"{k}.png")
            wish = Wish("inpaint", folder / "hole.png", n=COLUMNS - 2)
            [done] = edit(run, [folder / f"{k}.png"], wish, Order([100], threads=1), folder / "out")
            grey = Image.new("RGB", own.size, "#5f8f8c")
            rows.append([own, Image.composite(grey, own.convert("RGB"), hole), *(Image.open(path) for path in done.paths)])
        sheet(rows).quantize(160, dither=Image.Dither.NONE).save(out / "hero-inpainting.png", optimize=True)


def main(run: Path, out: Path) -> None:
    torch.set_num_threads(1)
    model = unnoise.load(run)
    samples(model, out)
    inpainting(run, model, out)
    film(model, out)
    for path in sorted(out.glob("hero-*")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
