"""Kill commands at random moments, start them again, and compare what they leave with what an unbroken one leaves."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.faults.commands import COMMANDS, Command, finish, fresh, start, timed

LIVES = 3
"""Kills of one command, at most, before it may end."""


def kill_at_random(pattern: Path, folder: Path, command: Command, kills: int, seed: int) -> Counter[str]:
    """Break a command off so many times in all, in as many fresh folders as that takes.

    Args:
        pattern: folder with ``videos/``, copied for each attempt.
        folder: for the copies.
        command: to break off.
        kills: how many.
        seed: of the moments, each drawn evenly from the time that the command takes.

    Returns:
        How often it was killed, resumed to the same end (``same``), to another (``different``), or ended by itself
        in an error (``error``).
    """
    whole = fresh(pattern, folder / "whole")
    takes = timed(command.start(whole))
    expected = _without_paths(command.outcome(whole), whole)
    rng, tally, attempt = random.Random(seed), Counter[str](), 0
    bar = tqdm(total=kills, desc=f"killing {command.name}", unit="kill")
    while tally["kills"] < kills:
        broken = fresh(pattern, folder / f"broken_{attempt}")
        attempt += 1
        for _ in range(min(LIVES, kills - tally["kills"])):
            code, messages = finish(start(command.start(broken)), kill_after=rng.uniform(0.1, takes))
            tally["kills"] += code == -9
            bar.update(code == -9)
            if code != -9:  # faster than the moment drawn
                break
        if code == -9:
            try:
                code, messages = finish(start(command.start(broken)))
            except TimeoutError as error:
                code, messages = 1, str(error)
        if code:
            tally["error"] += 1
            print(f"{command.name}: {messages[-1000:]}")
        else:
            same = _without_paths(command.outcome(broken), broken) == expected
            tally["same" if same else "different"] += 1
        shutil.rmtree(broken)
    bar.close()
    return tally


def kill_all(few: Path, many: Path, folder: Path, kills: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Break every command off, ``kills`` times in all: those that read videos on many, those that train on few."""
    shares = {command.name: len(range(i, kills, len(COMMANDS))) for i, command in enumerate(COMMANDS)}
    return {
        command.name: kill_at_random(
            many if command.name in ("index", "encode") else few,
            folder / command.name,
            command,
            shares[command.name],
            seed,
        )
        for command in COMMANDS
        if shares[command.name]
    }


def _without_paths(outcome: Any, folder: Path) -> str:
    """An outcome as text that does not tell in which folder it came about."""
    return repr(outcome).replace(str(folder), "FOLDER")
