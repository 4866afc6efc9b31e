"""Cameras that are drawn: the room is in view, and held-out ones stand where none in training does."""

import numpy as np
import pytest

from wildlam.errors import WildlamError
from wildlam.worlds.cameras import DISTANCE, HEIGHT, LENS, SIDES, check_cameras, draw_camera, looking

ROOM = np.array([[1.0, 0.5, 0.4], [1.4, 1.0, 0.6]])
CORNERS = np.array([[x, y, z] for x in ROOM[:, 0] for y in ROOM[:, 1] for z in ROOM[:, 2]])


def drawn(split, count=60):
    return [draw_camera(np.random.default_rng(i), split, ROOM) for i in range(count)]


def sides(cameras):
    away = np.array([camera.position for camera in cameras]) - ROOM.mean(axis=0)
    return np.degrees(np.arctan2(away[:, 1], away[:, 0]))


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_all_of_the_room_is_in_view_and_large_enough(split):
    cameras = drawn(split)
    seen = np.stack([camera.project(CORNERS) for camera in cameras])
    assert np.abs(seen).max() <= 1
    assert np.ptp(seen, axis=1).max(axis=1).min() > 1  # more than half of the picture's side
    middle = np.stack([camera.project(ROOM.mean(axis=0)) for camera in cameras])
    assert middle.std(axis=0).min() > 0.05  # not all look at the same point


def test_place_height_angle_and_lens_differ():
    cameras = drawn("train", 200)
    away = np.array([camera.position for camera in cameras]) - ROOM.mean(axis=0)
    far = np.linalg.norm(away, axis=1)
    heights = np.degrees(np.arcsin(away[:, 2] / far))
    for found, (least, most) in ((far, DISTANCE), (heights, HEIGHT), ([c.field_of_view for c in cameras], LENS)):
        assert least <= min(found)
        assert max(found) <= most
        assert np.ptp(found) > 0.6 * (most - least)
    assert np.ptp([camera.axes[2, 0] for camera in cameras]) > 0.1  # how far the picture's lower edge slopes
    assert np.ptp(sides(cameras)) > 150


def test_held_out_cameras_stand_where_none_in_training_does():
    train, held_out = sides(drawn("train", 300)), sides(drawn("held_out"))
    for split, found in (("train", train), ("held_out", held_out)):
        assert all(any(low <= side <= high for low, high in SIDES[split]) for side in found)
    assert min(abs(one - other) for one in train for other in held_out) > 4
    assert (train < held_out.min()).any()
    assert (train > held_out.max()).any()  # between such as were trained on


def test_a_camera_looks_at_its_point_upright():
    eye, at, above = np.array([2.0, 0.4, 1.0]), np.array([1.2, 0.8, 0.5]), np.array([1.2, 0.8, 0.6])
    camera = looking(eye, at, 40)
    assert np.allclose(camera.project(at), 0, atol=1e-12)
    right, down = camera.project(above)
    assert right == pytest.approx(0, abs=1e-12)
    assert down < 0
    right, down = looking(eye, at, 40, roll=5).project(above)
    assert np.degrees(np.arctan2(right, -down)) == pytest.approx(-5)  # turned clockwise, it sees things turned back


def test_a_choice_that_is_not_there_is_refused():
    assert check_cameras("many") == "many"
    with pytest.raises(WildlamError, match=r"^cameras must be fixed or many, got two"):
        check_cameras("two")
