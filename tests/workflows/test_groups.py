"""Groups of transitions: where they lie, what they are called, and what is made of files that are none."""

import json

import numpy as np
import pytest

from wildlam.errors import WildlamError
from wildlam.workflows.groups import Groups, directions_of
from wildlam.workflows.search_filter import Transition

DIM = 8
MEMBERS = [Transition("a/0.mp4", "a", n / 4, n / 4 + 0.25, float(n)) for n in range(3)]


@pytest.fixture
def z():
    return np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32)


@pytest.fixture
def groups(tmp_path):
    return Groups(tmp_path / "groups", "w", DIM)


def names(groups):
    return [group.name for group in groups]


def test_a_group_points_where_its_members_do(groups, z):
    assert names(groups) == []
    saved = groups.save(" turns  left ", MEMBERS, z)
    again = groups.find("turns left")
    np.testing.assert_array_equal(again.z, saved.z)
    assert again.members == tuple(MEMBERS)
    mean = (z / np.linalg.norm(z, axis=1, keepdims=True)).mean(axis=0)
    assert saved.z @ mean == pytest.approx(np.linalg.norm(saved.z) * np.linalg.norm(mean))
    assert np.linalg.norm(saved.z) == pytest.approx(np.linalg.norm(z, axis=1).mean(), rel=1e-5)
    assert (groups.folder / "turns left.json").is_file()


def test_groups_are_those_on_disk_now(groups, z):
    groups.save("b", MEMBERS, z)
    assert names(groups) == ["b"]
    assert next(iter(groups)) is next(iter(groups))  # read once
    other = Groups(groups.folder, "w", DIM)
    other.save("a", MEMBERS[:1], z[:1])
    other.save("b", MEMBERS[:2], z[:2])
    assert [(group.name, len(group.members)) for group in groups] == [("a", 1), ("b", 2)]
    assert groups.rename("b", "c").name == "c"
    assert names(other) == ["a", "c"]
    for taken in ("a", " a "):
        with pytest.raises(WildlamError, match="there is a group 'a' already"):
            groups.rename("c", taken)
    groups.forget("c")
    groups.forget("c")
    assert names(other) == ["a"]


def turns(count, seed, noise=0.5):
    """Latent actions to the left, first half, and to the right, all partly ahead."""
    side = np.repeat([1.0, -1.0], count // 2)
    z = np.random.default_rng(seed).normal(size=(count, DIM)) * noise
    z[:, 0] += 3 * side
    z[:, 1] += 1
    return z.astype(np.float32)


def test_a_group_that_is_scattered_has_a_direction_for_each_part(groups):
    z = turns(80, seed=0)
    saved = groups.save("turns", MEMBERS, z)
    assert sorted(np.sign(saved.directions[:, 0])) == [-1, 1]
    np.testing.assert_allclose(np.linalg.norm(saved.directions, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(groups.find("turns").directions, saved.directions)
    np.testing.assert_array_equal(groups.rename("turns", "both").directions, saved.directions)
    assert len(directions_of(z[:40])) == 1  # all to the left
    assert len(directions_of(z[33:47])) == 1  # too few
    angles = np.repeat([0, 120, 240], 40) * np.pi / 180
    around = np.random.default_rng(1).normal(size=(120, DIM)) / 2
    around[:, :2] += 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert len(directions_of(around.astype(np.float32))) == 3


def test_a_group_of_before_has_one_direction(groups, z):
    saved = groups.save("old", MEMBERS, z)
    file = groups.folder / "old.json"
    fields = json.loads(file.read_text())
    del fields["directions"]
    file.write_text(json.dumps(fields))
    np.testing.assert_array_equal(groups.find("old").directions, saved.z[None])


@pytest.mark.parametrize("name", ["../up", "", "  ", ".hidden", "a/b", "a\\b", "x" * 41, "a\0b", "-x", "\u2067x"])
def test_names_that_are_none_for_a_file(groups, z, name, tmp_path):
    for act in (lambda: groups.save(name, MEMBERS, z), lambda: groups.find(name), lambda: groups.forget(name)):
        with pytest.raises(WildlamError, match=r"a group cannot be called .*; a name has 1 to 40 letters, digits"):
            act()
    assert not list(tmp_path.rglob("*.json"))


def test_groups_that_cannot_be(groups, z):
    with pytest.raises(WildlamError, match="of no transitions"):
        groups.save("none", [], z[:0])
    for nothing in (0 * z, np.nan * z, np.stack([z[0], -z[0]])):
        with pytest.raises(WildlamError, match="point nowhere together"):
            groups.save("none", MEMBERS[: len(nothing)], nothing)
    groups.save("x", MEMBERS, z)
    with pytest.raises(WildlamError, match=r"has no group 'none' \(there are: x\)"):
        groups.find("none")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": "other"}, "is a group of another run, or of this one before more training"),
        ({"z": [1.0]}, "is a group of another run"),
        ({"z": [float("nan")] * DIM}, "is no group"),
        ({"z": "z"}, "is no group"),
        ({"directions": [[1.0]]}, "is a group of another run"),
        ({"directions": [[float("nan")] * DIM]}, "is no group"),
        ({"members": []}, "is no group"),
        ({"members": [{"video": "a.mp4"}]}, r"is no group \(TypeError"),
        ({"members": [{"video": 1, "source": "a", "start": 0, "end": 1, "speed": 1}]}, "is no group"),
        ({"members": [{"video": "a", "source": "a", "start": "0", "end": 1, "speed": 1}]}, "is no group"),
    ],
)
def test_a_file_that_is_no_group_is_told_once_and_left_alone(groups, z, change, says, caplog):
    groups.save("good", MEMBERS, z)
    groups.save("bad", MEMBERS, z)
    file = groups.folder / "bad.json"
    text = json.dumps(json.loads(file.read_text()) | change)
    file.write_text(text)
    for _ in range(2):
        assert names(groups) == ["good"]
    assert len(caplog.records) == 1
    assert f"{file} is" in caplog.text
    with pytest.raises(WildlamError, match=says):
        groups.find("bad")
    assert file.read_text() == text


def test_files_that_are_no_json(groups, z, caplog):
    groups.save("good", MEMBERS, z)
    (groups.folder / "cut.json").write_text('{"weights": "w"')
    (groups.folder / ".hidden.json").write_text("{}")
    (groups.folder / "empty.json").write_text("{}")
    assert names(groups) == ["good"]
    assert len(caplog.records) == 3
