"""Drive: a frame, keys, and what the world model dreams. Each page that drives has a socket of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import torch
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from wildlam.app.jobs import in_a_line
from wildlam.app.keys import DIGITS, EXAMPLES, Driver, Key, code_keys, direction_keys, found_keys, stay_key
from wildlam.app.library import png
from wildlam.app.pages.shared import checked
from wildlam.app.playground import Playground
from wildlam.errors import WildlamError
from wildlam.models.bottlenecks.discrete import DiscreteBottleneck
from wildlam.video.write import mp4_bytes, side_by_side
from wildlam.workflows.drive import Drive, frames_known
from wildlam.workflows.groups import GROUP

DRIVES = 16
"""Drives at once; each keeps its states."""
HELD = 6
"""Keys that may be held at once."""


class Seat:
    """One drive, its start and its keys, as one browser's page has it."""

    def __init__(self, playground: Playground) -> None:
        self._playground = playground
        self._drive: Drive | None = None
        self._source: str | None = None
        self._keys: dict[str, dict[str, Key]] = {}

    @property
    def drive(self) -> Drive:
        """The drive.

        Raises:
            WildlamError: none has begun.
        """
        if self._drive is None:
            raise WildlamError("choose a picture to start from")
        return self._drive

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Do what the browser asks.

        Raises:
            WildlamError: it cannot be done.
        """
        acts = {
            "start": self._start,
            "keys": self._tell_keys,
            "step": self._step,
            "back": self._back,
            "reset": self._reset,
            "save": self._save,
        }
        act = acts.get(str(asked.get("do")))
        if act is None:
            raise WildlamError("nothing that can be done in a drive")
        return act(asked)

    def _start(self, asked: dict[str, Any]) -> dict[str, Any]:
        playground = self._playground
        trained, decoder, library = playground.trained, playground.decoder, playground.library
        key = str(asked.get("video", ""))
        item = library.find(key)
        at = checked(asked.get("at", 0), "at", 0, 1e6)
        fps = trained.config.data.fps
        count = 1 if item.picture is not None else min(frames_known(trained), int(at * fps + 1e-6) + 1)
        times = [max(at - k / fps, 0.0) for k in reversed(range(count))]
        frames = library.frames(key, times, trained.encoder.spec.image_size)
        self._drive = Drive(trained, decoder, frames)
        self._source = item.source if item.source in library.sources else None
        return self._shown() | {"started": True}

    def _tell_keys(self, _: dict[str, Any]) -> dict[str, Any]:
        """All sets of keys, that which suits the start first, with the real transitions nearest to each."""
        drivers = sorted(self._playground.loaded.drivers, key=lambda one: not self._playground.suits(one, self._source))
        sets: list[dict[str, Any]] = []
        self._keys = {}
        for driver in drivers:
            sets.append(self._told(f"real:{driver.name}", driver.title, driver.keys(), driver))
        known = self._playground.transitions
        if known is not None:
            source = self._source if self._source in known.sources else None
            bottleneck, names = self._playground.trained.model.bottleneck, self._playground.names
            if isinstance(bottleneck, DiscreteBottleneck):  # what lies between its codes is no action
                sets.append(self._told("codes", "codes", code_keys(known, source, bottleneck, names)))
            else:
                sets.append(self._told("found", "found actions", found_keys(known, source, names)))
                sets.append(self._told("directions", "principal directions", direction_keys(known, source)))
            if groups := list(self._playground.groups):
                named = [
                    Key(
                        f"{GROUP}{group.name}",
                        group.name,
                        DIGITS[i : i + 1],
                        z=self._playground.action_of(group),
                        members=self._playground.numbers_of(group),
                    )
                    for i, group in enumerate(groups)
                ]
                sets.append(self._told("named", "named groups", [*named, stay_key(known, source)]))
        suits = bool(drivers) and self._playground.suits(drivers[0], self._source)
        if not suits and known is not None:  # a controller of another world's actions is no place to begin
            sets.sort(key=lambda one: one["key"] not in ("codes", "found", "named"))
        return {"sets": sets, "gathering": known is None and self._playground.gathering is not None}

    def _told(self, name: str, title: str, keys: list[Key], driver: Driver | None = None) -> dict[str, Any]:
        self._keys[name] = {key.key: key for key in keys}
        told = []
        for key in keys:
            one: dict[str, Any] = {"key": key.key, "label": key.label, "letter": key.letter}
            one["renames"] = key.key != "stay" and name in ("codes", "found", "named")
            one["examples"] = self._examples(key, driver)
            told.append(one)
        joins, scales = driver is not None, "stay" in self._keys[name]
        return {"key": name, "title": title, "joins": joins, "scales": scales, "keys": told}

    def _examples(self, key: Key, driver: Driver | None) -> list[dict[str, Any]]:
        """The real transitions nearest to a key, each of another video: to a latent action, or to a real one among
        those in which one of its kind was done; of this source where there are such. Of a group its own.
        """
        known = self._playground.transitions
        if known is None:
            return []
        among = known.of_source(self._source if self._source in known.sources else None)
        if key.members is not None and len(key.members):
            among = key.members
        if driver is None:
            assert key.z is not None
            found = known.nearest(key.z, EXAMPLES, among, apart=True)
        else:
            assert key.action is not None
            labels = self._playground.labels(driver)
            if not np.isfinite(labels[among]).any():
                among = known.of_source(None)
            std = driver.controller.action_std.cpu().numpy()
            found = known.nearest_labels(labels / std, key.action.numpy() / std, EXAMPLES, among)
        mapped = self._playground.mapped
        assert mapped is not None
        return [self._playground.transition(mapped.all[n]) for n in found.tolist()]

    def _step(self, asked: dict[str, Any]) -> dict[str, Any]:
        drive, keys = self.drive, self._held(asked)
        strength = checked(asked.get("strength", 1), "strength", 0, 4)
        of = self._keys[str(asked.get("set"))]
        chosen, stay = keys[-1].z, of.get("stay")
        if chosen is not None:  # a code is taken as it is
            z = chosen if stay is None or stay.z is None else stay.z + strength * (chosen - stay.z)
        else:
            driver = self._playground.driver(str(asked.get("set")).removeprefix("real:"))
            action = driver.rest + strength * (driver.joined(keys) - driver.rest)
            with torch.no_grad():
                z = driver.controller.act(action[None].to(drive.state), drive.state[None])[0]
        drive.step(z)
        return self._shown()

    def _held(self, asked: dict[str, Any]) -> list[Key]:
        of = self._keys.get(str(asked.get("set")))
        names = asked.get("keys")
        if of is None or not isinstance(names, list) or not 0 < len(names) <= HELD:
            raise WildlamError("no such keys; reload the page")
        try:
            return [of[str(name)] for name in names]
        except KeyError as error:
            raise WildlamError("no such key; reload the page") from error

    def _back(self, _: dict[str, Any]) -> dict[str, Any]:
        self.drive.back()
        return self._shown()

    def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        self.drive.reset()
        return self._shown()

    def _save(self, _: dict[str, Any]) -> dict[str, Any]:
        drive = self.drive
        if not len(drive):
            raise WildlamError("nothing to save yet; press a key first")
        rate = self._playground.told()["fps"]
        return {"film": self._playground.keep_film(mp4_bytes(side_by_side({"dreamed": drive.film}), rate))}

    def _shown(self) -> dict[str, Any]:
        picture = base64.b64encode(png(self.drive.picture)).decode()
        return {"picture": f"data:image/png;base64,{picture}", "steps": len(self.drive)}


def routes(playground: Playground) -> list[BaseRoute]:
    """See the package."""
    seats: set[Seat] = set()

    async def drive(socket: WebSocket) -> None:
        await socket.accept()
        if len(seats) >= DRIVES:
            await socket.send_json({"error": f"{DRIVES} pages drive already; close one of them"})
            await socket.close()
            return
        seat = Seat(playground)
        seats.add(seat)
        try:
            while True:
                try:
                    asked = json.loads(await socket.receive_text())
                    if not isinstance(asked, dict):
                        raise WildlamError("nothing that can be done in a drive")
                    told = await run_in_threadpool(seat.answer, asked)
                except WebSocketDisconnect:
                    return
                except (ValueError, KeyError, RecursionError) as error:
                    told = {"error": in_a_line(WildlamError(f"what was sent is no request of a drive ({error})"))}
                except Exception as error:
                    told = {"error": in_a_line(error)}
                await socket.send_json(told)
        except (WebSocketDisconnect, RuntimeError):  # closed while it was answered
            return
        finally:
            seats.discard(seat)

    return [WebSocketRoute("/api/drive", drive)]
