"""What is said where MuJoCo cannot draw; it decides that when it is imported, so that each case is a process."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import wildlam
from wildlam.worlds.opengl import BACKENDS, working

pytestmark = pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")
# Twice: MuJoCo hangs when asked for a second context after one that failed.
TWICE = """
from wildlam.errors import WildlamError
from wildlam.worlds.arm import FetchArm
for _ in range(2):
    try:
        FetchArm(size=32).close()
    except WildlamError as error:
        print(error)
"""


def run(code, **variables):
    """A process with other variables, and with this wildlam."""
    clean = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    variables["PYTHONPATH"] = str(Path(wildlam.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code], env=clean | variables, capture_output=True, text=True, timeout=120
    )


def said(**variables):
    """What is said of each of two arms in such a process."""
    done = run(TWICE, **variables)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    return first


def test_an_unknown_library_is_named_with_one_that_works():
    if not working():
        pytest.skip("nothing draws here")
    told = said(MUJOCO_GL="bogus")
    assert told.startswith("the arm cannot be drawn with MUJOCO_GL=bogus (invalid value for environment variable")
    assert told.endswith(f"set MUJOCO_GL={working()[0]} before mujoco is imported")


def test_a_driver_that_is_missing_is_named():
    told = said(MUJOCO_GL="", __EGL_VENDOR_LIBRARY_FILENAMES=os.devnull)
    assert told.startswith("the arm cannot be drawn with MUJOCO_GL=egl (")
    assert "on this machine egl" not in told


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_a_missing_display_and_drawing_switched_off_are_named():
    assert "MUJOCO_GL=glfw (which needs a display, and there is none); " in said(MUJOCO_GL="glfw")
    assert "MUJOCO_GL=off (which switches drawing off); " in said(MUJOCO_GL="off")


@pytest.mark.slow
def test_what_works_draws():
    assert set(working()) <= set(BACKENDS)
    for backend in working()[:1]:
        draw = "from wildlam.worlds.arm import FetchArm; w = FetchArm(size=32); print(w.frame.std() > 0); w.close()"
        done = run(draw, MUJOCO_GL=backend)
        assert done.stdout == "True\n", done.stderr
