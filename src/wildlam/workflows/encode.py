"""Encode the videos of a run before it is trained."""

from __future__ import annotations

from wildlam.config import RunConfig
from wildlam.distributed import processes
from wildlam.states.dataset import encode, frames_to_encode, shared_index
from wildlam.states.store import FeatureStore
from wildlam.workflows import durations


def encode_all(config: RunConfig) -> FeatureStore | None:
    """Index and encode the videos of a run; None in all processes but the main one."""
    with processes() as team:
        encoder = config.encoder.build(team.device)
        manifest = shared_index(config.data, team)
        if team.is_main:
            frames = frames_to_encode(manifest, config.data, encoder.spec) / team.world_size
            durations.tell_encoding(config, encoder, manifest, frames)
        store = encode(config.data, encoder, manifest, team)
        return store if team.is_main else None
