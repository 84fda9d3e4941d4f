"""The proof of the mathematics as figures: `python -m benchmarks selfcheck [--quick]`."""

import json
import sys

from unnoise.task.selfcheck import selfcheck


def main(*options: str) -> int:
    report = selfcheck("--quick" in options, progress=lambda name: print(name, file=sys.stderr))
    facts = report.facts()
    del facts["measured"]
    print(json.dumps(facts | {"samplers": list(report.samplers())}, indent=1))
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
