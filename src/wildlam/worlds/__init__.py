"""Simulators, and films of them: walks through Doom levels, a robot arm, and a few short films of real scenes."""

from wildlam.worlds.doom import LEVELS, DoomNav
from wildlam.worlds.sample_films import collect_sample_films
from wildlam.worlds.walkers import collect_doom

__all__ = ["LEVELS", "DoomNav", "collect_doom", "collect_sample_films"]
