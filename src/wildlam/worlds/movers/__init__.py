"""Things that move independently of each other in front of real frames: a world whose truth is known place by place."""

from wildlam.worlds.movers.collect import BACKGROUNDS, KINDS, MOVERS, check_kinds, collect_movers
from wildlam.worlds.movers.pictures import sources

__all__ = ["BACKGROUNDS", "KINDS", "MOVERS", "check_kinds", "collect_movers", "sources"]
