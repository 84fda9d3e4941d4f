"""`python -m tests.golden.table` runs the golden suite and writes docs/parity.md."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .harness import LATER, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"

HEAD = """# Parity with golden references

Numbers of other implementations, and closed forms, against ours in float64 (`python -m tests.golden.table` makes this page).
A case passes when each of its outputs is within the reference's stated tolerance. An *excepted* case has an output where the
reference is wrong, or does what we do not offer; its other outputs pass. A *later* case has an output of a room that is not
built yet; the rest of it passes. The error is the largest difference of a compared output, relative to that output's largest
value.

| item | cases | passed | excepted | later | failed | largest error |
|---|---:|---:|---:|---:|---:|---|
"""


def count(verdicts: Sequence[Verdict]) -> str:
    """The last line of a run. Cases that wait for a room are not among the counted ones."""
    of = Counter(verdict.status for verdict in verdicts)
    failed = f" failed {of['failed']}" if of["failed"] else ""
    return f"cases {of.total() - of['later']} passed {of['passed']} excepted {of['excepted']}{failed}"


def reasons(verdicts: Sequence[Verdict], cases: Mapping[str, int]) -> list[str]:
    """Each reason for an exception or a delay, with the number of its cases; `cases` is that of each item in the folder."""
    of = Counter((v.status, v.item, reason) for v in verdicts for reason in v.reasons)
    of.update({("later", item, why): cases[item] for item, why in LATER.items() if item in cases})
    return [f"{status} {number:3}  {item}: {reason}" for (status, item, reason), number in sorted(of.items())]


def page(verdicts: Sequence[Verdict], cases: Mapping[str, int]) -> str:
    """docs/parity.md."""
    rows = []
    for item in sorted({v.item for v in verdicts}):
        mine = [v for v in verdicts if v.item == item]
        of = Counter(v.status for v in mine)
        worst = max(mine, key=lambda v: v.error)
        numbers = " | ".join(str(of[status]) for status in ("passed", "excepted", "later", "failed"))
        rows.append(f"| `{item}` | {len(mine)} | {numbers} | {worst.error:.1e} ({worst.worst or '-'}) |")
    rows += [f"| `{item}` | {cases[item]} | 0 | 0 | {cases[item]} | 0 | - |" for item in LATER if item in cases]
    why = [f"- {line}" for line in reasons(verdicts, cases)]
    return HEAD + "\n".join(rows) + "\n\n## Why\n\n" + "\n".join(why) + f"\n\n`{count(verdicts)}`\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), f"--goldens-table={PAGE}", *sys.argv[1:]]
    sys.exit(subprocess.run(command).returncode)
