"""The page's files: each is read once, compressed once, and has a route of its own.

No path is ever looked up from a request. What stands behind ``/vendor`` is of others, unchanged: see
``static/vendor/vendor.json``, which ``deploy/vendored.py`` compares with npm.
"""

from __future__ import annotations

import gzip
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CARDS = ("style.css", "main.js", "stream.js", "cards.js", "draw.js", "palette.js", "icon.svg")
"""Files of the page of cards, which a server without the API shows."""
FOLDERS = ("app", "vendor")
"""Those of the page that needs the API."""
_SMALL = 512  # bytes that are not worth compressing


def static() -> Traversable:
    """The folder that they are in."""
    return resources.files("disc_stream_server.dashboard") / "static"


def page_files() -> dict[str, Traversable]:
    """Every file of the page that needs the API, by its path below the root."""
    folder = static()
    found = {
        f"/{name}/{file.name}": file
        for name in FOLDERS
        for file in (folder / name).iterdir()
        if _ending(file.name) in MEDIA
    }
    return {"/": folder / "app.html", "/icon.svg": folder / "icon.svg", **found}


def static_routes(*, has_api: bool) -> list[Route]:
    """One route for each file.

    Args:
        has_api: whether the page can ask the API; without it, the root is the page of cards.
    """
    folder = static()
    cards = {f"/{name}": folder / name for name in CARDS} | {"/cards": folder / "index.html"}
    files = cards | (page_files() if has_api else {"/": folder / "index.html"})
    return [_route(path, file) for path, file in files.items()]


def _route(path: str, file: Traversable) -> Route:
    content, media_type = file.read_bytes(), MEDIA[_ending(file.name)]
    packed = gzip.compress(content, 9, mtime=0) if len(content) > _SMALL else None

    async def answer(request: Request) -> Response:
        if packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers = {"content-encoding": "gzip", "vary": "accept-encoding"}
            return Response(packed, media_type=media_type, headers=headers)
        return Response(content, media_type=media_type, headers={"vary": "accept-encoding"})

    return Route(path, answer)


def _ending(name: str) -> str:
    return name[name.rfind(".") :]
