"""Transfer: what happens in one video, done to another."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from wildlam.app.jobs import Job
from wildlam.app.library import with_name
from wildlam.app.pages.shared import body_of, checked
from wildlam.app.playground import Playground
from wildlam.errors import WildlamError
from wildlam.video.given import VideoFile
from wildlam.video.write import mp4_bytes, side_by_side

LONGEST = 8.0
"""Seconds that are transferred at most."""


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""

    def transferred(job: Job, source: str, target: str, seconds: float) -> dict[str, Any]:
        items = [playground.library.find(key) for key in (source, target)]
        videos = [VideoFile(item.file) for item in items if item.file is not None]
        try:
            done = playground.trained.transfer(*videos, seconds=seconds, count=lambda share: job.count(0.9 * share))
        except WildlamError as error:
            raise with_name(items[1], with_name(items[0], error)) from error
        panels = {
            "what happens": done.films["source"],
            "truth": done.films["target"],
            "dreamed": done.films["transferred"],
        }
        return {
            "film": playground.keep_film(mp4_bytes(side_by_side(panels), done.fps)),
            "known": done.known / done.fps,
            "errors": asdict(done.errors),
        }

    async def transfer(request: Request) -> Response:
        given = await body_of(request)
        source, target = str(given.get("source", "")), str(given.get("target", ""))
        seconds = checked(given.get("seconds", 1), "seconds", 0.1, LONGEST)
        for key in (source, target):
            if playground.library.find(key).file is None:
                raise WildlamError(f"{playground.library.find(key).name} is a picture; nothing happens in it")
        _ = playground.decoder  # or it says what is missing
        job = playground.jobs.submit("transferring", lambda job: transferred(job, source, target, seconds))
        return JSONResponse(job.told())

    return [Route("/api/transfer", transfer, methods=["POST"])]
