"""`python -m benchmarks claims [NAME ...]`: measures claims, keeps their rows, and writes the page; `--page` alone writes it."""

import sys

from benchmarks.claims import _page
from benchmarks.claims._claim import claims
from benchmarks.claims._measure import measure


def main(names: list[str]) -> int:
    """The claims of these names, or all of them; the exit code."""
    known = claims()
    if names == ["--page"]:
        _page.write()
        return 0
    if unknown := [name for name in names if name not in known]:
        print(f"no claim {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        measure(name, known[name])
        _page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
