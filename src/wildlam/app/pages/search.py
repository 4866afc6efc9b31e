"""Search: the transitions nearest to a chosen one, by latent action."""

from __future__ import annotations

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from wildlam.app.pages.shared import number
from wildlam.app.playground import Playground
from wildlam.errors import WildlamError

MOST = 48


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""

    def near(request: Request) -> list[dict[str, object]]:
        known, query = playground.known(), request.query_params
        of = int(number(request, "of", 0, 0, len(known) - 1))
        count = int(number(request, "count", 12, 1, MOST))
        among: np.ndarray = known.of_source(query.get("source") or None)
        if group := query.get("group"):
            if group not in playground.groups:
                raise WildlamError("no such group; it was forgotten")
            among = np.intersect1d(among, playground.groups[group].numbers)
        apart = query.get("apart") == "1"
        if apart:
            among = among[known.video[among] != known.video[of]]
        found = known.nearest(known.z[of], count + 1, among, apart)
        found = found[found != of][:count]
        distances = (known.z[found] - known.z[of]).norm(dim=1).tolist()
        return [playground.transition(int(n)) | {"distance": d} for n, d in zip(found, distances, strict=True)]

    async def search(request: Request) -> Response:
        return JSONResponse({"found": await run_in_threadpool(near, request)})

    async def at(request: Request) -> Response:
        """A transition by its number, or the one of a video that begins nearest to a time."""
        known = playground.known()
        if "number" in request.query_params:
            return JSONResponse(playground.transition(int(number(request, "number", 0, 0, len(known) - 1))))
        key, when = request.query_params.get("video", ""), number(request, "at", 0, 0, 1e6)
        chosen = playground.transitions_of(key)
        if not len(chosen):
            raise WildlamError("no transition of this video is in the index; choose another")
        nearest = int(chosen[np.abs(known.start[chosen] - when).argmin()])
        return JSONResponse(playground.transition(nearest))

    return [Route("/api/near", search), Route("/api/transition", at)]
