"""`unnoise edit`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unnoise.cli.app import (
    Cond,
    Delay,
    Device,
    Format,
    Frames,
    Loop,
    Precision,
    Seed,
    Set,
    Threads,
    app,
    boxed,
    changes,
    conditions,
    integers,
)


@app.command()
def edit(
    files: Annotated[
        list[Path], typer.Argument(metavar="[RUN] IN...", help="a run's folder (the model in the box), then pictures")
    ],
    inpaint: Annotated[Path | None, typer.Option(metavar="MASK", help="white in the mask is repainted, black kept")] = None,
    outpaint: Annotated[str | None, typer.Option(metavar="L,T,R,B", help="paint margins of so many pixels")] = None,
    upscale: Annotated[int | None, typer.Option(metavar="FACTOR", help="so many times as large")] = None,
    restore: Annotated[str | None, typer.Option(metavar="DAMAGE", help="deblur:gaussian:2, jpeg:30, ...")] = None,
    colorize: Annotated[bool, typer.Option("--colorize", help="colour a grey picture")] = False,
    denoise: Annotated[bool, typer.Option("--denoise", help="remove noise")] = False,
    vary: Annotated[float | None, typer.Option(metavar="STRENGTH", help="others like it: 0 the same, 1 anything")] = None,
    interpolate: Annotated[bool, typer.Option("--interpolate", help="a film from the first picture to the second")] = False,
    frames: Frames = 32,
    loop: Loop = False,
    format_: Format = "gif",
    delay: Delay = 80,
    n: Annotated[int, typer.Option("-n", help="results for each picture")] = 4,
    pairs: Annotated[bool, typer.Option("--pairs", help="results in pairs of opposite noise: their mean is nearer")] = False,
    method: Annotated[str, typer.Option(metavar="NAME[:KEY=VALUE,...]", help="PiGDM, MMPS, DDRM, RePaint, ...")] = "",
    steps: Annotated[int | None, typer.Option(help="times in the walk; 50 if not given")] = None,
    noise: Annotated[float | None, typer.Option(help="of the input: its std in levels of 255; estimated if not given")] = None,
    cond: Cond = [],  # noqa: B006
    reference: Annotated[Path | None, typer.Option(help="what should come out: a picture, or a folder of them")] = None,
    lpips: Annotated[str | None, typer.Option(metavar="FILE[,FILE]", help="weights of LPIPS, to measure it too")] = None,
    out: Annotated[Path | None, typer.Option(help="where the files go; RUN/edited, or box/edited, if not given")] = None,
    set_: Set = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Inpaint, enlarge, restore, colour, vary or join pictures. NAME-0.png ... for each (or a film), and sheet.png."""
    from unnoise.cli.progress import bar
    from unnoise.task import edit as task
    from unnoise.task.animate import Film
    from unnoise.task.edit.travel import Travel, travel
    from unnoise.task.sample import Order

    wanted: dict[str, Any] = {
        "inpaint": inpaint, "outpaint": outpaint and integers("--outpaint", outpaint), "upscale": upscale, "restore": restore,
        "colorize": colorize or None, "denoise": denoise or None, "vary": vary, "interpolate": interpolate or None,
    }  # fmt: skip
    given = [name for name, value in wanted.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"one task is expected of {', '.join('--' + name for name in wanted)}, given {len(given)}")
    if n < 1 or (noise is not None and not noise >= 0):
        raise ValueError(f"-n {n} --noise {noise}: expected at least one result, and a noise of at least 0")
    named = files[0].is_dir() or (len(files) > 1 and not files[0].is_file())
    run, files = (files[0], files[1:]) if named else (boxed(), files)
    changed = changes(set_, steps)
    order = Order([seed], conditions(cond), changed, device, precision, threads)
    folder = out or (run if named else Path("box")) / "edited"
    if interpolate:
        film = travel(run, files, Travel(frames, loop, Film(format_, delay)), order, folder)
        ends = " and ".join(f"{dB:.1f}" for dB in film.ends)
        print(f"{film.path}; its ends are the pictures to {ends} dB, its largest step {film.unevenness:.2f} of the mean")
        return
    weights = [Path(p) for p in (lpips or "").split(",") if p]
    wish = task.Wish(given[0], wanted[given[0]], method, noise, n, reference, weights, pairs)
    with bar("editing", "pictures") as progress:
        done = task.edit(run, files, wish, order, folder, progress)
    for one in done:
        scores = "".join(f"; {name} {_said(score)}" for name, score in one.scores.items())
        known = "" if one.noise is None else f" (noise {one.noise:.2f} of 255)"
        print(f"{one.paths[0].name} .. {one.paths[-1].name}{known}{scores}")
    print(f"all of them on {folder / 'sheet.png'}")


def _said(score: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.2f} dB" if name == "PSNR" else f"{name} {value:.3f}" for name, value in score.items())
