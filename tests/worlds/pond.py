"""Films of a world that a file more in the folder of simulators makes known, in a process that knows none of them."""

import sys

from wildlam import cli
from wildlam.worlds import simulators


def collect_in_a_pond(folder):
    """``folder`` holds ``pond.py``; nothing of a simulator is imported before use."""
    assert not {"gymnasium", "vizdoom", "mujoco"} & sys.modules.keys()
    simulators.__path__.append(str(folder))
    simulators.SIMULATORS.update(simulators._found())
    assert cli.main(["collect", "pond", "-o", str(folder / "out"), "--episodes", "3"]) == 0
