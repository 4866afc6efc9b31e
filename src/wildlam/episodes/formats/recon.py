"""RECON, an off-road robot's camera with its poses: as released (HDF5) and as processed for GNM, NoMaD and NWM.

Released: ``jackal_*.hdf5`` with ``images/rgb_left`` (JPEG bytes), ``jackal/position`` ``(T, 3)`` in metres and
``jackal/yaw`` ``(T,)`` in radians, 4 a second. Processed: folders ``TRAJ/0.jpg, 1.jpg, ...`` with
``TRAJ/traj_data.pkl``, a dictionary of ``position`` ``(T, 2)`` and ``yaw`` ``(T,)``.

Poses here are (x, y, heading) with the heading in degrees, as everywhere; actions are in metres and degrees. (GNM and
its kin divide displacements by 0.25 m, their spacing of way points; a controller's scales take that in.)
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from torch import Tensor

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format, check_kind
from wildlam.episodes.formats.hdf5 import h5py, opened_hdf5
from wildlam.episodes.formats.pictures import decode_picture, squares
from wildlam.episodes.pairing import TOLERANCE, Stored, pair, report_pairs
from wildlam.errors import WildlamError
from wildlam.fileio import check_fetched
from wildlam.video.splits import splits_of

RATE = 4.0
"""Frames per second."""


def is_recon(path: Path) -> bool:
    """Whether a folder holds either layout."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """Files of either layout, without hidden ones such as macOS's ``._NAME`` files."""
    found = [*path.rglob("*.hdf5"), *path.rglob("traj_data.pkl")]
    return sorted(file for file in found if not file.name.startswith("."))


def read_recon(path: Path, tolerance: float = TOLERANCE) -> list[Episode]:
    """Read all trajectories below a folder, of either layout, by name.

    Picture ``i`` is of state ``i``; one that is lost takes its state with it.

    Args:
        path: the folder.
        tolerance: seconds that a state may be away from every picture; see ``pair``.

    Raises:
        WildlamError: one is malformed, naming the file and what is wrong; or h5py is not installed.
    """
    files = _files(path)
    names = {file: str((file if file.suffix == ".hdf5" else file.parent).relative_to(path)) for file in files}
    splits = splits_of(names.values())
    found, paired = [], {}
    for file, name in names.items():
        poses, numbers, pictures = _hdf5(file) if file.suffix == ".hdf5" else _processed(file)
        times = np.arange(len(poses)) / RATE
        paired[name] = pairs = pair(times, numbers / RATE, str(file), tolerance)
        times, poses = times[pairs.states], poses[pairs.states]
        holds = file if file.suffix == ".hdf5" else file.parent
        stored = partial(_chosen, pictures, numbers[pairs.frames])
        found.append(Episode(name, splits[name], times, poses, PLANAR, squares(stored), holds, pictures=stored))
    report_pairs(path, paired)
    return found


def _chosen(pictures: Stored, numbers: np.ndarray, chosen: Sequence[int]) -> list[Tensor]:
    return pictures(numbers[list(chosen)].tolist())


def write_recon(path: Path, episodes: Sequence[Episode], size: int = 128) -> None:
    """Write episodes on the ground as RECON is released, ``SPLIT/jackal_NAME.hdf5``, 4 frames a second.

    Args:
        path: the folder.
        episodes: what to write, of 4 frames a second.
        size: side of the square pictures.

    Raises:
        WildlamError: they are of another kind or rate, or h5py is not installed.
    """
    check_kind(episodes, f"RECON holds {RATE:g} poses a second on the ground", PLANAR, RATE)
    for episode in episodes:
        name = episode.file_name
        file = path / episode.split / f"jackal_{name}.hdf5"
        file.parent.mkdir(parents=True, exist_ok=True)
        poses, frames = episode.poses, range(len(episode.times))
        jpegs = [_jpeg(frame) for frame in episode.frames(frames, size)]
        with h5py().File(file, "w") as data:
            images = data.create_dataset("images/rgb_left", len(jpegs), h5py().vlen_dtype(np.uint8))
            for i, jpeg in enumerate(jpegs):
                images[i] = np.frombuffer(jpeg, np.uint8)
            data["jackal/position"] = np.column_stack([poses[:, :2], np.zeros(len(poses))])
            data["jackal/yaw"] = np.radians(poses[:, 2])


def _jpeg(frame_CHW: Tensor) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame_CHW.permute(1, 2, 0).numpy()).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def _hdf5(file: Path) -> tuple[np.ndarray, np.ndarray, Stored]:
    """Poses, the numbers of the pictures that are there, and what gives some of them by number."""
    with opened_hdf5(file) as data:
        for key in ("images/rgb_left", "jackal/position", "jackal/yaw"):
            if key not in data:
                raise WildlamError(f"{file}: there is no {key}")
        position, yaw = np.asarray(data["jackal/position"]), np.asarray(data["jackal/yaw"])
        images = data["images/rgb_left"]
        if not isinstance(images, h5py().Dataset) or images.ndim != 1:
            raise WildlamError(f"{file}: images/rgb_left must be (T,), of JPEG bytes, it is {images!r}")
        count = len(images)

    def pictures(chosen: Sequence[int]) -> list[Tensor]:
        with opened_hdf5(file) as data:
            images = data["images/rgb_left"]
            return [decode_picture(bytes(images[i]), f"{file}: image {i}") for i in chosen]

    return _poses(position, yaw, file), np.arange(count), pictures


def _processed(file: Path) -> tuple[np.ndarray, np.ndarray, Stored]:
    check_fetched(file)
    try:
        with file.open("rb") as stream:
            data = NumpyUnpickler(stream).load()
    except WildlamError as error:
        raise WildlamError(f"{file}: {error}") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise WildlamError(f"{file}: not a whole pickle ({error})") from error
    if not isinstance(data, dict) or not {"position", "yaw"} <= data.keys():
        raise WildlamError(f"{file}: expected a dictionary with position and yaw")
    images: dict[int, Path] = {}
    for image in sorted(file.parent.iterdir()):
        if named := re.fullmatch(r"(\d+)\.jpe?g", image.name, re.ASCII | re.IGNORECASE):
            if (number := int(named[1])) in images:
                raise WildlamError(f"{file.parent}: {images[number].name} and {image.name} are both picture {number}")
            images[number] = image

    def pictures(chosen: Sequence[int]) -> list[Tensor]:
        return [decode_picture(images[i].read_bytes(), str(images[i])) for i in chosen]

    return _poses(data["position"], data["yaw"], file), np.array(sorted(images), dtype=np.int64), pictures


def _poses(position: Any, yaw: Any, file: Path) -> np.ndarray:
    try:
        position, yaw = np.asarray(position, dtype=np.float64), np.asarray(yaw, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise WildlamError(f"{file}: position and yaw must be numbers ({error})") from error
    if position.ndim != 2 or position.shape[1] < 2 or yaw.shape not in ((len(position),), (len(position), 1)):
        raise WildlamError(f"{file}: position {position.shape} and yaw {yaw.shape} must be (T, 2 or 3) and (T,)")
    return np.column_stack([position[:, :2], np.degrees(np.unwrap(yaw.reshape(-1)))])


class NumpyUnpickler(pickle.Unpickler):
    """Admits plain values and numpy arrays; a pickle that names anything else is refused, as it could run code.

    Arrays of any protocol and of numpy 1 and 2 are read. Protocols before 3 know no bytes: Python 2 wrote them as text,
    which is taken as Latin-1, and Python 3 as ``_codecs.encode(text, "latin1")``, for which a function stands in that
    does this and nothing else.
    """

    ADMITTED = frozenset(
        (module, name)
        for core in ("numpy.core", "numpy._core")
        for module, name in (
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            (f"{core}.multiarray", "_reconstruct"),
            (f"{core}.multiarray", "scalar"),
            (f"{core}.numeric", "_frombuffer"),
        )
    )

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may name.

        Raises:
            WildlamError: it names something else.
        """
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) not in self.ADMITTED:
            raise WildlamError(f"names {module}.{name}; only numpy arrays are read from pickles")
        return super().find_class(module, name)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise WildlamError(f"encodes text as {encoding}; only numpy arrays are read from pickles")
    return text.encode("latin1")


FORMAT = Format(
    "recon",
    order=3,
    detects=is_recon,
    read=lambda path, tolerance, reading: read_recon(path, tolerance),
    spaces=(PLANAR,),
    fps=RATE,
    write=write_recon,
    check=h5py,
    metres=True,
)
