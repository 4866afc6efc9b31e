"""A data set that TensorFlow Datasets itself wrote: see tests/data/rlds."""

import json
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from wildlam import cli
from wildlam.encoders import Lite0
from wildlam.episodes.clips import cut_clips
from wildlam.episodes.formats import format_of, read_episodes
from wildlam.episodes.formats.rlds import RATES
from wildlam.episodes.vectors import Changes, Commands, Reading, UnknownRateError
from wildlam.errors import WildlamError

from ...aloha import png
from ...data.rlds import make
from ...data.rlds.make import LENGTHS, motion, told_by
from ...tfrecords import example, framed

WRITTEN = Path(make.__file__).parent
AT_5 = Reading(rate=5)
ACTIONS = ["gripper 0", *(f"world_vector {k}" for k in range(3))]
STATES = ["gripper 0", *(f"state {k}" for k in range(3))]


@pytest.fixture
def data(tmp_path):
    """A copy of the data set, which may be damaged."""
    return Path(shutil.copytree(WRITTEN / make.NAME / make.VERSION, tmp_path / make.NAME / make.VERSION))


def told(episode, frames):
    return [told_by(frame.permute(1, 2, 0).numpy()) for frame in episode.frames(frames, 24)]


def test_every_number_and_picture(data):
    episodes = read_episodes(data, reading=AT_5)
    assert [one.name for one in episodes] == [f"train_{k:06d}" for k in range(3)] + [f"val_{k:06d}" for k in range(2)]
    assert [one.split for one in episodes] == ["train"] * 3 + ["held_out"] * 2
    seen = set()
    for one in episodes:
        split, length = one.name.split("_")[0], len(one.times)
        number = told(one, [0])[0][0]  # TensorFlow Datasets shuffles them
        seen.add((split, number))
        assert length == LENGTHS[split][number]
        assert told(one, [length - 1, 3]) == [(number, length - 1, 0), (number, 3, 0)]
        actions, states, gripper = motion(split, number)
        np.testing.assert_array_equal(one.commands, np.column_stack([actions[:, 3:], actions[:, :3]]))
        np.testing.assert_array_equal(one.poses, np.column_stack([gripper, states]))
        assert one.space == Commands.of(ACTIONS, "concatenated", STATES)
        assert one.rate == pytest.approx(5)
    assert len(seen) == 5


def test_cameras_and_states(data):
    assert format_of(data.parent).names_of_cameras(data.parent) == ["image", "wrist_image"]
    one, *_ = read_episodes(data.parent.parent, reading=Reading(rate=5, camera="wrist_image", actions="states"))
    assert told(one, [2])[0][1:] == (2, 1)
    assert one.space == Changes.of(STATES)
    with pytest.raises(WildlamError, match="has no camera depth; there are image, wrist_image"):
        read_episodes(data, reading=Reading(rate=5, camera="depth"))
    with pytest.raises(WildlamError, match="of data in the format rlds recorded or states can be read"):
        read_episodes(data, reading=Reading(rate=5, actions="poses"))


def test_states_are_kept_by_camera_and_rate(data):
    encoder = Lite0(image_size=32, dtype="float32").build("cpu")

    def kept(**reading):
        episodes = read_episodes(data, reading=Reading(**reading))
        return cut_clips(episodes, encoder, "train", states=2, fps=5, cache=data).kept

    assert kept(rate=5) != kept(rate=5, camera="wrist_image")
    assert kept(rate=5) != kept(rate=10)


def test_the_rate_is_asked_for_where_no_one_knows_it(data, capsys):
    with pytest.raises(UnknownRateError, match="nothing says how many frames a second tiny_arm was recorded at; say"):
        read_episodes(data)
    assert cli.main(["data", str(data)]) == 0  # to look at it takes none
    said = capsys.readouterr().out
    assert "5 episodes of 5 recordings (rlds); " in said
    assert "frames: rate unknown, so each is taken for a state here; give --rate" in said
    assert re.search(r"^actions: .*\n.*\ncameras: image, wrist_image$", said, re.MULTILINE)
    assert "hours" not in said
    assert "hours" not in (data / ".wildlam" / "data.html").read_text()
    assert cli.main(["data", str(data), "--rate", "6", "--fps", "3"]) == 0
    said = capsys.readouterr().out
    assert "5 episodes of 5 recordings (rlds)" in said
    assert "frames: 6 a second (5); seen at 3 states a second (--fps: that of the run to teach, 4 by default)" in said
    assert "cameras: image, wrist_image" in said
    info = json.loads((data / "dataset_info.json").read_text())
    (data / "dataset_info.json").write_text(json.dumps(info | {"name": "toto"}))
    for shard in data.glob("*.tfrecord*"):
        shard.rename(shard.with_name(shard.name.replace(make.NAME, "toto")))
    assert read_episodes(data)[0].rate == pytest.approx(RATES["toto"])
    assert read_episodes(data, reading=AT_5)[0].rate == pytest.approx(5)


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_rates_that_cannot_be(data, capsys, rate):
    assert cli.main(["data", str(data), "--rate", rate]) == 2
    assert "--rate must be a positive number of frames a second" in capsys.readouterr().err


def test_other_formats_say_their_rate(tmp_path, make_video):
    make_video(tmp_path / "a.mp4", frames=4)
    with pytest.raises(WildlamError, match="data in the format video say how many frames there are a second"):
        read_episodes(tmp_path, reading=AT_5)


def changed(file, change):
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))


def test_one_split_alone_is_split(data):
    changed(data / "dataset_info.json", lambda about: about["splits"].pop())
    assert sorted(one.split for one in read_episodes(data, reading=AT_5)) == ["held_out", "train", "train"]


def test_shards_that_were_not_downloaded(data, caplog):
    """Episodes keep their names, and so what was derived from them."""
    (data / f"{make.NAME}-train.tfrecord-00000-of-00002").unlink()
    with caplog.at_level(logging.WARNING):
        episodes = read_episodes(data, reading=AT_5)
    assert [one.name for one in episodes] == ["train_000002", "val_000000", "val_000001"]
    assert "1 of 4 shards are not there, and left out: tiny_arm-train.tfrecord-00000-of-00002" in caplog.text
    for shard in data.glob("*.tfrecord*"):
        shard.unlink()
    with pytest.raises(WildlamError, match="none of its shards is there, such as tiny_arm-train"):
        read_episodes(data, reading=AT_5)


@pytest.mark.parametrize("lacking", ["features.json", "dataset_info.json"])
def test_shards_by_themselves_are_told(data, lacking):
    """And not that there are no videos."""
    (data / lacking).unlink()
    for path in (data, data.parent):
        with pytest.raises(WildlamError, match=f"holds TFRecord files without the {lacking} that TensorFlow Datasets"):
            read_episodes(path, reading=AT_5)


def test_shards_that_are_damaged(data):
    shard = data / f"{make.NAME}-train.tfrecord-00001-of-00002"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(WildlamError, match=r"00001-of-00002, record 0: cut short, .*; download or write it again"):
        read_episodes(data, reading=AT_5)
    shard.write_bytes(whole + whole)
    with pytest.raises(WildlamError, match=r"00001-of-00002: holds 2 episodes; dataset_info\.json says 1"):
        read_episodes(data, reading=AT_5)
    broken = bytearray(whole)
    broken[whole.rindex(b"\xff\xd9") - 3] ^= 1  # in a picture
    shard.write_bytes(broken)
    found = read_episodes(data, reading=AT_5)[2]
    with pytest.raises(WildlamError, match="00001-of-00002, record 0: damaged, it does not fit its checksum"):
        found.frames([0], 32)


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"steps/action/world_vector": [1.0] * 5}, "steps/action/world_vector has 5 numbers; 2 frames of 3 are"),
        ({"steps/action/gripper": [1.0]}, "an episode of 1 frames; two at least are expected"),
        ({"steps/action/gripper": [b"1", b"2"]}, "steps/action/gripper is of another kind than features.json says"),
        ({"steps/observation/gripper": None}, "has no steps/observation/gripper"),
    ],
)
def test_records_that_do_not_fit(data, lists, said):
    fits = {
        "steps/action/gripper": [1.0, 2.0],
        "steps/action/world_vector": [0.0] * 6,
        "steps/observation/state": [0.0] * 6,
        "steps/observation/gripper": [1, 2],
        "steps/observation/image": [png(1), png(2)],
    }
    shard = data / f"{make.NAME}-train.tfrecord-00001-of-00002"
    shard.write_bytes(framed(example(fits)))
    assert int(read_episodes(data, reading=AT_5)[2].frames([1], 32).float().mean()) == 10
    shard.write_bytes(framed(example({k: v for k, v in (fits | lists).items() if v is not None})))
    with pytest.raises(WildlamError, match=f"00001-of-00002, record 0: {said}"):
        read_episodes(data, reading=AT_5)
    broken = fits | {"steps/observation/state": [0.0] * 5 + [np.nan]}
    shard.write_bytes(framed(example(broken)))
    with pytest.raises(WildlamError, match="train_000002: numbers must be finite; state 2 of frame 1 is nan; mend"):
        read_episodes(data, reading=AT_5)


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        ([png(1), b"no picture"], "steps/observation/image 1: not a picture that can be decoded"),
        ([png(1)], "steps/observation/image has 1 pictures; 2 are expected"),
    ],
)
def test_pictures_that_are_none(data, pictures, said):
    numbers = {"steps/action/gripper": [1.0, 2.0], "steps/observation/gripper": [1, 2]}
    rows = dict.fromkeys(("steps/action/world_vector", "steps/observation/state"), [0.0] * 6)
    shard = data / f"{make.NAME}-train.tfrecord-00001-of-00002"
    shard.write_bytes(framed(example(numbers | rows | {"steps/observation/image": pictures})))
    found = read_episodes(data, reading=AT_5)[2]
    with pytest.raises(WildlamError, match=f"record 0: {said}"):
        found.frames([1], 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.update(fileFormat="array_record"), "its shards are array_record files; only tfrecord"),
        (lambda about: about.pop("splits"), "does not say which shards there are"),
        (lambda about: about["splits"][0].update(shardLengths=["many"]), "does not say which shards there are"),
        (lambda about: about["splits"][0].update(name="../../x"), r"the shard '.*' is no file beside it"),
        (lambda about: about["splits"][0].update(filepathTemplate="/etc/{SPLIT}"), "'/etc/train' is no file beside it"),
        (lambda about: about.update(splits=[]), "holds no episode"),
    ],
)
def test_malformed_information(data, change, said):
    changed(data / "dataset_info.json", change)
    with pytest.raises(WildlamError, match=said):
        read_episodes(data, reading=AT_5)


def steps_of(about):
    return about["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.pop("featuresDict"), "does not describe steps"),
        (lambda about: steps_of(about).pop("action"), "has no steps/action of numbers; actions can be states"),
        (lambda about: steps_of(about).pop("observation"), "there are no videos and no pictures"),
    ],
)
def test_features_of_another_kind(data, change, said):
    changed(data / "features.json", change)
    with pytest.raises(WildlamError, match=said):
        read_episodes(data, reading=AT_5)
    (data / "features.json").write_text("[")
    with pytest.raises(WildlamError, match=r"features\.json: cannot be read as JSON"):
        read_episodes(data, reading=AT_5)


def test_several_sets_in_a_folder(data):
    shutil.copytree(data, data.parent / "2.0.0")
    with pytest.raises(WildlamError, match=r"holds 2 data sets in RLDS \(1\.0\.0, 2\.0\.0\); give the folder of one"):
        read_episodes(data.parent, reading=AT_5)
