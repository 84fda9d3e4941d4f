"""What a run survives beside what the naive way loses: power cuts, full disks, values that are not finite."""

import json
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "laws")]

import pytest  # noqa: E402
from injections import KINDS, inject  # noqa: E402
from injections import naive as plain_loop  # noqa: E402
from test_disk_full import mounted  # noqa: E402
from test_power_cuts import campaign, naive, trained  # noqa: E402


def main(cuts: int = 300, levels: int = 20) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        lost, unsynced = [], []
        for keep in (1, 2, 3):
            disk = trained(folder / str(keep), patch, keep)
            lost += campaign(folder, disk, cuts // 3, seed=keep)
            unsynced += campaign(folder, disk, cuts // 3, seed=keep, syncs=False)
        in_place = naive(folder / "in-place", cuts)
        rows = mounted(folder / "disk", levels)
        steps = (2, 7, 11, 23)
        injected = [inject(folder / f"{kind} {step}", kind, step) for kind in KINDS for step in steps]
    stopped = sum(row["in_step"] and row["kept_finite"] and row["one_line"] for row in injected)
    result = {
        "power_cuts": {
            "cuts": len(lost),
            "lost": sum(map(bool, lost)),
            "lost_without_syncs": sum(map(bool, unsynced)),
            "lost_where_one_file_is_written_in_place": sum(in_place),
        },
        "full_disks": {
            "levels": len(rows),
            "kept_told_clean_and_gone_on": sum(row["kept"] and row["told"] and row["clean"] and row["goes_on"] for row in rows),
            "lost_where_one_file_is_written_in_place": sum(row["naive_lost"] for row in rows),
        },
        "not_finite": {
            "injections": len(injected),
            "stopped_in_the_step_with_nothing_kept": stopped,
            "plain_loops_spoiled": sum(plain_loop(kind, step) for kind in KINDS for step in steps),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
