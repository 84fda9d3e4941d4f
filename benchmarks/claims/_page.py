"""docs/claims.md, made of the rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.claims._claim import Claim, claims
from benchmarks.claims._measure import ITEMS, SAMPLES, SEEDS, kept
from benchmarks.claims._verdict import HOLDS, LACKING, OPPOSITE, UNDECIDED, Verdict, verdicts

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
HEAD = f"""# The field's claims, measured

<!-- Written by `python -m benchmarks claims`; do not edit. -->

What papers say, tried on small real data: the 8 x 8 digits that come with the package, the same network, the same number of
updates (or, where an update costs another time, of processor seconds), {len(SEEDS)} seeds of training and sampling. Each row is
one comparison. Its value is the mean over the seeds of the paired difference (for the Frechet distance and seconds: of the
ratio, first arm over second), with a 95 % interval by Student's law. A claim *holds* where the whole interval lies on its side.
{SAMPLES:,} samples an arm; the bound is of {ITEMS} held-out digits.

Digits of 64 pixels are not ImageNet: where a claim is of large pictures or long training, a row that disagrees says that it is
not a law, not that it is wrong where it was made.

One command each, `python -m benchmarks claims NAME`, and one for all: `make claims`. Each takes about
20 minutes of one core at most, all together an hour and forty minutes; an interrupted one goes on where it
was. The raw rows are kept in `benchmarks/results/claims`.

"""
WORDS = {
    "frechet": "Frechet distance",
    "bound": "bits/dim, bound",
    "accuracy": "recognised as asked",
    "seconds": "seconds a sample",
}


def page() -> str:
    """The whole text."""
    parts = [HEAD + _overview()]
    parts += [_section(name, claim, kept(name, claim)) for name, claim in claims().items()]
    return "\n".join(parts)


def write() -> None:
    """Writes the page."""
    PAGE.write_text(page(), "utf-8")


def _overview() -> str:
    told = {name: verdicts(claim, kept(name, claim)) for name, claim in claims().items()}
    lines = ["| claim | said of | better / worse | measured | |", "|---|---|---|---|---|"]
    for name, all_found in told.items():
        for k, found in enumerate(all_found):
            head = f"[{name}](#{name})" if k == 0 else ""
            said = found.said
            lines.append(f"| {head} | {_word(said.number)} | {said.better} / {said.worse} | {found.told()} | {_marked(found)} |")
    return "\n".join(lines) + "\n\n" + _counted(told) + "\n"


def _counted(told: dict[str, list[Verdict]]) -> str:
    """How many comparisons came out how, and which against what is said."""
    words = Counter(found.word for all_found in told.values() for found in all_found)
    counts = ", ".join(f"{word} {words[word]}" for word in (HOLDS, UNDECIDED, OPPOSITE, LACKING) if words[word])
    against = [
        f"[{name}](#{name}) ({_word(found.said.number)}: {found.said.better} is not better than {found.said.worse}, but worse)"
        for name, all_found in told.items()
        for found in all_found
        if found.word == OPPOSITE
    ]
    return f"Of {words.total()} comparisons: {counts}." + (f" Against what is said: {'; '.join(against)}." if against else "")


def _section(name: str, claim: Claim, rows: list[dict[str, Any]]) -> str:
    lines = [f"## {name}", "", f"{claim.says} {claim.source}.", ""]
    numbers = list(claim.numbers)
    lines += [
        "| arm | " + " | ".join(map(_word, numbers)) + " | evaluations | training, CPU s |",
        "|---" * (len(numbers) + 3) + "|",
    ]
    for arm in claim.arms:
        own = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["seed"])
        cells = [", ".join(f"{row[number]:.3g}" for row in own) or "not measured yet" for number in numbers]
        lines.append(f"| {arm} | " + " | ".join(cells) + f" | {_same(own, 'nfe')} | {_same(own, 'training')} |")
    lines += ["", *([claim.remark, ""] if claim.remark else []), f"`python -m benchmarks claims {name}`", ""]
    return "\n".join(lines)


def _same(rows: list[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows]
    return "" if not values else f"{values[0]:.4g}" if len(set(values)) == 1 else f"{min(values):.4g} to {max(values):.4g}"


def _word(number: str) -> str:
    return WORDS.get(number, number)


def _marked(found: Verdict) -> str:
    return f"**{found.word}**" if found.seeds >= 2 else found.word
