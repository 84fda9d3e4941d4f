"""The page's files: a table that is read once, so that no request ever names a path."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi.responses import Response

from unnoise.serve.jobs import Refused

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
    "webmanifest": "application/manifest+json",
    "txt": "text/plain; charset=utf-8",
}


class Files:
    """What stands in the package's folder of the page, by relative name."""

    def __init__(self) -> None:
        self.table: dict[str, bytes] = {}
        folder = resources.files("unnoise.serve").joinpath("page")
        if folder.is_dir():
            self._read(folder, "")

    def answer(self, name: str) -> Response:
        """One of them; Refused (404) for any other name."""
        if name not in self.table:
            raise Refused(404, "there is nothing here")
        headers = {"cache-control": "no-cache"}
        return Response(self.table[name], media_type=TYPES[name.rpartition(".")[2]], headers=headers)

    def _read(self, folder: Traversable, prefix: str) -> None:
        for one in folder.iterdir():
            if one.is_dir():
                self._read(one, f"{prefix}{one.name}/")
            elif re.fullmatch(r"[A-Za-z0-9_.-]+", one.name) and one.name.rpartition(".")[2] in TYPES:
                self.table[prefix + one.name] = one.read_bytes()
