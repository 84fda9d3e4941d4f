"""Names and places that a folder of pictures may hold, and mutated files."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from odd_kinds import SHARP
from pictures import encoded as saved

GOOD = saved(SHARP, "PNG")
NAMES = {
    "composed": "é.png".encode(),
    "decomposed": "e\u0301.png".encode(),
    "Chinese": "林檎.png".encode(),
    "emoji": "😀👩‍👩‍👧.png".encode(),
    "of bytes that are no text": b"\xff\xfe.png",
    "right to left": "\u202eabc\u2066.png".encode(),
    "with a new line": b"new\nline.png",
    "with a tab": b"tab\t.png",
    "with a return": b"re\rturn.png",
    "with an escape": b"\x1b[31mred.png",
    "with a leading dash": b"-rf.png",
    "with two dashes": b"--help.png",
    "a blank": b" .png",
    "with blanks around": b" a .png ",
    "with quotes": b"'\"`.png",
    "with a percent": b"%s%n.png",
    "with a backslash": b"a\\b.png",
    "with a glob": b"*?[a].png",
    "with braces": b"{0..9}.png",
    "with a dollar": b"$(reboot).png",
    "with a colon": b"C:con.png",
    "of one letter less than fits": b"x" * 251 + b".png",
    "of capitals": b"LOUD.PNG",
    "a twin in capitals": b"loud.png",
    "of two suffixes": b"a.tar.png",
    "of two dots": b"..a.png",
    "of a number": b"0.png",
    "with a null's look": b"a\\0.png",
    "with a hash": b"#a;b&c.png",
    "with a comma": b"a,b=c.png",
    "with an HTML tag": b"<b>bold.png",
}  # name -> bytes; what has no suffix of a picture (a blank at the end) is another kind of file
UNREAD = {"with blanks around"}


def _fifo(at: Path) -> None:
    os.mkfifo(at)


def _socket(at: Path) -> None:
    there = os.getcwd()
    os.chdir(at.parent)  # its path may be 100 bytes long at most
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(at.name)
    finally:
        os.chdir(there)


def _sparse(at: Path) -> None:
    with at.open("wb") as file:
        file.truncate(1 << 40)


def _chain(at: Path) -> None:
    for k in range(50):
        (at.parent / f"chain {k}.png").symlink_to(f"chain {k + 1}.png")
    at.symlink_to("chain 0.png")


def _deep(at: Path) -> None:
    for k in range(60):
        at = at / f"{k}"
    at.mkdir(parents=True)
    (at / "deep.png").write_bytes(GOOD)


# what is made at a path -> how many pictures there are then, and how many are listed
PLACES: dict[str, tuple[Callable[[Path], object], int, int]] = {
    "pipe.png": (_fifo, 0, 1),
    "socket.png": (_socket, 0, 1),
    "device.png": (lambda at: at.symlink_to("/dev/zero"), 0, 1),
    "dangling.png": (lambda at: at.symlink_to("nowhere"), 0, 1),
    "itself.png": (lambda at: at.symlink_to(at.name), 0, 1),
    "chained.png": (_chain, 0, 51),
    "linked.png": (lambda at: at.symlink_to("good.png"), 1, 0),
    "hard.png": (lambda at: os.link(at.parent / "good.png", at), 1, 0),
    "folder.png": (lambda at: at.mkdir(), 0, 0),
    "full.png": (lambda at: (at.mkdir(), (at / "inner.png").write_bytes(GOOD)), 1, 0),
    "round": (lambda at: at.symlink_to("."), 0, 0),
    "above": (lambda at: (at.mkdir(), (at / "again").symlink_to("..")), 0, 0),
    "deep": (_deep, 1, 0),
    "sparse.png": (_sparse, 0, 1),
    ".hidden.png": (lambda at: at.write_bytes(b"x"), 0, 0),
    "._fork.png": (lambda at: at.write_bytes(b"x"), 0, 0),
    "__MACOSX": (lambda at: (at.mkdir(), (at / "x.png").write_bytes(b"x")), 0, 0),
    "notes.txt": (lambda at: at.write_bytes(b"x"), 0, 0),
    "no suffix": (lambda at: at.write_bytes(GOOD), 0, 0),
    "Thumbs.db": (lambda at: at.write_bytes(GOOD), 0, 0),
    "unread.png": (lambda at: (at.write_bytes(GOOD), at.chmod(0)), int(os.geteuid() == 0), int(os.geteuid() != 0)),
}


def place(name: str, folder: Path) -> tuple[int, int]:
    """Makes one odd place beside a good picture; how many pictures, and how many lines of broken ones, there must be."""
    (folder / "good.png").write_bytes(GOOD)
    make, whole, listed = PLACES[name]
    make(folder / name)
    return 1 + whole, listed


def named(folder: Path) -> int:
    """Good pictures of all odd names; how many of them are looked at."""
    for raw in NAMES.values():
        Path(os.fsdecode(os.fsencode(folder) + b"/" + raw)).write_bytes(GOOD)
    return len(NAMES) - len(UNREAD)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The file with bits flipped, bytes drawn anew, put in, taken out or moved, numbers changed or its end lost, 1 to 4 times."""
    made = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at, size = draw.randrange(len(made)), draw.randint(1, 16)
        way = draw.choice(("flip", "byte", "in", "out", "move", "number", "cut", "zeros"))
        if way == "flip":
            made[at] ^= 1 << draw.randrange(8)
        elif way == "byte":
            made[at] = draw.randrange(256)
        elif way == "in":
            made[at:at] = draw.randbytes(size)
        elif way == "out":
            del made[at : at + size]
        elif way == "move":
            part = made[at : at + 4 * size]
            del made[at : at + 4 * size]
            place = draw.randrange(len(made) + 1)
            made[place:place] = part
        elif way == "number":  # a size or an offset
            made[at : at + 4] = struct.pack(draw.choice("<>") + "I", draw.choice((0, 1, 255, 65535, 2**31 - 1, 2**32 - 1)))
        elif way == "cut":
            del made[draw.randrange(len(made) // 2, len(made)) :]
        else:
            made[at : at + size] = bytes(size)
        if not made:
            return b"\0"
    return bytes(made)
