"""Map: all transitions as points; groups of them get names."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from wildlam.app.jobs import QUICK
from wildlam.app.pages.shared import body_of
from wildlam.app.playground import Playground
from wildlam.errors import WildlamError

UMAP = "umap"
"""Lane of what takes a minute and cannot be stopped on the way."""


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""

    async def points(request: Request) -> Response:
        umap = (await body_of(request)).get("umap") is True
        playground.known()  # says at once what is missing
        title, lane = ("drawing the map by UMAP", UMAP) if umap else ("drawing the map", QUICK)
        job = playground.jobs.submit(title, lambda _: playground.points(umap), lane, stoppable=not umap)
        return JSONResponse(job.told())

    async def groups(request: Request) -> Response:
        given = await body_of(request)
        numbers = given.get("numbers")
        if not isinstance(numbers, list) or not all(isinstance(n, int) and abs(n) < 2**40 for n in numbers):
            raise WildlamError("a group is a list of transitions")
        group = await run_in_threadpool(playground.group, str(given.get("name", "")), numbers)
        return JSONResponse({"name": group.name})

    async def members(request: Request) -> Response:
        numbers = playground.numbers_of(playground.group_named(request.path_params["name"]))
        return JSONResponse({"numbers": numbers.tolist()})

    async def forget(request: Request) -> Response:
        playground.groups.forget(request.path_params["name"])
        return JSONResponse({})

    return [
        Route("/api/map", points, methods=["POST"]),
        Route("/api/groups", groups, methods=["POST"]),
        Route("/api/groups/{name}", members),
        Route("/api/groups/{name}", forget, methods=["DELETE"]),
    ]
