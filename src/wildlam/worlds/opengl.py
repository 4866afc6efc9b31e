"""OpenGL back ends for MuJoCo: why drawing fails, and what works on this machine.

MuJoCo chooses its OpenGL library when it is imported, by the variable MUJOCO_GL, so that another one can be tried in
another process only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

from wildlam.errors import WildlamError

BACKENDS = {"egl": "libegl1 libgl1 libgles2", "osmesa": "libosmesa6", "glfw": "libgl1"}
"""Values of MUJOCO_GL on Linux, the one to prefer first, and Debian's packages for each; glfw needs a display too."""
_OFF = ("disable", "disabled", "off", "false", "0")
_WINDOWED = ("", "glfw", "glx", "enable", "enabled", "on", "true", "1")
_TRIAL = "import mujoco\nwith mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8): pass"
_PLATFORM = {name: os.environ[name] for name in ("PYOPENGL_PLATFORM",) if name in os.environ}
"""What MuJoCo sets when it is imported, and trials of other libraries must not inherit, as it was before."""
_PATIENCE = 60  # seconds that a trial may take; MuJoCo's import takes one


@cache
def working() -> tuple[str, ...]:
    """The values of MUJOCO_GL that a picture can be drawn with here, each tried in a process of its own."""
    before = {name: value for name, value in os.environ.items() if name != "PYOPENGL_PLATFORM"} | _PLATFORM
    trials = {
        backend: subprocess.Popen(
            [sys.executable, "-c", _TRIAL],
            env=before | {"MUJOCO_GL": backend},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for backend in BACKENDS
    }
    found = []
    for backend, trial in trials.items():
        try:
            if trial.wait(_PATIENCE) == 0:
                found.append(backend)
        except subprocess.TimeoutExpired:
            trial.kill()
            trial.wait()
    return tuple(found)


def refuse_unusable() -> None:
    """Refuse a value of MUJOCO_GL that cannot draw whatever is installed; call it before MuJoCo opens a context.

    Raises:
        WildlamError: it asks for a window where there is no display, or switches drawing off.
    """
    if _chosen() in _OFF:
        raise cannot_draw("which switches drawing off")
    if _chosen() in _WINDOWED and sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise cannot_draw("which needs a display, and there is none")


def cannot_draw(cause: Exception | str) -> WildlamError:
    """The error for a MuJoCo that cannot be imported or cannot draw: the variable, the cause and what works here."""
    chosen = _chosen()
    if isinstance(cause, AttributeError) and "NoneType" in str(cause):  # PyOpenGL, where it finds no library
        cause = f"no OpenGL library for {chosen} is installed"
    reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    if works := working():
        remedy = f"on this machine {' and '.join(works)} works: set MUJOCO_GL={works[0]} before mujoco is imported"
    else:
        packages = " or ".join(f"{BACKENDS[name]} (for {name})" for name in ("egl", "osmesa"))
        remedy = (
            f"none of {', '.join(BACKENDS)} works on this machine; on Debian: apt-get install {packages}, then set "
            "MUJOCO_GL to that"
        )
    return WildlamError(f"the arm cannot be drawn with MUJOCO_GL={chosen} ({reason}); {remedy}")


def _chosen() -> str:
    """The value of MUJOCO_GL that MuJoCo goes by: that of when it was imported, if it was."""
    now = os.environ.get("MUJOCO_GL", "").lower().strip()
    return getattr(sys.modules.get("mujoco.gl_context"), "_MUJOCO_GL", now)
