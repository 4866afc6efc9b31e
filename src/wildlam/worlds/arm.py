"""A Fetch arm over a table with objects, seen by a camera at rest: a world whose true end-effector motion is known.

The robot's model is gymnasium-robotics' (MuJoCo); its hand follows a motion-capture body by a weld, so that an action
moves, turns, opens and closes it. Lengths are in metres, angles in radians, the gripper's opening is 0 to 1. Poses and
actions are in the axes of the robot's base, wherever the camera stands, as DROID's are: x is where the robot faces, y
its left, z up. So one action looks different in the films of two cameras, and what it will look like is only known to
who has seen a picture.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from scipy.spatial.transform import Rotation

from wildlam.episodes.action_spaces import ARM
from wildlam.episodes.camera import Camera, camera_path, write_camera
from wildlam.episodes.poses import write_poses
from wildlam.errors import WildlamError
from wildlam.progress import Count
from wildlam.types import Split
from wildlam.worlds.cameras import CAMERAS, check_cameras, draw_camera, looking
from wildlam.worlds.opengl import cannot_draw, refuse_unusable
from wildlam.worlds.recorder import SHARE, WORKERS, Format, Take, check_length, distracted, film_all, split_of

try:
    import gymnasium
except ImportError as error:
    raise WildlamError("the arm needs gymnasium: pip install 'wildlam[worlds]'") from error

ROOM = np.array([[1.10, 0.52, 0.44], [1.48, 0.98, 0.66]])
"""Corners of the box that the hand stays in, over the table."""

TILT = 0.5
"""The most that the hand turns away from pointing straight down, about each axis."""

STEP = np.array([0.06, 0.06, 0.06, 0.25, 0.25, 0.25, 0.5])
"""The most that an action moves, turns and opens the hand by."""

FIXED = looking(np.array([2.05, 0.35, 1.0]), np.array([1.27, 0.75, 0.56]), 40.0)
"""The camera of all episodes, if no other is asked for."""

_DOWN = Rotation.from_quat([0, 1, 0, 1])  # of the hand's link when it points down; x, y, z, w
_FINGER = 0.05  # metres that a finger travels
_TIMESTEP = 0.002
_SETTLE = 400  # simulation steps from the robot's rest to where an episode begins
_SPAWN = np.array([[1.15, 0.57], [1.45, 0.93]])  # where objects may lie
_OBJECTS = ((0.85, 0.15, 0.15), (0.15, 0.55, 0.2), (0.9, 0.75, 0.1))
_TABLE_HEIGHT = 0.4
_CAMERA = "watching"
_DRAWING = threading.Lock()
"""Held while OpenGL is called: Mesa's software driver, drawing in two threads at once, rarely ends the process."""
_FAILED: list[WildlamError] = []
"""Why no picture can be drawn; where MuJoCo could not open a context once, it hangs when asked for another."""


def _mujoco() -> Any:
    if not os.environ.get("MUJOCO_GL"):
        os.environ["MUJOCO_GL"] = "egl"  # without a display
    if _FAILED:
        raise _FAILED[0]
    refuse_unusable()
    try:
        import mujoco
    except Exception as error:  # whatever its OpenGL library has to say
        if isinstance(error, ModuleNotFoundError):
            raise WildlamError(
                f"the arm cannot be simulated ({error}); pip install 'wildlam[worlds]' and, on Debian, "
                "apt-get install libegl1 libgl1 libgles2"
            ) from error
        raise cannot_draw(error) from error
    if not mujoco.__version__.startswith("3.3."):
        raise WildlamError(f"the arm needs mujoco 3.3, this is {mujoco.__version__}: pip install 'mujoco==3.3.0'")
    return mujoco


def _renderer(mujoco: Any) -> Any:
    """MuJoCo's renderer, whose and whose context's ``__del__`` do not miss what their ``__init__`` could not make."""
    mujoco.GLContext._context = None
    return type("Renderer", (mujoco.Renderer,), {"_gl_context": None, "_mjr_context": None})


class FetchArm(gymnasium.Env[np.ndarray, np.ndarray]):
    """The arm behind gymnasium's API.

    An observation is the picture, ``uint8 [size, size, 3]``. An action is DROID's: displacement, xyz-Euler angles of
    the rotation about the world's axes, and change of the opening, ``[7]``, all that the hand shall do in this step;
    what it did is in ``pose``, which ``episodes.action_spaces.ARM`` turns into actions.

    Args:
        size: side in pixels of the square frames.
        fps: steps per second.
        draw: draws the camera of an episode when it begins, after all else, which is as with any other camera; it is
            ``FIXED`` if not given.

    Raises:
        WildlamError: MuJoCo, the robot's model or an OpenGL library is missing.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012, as gymnasium has it
    render_mode = "rgb_array"
    space = ARM

    def __init__(
        self, size: int = 128, fps: float = 8.0, draw: Callable[[np.random.Generator], Camera] | None = None
    ) -> None:
        self._mj = mujoco = _mujoco()
        self.size, self.fps, self._draw = size, fps, draw
        self._model = _scene(mujoco)
        self._data = mujoco.MjData(self._model)
        self.camera = FIXED
        self._substeps = max(1, round(1 / (fps * _TIMESTEP)))
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-STEP, STEP, dtype=np.float64)
        with _DRAWING:
            if _FAILED:
                raise _FAILED[0]
            try:
                # Twice as large, and averaged: smooth edges, twice as fast as multisampling without a GPU.
                self._renderer = _renderer(mujoco)(self._model, 2 * size, 2 * size)
            except Exception as error:  # whatever OpenGL has to say
                _FAILED.append(cannot_draw(error))
                raise _FAILED[0] from error
        self._fingers = [self._model.joint(f"robot0:{side}_gripper_finger_joint").qposadr[0] for side in "lr"]
        self._hand = self._model.body("robot0:gripper_link").id

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Put objects and hand somewhere over the table; see ``gymnasium.Env``."""
        super().reset(seed=seed)
        rng, mujoco, data = self.np_random, self._mj, self._data
        mujoco.mj_resetData(self._model, data)
        for name, value in (("slide0", 0.405), ("slide1", 0.48), ("slide2", 0.0)):
            data.qpos[self._model.joint(f"robot0:{name}").qposadr[0]] = value
        for i, place in enumerate(_places(rng, len(_OBJECTS))):
            first = self._model.joint(f"object{i}").qposadr[0]
            turn = Rotation.from_euler("z", rng.uniform(0, np.pi)).as_quat()
            data.qpos[first : first + 7] = [*place, _TABLE_HEIGHT + 0.03, turn[3], *turn[:3]]
        self._aim(rng.uniform(*ROOM), _DOWN, opening=rng.uniform(0, 1))
        mujoco.mj_step(self._model, data, _SETTLE)
        mujoco.mj_forward(self._model, data)
        self.camera = self._draw(rng) if self._draw else FIXED
        return self.frame, {"pose": self.pose}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Move for one step; there is no reward and no end. See ``gymnasium.Env``."""
        self.move(action)
        return self.frame, 0.0, False, False, {"pose": self.pose}

    def move(self, action: np.ndarray) -> None:
        """Do what ``step`` does without looking."""
        action, pose = np.clip(action, -STEP, STEP), self.pose
        turn = Rotation.from_euler("xyz", action[3:6]) * Rotation.from_euler("xyz", pose[3:6])
        tilt = np.clip(turn.as_euler("xyz"), -TILT, TILT)
        self._aim(
            np.clip(pose[:3] + action[:3], *ROOM),
            Rotation.from_euler("xyz", tilt) * _DOWN,
            np.clip(pose[6] + action[6], 0, 1),
        )
        self._mj.mj_step(self._model, self._data, self._substeps)
        self._mj.mj_forward(self._model, self._data)

    def snapshot(self) -> np.ndarray:
        """All of the simulation's state, for ``restore``."""
        kind = self._mj.mjtState.mjSTATE_INTEGRATION
        state = np.empty(self._mj.mj_stateSize(self._model, kind))
        self._mj.mj_getState(self._model, self._data, state, kind)
        return state

    def restore(self, state: np.ndarray) -> None:
        """Go back to a ``snapshot``."""
        self._mj.mj_setState(self._model, self._data, state, self._mj.mjtState.mjSTATE_INTEGRATION)
        self._mj.mj_forward(self._model, self._data)

    @property
    def pose(self) -> np.ndarray:
        """True pose ``float64 [7]``: x, y, z; xyz-Euler angles, zero pointing down; opening of the gripper."""
        hand = Rotation.from_matrix(self._data.xmat[self._hand].reshape(3, 3)) * _DOWN.inv()
        opening = self._data.qpos[self._fingers].mean() / _FINGER
        return np.concatenate([self._data.xpos[self._hand], hand.as_euler("xyz"), [opening]])

    @property
    def objects(self) -> np.ndarray:
        """Where the objects lie, ``float64 [objects, 3]``."""
        return np.stack([self._data.body(f"object{i}").xpos for i in range(len(_OBJECTS))])

    @property
    def camera(self) -> Camera:
        """The camera that pictures are from until the next reset."""
        return self._camera

    @camera.setter
    def camera(self, camera: Camera) -> None:
        self._camera = camera
        _place(self._model.camera(_CAMERA), camera)
        self._mj.mj_camlight(self._model, self._data)  # which leaves all that moves as it is

    @property
    def frame(self) -> np.ndarray:
        """What is seen now, ``uint8 [size, size, 3]`` RGB."""
        with _DRAWING:
            self._renderer.update_scene(self._data, _CAMERA)
            drawn = self._renderer.render()
        image = av.VideoFrame.from_ndarray(drawn, format="rgb24")
        return image.reformat(width=self.size, height=self.size, interpolation="AREA").to_ndarray()

    def render(self) -> np.ndarray:
        """See ``gymnasium.Env``."""
        return self.frame

    def close(self) -> None:
        """Free the graphics memory."""
        with _DRAWING:
            self._renderer.close()

    def _aim(self, position: np.ndarray, rotation: Rotation, opening: float) -> None:
        x, y, z, w = rotation.as_quat()
        self._data.mocap_pos[0], self._data.mocap_quat[0] = position, (w, x, y, z)
        self._data.ctrl[:] = opening * _FINGER


def _scene(mujoco: Any) -> Any:
    package = importlib.util.find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        raise WildlamError("the arm's model comes with gymnasium-robotics: pip install 'wildlam[worlds]'")
    spec = mujoco.MjSpec.from_file(str(Path(package.origin).parent / "envs/assets/fetch/pick_and_place.xml"))
    spec.detach_body(spec.body("object0"))
    spec.visual.quality.shadowsize = 0  # sixty times faster without a GPU
    spec.visual.quality.offsamples = 0
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 1024
    for site in spec.sites:
        site.rgba[3] = 0
    for geom in spec.body("robot0:mocap").geoms:
        geom.rgba[3] = 0
    spec.material("table_mat").rgba = (0.55, 0.45, 0.36, 1)
    box, ball, rod = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER
    for i, (shape, colour) in enumerate(zip((box, ball, rod), _OBJECTS, strict=True)):
        body = spec.worldbody.add_body(name=f"object{i}", pos=(1.2 + 0.1 * i, 0.75, _TABLE_HEIGHT + 0.03))
        body.add_joint(name=f"object{i}", type=mujoco.mjtJoint.mjJNT_FREE, damping=0.01)
        body.add_geom(
            type=shape,
            size=(0.028, 0.028, 0.028),
            rgba=(*colour, 1),
            mass=0.3,
            condim=6,
            friction=(1, 0.02, 0.01),
        )
    spec.worldbody.add_camera(name=_CAMERA)
    model = spec.compile()
    for i in range(model.neq):  # the weld holds the link to the body itself, not to where both were at first
        model.eq_data[i, :7] = (0, 0, 0, 0, 0, 0, 1)
    return model


def _place(placed: Any, camera: Camera) -> None:
    """Put a model's camera where another is; MuJoCo's looks backwards along its last axis, and its second is up."""
    x, y, z, w = Rotation.from_matrix(camera.axes * (1, -1, -1)).as_quat()
    placed.pos, placed.quat, placed.fovy = camera.position, (w, x, y, z), camera.field_of_view


def _places(rng: np.random.Generator, count: int) -> np.ndarray:
    """Places on the table ``[count, 2]``, apart from each other."""
    while True:
        places = rng.uniform(_SPAWN[0], _SPAWN[1], size=(count, 2))
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(count)
        if apart.min() > 0.09:
            return places


class Mover:
    """Explores smoothly: the hand glides towards one place after another, turns, opens, closes, and rests at times.

    A third of the places are those of objects, so that some are pushed, and now and then one is lifted.

    Args:
        rng: the only source of randomness.
        fps: frames per second, by which it scales its speeds.
    """

    def __init__(self, rng: np.random.Generator, fps: float = 8.0) -> None:
        self.rng, self.pace = rng, 8.0 / fps
        self.velocity = np.zeros(3)
        self.frames_left = 0
        self.resting = False
        self._next(np.zeros((1, 3)))

    def act(self, world: FetchArm) -> np.ndarray:
        """The action ``[7]`` for the next frame."""
        if self.frames_left == 0:
            self._next(world.objects)
        self.frames_left -= 1
        pose = world.pose
        away = self.place - pose[:3]
        if np.linalg.norm(away) < 0.02:
            self.frames_left = min(self.frames_left, 2)
        wanted = np.zeros(3) if self.resting else away * min(1, self.speed / (np.linalg.norm(away) + 1e-9))
        self.velocity = 0.6 * self.velocity + 0.4 * wanted
        noise = self.rng.normal(size=3) * 0.002 * self.pace * (not self.resting)
        there = Rotation.from_euler("xyz", pose[3:6])
        turn = (Rotation.from_euler("xyz", self.tilt) * there.inv()).as_rotvec()
        turn *= 0 if self.resting else min(1, 0.08 * self.pace / (np.linalg.norm(turn) + 1e-9))
        opening = np.clip((self.opening - pose[6]) / self.pace, -0.15, 0.15) * self.pace * (not self.resting)
        return np.concatenate([self.velocity + noise, Rotation.from_rotvec(turn).as_euler("xyz"), [opening]])

    def _next(self, objects: np.ndarray) -> None:
        rng = self.rng
        self.resting = rng.random() < 0.12
        self.frames_left = round(int(rng.integers(4, 12) if self.resting else rng.integers(6, 24)) / self.pace)
        self.place = rng.uniform(*ROOM)
        if rng.random() < 0.33:
            near = objects[rng.integers(len(objects))] + rng.normal(size=3) * 0.01
            self.place = np.clip(near, *ROOM)
        self.speed = rng.uniform(0.01, 0.04) * self.pace
        self.tilt = rng.uniform(-0.4, 0.4, 3) if rng.random() < 0.4 else np.zeros(3)
        self.opening = rng.choice([0.0, 1.0]) if rng.random() < 0.5 else rng.uniform(0, 1)


class _WithCamera(Format):
    """Films with their poses and their camera."""

    def truth_paths(self, film: Path) -> tuple[Path, ...]:
        return *super().truth_paths(film), camera_path(film)

    def write_truth(self, film: Path, truth: tuple[np.ndarray, Camera]) -> None:
        poses, camera = truth
        write_camera(film, camera)
        write_poses(film, poses, self.fps, self.space)


def drawing(cameras: str, split: Split) -> Callable[[np.random.Generator], Camera] | None:
    """What draws the cameras of a split's episodes, for ``FetchArm``.

    Args:
        cameras: one of ``CAMERAS``.
        split: training or held out.

    Raises:
        WildlamError: there is no such choice of cameras.
    """
    return partial(draw_camera, split=split, room=ROOM) if check_cameras(cameras) == "many" else None


def collect_arm(
    out: Path,
    *,
    episodes: int,
    seconds: float,
    fps: float = 8.0,
    size: int = 128,
    seed: int = 0,
    distractors: float = SHARE,
    cameras: str = CAMERAS[0],
    progress: bool = True,
) -> list[Path]:
    """Film the arm at exploration, with its true poses (``episodes.poses``); training reads pixels alone.

    Film ``n`` becomes ``out/train/arm_<seed>_<n>.mp4``, or ``out/held_out/...`` if ``n % 8 == 1``. Finished films are
    kept, so that an interrupted call can simply be repeated. Seed and ``n`` decide what happens in a film, whatever the
    cameras: with ``many`` the same is seen from other places.

    Args:
        out: folder to write to.
        episodes: films in all.
        seconds: length of each.
        fps: frames per second.
        size: side of the frames in pixels, even.
        seed: seed of all films.
        distractors: share of the films with a drifting ball and changing light (``recorder.distracted``).
        cameras: ``fixed``, the same for all films, or ``many``: place, angle and lens are drawn for each film
            (``worlds.cameras``) and lie beside it (``episodes.camera``); held-out films are seen from sides that no
            film to train on is seen from.
        progress: show a progress bar with the time left.

    Returns:
        The paths of all films, worker by worker.

    Raises:
        WildlamError: fewer than one film, no time to film, no such cameras, or the simulator is missing.
    """
    check_length(episodes, seconds)
    many = drawing(cameras, "train") is not None
    _mujoco()  # a missing simulator is worth one clear message before anything starts
    frames, out = round(seconds * fps), Path(out)
    takes: dict[tuple[Split, int], list[Take]] = {}
    for n in range(episodes):
        split = split_of(n)
        path = out / split / f"arm_{seed}_{n:04d}.mp4"
        takes.setdefault((split, n % WORKERS), []).append(Take(path, (seed, n)))

    def film(world: FetchArm, rng: np.random.Generator, count: Count) -> tuple[list[np.ndarray], Any]:
        image, info = world.reset(seed=int(rng.integers(2**31)))
        mover, images, poses = Mover(rng, fps), [image], [info["pose"]]
        for _ in range(frames - 1):
            image, *_, info = world.step(mover.act(world))
            images.append(image)
            poses.append(info["pose"])
            count(1)
        images = distracted(images, rng) if rng.random() < distractors else images
        return images, (np.stack(poses), world.camera) if many else np.stack(poses)

    form = (_WithCamera if many else Format)(frames, fps, size, ARM)
    return film_all(
        takes, lambda stage: FetchArm(size, fps, drawing(cameras, stage[0])), film, form, title="arm", progress=progress
    )
