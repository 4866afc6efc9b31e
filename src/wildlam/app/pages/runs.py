"""Runs: live curves of the runs in a folder, and what their newest checkpoint predicts of held-out films."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import torch
import yaml
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from wildlam.app.jobs import QUICK, Job
from wildlam.app.library import Item, Library, jpeg
from wildlam.app.meanings import meaning
from wildlam.app.playground import Playground, videos_of
from wildlam.config import read_config
from wildlam.errors import WildlamError
from wildlam.models.decoder import shrink, to_uint8
from wildlam.runs.folder import Run
from wildlam.workflows.decoder import has_decoder, load_decoder
from wildlam.workflows.open_run import load_model

DEPTH = 3
MOST = 100
POINTS = 500
"""Points of a curve; of more, every so many."""
FILMS = 3
STATES = 8
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Of reports, which came with a run from who knows where: as a page of nobody's, it can ask the playground nothing."""


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""

    def find(key: str) -> Path:
        for path in _runs(playground.runs):
            if _name(playground.runs, path) == key:
                return path
        raise WildlamError(f"no run {key[:80]!r} in {playground.runs}; reload the page")

    def told() -> dict[str, Any]:
        found = [_told(playground.runs, path) for path in _runs(playground.runs)]
        found.sort(key=lambda one: not one.get("whole"))  # a run before what was trained for it
        empty = f"no run in {playground.runs}; train one: wildlam train --data.path VIDEOS, or give --runs FOLDER"
        return {"folder": str(playground.runs), "runs": found, "none": "" if found else empty}

    async def runs(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(told))

    async def curves(request: Request) -> Response:
        path = find(request.query_params.get("run", ""))
        return JSONResponse(await run_in_threadpool(_curves, path))

    async def pictures(request: Request) -> Response:
        path = find(request.query_params.get("run", ""))
        job = playground.jobs.submit("predicting held-out films", lambda job: _pictures(playground, path, job), QUICK)
        return JSONResponse(job.told())

    async def report(request: Request) -> Response:
        path = request.path_params["path"]
        for file in await run_in_threadpool(lambda: [one for run in _runs(playground.runs) for one in _reports(run)]):
            if _name(playground.runs, file) == path:
                return FileResponse(file, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})
        raise WildlamError("no such report; reload the page")

    return [
        Route("/api/reports/{path:path}", report),
        Route("/api/runs", runs),
        Route("/api/runs/curves", curves),
        Route("/api/runs/pictures", pictures, methods=["POST"]),
    ]


def _runs(folder: Path) -> list[Path]:
    """Run folders in a folder, those that changed last first."""
    found: list[Path] = []
    level = [folder]
    for _ in range(DEPTH + 1):
        deeper: list[Path] = []
        for one in level:
            if (one / "config.yaml").is_file() and (one / "run.json").is_file():
                found.append(one)
            elif one.is_dir():
                try:
                    deeper += [p for p in one.iterdir() if p.is_dir() and not p.is_symlink() and p.name[0] != "."]
                except OSError:  # not ours to read
                    continue
        level = deeper
    found.sort(key=_changed, reverse=True)
    return found[:MOST]


def _reports(path: Path) -> list[Path]:
    """Reports of a run, its own first: links in it lead to those in its folders."""
    here = path.resolve()
    return [
        file
        for file in (path / "report.html", *path.glob("*/report.html"))
        if file.is_file() and file.resolve().is_relative_to(here)
    ]


def _changed(path: Path) -> float:
    file = path / "metrics.jsonl"
    return (file if file.is_file() else path).stat().st_mtime


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _told(folder: Path, path: Path) -> dict[str, Any]:
    about: dict[str, Any] = {"key": _name(folder, path), "name": _name(folder, path), "changed": _changed(path)}
    about["reports"] = [_name(folder, file) for file in _reports(path)]
    try:
        config, metrics = yaml.safe_load((path / "config.yaml").read_text()), Run(path).metrics()
        about["steps"], about["step"] = config["training"]["steps"], metrics[-1]["step"] if metrics else 0
        about["whole"] = "encoder" in config  # not a decoder, controller or the like
    except (OSError, ValueError, yaml.YAMLError, WildlamError, KeyError, TypeError):
        about["error"] = "damaged: its config.yaml or metrics.jsonl cannot be read"
    return about


def _curves(path: Path) -> dict[str, Any]:
    """The statistics of a run as curves, name to steps and values, what they mean, and its newest checkpoint."""
    curves: dict[str, list[list[float]]] = {}
    for row in Run(path).metrics():
        step = row.get("step")
        for name, value in row.items():
            fine = isinstance(value, int | float) and math.isfinite(value)
            if name != "step" and fine and isinstance(step, int):
                curves.setdefault(name, []).append([step, value])
    for name, points in curves.items():
        every = -(-len(points) // POINTS)
        curves[name] = points[:-1:every] + points[-1:] if every > 1 else points
    checkpoints = sorted(p.name for p in (path / "checkpoints").glob("step_*"))
    return {
        "curves": curves,
        "meanings": {name: meaning(name) for name in curves},
        "checkpoint": checkpoints[-1] if checkpoints else "",
    }


@torch.no_grad()
def _pictures(playground: Playground, path: Path, job: Job) -> list[dict[str, str]]:
    """For some held-out films, the truth and what the model predicts step by step, as two rows of pictures each."""
    run = Run.open(path)
    config = read_config(path / "config.yaml")
    own = playground.trained.encoder
    same = own.spec.fingerprint == run.encoder_spec.fingerprint
    encoder = own if same else config.encoder.build(own.device)
    borrowed = same and not has_decoder(path)
    decoder = playground.decoder if borrowed else load_decoder(path, encoder.spec, encoder.device)
    model = load_model(run, config, encoder.spec).to(encoder.device)
    job.count(0.3)
    root = videos_of(path, None)
    own_videos = Library(root if path.absolute() != playground.run.absolute() else None)
    try:
        library = own_videos if own_videos.videos else playground.library  # as those of a run that was moved
        return _predicted(library, encoder, decoder, model, config.data.fps, job)
    finally:
        own_videos.close()


def _predicted(library: Library, encoder: Any, decoder: Any, model: Any, fps: float, job: Job) -> list[dict[str, str]]:
    films = [one for one in library.videos if one.split == "held_out"] or library.videos
    of_source: dict[str, Item] = {}
    for one in films:
        if one.source not in of_source and len(of_source) < FILMS and library.usable(one):
            of_source[one.source] = one
    per_state, rows = encoder.spec.frames_per_state, []
    for item in of_source.values():
        frames = library.frames(item.key, [k / fps for k in range(STATES * per_state)], encoder.spec.image_size)
        states = encoder.encode(frames[None]).float()
        predicted = model.predict(states[:, :-1], model.infer(states)).float()
        side = decoder.config.image_size
        truth = (shrink(frames[None], side)[0] * 255).round().byte()[per_state:]
        dreamed = to_uint8(decoder.decode(predicted)[0])
        strip = torch.cat([_row(truth[::per_state]), _row(dreamed[::per_state])], dim=1)
        rows.append({"name": item.name, "strip": base64.b64encode(jpeg(strip)).decode()})
        job.count(0.7 / FILMS)
    if not rows:
        raise WildlamError("the run's videos are not where they were; nothing held out to predict")
    return rows


def _row(frames: torch.Tensor) -> torch.Tensor:
    """Frames ``[T, 3, S, S]`` beside each other, ``[3, S, T * S]``."""
    return frames.permute(1, 2, 0, 3).flatten(2)
