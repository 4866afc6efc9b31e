"""Fill a small disk while checkpoints and states are written, make room, and go on to the same end."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.commands import COMMANDS, finish, fresh, start

FREE = {"encode": [20, 60, 150, 300], "train": [100, 700, 2000, 5000]}
"""Kilobytes left free on the disk when a command starts: it runs out earlier or later; 5000 hold states, but not a
checkpoint."""


@contextmanager
def small_disk(folder: Path, size: str = "128m") -> Iterator[Path]:
    """A disk of its own (tmpfs), of ``size``, at ``folder``; OSError if this system gives none."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        raise OSError(f"no tmpfs: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disks(pattern: Path, folder: Path) -> dict[str, Counter[str]]:
    """Start each command on a nearly full disk, then again on one with room.

    Returns:
        For each command: whether it ended in one clear error that names what could not be written (``error``; if that
        was a checkpoint also ``of a checkpoint``), or found room enough (``success``), and whether the second start led
        to the same end as an unbroken run (``same``).
    """
    tallies = {}
    for command in COMMANDS:
        if command.name not in FREE:
            continue
        tally = tallies[command.name] = Counter[str]()
        whole = fresh(pattern, folder / f"{command.name}_whole")
        code, messages = finish(start(command.start(whole)))
        assert code == 0, messages
        expected = repr(command.outcome(whole)).replace(str(whole), "FOLDER")
        for kilobytes in FREE[command.name]:
            with small_disk(folder / f"{command.name}_{kilobytes}") as disk:
                place = fresh(pattern, disk / "place")
                ballast = disk / "ballast"
                room = shutil.disk_usage(disk).free - kilobytes * 1024
                ballast.write_bytes(bytes(max(room, 0)))
                code, messages = finish(start(command.start(place)))
                last = messages.strip().splitlines()[-1] if messages.strip() else ""
                clear = last.startswith("wildlam: error:") and str(place) in last and "Traceback" not in messages
                verdict = "success" if code == 0 else "error" if clear else "unnamed error"
                tally[verdict] += 1
                tally["of a checkpoint"] += clear and "cannot write the checkpoint" in last
                if verdict == "unnamed error":
                    print(f"{command.name} with {kilobytes} kB free: {messages[-1500:]}")
                ballast.unlink()
                code, messages = finish(start(command.start(place)))
                same = code == 0 and repr(command.outcome(place)).replace(str(place), "FOLDER") == expected
                tally["same" if same else "different"] += 1
                if not same:
                    print(f"{command.name} after {kilobytes} kB: {messages[-1500:]}")
    return tallies
