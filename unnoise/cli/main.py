"""`unnoise`: every verb, and what becomes of its errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    name="unnoise",
    help="Diffusion models from a folder of data: look it over, train, generate, measure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; all cores if not given")]
Precision = Annotated[str, typer.Option(help="fp32 or bf16")]
Set = Annotated[list[str], typer.Option("--set", metavar="SECTION.NAME.KEY=VALUE", help="change the recipe; repeatable")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="the folder that `unnoise train` wrote")]
Seed = Annotated[int, typer.Option(help="of everything random")]


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="a recipe's name (see `unnoise recipes`) or file")],
    data: Annotated[Path | None, typer.Option(help="a folder of pictures, or a .tar.gz or .zip of one")] = None,
    out: Annotated[Path | None, typer.Option(help="the run folder; runs/RECIPE if not given")] = None,
    set_: Set = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the resolved recipe and a forecast, train nothing")] = False,
    init: Annotated[Path | None, typer.Option(help="a run whose weights to begin with")] = None,
    report: Annotated[bool, typer.Option(help="write report.html at the end")] = True,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16")] = None,
    threads: Threads = None,
    seed: Annotated[int | None, typer.Option(help="of everything random")] = None,
) -> None:
    """Train a model, or go on where its run folder stands: the same command resumes."""
    from unnoise.task import machine
    from unnoise.task import train as task

    extra = [f"train.Trainer.seed={seed}"] * (seed is not None)
    extra += [f"train.Trainer.precision={precision}"] * (precision is not None)
    machine.threads(threads)
    chosen = task.read(recipe, data, [*set_, *extra])
    if dry_run:
        print(chosen.resolved().dump())
        _print(task.forecast(chosen, device))
        return
    task.train(chosen, out or Path("runs") / Path(recipe).stem, device=device, init=init, report=report)


@app.command()
def sample(
    run: Run,
    n: Annotated[int | None, typer.Option("-n", help="how many: seeds SEED, SEED + 1, ...")] = None,
    seeds: Annotated[str | None, typer.Option(help="the seeds themselves: 0-63 or 3,5,9")] = None,
    steps: Annotated[int | None, typer.Option(help="times in the walk")] = None,
    sampler: Annotated[str | None, typer.Option(help="DDIM, DPMpp2M, Heun, ...; options by --set sampler.NAME.KEY=VALUE")] = None,
    cond: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="a condition; repeatable")] = [],  # noqa: B006
    scale: Annotated[float | None, typer.Option(help="of classifier-free guidance; 1 is none")] = None,
    out: Annotated[Path | None, typer.Option(help="where the files go; RUN/samples if not given")] = None,
    set_: Set = [],  # noqa: B006
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Generate: one file a seed, and grid.png. Without --cond, conditions are drawn as the data have them."""
    from unnoise.cli.progress import bar
    from unnoise.task import sample as task

    if n is not None and (n < 1 or seeds):
        raise ValueError(f"-n {n}: expected at least 1, and not together with --seeds")
    listed = task.seeds(seeds) if seeds else list(range(seed, seed + (n or 16)))
    changes = [f"sampler={sampler}"] * bool(sampler) + [*set_]
    changes += [f"model.Defaults.steps={steps}"] * (steps is not None)
    changes += [f"guidance.CFG.scale={scale}"] * (scale is not None)
    order = task.Order(listed, _conditions(cond), changes, device, precision, threads)
    folder = out or run / "samples"
    with bar("sampling", "steps") as progress:
        paths = task.sample(run, order, folder, progress)
    print(f"{len(paths)} files in {folder}; all of them on {paths[-1]}")


@app.command()
def info(run: Run) -> None:
    """What a run is: data, network, training, what was measured."""
    from unnoise.task.info import info as task

    _print(task(run))


@app.command()
def check(data: Annotated[Path, typer.Argument(help="a folder of pictures, or an archive of one")]) -> None:
    """Look data over before training: counts, sizes, kinds, and every file that cannot be read."""
    from unnoise.domain import scan

    found = scan(data)
    print(found)
    if not found.usable:
        raise ValueError(
            f"{data}: {len(found.broken)} of {len(found.broken) + found.pictures} pictures are broken, more than training takes"
        )


@app.command()
def noise(
    source: Annotated[Path, typer.Argument(metavar="DATA|RUN", help="pictures, or a run")],
    out: Annotated[Path, typer.Option(help="the picture to write")] = Path("noise.png"),
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Draw the forward process: one picture on its way to noise, under each schedule."""
    from unnoise.task import machine
    from unnoise.task.noise import noise as task

    machine.threads(threads)
    print(f"the forward process is on {task(source, out, seed)}")


@app.command()
def tune(
    run: Run,
    nfe: Annotated[str, typer.Option(metavar="N,N,...", help="steps to fit walks for")] = "6,8,10,15",
    cond: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="fit under this condition; repeatable")] = [],  # noqa: B006
    scale: Annotated[float | None, typer.Option(help="of classifier-free guidance, in place of the recipe's")] = None,
    noises: Annotated[int, typer.Option(help="walks to fit to; half as many judge")] = 256,
    rounds: Annotated[int, typer.Option(help="steps of the fit, for each walk")] = 200,
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """Fit the walks of few steps to a run; from then on it samples so many steps by them."""
    from unnoise.task import machine
    from unnoise.task.tune import Search
    from unnoise.task.tune import tune as task

    machine.threads(threads)
    search = Search(noises=noises, held_out=-(-noises // 2), steps=rounds, seed=seed)
    task(run, _integers("--nfe", nfe), cond=_conditions(cond), scale=scale, search=search, device=device)


@app.command()
def recipes() -> None:
    """List the recipes that come with the package."""
    from unnoise.recipe import names

    _print(names())


@app.command()
def report(run: Run, device: Device = "auto", precision: Precision = "fp32", threads: Threads = None, seed: Seed = 0) -> None:
    """Write report.html and report.json of a run."""
    from unnoise.task import machine
    from unnoise.task.report import report as task

    machine.threads(threads)
    task(run, seed=seed, precision=machine.precision(precision), device=machine.device(device))
    print(f"the report: {run / 'report.html'}")


@app.command()
def likelihood(
    run: Run,
    data: Annotated[
        str, typer.Argument(help="train, val or test of the run's own data, or a folder or archive of pictures")
    ] = "val",
    items: Annotated[int, typer.Option("-n", help="how many, at most")] = 1000,
    method: Annotated[str, typer.Option(help="bound, flow or both")] = "both",
    steps: Annotated[int | None, typer.Option(help="of the bound's walk; all if not given")] = None,
    draws: Annotated[int, typer.Option(help="of these for each item, drawn evenly spread; 0 is all")] = 100,
    variance: Annotated[str | None, typer.Option(help="of the walk: small, large or learned")] = None,
    levels: Annotated[int | None, typer.Option(help="stored values of a place: 2^bits; the data's own if not given")] = None,
    given: Annotated[bool, typer.Option("--given", help="given each item's conditions, in place of none")] = False,
    trace: Annotated[str, typer.Option(help="of the flow: hutchinson, or exact for few dimensions")] = "hutchinson",
    probes: Annotated[int, typer.Option(help="directions of hutchinson's")] = 1,
    tolerance: Annotated[float, typer.Option(help="of the flow's solver")] = 1e-4,
    json_: Annotated[Path | None, typer.Option("--json", help="write everything here")] = None,
    csv: Annotated[Path | None, typer.Option(help="write one row an item here, the least probable first")] = None,
    device: Device = "auto",
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """How probable data are: variational bound and exact likelihood of the flow, in bits a dimension, for each item too."""
    from unnoise.task import likelihood as task
    from unnoise.task import machine

    machine.threads(threads)
    wish = task.Wish(items, method, steps, draws, variance, levels, given, trace, probes, tolerance, seed)  # type: ignore[arg-type]
    told = task.likelihood(run, data, wish, device)
    task.write(told, json_, csv)
    _print(task.lines(told))


@app.command()
def selfcheck(
    quick: Annotated[bool, typer.Option("--quick", help="fewer schedules and steps")] = False,
    json: Annotated[Path | None, typer.Option(help="write every measured number to this file")] = None,
    threads: Threads = None,
) -> None:
    """Repeat the proof of the mathematics on closed forms; exit code 1 if anything does not hold."""
    from json import dumps

    from unnoise.task import machine
    from unnoise.task.selfcheck import selfcheck as task

    machine.threads(threads)
    report = task(quick, progress=lambda name: print(f"{name} ...", file=sys.stderr, flush=True))
    print(*report.lines(), sep="\n")
    if json:
        json.write_text(dumps(report.facts(), indent=1), "utf-8")
    if report.faults:
        raise typer.Exit(1)


@app.command()
def reproduce(
    file: Annotated[Path, typer.Argument(help="a picture that `unnoise sample` wrote")],
    run: Annotated[Path | None, typer.Option(help="its run; found by its weights if not given")] = None,
    out: Annotated[Path | None, typer.Option(help="the folder to write to")] = None,
) -> None:
    """Make a picture again from what its own metadata say, and compare the bytes."""
    from unnoise.task.sample import reproduce as task

    made, same = task(file, run, out)
    print(f"{made} is {'the same, byte for byte' if same else 'NOT the same'}")
    if not same:
        raise typer.Exit(1)


def run() -> None:
    """The entry point: bad input is one line and exit code 2, a failure on the way one line and 1."""
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        _leave("stopped; the same command goes on from here", 130)
    except Exception as error:
        if os.environ.get("UNNOISE_DEBUG"):
            raise
        _leave(_line(error), _code(error))
    sys.exit(code or 0)


def _line(error: Exception) -> str:
    """What an error says, in one line."""
    formatted = getattr(error, "format_message", None)  # the parser's own errors
    text = formatted() if formatted else str(error)
    return " ".join(text.split()) or type(error).__name__


def _code(error: Exception) -> int:
    """2 for what the user can mend in the command, 1 for a failure on the way."""
    files = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, FileExistsError)
    return getattr(error, "exit_code", 2 if isinstance(error, (ValueError, *files)) else 1)


def _leave(message: str, code: int) -> NoReturn:
    print(f"unnoise: {message}", file=sys.stderr)
    sys.exit(code)


def _conditions(pairs: list[str]) -> dict[str, Any] | None:
    """NAME=VALUE pairs; a value that is a number is one, "none" is the null, and no pair at all is None."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--cond {pair}: expected NAME=VALUE")
        parts = [_number(part) for part in text.split(",")]
        found[name] = None if text == "none" else parts[0] if len(parts) == 1 else parts
    return found or None


def _integers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text}: expected whole numbers with commas between them") from None


def _number(text: str) -> Any:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


def _print(table: Any) -> None:
    """A table of names and values, nested ones indented."""
    rows = table.items()
    width = max((len(str(name)) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
