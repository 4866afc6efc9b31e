"""Fixtures that several rooms' tests share: small real videos whose frames tell their own number."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from torch import Tensor
from tqdm import tqdm

from wildlam.config import RunConfig
from wildlam.encoders import Lite0
from wildlam.video.config import DataConfig
from wildlam.workflows.encode import encode

from .helpers import make_models_tiny, shorten_evaluations
from .hub_fixtures import hub  # noqa: F401

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """Write a video whose frame ``i`` shows ``i``: the left half's grey level is ``i % 16``, the right half's
    ``i // 16``, in sixteenths; ``read_number`` reads it back after lossy coding, resizing and cropping."""

    def write(
        path: Path,
        frames: int = 24,
        fps: int = 24,
        size: tuple[int, int] = (64, 64),
        codec: str = "libx264",
        gop: int = 12,
        times: Sequence[float] | None = None,
        rotation: int = 0,
    ) -> Path:
        """``size`` is (width, height); ``times`` are timestamps in seconds, instead of a constant ``fps``; ``rotation``
        is what the display matrix says, in degrees anticlockwise."""
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = gop
            if rotation:
                stream.set_display_rotation(rotation)

            def lasting(packet: av.Packet) -> av.Packet:
                packet.duration = round(1 / (fps * packet.time_base))  # or else the last frame has none
                return packet

            if times is not None:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            for i in range(frames):
                image = np.full((height, width, 3), 8 + 15 * (i % 16), dtype=np.uint8)
                image[:, width // 2 :] = 8 + 15 * (i // 16)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                if times is not None:
                    frame.pts, frame.time_base = round(times[i] * 1000), Fraction(1, 1000)
                else:
                    frame.pts, frame.time_base = i, Fraction(1, fps)
                for packet in stream.encode(frame):
                    container.mux(lasting(packet))
            for packet in stream.encode(None):
                container.mux(lasting(packet))
        return path

    return write


@pytest.fixture(scope="session")
def read_number() -> Callable[[Tensor], int]:
    """The number of a ``make_video`` frame, from its pixels ``uint8 [3, H, W]``."""

    def read(frame: Tensor) -> int:
        edge = frame.shape[2] // 2
        halves = frame[:, :, : edge - 2], frame[:, :, edge + 2 :]
        low, high = (round((half.float().mean().item() - 8) / 15) for half in halves)
        return low + 16 * high

    return read


@pytest.fixture(scope="session")
def _six_videos(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("six")
    for source in "ab":
        for i in range(2):
            make_video(folder / source / "train" / f"{source}{i}.mp4", frames=96, gop=24)
        make_video(folder / source / "test" / f"{source}2.mp4", frames=96, gop=24)
    return folder


@pytest.fixture
def videos(_six_videos: Path, tmp_path: Path) -> Path:
    """A folder of six videos of 4 s from two sources; one of each source is held out."""
    return Path(shutil.copytree(_six_videos, tmp_path / "videos"))


@pytest.fixture(scope="session")
def _six_encoded(_six_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(_six_videos, tmp_path_factory.mktemp("six") / "videos"))
    encode(RunConfig(data=DataConfig(path=folder), encoder=Lite0(image_size=64, dtype="float32")))
    return folder


@pytest.fixture
def encoded_videos(_six_encoded: Path, tmp_path: Path) -> Path:
    """``videos``, of which the states by ``Lite0(image_size=64, dtype="float32")`` are there already."""
    return Path(shutil.copytree(_six_encoded, tmp_path / "videos"))


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], list[Any]]:
    """Of a module, a list that takes the bars it makes, unseen: each with its ``steps``, ``n`` and ``total``."""

    def of(module: ModuleType) -> list[Any]:
        made: list[Any] = []

        class Kept(tqdm):
            def __init__(self, *args: Any, **options: Any):
                super().__init__(*args, **{**options, "disable": True})
                self.steps: list[float] = []
                made.append(self)

            def update(self, n: float | None = 1) -> None:
                self.n += n
                self.steps.append(n)

        monkeypatch.setattr(module, "tqdm", Kept)
        return made

    return of


@pytest.fixture(autouse=True, scope="session")
def _no_umap_in_other_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """UMAP compiles itself for half a minute in every process; the test that has it does without the compiler."""
    folder = tmp_path_factory.mktemp("without_umap")
    (folder / "umap.py").write_text("raise ImportError")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield


@pytest.fixture(autouse=True, scope="session")
def _short_evaluations() -> Iterator[None]:
    """See ``helpers.shorten_evaluations``."""
    with pytest.MonkeyPatch.context() as patch:
        shorten_evaluations(patch)
        yield


@pytest.fixture
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """See ``helpers.make_models_tiny``."""
    make_models_tiny(monkeypatch)
