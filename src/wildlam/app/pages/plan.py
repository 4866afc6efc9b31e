"""Plan: from a start to a goal picture with a controller, step by step beside the truth."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from torch import Tensor

from wildlam.app.jobs import Job
from wildlam.app.keys import WORDS, Driver
from wildlam.app.library import Item, png
from wildlam.app.pages.shared import body_of, checked
from wildlam.app.playground import Playground
from wildlam.episodes.clips import encode_frames
from wildlam.episodes.episode import by_film
from wildlam.episodes.formats import read_episodes
from wildlam.errors import WildlamError
from wildlam.models.decoder import to_uint8
from wildlam.workflows.goal_plan import MOST_STEPS, plan_to_goal


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""

    def planned(
        job: Job, driver: Driver, start: Item, at: float, goal: Item, until: float, steps: int
    ) -> dict[str, Any]:
        trained, library = playground.trained, playground.library
        encoder = trained.encoder
        side = encoder.spec.image_size
        first, last = library.frames(start.key, [at], side), library.frames(goal.key, [until], side)
        with torch.no_grad():
            states = encode_frames(encoder, torch.stack([first, last]))[:, 0].float()
        found = plan_to_goal(
            trained, driver.controller, driver.space, states[:1], states[1], steps, count=lambda s: job.count(0.9 * s)
        )
        with torch.no_grad():
            painted = playground.decoder.decode(found.states[:, None].to(encoder.device))
        pictures = [_uri(one[-1]) for one in to_uint8(painted.flatten(0, 1)).unflatten(0, painted.shape[:2])]
        fps = trained.config.data.fps
        same = start.key == goal.key and start.file is not None and abs(until - at - steps / fps) < 0.5 / fps
        truth = _truth(playground, driver, start, [at + k / fps for k in range(steps + 1)]) if same else None
        names = driver.space.action_names
        std = driver.controller.action_std.cpu()
        shown = [i for i in range(len(names)) if std[i] > 1e-5]
        return {
            "pictures": pictures,
            "times": [at + k / fps for k in range(steps + 1)] if same else None,
            "names": [driver.space.with_unit(names[i]) for i in shown],
            "words": [_said(names[i]) for i in shown],
            "actions": [[round(float(step[i]), 4) for i in shown] for step in found.actions],
            "sums": [round(float(found.actions[:, i].sum()), 3) for i in shown],
            "true_sums": None if truth is None else [round(float(truth[:, i].sum()), 3) for i in shown],
            "distances": [round(float(d / found.distances[0].clamp(min=1e-9)), 3) for d in found.distances],
        }

    async def plan(request: Request) -> Response:
        given = await body_of(request)
        driver = playground.driver(str(given.get("controller", "")))
        start, goal = (playground.library.find(str(given.get(name, ""))) for name in ("start", "goal"))
        at, until = (checked(given.get(name, 0), name, 0, 1e6) for name in ("at", "until"))
        steps = int(checked(given.get("steps", 8), "steps", 1, MOST_STEPS))
        _ = playground.decoder  # or it says what is missing
        job = playground.jobs.submit("planning", lambda job: planned(job, driver, start, at, goal, until, steps))
        return JSONResponse(job.told())

    return [Route("/api/plan", plan, methods=["POST"])]


def _said(component: str) -> tuple[str, str] | None:
    """What a component of an action does, up and down; None where that says no more than its name."""
    words = WORDS.get(component)
    return None if words is None or words[0].endswith("+") else words


def _uri(picture: Tensor) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


def _truth(playground: Playground, driver: Driver, item: Item, times: list[float]) -> np.ndarray | None:
    """What was really done between some moments of a film, ``[H, A]``; None where that is not known."""
    try:
        episodes = read_episodes(playground.folder_of(item.source))
    except WildlamError:
        return None
    episode = None if item.file is None else by_film(episodes)(item.file)
    if episode is None or episode.space_at(playground.trained.config.data.fps) != driver.space:
        return None
    frames = np.array([int(np.abs(episode.times - t).argmin()) for t in times])
    return None if (np.diff(frames) < 1).any() else episode.actions(frames)
