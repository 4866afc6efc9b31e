"""What all pages ask for: the state, videos, frames, uploads, jobs and films."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from wildlam.app.library import BYTES, jpeg
from wildlam.app.playground import Playground, in_short
from wildlam.errors import WildlamError

SIDE = 128
"""Side of frames, pixels, where the browser asks for no other."""
LARGEST = 512
PAGE = 24
"""Videos told at once."""


def number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number of the query.

    Raises:
        WildlamError: it is none, or out of its range.
    """
    given = request.query_params.get(name, default)
    return checked(given, name, low, high)


def checked(given: Any, name: str, low: float, high: float) -> float:
    """A number that the browser gave.

    Raises:
        WildlamError: it is none, or out of its range.
    """
    try:
        value = float(given)
    except (TypeError, ValueError, OverflowError):
        value = float("nan")
    if not low <= value <= high:
        raise WildlamError(f"{name} must be a number from {low:g} to {high:g}, got {str(given)[:40]!r}")
    return value


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that the browser sent.

    Raises:
        WildlamError: it is none.
    """
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > 2**21:
            raise WildlamError("that is too much at once")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WildlamError("what was sent is not JSON") from error
    if not isinstance(found, dict):
        raise WildlamError("what was sent is no JSON object")
    return found


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""
    library = playground.library

    async def state(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(playground.told))  # which reads groups and opens an index

    def page_of(request: Request) -> dict[str, Any]:
        """Some videos that can be used, where to go on, and what has been left out up to there."""
        source = request.query_params.get("source")
        first = int(number(request, "first", 0, 0, 1e9))
        among = [one for one in library.videos if source in (None, "", one.source)]
        among.sort(key=lambda one: one.split != "held_out")  # what no training saw first
        told: list[dict[str, Any]] = []
        after = first
        while after < len(among) and len(told) < PAGE:
            one = among[after]
            after += 1
            if library.usable(one):
                told.append(one.told() | {"seconds": library.seconds(one.key)})
        left_out = {one.name: library.left_out[one.name] for one in among[:after] if one.name in library.left_out}
        why = in_short(left_out) if left_out else ""
        return {"videos": told, "next": after if after < len(among) else None, "left_out": why}

    async def videos(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(page_of, request))

    def one_video(key: str) -> dict[str, Any]:
        of_it = {"seconds": library.seconds(key), "clear": library.clear_moment(key)}
        return library.find(key).told() | of_it

    async def video(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(one_video, request.path_params["key"]))

    async def frame(request: Request) -> Response:
        key = request.path_params["key"]
        at = number(request, "at", 0, 0, 1e6)
        side = int(number(request, "side", SIDE, 16, LARGEST))
        data = await run_in_threadpool(lambda: jpeg(library.frames(key, [at], side)[0]))
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})

    async def upload(request: Request) -> Response:
        name = request.query_params.get("name", "upload")
        declared = request.headers.get("content-length", "")
        parts, size = [], 0
        if not declared.isdigit() or int(declared) <= BYTES:
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > BYTES:
                    break
        else:
            size = int(declared)
        if size > BYTES:
            raise WildlamError(f"{name[:80]} is larger than {BYTES >> 20} MB; bring a shorter or smaller one")
        item = await run_in_threadpool(library.add, name, b"".join(parts))
        return JSONResponse(item.told() | {"seconds": library.seconds(item.key)})

    async def remove(request: Request) -> Response:
        library.remove(request.path_params["key"])
        return JSONResponse({})

    async def job(request: Request) -> Response:
        return JSONResponse(playground.jobs.find(request.path_params["key"]).told())

    async def cancel(request: Request) -> Response:
        playground.jobs.cancel(request.path_params["key"])
        return JSONResponse({})

    async def film(request: Request) -> Response:
        return Response(playground.film(request.path_params["key"]), media_type="video/mp4")

    async def rename(request: Request) -> Response:
        given = await body_of(request)
        playground.rename(str(given.get("key", "")), str(given.get("name", "")))
        return JSONResponse({})

    return [
        Route("/api/state", state),
        Route("/api/videos", videos),
        Route("/api/videos/{key}", video),
        Route("/api/videos/{key}/frame", frame),
        Route("/api/uploads", upload, methods=["POST"]),
        Route("/api/uploads/{key}", remove, methods=["DELETE"]),
        Route("/api/jobs/{key}", job),
        Route("/api/jobs/{key}", cancel, methods=["DELETE"]),
        Route("/api/films/{key}", film),
        Route("/api/names", rename, methods=["POST"]),
    ]
