"""Configuration of the playground, free of what it runs on: see ``wildlam.workflows.configs``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wildlam.errors import option
from wildlam.pretrained import TINY, run_path
from wildlam.types import check_count, settle_paths

LOOPBACK = "127.0.0.1"
PORT = 7860
MOST = 20_000


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """What the playground shows, and to whom.

    Args:
        run: the run folder, or the text ``"tiny"`` for the model that comes with the package.
        videos: folder of videos to show; the run's own if not given, and of ``"tiny"`` the films that come with it.
        runs: folder of runs to watch; that which the run lies in if not given, and ``runs`` for ``"tiny"``.
        host: address to listen at. Whoever can reach it sees the videos, brings others and uses the machine's time.
        port: port to listen at; the next free one if it is taken.
        most: about how many transitions of the videos are mapped, and searched where there is no index.
        index: folder of the index that is searched; where ``wildlam search build`` makes that of the run and of
            ``videos`` if not given.
    """

    run: Path = TINY
    videos: Path | None = None
    runs: Path | None = None
    host: str = LOOPBACK
    port: int = PORT
    most: int = MOST
    index: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run, str):
            object.__setattr__(self, "run", run_path(self.run))
        settle_paths(self, "run", "videos", "runs", "index")
        check_count("most", self.most)
        if not 0 <= self.port < 2**16:
            raise ValueError(f"{option('port')} must be from 0 to 65535, got {self.port}")
