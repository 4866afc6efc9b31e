"""One action of the arm, seen by several cameras: docs/results/views.svg.

    python benchmarks/views.py [--out docs/results]

The hand moves to the robot's left for three quarters of a second. The cameras are the fixed one and some of those that
``wildlam collect arm --cameras many`` draws. Takes seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from wildlam.episodes.camera import Camera
from wildlam.report.plots import LINES, Mosaic, svg
from wildlam.types import Split
from wildlam.worlds.arm import FIXED, FetchArm, drawing

SCENE = 3
"""Seed of where hand and objects are."""
LEFT = np.array([0, 0.04, 0, 0, 0, 0, 0])
"""What is done, at every step, in metres of the robot's axes."""
STEPS = 6
DRAWN: tuple[Split, ...] = ("train", "train", "train", "train", "held_out")
"""The cameras that are drawn: for films to train on, and for held-out ones."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for views.svg")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cameras = cameras_by_name()
    with FetchArm() as world:
        world.reset(seed=SCENE)
        before, start = [seen(world, camera) for camera in cameras.values()], world.pose[:3]
        for _ in range(STEPS):
            world.move(LEFT)
        after, end = [seen(world, camera) for camera in cameras.values()], world.pose[:3]
    (args.out / "views.svg").write_bytes(drawn(cameras, before, after, start, end))
    print(args.out / "views.svg")


def cameras_by_name() -> dict[str, Camera]:
    """The cameras, and what to call them."""
    cameras = {"fixed": FIXED}
    for i, split in enumerate(DRAWN):
        draw = drawing("many", split)
        assert draw is not None
        name = f"drawn {i + 1}" if split == "train" else "held out"
        cameras[name] = draw(np.random.default_rng(i))
    return cameras


def seen(world: FetchArm, camera: Camera) -> np.ndarray:
    """What a camera sees now, ``uint8 [H, W, 3]``."""
    world.camera = camera
    return world.frame


@svg
def drawn(
    cameras: dict[str, Camera], before: list[np.ndarray], after: list[np.ndarray], start: np.ndarray, end: np.ndarray
) -> Figure:
    """Both moments, a column for each camera, with the hand's way from ``start`` to ``end``."""
    wall = Mosaic(2, len(cameras), 1.25, 1.25, left=0.3, top=0.25)
    for row, (name, pictures) in enumerate({"before": before, "after": after}.items()):
        wall.label(row, name)
        for column, picture in enumerate(pictures):
            wall.show(row, column, picture)
    for column, (name, camera) in enumerate(cameras.items()):
        wall.title(0, column, name)
        tail, head = ((camera.project(point) + 1) / 2 + (column, 1) for point in (start, end))
        how = {"arrowstyle": "-|>", "color": LINES[1], "lw": 2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 12}
        wall.axes.annotate("", head, tail, arrowprops=how)
    return wall.figure


if __name__ == "__main__":
    main()
