"""Ten kinds of NaN and infinity, each met once in a training that may go back twice: `python -m benchmarks rollbacks`.

Beside it the same training that may not, and a plain loop that looks at nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "laws")]

from injections import KINDS, inject, naive  # noqa: E402


def main(step: str = "11") -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, at = Path(name), int(step)
        back = [inject(folder / f"{kind}, back", kind, at, rollbacks=2) for kind in KINDS]
        ended = [inject(folder / kind, kind, at) for kind in KINDS]
    mended = [row["kind"] for row in back if row["finished"] and row["kept"] and len(row["back"]) == 1]
    lasting = {row["kind"]: len(row["back"]) for row in back if not row["finished"] and row["kept"] and row["one_line"]}
    result = {
        "injections": len(back),
        "went_back_once_and_finished_at_half_the_rate": mended,
        "ended_in_one_line_after_so_many_times_back": lasting,  # data that hold it: at once; a rate of 1e30: after both
        "checkpoints_not_finite": sum(not row["kept"] for row in back),
        "finished_without_going_back": sum(row["finished"] for row in ended),
        "plain_loops_spoiled": sum(naive(kind, at) for kind in KINDS),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
