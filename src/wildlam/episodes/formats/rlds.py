"""RLDS, the format of Open X-Embodiment: what TensorFlow Datasets writes, read without TensorFlow.

``NAME/VERSION/`` holds ``dataset_info.json``, ``features.json`` and shards ``NAME-SPLIT.tfrecord-00000-of-00004``. A
record is an episode. Actions are ``steps/action``, a row of numbers or several by name; states all rows of numbers in
``steps/observation`` but embeddings of language; cameras the colour pictures there, JPEG or PNG. The last action of an
episode means nothing in RLDS, and is used for nothing.

No file says how many frames there are a second. Of the sets of Open X-Embodiment it is known (``RATES``); of others the
user has to say it. Splits other than for training and held out, and sets that state but one, are split by us.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format, choose_camera, read_object
from wildlam.episodes.formats.pictures import decode_picture, squares
from wildlam.episodes.formats.tfrecord import AGAIN, Example, Record, records_in
from wildlam.episodes.vectors import FIRST, Commands, Reading, UnknownRateError, few
from wildlam.errors import WildlamError, option
from wildlam.video.splits import SPLIT_FOLDERS, splits_of

log = logging.getLogger(__name__)

INFO, FEATURES = "dataset_info.json", "features.json"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
"""Names of shards, unless ``dataset_info.json`` has another template."""
ACTION, OBSERVATION = "action", "observation/"
CONVERTED = "_converted_externally_to_rlds"
"""Ending of the names of many sets of Open X-Embodiment."""
_NAMES_BY_RATE = {
    3: "fractal20220817_data nyu_door_opening_surprising_effectiveness nyu_rot_dataset nyu_franka_play_dataset "
    "ucsd_pick_and_place_dataset berkeley_gnm_recon",
    5: "bridge bridge_dataset bridge_orig bridge_oxe berkeley_autolab_ur5 berkeley_mvp dlr_edan_shared_control "
    "stanford_robocook cmu_play_fusion berkeley_gnm_cory_hall",
    10: "kuka jaco_play berkeley_cable_routing roboturk language_table columbia_cairlab_pusht_real "
    "stanford_hydra_dataset furniture_bench_dataset cmu_franka_exploration_dataset bc_z utokyo_pr2_opening_fridge "
    "utokyo_pr2_tabletop_manipulation utokyo_xarm_pick_and_place utokyo_xarm_bimanual tokyo_u_lsmo dlr_sara_pour "
    "dlr_sara_grid_clamp imperialcollege_sawyer_wrist_cam berkeley_fanuc_manipulation cmu_playing_with_food "
    "cmu_stretch berkeley_gnm_sac_son fmb_dataset",
    12.5: "asu_table_top",
    15: "taco_play droid droid_100",
    20: "viola stanford_kuka_multimodal_dataset austin_buds_dataset maniskill_dataset austin_sailor_dataset "
    "austin_sirius_dataset iamlab_cmu_pickup_insert utaustin_mutex libero_spatial_no_noops libero_object_no_noops "
    "libero_goal_no_noops libero_10_no_noops",
    30: "toto berkeley_rpt",
}
RATES = {name: float(rate) for rate, names in _NAMES_BY_RATE.items() for name in names.split()}
"""Frames a second of sets by name, as Open X-Embodiment's table of its data sets and conversions of them state."""


def sets_in(path: Path) -> list[Path]:
    """Folders of data sets: the folder, or up to three levels below it (``NAME/CONFIG/VERSION``)."""
    return sorted(
        {file.parent for depth in range(4) for file in path.glob(f"{'*/' * depth}{FEATURES}") if _is_set(file)}
    )


def is_rlds(path: Path) -> bool:
    """Whether a folder holds such a data set, or shards of one without what describes them."""
    return path.is_dir() and bool(sets_in(path) or _shards_in(path))


def _shards_in(path: Path) -> list[Path]:
    return [file for depth in range(4) for file in path.glob(f"{'*/' * depth}*.tfrecord*")]


def _is_set(file: Path) -> bool:
    return (file.parent / INFO).is_file()


@dataclass(frozen=True)
class Shape:
    """Where the numbers and the pictures of a step lie, by what ``features.json`` says.

    Attributes:
        actions: length of the row of numbers of each part of an action.
        states: likewise of what is observed.
        cameras: names of the pictures.
    """

    actions: dict[str, int]
    states: dict[str, int]
    cameras: dict[str, str]


def read_rlds(path: Path, reading: Reading = FIRST) -> list[Episode]:
    """Read all episodes of a data set.

    Args:
        path: its folder, or that above.
        reading: which actions, which camera (the first by name that is not of a wrist or a hand if not said), and how
            many frames there are a second.

    Raises:
        WildlamError: something is missing or malformed, naming the file and the record; or google-crc32c is not
            installed.
        UnknownRateError: nothing says the frames a second.
    """
    folder = _only(path)
    info, shape = read_object(folder / INFO), _shape(folder)
    camera = choose_camera(sorted(shape.cameras), reading.camera, str(folder))
    rate = reading.rate or _rate(folder, info)
    states = [f"{name.removeprefix(OBSERVATION)} {k}" for name, width in shape.states.items() for k in range(width)]
    space: ActionSpace
    if reading.actions == "states":
        if not states:
            raise WildlamError(f"{folder}: records no states; {option('actions')} can be recorded")
        space = reading.changes(states, str(folder))
    elif not shape.actions:
        raise WildlamError(f"{folder}: has no steps/{ACTION} of numbers; {option('actions')} can be states")
    else:
        names = [f"{name.removeprefix('action/')} {k}" for name, width in shape.actions.items() for k in range(width)]
        space = Commands.of(names, reading.block, states)
    episodes = list(_episodes(folder, info))
    stated = {name: SPLIT_FOLDERS.get(split.lower()) for name, split, _ in episodes}
    is_split = {"train", "held_out"} <= set(stated.values())
    drawn = splits_of(stated)
    found = []
    for name, _, record in episodes:
        example = Example(record)
        count = _count(example, shape.actions or shape.states)
        poses = _rows(example, shape.states, count)
        commands = _rows(example, shape.actions, count) if isinstance(space, Commands) else None
        pictures = partial(_pictures, record, shape.cameras[camera], count)
        frames = squares(pictures)
        split = (is_split and stated[name]) or drawn[name]
        times = np.arange(count) / rate
        found.append(
            Episode(
                name,
                split,
                times,
                poses,
                space,
                frames,
                record.file,
                commands=commands,
                view=camera,
                pictures=pictures,
            )
        )
    if not found:
        raise WildlamError(f"{folder}: holds no episode")
    return found


def _only(path: Path) -> Path:
    found = sets_in(path)
    if len(found) > 1:
        names = ", ".join(str(one.relative_to(path)) for one in found[:8])
        raise WildlamError(f"{path}: holds {len(found)} data sets in RLDS ({names}); give the folder of one of them")
    if not found:
        folder = _shards_in(path)[0].parent
        lacking = " and ".join(name for name in (INFO, FEATURES) if not (folder / name).is_file())
        raise WildlamError(
            f"{folder}: holds TFRecord files without the {lacking} that TensorFlow Datasets writes beside them; {AGAIN}"
        )
    return found[0]


def _rate(folder: Path, info: dict[str, Any]) -> float:
    name = str(info.get("name", ""))
    if not (rate := RATES.get(name.removesuffix(CONVERTED))):
        raise UnknownRateError(
            f"{folder}: nothing says how many frames a second {name or 'it'} was recorded at; say it, as with "
            f"{option('rate')} 10"
        )
    return rate


def _shape(folder: Path) -> Shape:
    """What a step holds."""
    file = folder / FEATURES
    try:
        steps = read_object(file)["featuresDict"]["features"]["steps"]["sequence"]["feature"]
        leaves = dict(_leaves(steps))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise WildlamError(
            f"{file}: does not describe steps, as those that TensorFlow Datasets 4.5 or later writes for RLDS do "
            f"({type(error).__name__}: {error})"
        ) from error
    rows = {name: width for name, (kind, width) in leaves.items() if kind == "row"}
    pictures = {
        name.removeprefix(OBSERVATION): f"steps/{name}" for name, (kind, _) in leaves.items() if kind == "picture"
    }
    return Shape(
        actions={name: width for name, width in rows.items() if name == ACTION or name.startswith(f"{ACTION}/")},
        states={name: n for name, n in rows.items() if name.startswith(OBSERVATION) and "embedding" not in name},
        cameras=pictures,
    )


def _leaves(feature: dict[str, Any], name: str = "") -> Iterator[tuple[str, tuple[str, int]]]:
    """Colour pictures, and rows of numbers with their lengths, by name."""
    if inner := feature.get("featuresDict"):
        for key, one in sorted(inner["features"].items()):
            yield from _leaves(one, f"{name}/{key}" if name else key)
    for kind in ("image", "tensor"):
        if not (about := feature.get(kind)):
            continue
        sizes = [int(size) for size in about.get("shape", {}).get("dimensions", ())]
        if kind == "image" and sizes[2:] == [3] and about.get("dtype", "uint8") == "uint8":
            yield name, ("picture", 0)
        is_number = str(about.get("dtype")).startswith(("float", "bfloat", "int", "uint"))
        is_row = len(sizes) < 2 and min(sizes, default=1) > 0 and about.get("encoding", "none") == "none"
        if kind == "tensor" and is_number and is_row:
            yield name, ("row", math.prod(sizes))


def _episodes(folder: Path, info: dict[str, Any]) -> Iterator[tuple[str, str, Record]]:
    """Name, split and record of each episode; those of shards that are not there are counted, too."""
    file = folder / INFO
    form = str(info.get("fileFormat", "tfrecord"))
    if form != "tfrecord":
        raise WildlamError(
            f"{file}: its shards are {form} files; only tfrecord can be read: convert them by `tfds convert_format "
            f"--dataset_dir {folder} --out_dir OUT --out_file_format tfrecord`"
        )
    there = 0
    missing: list[str] = []
    for split, shards, lengths in _splits(file, info):
        number = 0
        for shard, length in zip(shards, lengths, strict=True):
            place = folder / shard
            if place.is_file():
                there += 1
                records = records_in(place)
                if len(records) != length:
                    raise WildlamError(f"{place}: holds {len(records)} episodes; {INFO} says {length}; {AGAIN}")
                yield from ((f"{split}_{number + i:06d}", split, one) for i, one in enumerate(records))
            elif length:
                missing.append(shard)
            number += length
    if missing and not there:
        raise WildlamError(f"{folder}: none of its shards is there, such as {missing[0]}; {AGAIN}")
    if missing:
        log.warning(
            "%s: %d of %d shards are not there, and left out: %s",
            folder,
            len(missing),
            there + len(missing),
            few(missing),
        )


def _splits(file: Path, info: dict[str, Any]) -> Iterator[tuple[str, list[str], list[int]]]:
    """Name of each split, with the names of its shards and the numbers of their episodes."""
    try:
        for split in info["splits"]:
            lengths = [int(length) for length in split["shardLengths"]]
            names = []
            for k in range(len(lengths)):
                named = {
                    "DATASET": str(info["name"]),
                    "SPLIT": str(split["name"]),
                    "FILEFORMAT": "tfrecord",
                    "SHARD_INDEX": f"{k:05d}",
                    "NUM_SHARDS": f"{len(lengths):05d}",
                    "SHARD_X_OF_Y": f"{k:05d}-of-{len(lengths):05d}",
                }
                shard = str(split.get("filepathTemplate") or TEMPLATE)
                for key, value in named.items():
                    shard = shard.replace(f"{{{key}}}", value)
                if Path(shard).name != shard:
                    raise WildlamError(f"{file}: the shard {shard!r} is no file beside it")
                names.append(shard)
            yield str(split["name"]), names, lengths
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WildlamError(f"{file}: does not say which shards there are ({type(error).__name__}: {error})") from error


def _count(example: Example, widths: dict[str, int]) -> int:
    """How many frames an episode has, by its numbers: going through its pictures would read all of them."""
    name, width = next(iter(widths.items()))
    count = len(example.numbers(f"steps/{name}")) // width
    if count < 2:
        raise WildlamError(f"{example.record}: an episode of {count} frames; two at least are expected")
    return count


def _rows(example: Example, widths: dict[str, int], count: int) -> np.ndarray:
    """Numbers at each frame, ``float64 [F, C]``."""
    parts = []
    for name, width in widths.items():
        values = example.numbers(f"steps/{name}")
        if len(values) != count * width:
            raise WildlamError(
                f"{example.record}: steps/{name} has {len(values)} numbers; {count} frames of {width} are expected; "
                f"{AGAIN}"
            )
        parts.append(values.reshape(count, width))
    return np.column_stack(parts) if parts else np.empty((count, 0))


def _pictures(record: Record, name: str, count: int, chosen: Sequence[int]) -> list[Tensor]:
    """Some pictures of an episode, by number, once the record is known to be as it was written."""
    example = Example(record)
    example.check()
    pictures = example.texts(name)
    if len(pictures) != count:
        raise WildlamError(f"{record}: {name} has {len(pictures)} pictures; {count} are expected; {AGAIN}")
    return [decode_picture(bytes(pictures[k]), f"{record}: {name} {k}") for k in chosen]


FORMAT = Format(
    "rlds",
    order=1,
    detects=is_rlds,
    read=lambda path, tolerance, reading: read_rlds(path, reading),
    kinds=("recorded", "states"),
    cameras=True,
    rated=True,
    names_of_cameras=lambda path: sorted(_shape(_only(path)).cameras),
)
