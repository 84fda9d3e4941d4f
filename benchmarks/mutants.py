"""Plant the known faults of other libraries, one by one: does selfcheck see each of them? `python -m benchmarks mutants`."""

import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

from mutants import MUTANTS, caught  # noqa: E402


def main() -> int:
    start, rows = time.perf_counter(), []
    for mutant in MUTANTS:
        faults = caught(mutant).faults
        rows.append({"fault": mutant.name, "check": mutant.check, "caught": bool(faults), "by": str(faults[0]) if faults else ""})
        print(f"{'caught' if faults else 'MISSED'}  {mutant.name}: {rows[-1]['by']}", file=sys.stderr)
    seen = sum(bool(row["caught"]) for row in rows)
    seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"planted": len(rows), "caught": seen, "seconds": seconds, "faults": rows}, indent=1))
    return int(seen < len(rows))


if __name__ == "__main__":
    sys.exit(main())
