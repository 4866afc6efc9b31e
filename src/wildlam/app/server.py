"""Serve the playground: pages and what they ask for, to this machine alone unless told otherwise."""

from __future__ import annotations

import logging
import shlex
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from wildlam.app.config import LOOPBACK, AppConfig
from wildlam.app.playground import Playground, use_half_of_the_cores, videos_of
from wildlam.errors import WildlamError, fields_as_options, option
from wildlam.pretrained import FILMS, TINY
from wildlam.runs.folder import Run
from wildlam.workflows.decoder import FOLDER, has_decoder, load_decoder
from wildlam.workflows.search_build import index_folder

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import BaseRoute, Mount, Route
    from starlette.staticfiles import StaticFiles
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from wildlam.app.library import Library
    from wildlam.app.pages import drive, map, plan, runs, search, shared, transfer
except ImportError as error:
    if error.name and error.name.startswith("wildlam"):
        raise
    raise WildlamError(f"the playground needs {error.name}: pip install 'wildlam[app]'") from error

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
PORTS_TRIED = 20

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer that does not say otherwise: nothing is loaded from elsewhere, no other page embeds this one."""


def serve(config: AppConfig) -> None:
    """Serve the playground until interrupted.

    Raises:
        WildlamError: the run is none, or the address cannot be listened at.
    """
    playground = open_playground(config)
    with closing(playground):  # whatever ends it: nothing that was brought stays
        sock = _listening(config.host, config.port)
        port = sock.getsockname()[1]
        shown = "localhost" if config.host == LOOPBACK else f"[{config.host}]" if ":" in config.host else config.host
        for line in _missing(config, playground):
            print(line)
        print(f"playground http://{shown}:{port}    (Ctrl-C ends it)", flush=True)
        if not is_loopback(config.host):
            print(
                f"           whoever can reach {config.host}:{port} can see these videos, bring others and use this "
                "machine's time; there is no password",
                flush=True,
            )
        use_half_of_the_cores()
        app = make_app(
            playground, None if not is_loopback(config.host) else {"localhost", "127.0.0.1", "::1", config.host}
        )
        settings = uvicorn.Config(
            app, log_level="warning", ws_max_size=2**16, timeout_graceful_shutdown=1, lifespan="on"
        )
        with fields_as_options(False), suppress(KeyboardInterrupt):  # that is how it ends
            uvicorn.Server(settings).run(sockets=[sock])


def open_playground(config: AppConfig) -> Playground:
    """A playground that has not begun to load.

    Raises:
        WildlamError: the run is none, or there is no such folder of videos.
    """
    run = Run.open(config.run)
    no_decoder, decoder, borrowed = "", None, not has_decoder(config.run)
    try:
        decoder = load_decoder(config.run, run.encoder_spec)
    except WildlamError as error:
        borrowed = False
        no_decoder = str(error) if (config.run / FOLDER).is_dir() else f"{config.run} has no decoder"
    root = videos_of(config.run, config.videos)
    library = Library(root, copied=root == FILMS)
    runs = config.runs or (Path("runs") if config.run == TINY else config.run.absolute().parent)
    if root == FILMS and config.index is None:
        index = library.folder / "search"  # beside these nothing is to be written: not groups either
    else:
        index = index_folder(config.run, config.index, "index", root)
    return Playground(config.run, library, runs, config.most, index, decoder, borrowed, no_decoder)


def _missing(config: AppConfig, playground: Playground) -> list[str]:
    """What pages will lack, a line each."""
    lines = []
    if playground.no_decoder:
        train = f"wildlam decoder train {shlex.quote(playground.called)}"
        lines.append(f"{playground.no_decoder}; Drive, Transfer and Plan need one: {train}")
    if config.index is not None and not (config.index / "index.json").is_file():
        lines.append(f"{config.index} has no search index yet; it is searched as soon as it is there")
    return lines


def make_app(playground: Playground, hosts: set[str] | None) -> ASGIApp:
    """The application.

    Args:
        playground: what it shows; it is started and closed with the application.
        hosts: names by which it may be called; any, for None. A page from elsewhere that had its name lead here would
            else read what is shown here.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        playground.start()
        try:
            yield
        finally:
            playground.close()

    async def index(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    routes: list[BaseRoute] = [Route("/", index), Mount("/static", StaticFiles(directory=STATIC))]
    for page in (shared, drive, transfer, plan, map, search, runs):
        routes += page.routes(playground)
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={WildlamError: _refused})
    return _Guarded(app, hosts)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


class _Guarded:
    """Refuses requests under another name than the playground's and those that another page makes, and adds headers."""

    def __init__(self, app: ASGIApp, hosts: set[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        known = self._hosts is None or urlsplit(f"//{host}").hostname in self._hosts
        own = origin is None or urlsplit(origin).netloc == host
        if not (known and own):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            else:
                await Response("not asked from the playground's own page", status_code=403)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own_ones = message.get("headers", [])
                said = {name.lower() for name, _ in own_ones}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*own_ones, *((name, value) for name, value in added if name.lower() not in said)]
            await send(message)

        await self._app(scope, receive, with_headers)


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens; at the next free port if this one is taken.

    Raises:
        WildlamError: there is none, or no such address.
    """
    last: OSError | None = None
    for tried in [port] if port == 0 else range(port, min(port + PORTS_TRIED, 2**16)):
        try:
            family = socket.getaddrinfo(host, tried, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, tried), family=family)
        except OSError as error:
            last = error
    assert last is not None
    raise WildlamError(
        f"cannot listen at {host}:{port}: {last.strerror or last}; give another {option('host')} or {option('port')}"
    )
