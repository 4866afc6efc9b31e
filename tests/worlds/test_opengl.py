"""What is said where MuJoCo cannot draw; it decides that when it is imported, so that each case is a process."""

import os
import sys
from importlib.util import find_spec

import pytest

from wildlam.errors import WildlamError
from wildlam.worlds.opengl import BACKENDS, working

from ..helpers import printed

pytestmark = pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")


def twice():
    """MuJoCo hangs when asked for a second context after one that failed."""
    from wildlam.worlds.arm import FetchArm

    for _ in range(2):
        try:
            FetchArm(size=32).close()
        except WildlamError as error:
            print(error)


def draw():
    from wildlam.worlds.arm import FetchArm

    with FetchArm(size=32) as world:
        print(world.frame.std() > 0)


@pytest.fixture
def run(tmp_path):
    """What a function prints in a process with other variables."""

    def run(target, **variables):
        return printed(tmp_path, target, DISPLAY=None, WAYLAND_DISPLAY=None, **variables)

    return run


@pytest.fixture
def said(run):
    """What is said of each of two arms in such a process."""

    def said(**variables):
        out, err = run(twice, **variables)
        assert "Traceback" not in err
        first, second = out.splitlines()
        assert first == second
        return first

    return said


def test_an_unknown_library_is_named_with_one_that_works(said):
    if not working():
        pytest.skip("nothing draws here")
    told = said(MUJOCO_GL="bogus")
    assert told.startswith("the arm cannot be drawn with MUJOCO_GL=bogus (invalid value for environment variable")
    assert told.endswith(f"set MUJOCO_GL={working()[0]} before mujoco is imported")


def test_a_driver_that_is_missing_is_named(said):
    told = said(MUJOCO_GL="", __EGL_VENDOR_LIBRARY_FILENAMES=os.devnull)
    assert told.startswith("the arm cannot be drawn with MUJOCO_GL=egl (")
    assert "on this machine egl" not in told


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_a_missing_display_and_drawing_switched_off_are_named(said):
    assert "MUJOCO_GL=glfw (which needs a display, and there is none); " in said(MUJOCO_GL="glfw")
    assert "MUJOCO_GL=off (which switches drawing off); " in said(MUJOCO_GL="off")


@pytest.mark.slow
def test_what_works_draws(run):
    assert set(working()) <= set(BACKENDS)
    for backend in working()[:1]:
        out, err = run(draw, MUJOCO_GL=backend)
        assert out == "True\n", err
