"""The application, and what its verbs share: options of the same name mean the same, and are read the same."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Cond",
    "Delay",
    "Device",
    "Format",
    "Frames",
    "Loop",
    "Precision",
    "Run",
    "RunOrBox",
    "SamplerName",
    "Scale",
    "Seed",
    "Set",
    "Steps",
    "Threads",
    "app",
    "boxed",
    "budgets",
    "changes",
    "conditions",
    "integers",
    "show",
]

app = typer.Typer(
    name="unnoise",
    help="Diffusion models from a folder of data: look it over, train, generate, measure.",
    epilog="To begin: unnoise check FOLDER; unnoise train pictures --data FOLDER --out runs/mine; unnoise sample runs/mine.",
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
RunOrBox = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="a run's folder; the model in the box if not given")]
Seed = Annotated[int, typer.Option(help="of everything random")]
Cond = Annotated[list[str], typer.Option(metavar="CLASS|NAME=VALUE", help="a condition; repeatable")]
Steps = Annotated[int | None, typer.Option(help="times in the walk; the run's if not given")]
SamplerName = Annotated[str | None, typer.Option(help="DDIM, DPMpp2M, Heun, ...; options by --set sampler.NAME.KEY=VALUE")]
Scale = Annotated[float | None, typer.Option(help="of guidance, classifier-free if no other; 1 is none")]
Frames = Annotated[int, typer.Option(help="of the film")]
Loop = Annotated[bool, typer.Option("--loop", help="and back to where it began")]
Format = Annotated[str, typer.Option("--format", help="of the film: gif, webp, apng or mp4")]
Delay = Annotated[int, typer.Option(help="of each frame, in milliseconds")]


def boxed() -> Path:
    """The model in the box, and one line that says so."""
    from unnoise.box import KNOWS, box

    folder = box()
    print(f"no run is named: the model in the box, of {KNOWS}", file=sys.stderr)
    return folder


def changes(set_: list[str], steps: int | None = None, sampler: str | None = None) -> list[str]:
    """The recipe's changes of a command: a sampler, what --set says, and the number of steps."""
    named, counted = [f"sampler={sampler}"] if sampler else [], [] if steps is None else [f"model.Defaults.steps={steps}"]
    return [*named, *set_, *counted]


def conditions(pairs: list[str], option: str = "--cond") -> dict[str, Any] | None:
    """NAME=VALUE pairs, or classes alone; a value that is a number is one, "none" is the null, and no pair at all is None."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals and option == "--cond":
            found[pair] = True  # a class alone: its name says of which condition
            continue
        if not equals:
            raise ValueError(f"{option} {pair}: expected NAME=VALUE")
        parts = [None if part == "none" else _number(part) for part in text.split(",")]
        found[name] = parts[0] if len(parts) == 1 else parts
    return found or None


def integers(option: str, text: str) -> list[int]:
    """Whole numbers with commas between them."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text}: expected whole numbers with commas between them") from None


def budgets(option: str, text: str) -> list[int]:
    """Whole numbers with commas between them; or the ends of a range, "5..50", from one to the other in steps of about 1.4."""
    if ".." not in text:
        return integers(option, text)
    low, _, high = text.partition("..")
    first, last = (integers(option, end)[0] for end in (low, high))
    if not 1 <= first <= last:
        raise ValueError(f"{option} {text}: expected a range that rises, from 1 on")
    count = max(round(math.log(last / first, 2**0.5)), 1)
    return sorted({round(first * (last / first) ** (k / count)) for k in range(count + 1)})


def fractions(option: str, text: str) -> list[float]:
    """Numbers with commas between them; or the ends of a range, "0.02..0.2", from one to the other in steps of about 1.4."""
    ends = text.split("..") if ".." in text else text.split(",")
    try:
        found = [float(part) for part in ends]
    except ValueError:
        raise ValueError(f"{option} {text}: expected numbers with commas between them, or a range LOW..HIGH") from None
    if ".." not in text:
        return found
    if len(found) != 2 or not 0 < found[0] <= found[1]:
        raise ValueError(f"{option} {text}: expected a range LOW..HIGH that rises, from above 0 on")
    count = max(round(math.log(found[1] / found[0], 2**0.5)), 1)
    return [float(f"{found[0] * (found[1] / found[0]) ** (k / count):.3g}") for k in range(count + 1)]


def _number(text: str) -> Any:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text


def show(table: Any) -> None:
    """A table of names and values, nested ones indented."""
    rows = table.items()
    width = max((len(str(name)) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
