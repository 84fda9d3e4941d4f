"""The entry point, and what becomes of errors."""

from __future__ import annotations

import os
import sys
import time
from typing import NoReturn

import unnoise.cli.verbs  # noqa: F401  (each file adds its verb to the app)
from unnoise.cli.app import app

GRACE = 20.0  # seconds for another process to say what is wrong; torchrun ends this one as soon as it has


def run() -> None:
    """The entry point: bad input is one line and exit code 2, a failure on the way one line and 1."""
    try:
        code = app(sys.argv[1:] or ["--help"], "unnoise", standalone_mode=False)
    except KeyboardInterrupt:
        _leave("stopped; the same command goes on from here", 130)
    except Exception as error:
        if os.environ.get("UNNOISE_DEBUG"):
            raise
        if _told_by_another(error):
            time.sleep(GRACE)  # to leave first would have torchrun end the one that tells
            sys.exit(_code(error))
        _leave(_line(error), _code(error))
    sys.exit(code or 0)


def _told_by_another(error: Exception) -> bool:
    """Whether the first process of this machine meets the same: what a command or recipe says wrong, before they have joined."""
    from unnoise.recipe import RecipeError

    if os.environ.get("LOCAL_RANK", "0") == "0" or not (isinstance(error, RecipeError) or hasattr(error, "format_message")):
        return False
    joined = "torch" in sys.modules and sys.modules["torch"].distributed.is_initialized()
    return not joined


def _line(error: Exception) -> str:
    """What an error says, in one line."""
    formatted = getattr(error, "format_message", None)  # the parser's own errors
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    if not formatted:
        return " ".join(str(error).split()) or type(error).__name__
    asked = getattr(error, "ctx", None)
    help_ = f" (`{asked.command_path} --help` says more)" if asked else ""
    return " ".join(formatted().split()).rstrip(".") + help_


def _code(error: Exception) -> int:
    """2 for what the user can mend in the command, 1 for a failure on the way."""
    files = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, FileExistsError)
    return getattr(error, "exit_code", 2 if isinstance(error, (ValueError, *files)) else 1)


def _leave(message: str, code: int) -> NoReturn:
    world = int(os.environ.get("WORLD_SIZE", 1))  # of several processes each says who it is
    who = f"rank {os.environ.get('RANK', 0)} of {world}: " if world > 1 else ""
    print(f"unnoise: {who}{message}", file=sys.stderr)
    sys.exit(code)
