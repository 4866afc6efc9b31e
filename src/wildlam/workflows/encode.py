"""Encode the videos of a run before it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildlam.config import RunConfig, config_from
from wildlam.distributed import processes
from wildlam.report.html import table
from wildlam.states import dataset
from wildlam.states.store import FeatureStore
from wildlam.workflows import durations


@dataclass(frozen=True)
class EncodeResult:
    """The states of videos. In a notebook, a table.

    Attributes:
        folder: folder of the feature store.
        states: number of states in it.
        state_bytes: bytes of a state.
        store: the opened store.
    """

    folder: Path
    states: int
    state_bytes: int
    store: FeatureStore

    def _repr_html_(self) -> str:
        return table({str(self.folder): {"states": f"{self.states:,}", "bytes of a state": f"{self.state_bytes:,}"}})


def encode(config: RunConfig | None = None, /, **keywords: Any) -> EncodeResult | None:
    """Index the videos of a run and encode those that are not encoded yet.

    Args:
        config: the run's configuration.
        keywords: fields of ``RunConfig``, in its place or to replace what it says, such as ``data={"path": "videos"}``.

    Returns:
        The store; None in all processes but the main one.

    Raises:
        WildlamError: whatever is wrong with the data, the configuration or the disk.
    """
    config = config_from(RunConfig, config, keywords)
    with processes() as team:
        encoder = config.encoder.build(team.device)
        manifest = dataset.shared_index(config.data, team)
        if team.is_main:
            frames = dataset.frames_to_encode(manifest, config.data, encoder.spec) / team.world_size
            durations.announce_encoding(config, encoder, manifest, frames)
        store = dataset.encode(config.data, encoder, manifest, team)
        return EncodeResult(store.path, len(store), store.state_bytes, store) if team.is_main else None
