"""The command line: parse, one call, print. Nothing heavy is imported before a command runs."""

from unnoise.cli.main import run

__all__ = ["run"]
