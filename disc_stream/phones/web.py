"""HTTP routes for phones: the page, what apps push, the experiment for phyphox. Each holds a token."""

from __future__ import annotations

from importlib import resources

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from disc_stream.errors import PayloadError
from disc_stream.phones.gateway import Gateway
from disc_stream.phones.phone import ADAPTERS, Phone
from disc_stream_edge.phones import phyphox
from disc_stream_edge.phones.readings import MAX_BYTES

_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "phone.js": ("phone.js", "text/javascript; charset=utf-8"),
    "phone.css": ("phone.css", "text/css; charset=utf-8"),
}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY),
    (b"permissions-policy", b"accelerometer=(self), gyroscope=(self), screen-wake-lock=(self)"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # the address holds the token
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_SHOWN_TO_USER = 499  # Sensor Logger shows the text of such an answer, once a recording


class _Headers:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def make_web_app(gateway: Gateway, push_url: str) -> Starlette:
    """The ASGI application.

    Args:
        gateway: takes what is pushed.
        push_url: where apps that trust no certificate of ours push to; "" for the address they asked at.
    """
    routes = _Routes(gateway, push_url)
    return Starlette(
        routes=[
            Route("/p/{token}/state", routes.state),
            Route("/p/{token}/phyphox.phyphox", routes.experiment),
            Route("/p/{token}/push/{app}", routes.push, methods=["POST"]),
            Route("/p/{token}/{file:path}", routes.page),
        ],
        middleware=[Middleware(_Headers)],
    )


class _Routes:
    def __init__(self, gateway: Gateway, push_url: str) -> None:
        self._gateway, self._push_url = gateway, push_url
        folder = resources.files("disc_stream.phones") / "static"
        self._files = {name: ((folder / file).read_bytes(), kind) for name, (file, kind) in _FILES.items()}

    def _phone(self, request: Request) -> Phone | None:
        return self._gateway.by_token(request.path_params["token"])

    async def page(self, request: Request) -> Response:
        phone = self._phone(request)
        found = self._files.get(request.path_params["file"])
        if phone is None or found is None:
            return _not_here()
        phone.open()
        return Response(found[0], media_type=found[1])

    async def state(self, request: Request) -> Response:
        phone = self._phone(request)
        return _not_here() if phone is None else JSONResponse(phone.state(self._gateway.reading))

    async def experiment(self, request: Request) -> Response:
        phone = self._phone(request)
        if phone is None:
            return _not_here()
        phone.open()
        base = self._push_url or str(request.base_url).rstrip("/")
        text = phyphox.experiment(f"{base}/p/{phone.token}/push/phyphox")
        name = {"content-disposition": 'attachment; filename="disc-stream.phyphox"'}
        return Response(text, media_type="application/octet-stream", headers=name)

    async def push(self, request: Request) -> Response:
        phone, app = self._phone(request), request.path_params["app"]
        if phone is None or app not in ADAPTERS:
            return _not_here()
        payload = await _body(request)
        if payload is None:
            return PlainTextResponse(f"A message may have {MAX_BYTES} bytes.\n", 413)
        if not phone.admits(len(payload)):
            return PlainTextResponse("That is more than a phone may send.\n", 429)
        if not phone.sender.has_room:
            words = phone.sender.trouble or "The broker does not take what waits here."
            return PlainTextResponse(f"{words}\n", 503, headers={"retry-after": "5"})
        return await self._take(phone, app, payload)

    async def _take(self, phone: Phone, app: str, payload: bytes) -> Response:
        try:
            await run_in_threadpool(self._gateway.take, phone, app, payload)
        except PayloadError as error:
            return PlainTextResponse(f"{error}\n", 400)
        if app == "page":
            return JSONResponse(phone.state(self._gateway.reading))
        complaint = phone.complaint() if app == "sensorlogger" else None
        if complaint is not None:
            return PlainTextResponse(f"{complaint}\n", _SHOWN_TO_USER)
        return PlainTextResponse("taken\n")


def _not_here() -> Response:
    return PlainTextResponse("There is nothing here. Scan the code that disc-stream phone shows.\n", 404)


async def _body(request: Request) -> bytes | None:
    """The body; None if it is larger than any message may be."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
