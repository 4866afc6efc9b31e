"""Search: the transitions nearest to a chosen one, by latent action."""

from __future__ import annotations

import numpy as np
import torch
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from torch import Tensor

from wildlam.app.pages.shared import number
from wildlam.app.playground import Playground
from wildlam.errors import WildlamError

MOST = 48


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""

    def between(key: str, at: float) -> Tensor:
        """The latent action ``[Z]`` of a video that was brought, from a time to the next state's."""
        trained, seconds = playground.trained, playground.library.seconds(key)
        per_state, fps = trained.encoder.spec.frames_per_state, trained.config.data.fps
        times = [at + k / fps for k in range(2 * per_state)]
        if times[-1] > seconds:
            raise WildlamError(
                f"a transition takes {2 * per_state / fps:g} s; choose an earlier time, or a longer video"
            )
        frames = playground.library.frames(key, times, trained.encoder.spec.image_size)
        with torch.no_grad():
            return trained.model.infer(trained.encoder.encode(frames[None]).float())[0, 0].float().cpu()

    def near(request: Request) -> list[dict[str, object]]:
        known, query = playground.known(), request.query_params
        among: np.ndarray = known.of_source(query.get("source") or None)
        if group := query.get("group"):
            if group not in playground.groups:
                raise WildlamError("no such group; it was forgotten")
            among = np.intersect1d(among, playground.groups[group].numbers)
        apart = query.get("apart") == "1"
        if "of" in query:
            of = int(number(request, "of", 0, 0, len(known) - 1))
            z, among = known.z[of], among[(known.video[among] != known.video[of]) if apart else (among != of)]
        else:
            z = between(query.get("video", ""), number(request, "at", 0, 0, 1e6))
        found = known.nearest(z, int(number(request, "count", 12, 1, MOST)), among, apart)
        distances = known.distances(z, found).tolist()
        return [playground.transition(int(n)) | {"distance": d} for n, d in zip(found, distances, strict=True)]

    async def search(request: Request) -> Response:
        return JSONResponse({"found": await run_in_threadpool(near, request)})

    async def at(request: Request) -> Response:
        """A transition by its number, or the one of a video that begins nearest to a time."""
        known = playground.known()
        if "number" in request.query_params:
            return JSONResponse(playground.transition(int(number(request, "number", 0, 0, len(known) - 1))))
        key, when = request.query_params.get("video", ""), number(request, "at", 0, 0, 1e6)
        item = playground.library.find(key)
        if item.split is None:  # it was brought, and is not among the known
            trained = playground.trained
            lasts = trained.encoder.spec.frames_per_state / trained.config.data.fps
            return JSONResponse({"number": None, "video": key, "name": item.name, "start": when, "end": when + lasts})
        chosen = playground.transitions_of(key)
        if not len(chosen):
            raise WildlamError("no transition of this video is in the index; choose another")
        nearest = int(chosen[np.abs(known.start[chosen] - when).argmin()])
        return JSONResponse(playground.transition(nearest))

    return [Route("/api/near", search), Route("/api/transition", at)]
