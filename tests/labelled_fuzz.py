"""LeRobot data sets with times, gaps, splits and layouts drawn at random: does every state get its own frame?

    python -m tests.labelled_fuzz [--sets 100] [--seed 0]

A state carries the number of the frame that was recorded with it, and every frame shows its number. A state that gets
another frame, vanishes, or lands on the wrong side of the split, without a word about its episode, is a silent
difference. Prints the tally as Markdown; ends with exit code 1 if there was a silent difference, a traceback or a hang.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildlam.episodes.formats import read_episodes
from wildlam.errors import WildlamError

CAMERA = "observation.images.front"
TICK = Fraction(1, 90000)
HANG = 30.0
"""Seconds for a set, beyond which it hangs."""
OUTCOMES = ["right", "right, reported", "wrong, reported", "refused", "silent", "traceback", "hang"]
UNWANTED = ["silent", "traceback", "hang"]


@dataclass
class Recorded:
    """An episode: states and frames were taken together, one a period; then either's times may be told wrongly.

    Attributes:
        number: of the episode.
        first: number of its first frame.
        shown: whether each frame is in the film, ``bool [L]``.
        film: error of each frame's time, in periods, ``[L]``.
        states: error of each state's time, in periods, ``[L]``.
        begins: error of ``from_timestamp``, in periods.
        rows: whether each state is in the table, ``bool [L]``.
    """

    number: int
    first: int
    shown: np.ndarray
    film: np.ndarray
    states: np.ndarray
    rows: np.ndarray
    begins: float = 0.0


Draw = np.random.Generator


def exact(rng: Draw, one: Recorded) -> None:
    """Times as they should be."""


def jitter(rng: Draw, one: Recorded) -> None:
    """Each time off by up to a fifth of a frame."""
    one.film += rng.uniform(-0.2, 0.2, len(one.film))
    one.states += rng.uniform(-0.2, 0.2, len(one.states))


def strong_jitter(rng: Draw, one: Recorded) -> None:
    """Each time off by up to nearly half a frame."""
    one.film += rng.uniform(-0.45, 0.45, len(one.film))
    one.states += rng.uniform(-0.45, 0.45, len(one.states))


def film_drift(rng: Draw, one: Recorded) -> None:
    """The film's clock is up to 3 % fast or slow, from its first frame on."""
    one.film += (one.first + np.arange(len(one.film))) * rng.uniform(-0.03, 0.03)


def state_drift(rng: Draw, one: Recorded) -> None:
    """The states' clock is."""
    one.states += np.arange(len(one.states)) * rng.uniform(-0.03, 0.03)


def offset(rng: Draw, one: Recorded) -> None:
    """States are up to one and a half frames early or late."""
    one.states += rng.uniform(-1.5, 1.5)


def whole_offset(rng: Draw, one: Recorded) -> None:
    """An episode is said to begin one or two whole frames from where it does."""
    one.begins += rng.choice([-2, -1, 1, 2])


def gap(rng: Draw, one: Recorded) -> None:
    """The film lacks some frames."""
    one.shown[rng.choice(len(one.shown), rng.integers(1, 4), replace=False)] = False


def stall(rng: Draw, one: Recorded) -> None:
    """The film lacks a row of frames."""
    begin = rng.integers(0, len(one.shown) - 4)
    one.shown[begin : begin + rng.integers(3, len(one.shown))] = False


def rows_lost(rng: Draw, one: Recorded) -> None:
    """The table lacks some states."""
    one.rows[rng.choice(len(one.rows), rng.integers(1, 4), replace=False)] = False


def half_rate(rng: Draw, one: Recorded) -> None:
    """The film has every other frame."""
    one.shown[(one.first + np.arange(len(one.shown))) % 2 == 1] = False


TIMES: list[Callable[[Draw, Recorded], None]] = [
    exact, jitter, strong_jitter, film_drift, state_drift, offset, whole_offset, gap, stall, rows_lost, half_rate,
]  # fmt: skip
SPLITS = ["none", "all train", "test", "train and test", "test of no episode"]
LAYOUTS = ["files", "Hub's cache", "linked videos", "numbers as lists", "two films", "late start", "gzip"]


@dataclass
class Drawn:
    """A data set as it was drawn: the names of what was chosen, and what is true of it."""

    version: str
    times: list[str]
    split: str
    layout: str
    episodes: list[Recorded]
    splits: dict[int, str | None] = field(default_factory=dict)


def make(root: Path, rng: Draw) -> Drawn:
    """Draw a data set and write it."""
    version, fps = str(rng.choice(["v2.1", "v3.0"])), float(rng.choice([5, 10, 15, 30]))
    numbers = np.sort(rng.choice(12, rng.integers(2, 5), replace=False)).tolist()
    kinds = [TIMES[i] for i in rng.choice(len(TIMES), rng.integers(1, 3), replace=False)]
    drawn = Drawn(version, [kind.__name__ for kind in kinds], str(rng.choice(SPLITS)), str(rng.choice(LAYOUTS)), [])
    first = 0
    for number in numbers:
        length = int(rng.integers(8, 40))
        everything = np.ones(length, dtype=bool)
        one = Recorded(number, first, everything.copy(), np.zeros(length), np.zeros(length), everything.copy())
        for kind in kinds:
            kind(rng, one)
        drawn.episodes.append(one)
        first = 0 if version == "v2.1" else first + length
    films = [[one] for one in drawn.episodes] if version == "v2.1" else [drawn.episodes]
    if version == "v3.0" and drawn.layout == "two films":
        films = [drawn.episodes[:1], drawn.episodes[1:]]
        start = drawn.episodes[1].first
        for one in drawn.episodes[1:]:
            one.first -= start
    late = 0.4 if drawn.layout == "late start" else 0.0
    rows, states = [], []
    for chunk, episodes in enumerate(films):
        film = root / place(version, chunk, episodes[0].number, "videos", ".mp4")
        frames = [(one.first + k, (one.first + k + error) / fps) for one in episodes
                  for k, error in enumerate(one.film) if one.shown[k]]  # fmt: skip
        write_film(film, frames, fps, bool(rng.integers(2)), late)
        for one in episodes:
            begins = (one.first + one.begins) / fps + late if version == "v3.0" else 0.0
            kept = np.flatnonzero(one.rows)
            moments = (kept + one.states[kept]) / fps + (late if version == "v2.1" else 0.0)
            if version == "v2.1":
                moments = moments + one.begins / fps
            moments = np.maximum.accumulate(moments + np.arange(len(kept)) * 1e-6)  # they must rise
            table = pa.table(
                {
                    "observation.state": list(
                        np.column_stack([one.first + kept, kept, np.zeros(len(kept))]).astype(np.float32)
                    ),
                    "timestamp": [[t] for t in moments] if drawn.layout == "numbers as lists" else moments,
                    "frame_index": kept,
                    "episode_index": [[one.number]] * len(kept)
                    if drawn.layout == "numbers as lists"
                    else np.full(len(kept), one.number),
                }
            )
            states.append(table)
            rows.append(
                {"episode_index": one.number, "length": len(kept), "data/chunk_index": 0, "data/file_index": 0,
                 f"videos/{CAMERA}/chunk_index": chunk, f"videos/{CAMERA}/file_index": 0,
                 f"videos/{CAMERA}/from_timestamp": begins,
                 f"videos/{CAMERA}/to_timestamp": begins + len(one.rows) / fps}
            )  # fmt: skip
    packed = "gzip" if drawn.layout == "gzip" else "snappy"
    for folder in ("meta/episodes/chunk-000", "data/chunk-000"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if version == "v3.0":
        order = rng.permutation(len(states))
        table = pa.concat_tables([states[i] for i in order])
        pq.write_table(table, root / "data/chunk-000/file-000.parquet", compression=packed)
        pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
    else:
        for one, table in zip(drawn.episodes, states, strict=True):
            pq.write_table(table, root / f"data/chunk-000/episode_{one.number:06d}.parquet", compression=packed)
        lines = [json.dumps({"episode_index": one.number}) for one in drawn.episodes]
        (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n\n")
    stated, drawn.splits = state_splits(drawn.split, numbers, rng)
    info = {
        "codebase_version": version,
        "fps": fps,
        "chunks_size": 1000,
        "splits": stated,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if version == "v3.0"
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if version == "v3.0"
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": {"dtype": "float32", "shape": [3], "names": ["x", "y", "heading"]},
            CAMERA: {"dtype": "video", "shape": [64, 64, 3], "names": None},
        },
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    link(root, drawn.layout)
    return drawn


def place(version: str, chunk: int, number: int, folder: str, suffix: str) -> str:
    """Where a film lies."""
    if version == "v3.0":
        return f"{folder}/{CAMERA}/chunk-{chunk:03d}/file-000{suffix}"
    return f"{folder}/chunk-000/{CAMERA}/episode_{number:06d}{suffix}"


def state_splits(kind: str, numbers: list[int], rng: Draw) -> tuple[dict[str, str], dict[int, str | None]]:
    """What ``info.json`` says, and each episode's side; None if it is to be drawn."""
    last = numbers[-1] + 1
    cut = numbers[rng.integers(1, len(numbers))]
    if kind == "none":
        return {}, dict.fromkeys(numbers)
    if kind == "all train":
        return {"train": f"0:{last}"}, dict.fromkeys(numbers)
    if kind == "test of no episode":
        return {"train": f"0:{last}", "test": f"{last + 3}:{last + 5}"}, {}
    test = {"test": f"{cut}:{last}"}
    sides = {number: "held_out" if number >= cut else "train" for number in numbers}
    return ({"train": f"0:{cut}"} | test if kind == "train and test" else test), sides


def link(root: Path, layout: str) -> None:
    """Replace files by links, as the Hub's cache and users do."""
    if layout == "linked videos":
        (root / "videos").rename(root.with_name(root.name + "-elsewhere"))
        (root / "videos").symlink_to(root.with_name(root.name + "-elsewhere"))
    if layout == "Hub's cache":
        blobs = root.with_name(root.name + "-blobs")
        blobs.mkdir()
        for i, file in enumerate([file for file in sorted(root.rglob("*")) if file.is_file()]):
            file.rename(blobs / str(i))
            file.symlink_to(os.path.relpath(blobs / str(i), file.parent))


def write_film(path: Path, frames: list[tuple[int, float]], fps: float, b_frames: bool, late: float) -> None:
    """Write frames, ``(number, seconds)``, each of which shows its number: see ``number_of``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps = sorted(round((seconds + late + 1) / TICK) - round(1 / TICK) for _, seconds in frames)
    least = min(0, stamps[0])  # no film begins below zero
    with av.open(str(path), "w") as container:
        options = {"bf": "2" if b_frames else "0", "preset": "ultrafast", "threads": "1"}
        stream = container.add_stream("libx264", rate=round(fps), options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        before = -1
        for (number, _), stamp in zip(frames, stamps, strict=True):
            image = np.full((64, 64, 3), 8 + 15 * (number % 16), dtype=np.uint8)
            image[:, 32:] = 8 + 15 * (number // 16)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            before = frame.pts = max(stamp - least, before + 1)
            frame.time_base = TICK
            for packet in stream.encode(frame):
                container.mux(lasting(packet, fps))
        for packet in stream.encode(None):
            container.mux(lasting(packet, fps))


def lasting(packet: av.Packet, fps: float) -> av.Packet:
    """The packet with a duration, or else the last frame has none."""
    packet.duration = round(1 / (fps * packet.time_base))
    return packet


def number_of(image: np.ndarray) -> int:
    """What a frame ``uint8 [3, S, S]`` shows."""
    edge = image.shape[2] // 2
    low, high = (round((float(half.mean()) - 8) / 15) for half in (image[:, :, : edge - 2], image[:, :, edge + 2 :]))
    return low + 16 * high


class Words(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def judge(root: Path, drawn: Drawn) -> tuple[str, str]:
    """Read a data set and compare: an outcome, and what came of it."""
    words = Words()
    logger = logging.getLogger("wildlam")
    logger.addHandler(words)
    began = time.monotonic()
    try:
        found = {int(episode.name[-6:]): episode for episode in read_episodes(root)}
        shown = {number: episode.frames(range(len(episode.times)), 32).numpy() for number, episode in found.items()}
    except WildlamError as error:
        return "refused", str(error)
    except Exception:
        return "traceback", traceback.format_exc()
    finally:
        logger.removeHandler(words)
    if time.monotonic() - began > HANG:
        return "hang", f"{time.monotonic() - began:.0f} s"
    said = "\n".join(words.said)
    if not drawn.splits:
        return "silent", "a split without an episode was not refused"
    outcome = "right, reported" if said else "right"
    for one in drawn.episodes:
        name = f"episode_{one.number:06d}"
        if (side := drawn.splits[one.number]) and (one.number not in found or found[one.number].split != side):
            return "silent", f"{name} is not {side}"
        episode = found[one.number]
        got, want = [number_of(image) for image in shown[one.number]], episode.poses[:, 0].astype(int).tolist()
        there = (one.first + np.flatnonzero(one.rows & one.shown)).tolist()
        wrong = [(w, g) for g, w in zip(got, want, strict=True) if g != w]
        lost = sorted(set(there) - set(want))
        if wrong or lost:
            if name not in said:
                return "silent", f"{name}: state, frame {wrong[:5]}; lost {lost[:5]}"
            outcome = "wrong, reported"
    return outcome, said


def fuzz(sets: int, seed: int) -> tuple[dict[str, dict[str, Counter[str]]], list[str]]:
    """Draw, write, read and judge: outcomes by what was drawn, and what was unwanted."""
    tallies: dict[str, dict[str, Counter[str]]] = {"times": {}, "split": {}, "layout": {}, "version": {}}
    unwanted = []
    for i in range(sets):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "set"
            drawn = make(root, np.random.default_rng([seed, i]))
            outcome, said = judge(root, drawn)
        if drawn.split == "test of no episode" and outcome == "refused" and "holds none of the episodes" not in said:
            outcome = "silent"
        about = {"times": drawn.times, "split": [drawn.split], "layout": [drawn.layout], "version": [drawn.version]}
        for group, names in about.items():
            for name in names:
                tallies[group].setdefault(name.replace("_", " "), Counter())[outcome] += 1
        if outcome in UNWANTED:
            unwanted.append(f"set {i} ({drawn.version}, {', '.join(drawn.times)}, {drawn.layout}): {outcome}: {said}")
    return tallies, unwanted


def as_markdown(tallies: dict[str, dict[str, Counter[str]]]) -> str:
    """A row for each thing drawn; of the two kinds of times of a set, each counts."""
    lines = ["| drawn | " + " | ".join(OUTCOMES) + " |", "| --- |" + " --- |" * len(OUTCOMES)]
    for group, rows in tallies.items():
        for name, counts in sorted(rows.items()):
            lines.append(f"| {group}: {name} | " + " | ".join(str(counts[outcome]) for outcome in OUTCOMES) + " |")
    whole = sum(tallies["version"].values(), Counter())
    lines.append("| **all** | " + " | ".join(f"**{whole[outcome]}**" for outcome in OUTCOMES) + " |")
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=100, help="data sets to draw")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    args = parser.parse_args()
    tallies, unwanted = fuzz(args.sets, args.seed)
    print(as_markdown(tallies))
    print("\n".join(unwanted))
    raise SystemExit(bool(unwanted))


if __name__ == "__main__":
    main()
