"""Changes of orientations: rotations, however they are written, and found by their names or said."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import check_orientations
from wildlam.episodes.orientations import KINDS, Orientation, orientations_in
from wildlam.episodes.summary import summarise
from wildlam.episodes.vectors import ChoosesReading, Reading, described, facts_of, space_of
from wildlam.errors import WildlamError

STEPS = 12


def turning(rng):
    """Turns of up to 0.3 rad a step about any axis, and where they lead to from an arbitrary orientation."""
    turns = Rotation.from_rotvec(rng.uniform(-0.17, 0.17, (STEPS, 3)))
    found = [Rotation.random(rng=rng)]
    for turn in turns:
        found.append(turn * found[-1])
    return turns.as_rotvec(), Rotation.concatenate(found)


def written(kind, rotations, full_turn=2 * np.pi):
    quaternions, matrices, unit = rotations.as_quat(), rotations.as_matrix(), full_turn / (2 * np.pi)
    return {
        "quaternion": quaternions,
        "wxyz": quaternions[:, [3, 0, 1, 2]],
        "vector": unit * rotations.as_rotvec(),
        "euler": unit * rotations.as_euler("xyz"),
        "6d": np.concatenate([matrices[:, 0], matrices[:, 1]], axis=1),
        "6d_columns": np.concatenate([matrices[:, :, 0], matrices[:, :, 1]], axis=1),
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("full_turn", [2 * np.pi, 360.0])
def test_a_change_is_the_rotation_between_two(kind, full_turn):
    rng = np.random.default_rng(0)
    names = [f"r {k}" for k in range(KINDS[kind])]
    reading = Reading(actions="states", rotations=(f"{kind}=r",), full_turn=full_turn)
    space = reading.changes([*names[:2], "grip", *names[2:]], "here")  # they need not be neighbours
    for _ in range(5):
        turns, rotations = turning(rng)
        states = np.insert(written(kind, rotations, full_turn), 2, rng.uniform(size=STEPS + 1), axis=1)
        done = space.between(states)
        unit = full_turn / (2 * np.pi)
        np.testing.assert_allclose(done[:, :3], unit * turns, atol=1e-6 * unit)
        np.testing.assert_allclose(done[:, 3], np.diff(states[:, 2]))
        again = space.integrate(states[0], done)
        np.testing.assert_allclose(again[:, 2], states[:, 2])
        assert (space.sound(again)).all()
        np.testing.assert_allclose(space.between(again), done, atol=1e-6 * unit)


def test_signs_of_quaternions_mean_nothing_and_go_on():
    turns, rotations = turning(np.random.default_rng(1))
    flips = np.where(np.arange(STEPS + 1) % 2, -1, 1)[:, None]
    space = Reading(actions="states").changes(["qx", "qy", "qz", "qw"], "here")
    flipped = flips * rotations.as_quat()
    np.testing.assert_allclose(space.between(flipped), turns, atol=1e-9)
    again = space.integrate(flipped[0], turns)
    assert ((again[1:] * again[:-1]).sum(axis=1) > 0).all()
    np.testing.assert_allclose(again[0], flipped[0], atol=1e-9)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["x", "robot0_eef_quat 0", "robot0_eef_quat 1", "robot0_eef_quat 2", "robot0_eef_quat 3"], "quaternion"),
        (["left_qw", "left_qx", "left_qy", "left_qz", "gripper"], "quaternion"),
        (["eef_quat.x", "eef_quat.y", "eef_quat.z", "eef_quat.w"], "quaternion"),
        ([f"rot6d_{k}" for k in range(6)], "6d"),
        ([f"arm_axis_angle {k}" for k in range(3)], "vector"),
        ([f"pose_quat {k}" for k in range(7)], None),  # a place comes first
        (["x", "y", "z", "w"], None),
        (["roll", "pitch", "yaw"], None),  # LIBERO's are a rotation vector
        (["rx", "ry", "rz"], None),
        ([f"state {k}" for k in range(4)], None),
    ],
)
def test_names_tell_it_where_they_cannot_be_mistaken(names, found):
    told = orientations_in(names)
    assert [one.kind for one in told] == ([found] if found else [])


def test_the_order_of_a_quaternion_is_that_of_its_names():
    (one,) = orientations_in(["qw", "qx", "qy", "qz"])
    assert one.components == ("qx", "qy", "qz", "qw")


NAMES = ["x", "eef_quat 0", "eef_quat 1", "eef_quat 2", "eef_quat 3", "rx", "ry", "rz"]


def test_it_is_shown_and_outlives_a_file():
    space = Reading(actions="states", rotations=("wxyz=eef_quat", "vector=rx,ry,rz")).changes(NAMES, "here")
    assert space.action_names == ("d x", "d eef_quat x", "d eef_quat y", "d eef_quat z", "d rx", "d ry", "d rz")
    assert space.position == 7
    assert space.units["d eef_quat z"] == space.units["d rx"] == "rad"
    assert "with rotations wxyz=eef_quat 0,eef_quat 1,eef_quat 2,eef_quat 3 vector=rx,ry,rz" in described(space)
    again = space_of(json.loads(json.dumps(facts_of(space))))
    assert again == space
    assert Reading().like(again).changes(NAMES, "there") == space
    without = Reading(actions="states", rotations=()).changes(NAMES, "here")
    assert without != space
    assert Reading().like(without).changes(NAMES, "there") == without  # and none is found again
    facts = facts_of(without)
    del facts["rotations"]  # as earlier versions wrote them
    assert space_of(json.loads(json.dumps(facts))) == without


def test_what_is_said_is_taken_and_not_what_is_told():
    assert ChoosesReading().reading.rotations is None
    assert ChoosesReading(actions="states", rotations=["none"]).reading.rotations == ()
    said = ChoosesReading(actions="states", rotations=["vector=rx,ry,rz"]).reading
    assert said.changes(NAMES, "here").orientations == (Orientation("vector", ("rx", "ry", "rz")),)
    as_angle = Reading(actions="states", angles=("eef_quat 0",)).changes(NAMES, "here")
    assert not as_angle.orientations


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"rotations": ("matrix=x",)}, "rotations are KIND=NAMES, such as quaternion=qx,qy,qz,qw, of a kind of"),
        ({"rotations": ("vector",)}, "rotations are KIND=NAMES"),
        ({"rotations": ("vector=rx,ry",)}, "here: rotations vector=rx,ry are 2 numbers, vector takes 3"),
        ({"rotations": ("vector=rx,rx,ry",)}, "vector takes 3"),
        ({"rotations": ("vector=eef_quat",)}, "are 4 numbers, vector takes 3"),
        ({"rotations": ("vector=rx,ry,yaw",)}, "here: has no yaw; its states are x"),
        ({"rotations": ("vector=rx,ry,rz",), "angles": ("rz",)}, "here: rz would be of two of angles and rotations"),
        ({"rotations": ("vector=rx,ry,rz",), "actions": "recorded"}, "rotations are of changes of states; give"),
    ],
)
def test_mistakes_are_told(said, complaint):
    with pytest.raises((WildlamError, ValueError), match=complaint):
        Reading(**{"actions": "states", **said}).changes(NAMES, "here")
    with pytest.raises(WildlamError, match="has no eef_quat 0 to have a unit; there are x, rx"):
        Reading(units=("eef_quat 0=rad",)).with_units(Reading(actions="states").changes(NAMES, "here"), "here")


def test_numbers_that_are_none_are_refused_and_counted(tmp_path):
    _, rotations = turning(np.random.default_rng(2))
    space = Reading(actions="states").changes(["qx", "qy", "qz", "qw", "grip"], "here")
    states = np.insert(rotations.as_quat(), 4, 1.0, axis=1)  # a gripper that is never used
    times = np.arange(STEPS + 1) / 10
    episode = Episode("a", "train", times, states, space, lambda *_: None)
    check_orientations(episode, tmp_path)
    clean = summarise([episode], 10.0)
    assert not any("orientation" in line for line in clean.odd)
    states[3:5, :4], states[8, 0] = 0, np.nan  # nothing was recorded
    with pytest.raises(WildlamError, match=r"a: quaternion=qx,qy,qz,qw of frame 3 is no orientation, nor are 2 more"):
        check_orientations(episode, tmp_path)
    found = summarise([episode], 10.0)
    assert "are no orientation, and their steps left out here: a quaternion=qx,qy,qz,qw (2 of 13)" in found.odd[1]
    assert max(abs(found.components["d q x"].low), found.components["d q x"].high) < 0.3
