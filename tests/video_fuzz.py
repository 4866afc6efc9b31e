"""Random films made by ffmpeg; every reader must take the frames that ffmpeg shows, or say why not.

    python -m tests.video_fuzz --videos 300 --seed 0

Prints a tally in Markdown. A film is *silently different* where a reader gave other frames than ffmpeg's command line,
or at other times, without an error. Frames tell their number; times are those that the film was made with.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import signal
import subprocess
import tempfile
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from tests.video.backends import torchcodec_loads
from tests.video.ffmpeg import ffmpeg, film
from wildlam.errors import WildlamError
from wildlam.video.decode import decode_at, decode_grid, probe
from wildlam.video.frames import all_frames
from wildlam.video.timeline import known_plain

X264 = "-c:v libx264 -pix_fmt yuv420p"
CODECS = {
    "mp4": [X264, "-c:v mpeg4 -q:v 2", "-c:v libx265 -x265-params log-level=error", f"{X264} -x264opts open-gop=1"],
    "mov": [X264, "-c:v prores_ks", "-c:v mjpeg -q:v 2"],
    "mkv": [X264, "-c:v libvpx-vp9 -b:v 1M", "-c:v mpeg4 -q:v 2", "-c:v mpeg2video -q:v 2", "-c:v ffv1"],
    "webm": ["-c:v libvpx-vp9 -b:v 1M", "-c:v libvpx -b:v 1M"],
    "avi": [X264, "-c:v mpeg4 -q:v 2", "-c:v mjpeg -q:v 2", "-c:v msmpeg4v2 -q:v 2"],
    "ts": [X264, "-c:v mpeg2video -q:v 2", "-c:v libx265 -x265-params log-level=error"],
    "mpg": ["-c:v mpeg2video -q:v 2", "-c:v mpeg1video -q:v 2"],
    "flv": [X264, "-c:v flv1 -q:v 2"],
    "wmv": ["-c:v wmv2 -q:v 2"],
    "ogv": ["-c:v libtheora -q:v 10"],
    "h264": [X264],
}
INTRA = ("mjpeg", "prores", "ffv1", "vp", "theora", "wmv", "flv1", "msmpeg4")
SECONDS = 90
"""A film that takes longer hangs."""


@dataclass
class Recipe:
    """How a film is made."""

    container: str
    codec: str
    frames: int
    fps: int
    gop: int
    b_frames: int
    offset: float = 0.0
    rotation: int = 0
    aspect: str = "1/1"
    trim: float = 0.0
    joined: float | None = None
    size: tuple[int, int] = (64, 48)


def draw(rng: random.Random) -> Recipe:
    """A random recipe of what its container can hold."""
    container = rng.choice(list(CODECS))
    codec = rng.choice(CODECS[container])
    rates = [24, 25, 30, 50] if container == "mpg" or "mpeg1" in codec or "mpeg2" in codec else [5, 10, 15, 24, 25, 30]
    b_frames = 0 if any(name in codec for name in INTRA) else rng.choice([0, 1, 2, 3])
    recipe = Recipe(container, codec, rng.randint(12, 60), rng.choice(rates), rng.choice([1, 5, 12, 250]), b_frames)
    if recipe.gop == 1:
        recipe.b_frames = 0
    recipe.size = rng.choice([(64, 48), (48, 64), (66, 50)])
    if not any(name in codec for name in ("mpeg1", "mpeg2", "flv1")):  # they know some aspects only, or none
        recipe.aspect = rng.choice(["1/1", "1/1", "2/1", "3/4"])
    if container in ("ts", "mkv"):
        recipe.offset = rng.choice([0.0, 0.0, 7.5, 3600.0, 95441.7 if container == "ts" else 70.0])
    if container in ("mp4", "mov"):
        recipe.rotation = rng.choice([0, 0, 90, 180, 270])
        recipe.trim = rng.choice([0.0, 0.0, recipe.frames * 2 // 5 / recipe.fps])
    if container in ("ts", "mpg") and not recipe.offset and rng.random() < 0.4:
        recipe.joined = rng.choice([0.0, 0.0, 5.0, 60.0, 90000.0]) if container == "ts" else 0.0
    return recipe


def make(recipe: Recipe, folder: Path) -> Path:
    """Make the film."""
    intra = any(name in recipe.codec for name in INTRA)
    args = recipe.codec if intra else f"{recipe.codec} -g {recipe.gop} -bf {recipe.b_frames}"
    args += f" -vf setsar={recipe.aspect}"
    if recipe.offset and recipe.offset < 90000:
        args += f" -output_ts_offset {recipe.offset}"
    path = folder / f"film.{recipe.container}"
    film(path, args, recipe.frames, 0, recipe.fps, recipe.size)
    if recipe.offset >= 90000:
        ffmpeg("-i", path, "-c", "copy", "-output_ts_offset", recipe.offset, folder / "late.ts")
        path = folder / "late.ts"
    if recipe.rotation or recipe.trim:
        start = ["-ss", recipe.trim] if recipe.trim else []
        turn = ["-metadata:s:v", f"rotate={recipe.rotation}"] if recipe.rotation else []
        ffmpeg(*start, "-i", path, "-c", "copy", *turn, folder / f"b.{recipe.container}")
        path = folder / f"b.{recipe.container}"
    if recipe.joined is not None:
        second = folder / f"second.{recipe.container}"
        film(second, f"{args} -output_ts_offset {recipe.joined}", recipe.frames, recipe.frames, recipe.fps, recipe.size)
        both = folder / f"both.{recipe.container}"
        both.write_bytes(path.read_bytes() + second.read_bytes())
        path = both
    return path


def numbers_of(images: np.ndarray) -> list[int]:
    """The numbers that frames ``[n, H, W, 3]``, or ``[n, H, W]`` in grey, tell."""
    middle = images.shape[2] // 2
    grey = images.reshape(*images.shape[:3], -1).mean(-1)
    halves = grey[:, :, : middle - 3].mean((1, 2)), grey[:, :, middle + 3 :].mean((1, 2))
    low, high = (np.round((half - 8) / 15).astype(int) for half in halves)
    return (low + 16 * high).tolist()


def by_ffmpeg(path: Path, recipe: Recipe) -> tuple[list[int], list[float]]:
    """Numbers and times, since the first frame, of the frames that ffmpeg's command line shows."""
    command = ["ffmpeg", "-v", "info", "-noautorotate", "-i", str(path), "-vf", "showinfo,scale=64:48"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    images = np.frombuffer(done.stdout, np.uint8).reshape(-1, 48, 64, 3)
    times = [float(t) for t in re.findall(rb"pts_time:\s*(-?[\d.]+)", done.stderr)]
    return numbers_of(images), [time - times[0] for time in times]


def upright(images: torch.Tensor, turns: int) -> np.ndarray:
    """Decoded squares ``[n, 3, S, S]``, turned back as they are stored."""
    return torch.rot90(images, -turns, (2, 3)).permute(0, 2, 3, 1).float().numpy()


def differences(path: Path, recipe: Recipe, rng: random.Random) -> list[str]:
    """What readers do otherwise than ffmpeg; nothing if all is well."""
    wanted, shown_at = by_ffmpeg(path, recipe)
    frames = list(all_frames(path))
    begins = np.array([begin for _, begin, _ in frames])
    # Times that the film was made with; but ffmpeg writes some of a program stream a frame late where a picture lies
    # across two packets. Where it also shows them so, that is what a player shows.
    due = np.arange(len(wanted)) / recipe.fps
    if recipe.container == "mpg" and len(begins) == len(wanted) and np.abs(begins - shown_at).max() < 0.3 / recipe.fps:
        due = begins
    lasts = due[-1] + 1 / recipe.fps
    at_grid = [wanted[i] for i in np.searchsorted(due, np.arange(round(lasts * recipe.fps)) / recipe.fps + 1e-6) - 1]
    found = []
    info = probe(path)
    if info.frames != len(wanted):
        found.append(f"index: {info.frames} frames, ffmpeg {len(wanted)}")
    if abs(info.duration - lasts) > 0.5 / recipe.fps:
        found.append(f"index: lasts {info.duration:.3f} s, not {lasts:.3f} s")
    if (recipe.joined is not None) != bool(info.breaks):
        found.append(f"index: breaks {info.breaks}")
    got = numbers_of(np.stack([frame.to_ndarray(format="rgb24") for frame, _, _ in frames]))
    if got != wanted:
        found.append(f"all frames: {got}, ffmpeg {wanted}")
    if len(begins) == len(due) and np.abs(begins - due).max() > 0.3 / recipe.fps:
        found.append(f"all frames: at {begins.round(3).tolist()}, ffmpeg {np.round(shown_at, 3).tolist()}")
    turns = info.rotation // 90
    wide = recipe.size[0] * eval(recipe.aspect), recipe.size[1]
    width, height = wide[::-1] if turns % 2 else wide
    if abs(info.width - width) > 1 or abs(info.height - height) > 1:
        found.append(f"index: {info.width} x {info.height} pixels, not {width:g} x {height:g}")
    backends = ("pyav", "torchcodec") if torchcodec_loads() else ("pyav",)
    # Films that the index finds plain are read in two ways.
    for backend, plain in itertools.product(backends, {False, known_plain(info.odd)}):
        name = f"{backend}, plain" if plain else backend
        images = torch.cat([images for _, images in decode_grid(path, recipe.fps, 32, backend, plain=plain)])
        if (got := numbers_of(upright(images, turns))) != at_grid:
            found.append(f"grid, {name}: {got}, ffmpeg {at_grid}")
        for k in rng.sample(range(len(wanted)), min(4, len(wanted))):
            image = decode_at(path, [due[k] + 0.5 / recipe.fps], 32, backend, plain)
            if (got := numbers_of(upright(image, turns))) != [wanted[k]]:
                found.append(f"seek, {name}: frame {k} is {got}, ffmpeg {wanted[k]}")
    return found


def late(*_: object) -> None:
    """Called by the alarm."""
    raise TimeoutError


def fuzz(videos: int, seed: int) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Try so many films: verdicts by container, and what went wrong."""
    tally: Counter[tuple[str, str]] = Counter()
    wrong = []
    signal.signal(signal.SIGALRM, late)
    for number in range(videos):
        rng = random.Random(f"{seed}-{number}")
        recipe = draw(rng)
        with tempfile.TemporaryDirectory() as folder:
            path = make(recipe, Path(folder))
            signal.alarm(SECONDS)
            try:
                found = differences(path, recipe, rng)
                verdict = "silently different" if found else "right"
            except WildlamError as error:
                found, verdict = [f"refused: {error}"], "refused"
            except TimeoutError:
                found, verdict = ["hangs"], "hang"
            except Exception:
                found, verdict = [traceback.format_exc()], "traceback"
            finally:
                signal.alarm(0)
        tally[recipe.container, verdict] += 1
        if found:
            wrong.append(f"{number}: {asdict(recipe)}\n  " + "\n  ".join(found))
    return tally, wrong


def main() -> None:
    """Print the tally, and each film that was not read right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tally, wrong = fuzz(args.videos, args.seed)
    verdicts = ("right", "refused", "silently different", "traceback", "hang")
    print("| container | " + " | ".join(verdicts) + " |\n| --- |" + " ---: |" * len(verdicts))
    for container in CODECS:
        print(f"| {container} | " + " | ".join(str(tally[container, verdict]) for verdict in verdicts) + " |")
    totals = (str(sum(tally[container, verdict] for container in CODECS)) for verdict in verdicts)
    print("| all | " + " | ".join(totals) + " |")
    print("\n".join(wrong))


if __name__ == "__main__":
    main()
