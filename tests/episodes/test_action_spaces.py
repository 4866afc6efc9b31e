"""Actions integrate back to the poses that they were derived from."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildlam.episodes.action_spaces import ARM, MOVER, PLANAR, SPACES
from wildlam.episodes.vectors import Changes, Commands

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_planar_actions_integrate_to_the_poses(seed):
    rng = np.random.default_rng(seed)
    poses = np.column_stack([rng.normal(size=(30, 2)) * 100, rng.uniform(-720, 720, 30)])
    actions = PLANAR.between(poses)
    assert (actions[:, 2] > -180).all()
    assert (actions[:, 2] <= 180).all()
    found = PLANAR.integrate(poses[0], actions)
    np.testing.assert_allclose(found[:, :2], poses[:, :2], atol=1e-8)
    np.testing.assert_allclose((found[:, 2] - poses[:, 2] + 180) % 360, 180, atol=1e-8)


def test_planar_actions_are_seen_from_the_pose_before():
    north = np.array([[0.0, 0.0, 90.0], [0.0, 2.0, 90.0], [-1.0, 2.0, 179.0], [-1.0, 2.0, -179.0]])
    np.testing.assert_allclose(PLANAR.between(north), [[2, 0, 0], [0, 1, 89], [0, 0, 2]], atol=1e-12)


def test_mover_actions_are_of_the_picture_and_integrate_to_the_poses():
    poses = np.array([[10.0, 20.0, 350.0], [12.0, 19.0, 370.0], [12.0, 19.0, 190.0]])
    actions = MOVER.between(poses)
    np.testing.assert_allclose(actions, [[2, -1, 20], [0, 0, 180]])
    found = MOVER.integrate(poses[0], actions)
    np.testing.assert_allclose(found[:, :2], poses[:, :2])
    np.testing.assert_allclose((found[:, 2] - poses[:, 2]) % 360, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_arm_actions_integrate_to_the_poses(seed):
    rng = np.random.default_rng(seed)
    angles = Rotation.random(15, rng=rng).as_euler("xyz")
    poses = np.column_stack([rng.normal(size=(15, 3)), angles, rng.uniform(0, 1, 15)])
    found = ARM.integrate(poses[0], ARM.between(poses))
    np.testing.assert_allclose(found[:, [0, 1, 2, 6]], poses[:, [0, 1, 2, 6]], atol=1e-9)
    same = Rotation.from_euler("xyz", found[:, 3:6]).inv() * Rotation.from_euler("xyz", angles)
    np.testing.assert_allclose(same.magnitude(), 0, atol=1e-7)


def test_arm_rotations_are_of_the_world():
    """``R_{t+1} R_t^T``: a turn about the world's z axis stays one, however the gripper is held."""
    held = Rotation.from_euler("xyz", [0.3, -0.4, 1.0])
    turned = Rotation.from_euler("z", 0.2) * held
    poses = np.zeros((2, 7))
    poses[0, 3:6], poses[1, 3:6] = held.as_euler("xyz"), turned.as_euler("xyz")
    np.testing.assert_allclose(ARM.between(poses)[0, 3:6], [0, 0, 0.2], atol=1e-12)


def test_units_are_told_where_they_are_known():
    assert ARM.units == {"dx": "m", "dy": "m", "dz": "m", "droll": "rad", "dpitch": "rad", "dyaw": "rad"}
    for space in SPACES.values():
        assert space.units.keys() <= set(space.action_names)
    joints = Changes.of(["waist", "grip"], ["waist"], 360.0)
    assert (joints.with_unit("d waist"), joints.with_unit("d grip")) == ("d waist (degrees)", "d grip")
    assert Changes.of(["waist"], ["waist"]).units == {"d waist": "rad"}
    assert Changes.of(["waist"], ["waist"], 4096).units == {}  # ticks of a motor
    assert Commands.of(["waist"], "summed").units == {}
