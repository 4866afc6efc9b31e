"""Search: the transitions nearest to a chosen one, by latent action."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from torch import Tensor

from wildlam.app.library import Item
from wildlam.app.pages.shared import number
from wildlam.app.playground import Playground
from wildlam.app.searched import Searched
from wildlam.errors import WildlamError, named
from wildlam.workflows.groups import Group
from wildlam.workflows.search_filter import Filter, Transition

MOST = 48
LIMITS = {
    "min_speed": (0, 0, 1),
    "max_speed": (1, 0, 1),
    "after": (0, 0, 1e6),
    "before": (1e6, 0, 1e6),
}
"""Filters that are numbers: value if not given, least and greatest."""
WORDS = {
    "min_speed": "least speed",
    "max_speed": "greatest speed",
    "after": "from",
    "before": "until",
}
"""What the page calls them."""


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""

    def between(key: str, at: float) -> Tensor:
        """The latent action ``[Z]`` of a video that is not searched, from a time to the next state's."""
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

    def known_at(searched: Searched, item: Item, at: float) -> Transition | None:
        """The transition of a video that begins nearest to a time; None if it is not searched: it was brought, or is
        not among those that are mapped.
        """
        there = [] if item.split is None else searched.of_video(item.name)
        return min(there, key=lambda one: abs(one.start - at), default=None)

    def example(searched: Searched, request: Request, apart: bool) -> tuple[np.ndarray, dict[str, Any]]:
        """The latent action ``[Z]`` that is asked for, or the directions ``[K, Z]`` of a group, and the fields of a
        filter that leave its own out.
        """
        query = request.query_params
        if "like" in query:
            group = playground.group_named(query["like"])
            return group.directions, {"without_moments": moments_of(group)}
        item, at = playground.library.find(query.get("video", "")), number(request, "at", 0, 0, 1e6)
        if (one := known_at(searched, item, at)) is None:
            return between(item.key, at).numpy(), {}
        own = {"without": {item.name}} if apart else {"without_moments": frozenset({(one.video, one.start)})}
        return searched.vectors([one])[0], own

    def near(request: Request) -> dict[str, Any]:
        query, searched = request.query_params, playground.searched()
        apart = query.get("apart") == "1"
        z, fields = example(searched, request, apart)
        fields["without"] = frozenset(fields.get("without", ())) | playground.loaded.index.unshown
        if query.get("group"):
            fields["moments"] = moments_of(playground.group_named(query["group"]))
        fields |= {name: number(request, name, *limits) for name, limits in LIMITS.items() if query.get(name)}
        with named(WORDS):
            try:
                only = Filter(sources=[query["source"]] if query.get("source") else (), **fields)
            except ValueError as error:
                raise WildlamError(str(error)) from error
        hits = searched.nearest(z, int(number(request, "count", 12, 1, MOST)), only, distinct_videos=apart)
        found = [playground.transition(one) | {"distance": one.distance, "rank": one.rank} for one in hits]
        return {"found": found, "searched": playground.searched_in_words(searched)}

    async def search(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(near, request))

    def at(request: Request) -> dict[str, Any]:
        """The transition of a video that begins nearest to a time."""
        item, when = playground.library.find(request.query_params.get("video", "")), number(request, "at", 0, 0, 1e6)
        if (one := known_at(playground.searched(), item, when)) is not None:
            return playground.transition(one)
        trained = playground.trained
        lasts = trained.encoder.spec.frames_per_state / trained.config.data.fps
        return {"video": item.key, "name": item.name, "start": when, "end": when + lasts}

    async def transition(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(at, request))

    return [Route("/api/near", search), Route("/api/transition", transition)]


def moments_of(group: Group) -> frozenset[tuple[str, float]]:
    """The members of a group, as a filter takes them."""
    return frozenset((one.video, one.start) for one in group.members)
