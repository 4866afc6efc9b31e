"""Clips drawn from a store: within their sequences, by seed and step alone, and shared out."""

import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.states.loader import StoreSource, eval_batches
from wildlam.states.store import FeatureStore

from .toys import CLIP, FRAME, fill


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(("spec", "states"), [(FRAME, 6), (CLIP, 3)])
def test_windows_lie_inside_a_training_sequence_and_are_equally_likely(
    tmp_path, videos, monkeypatch, spec, states, in_memory
):
    if not in_memory:
        monkeypatch.setattr("wildlam.states.loader.free_memory", lambda: 0)
    made, _, _ = fill(tmp_path / "store", videos, spec, frames=8)
    source = StoreSource(made, states=states, batch_size=64, seed=3)
    assert (source.memory is not None) == in_memory
    sequences, everything = made.sequences(), made.read_all()
    seen = {}
    for step in range(20):
        batch = source.batch(step)
        assert batch.states.shape == (64, states, 4, 3)
        assert batch.states.dtype == torch.bfloat16
        assert batch.times[:, 0].tolist() == batch.starts
        spacing = spec.frames_per_state / 4
        assert torch.equal(batch.times.diff(dim=1), torch.full((64, states - 1), spacing, dtype=torch.float64))
        for i in range(64):
            place = (batch.names[i], batch.starts[i])
            seen[place] = seen.get(place, 0) + 1
            inside = [
                first + start
                for first, length, video in zip(sequences.first, sequences.length, sequences.of(), strict=True)
                if video.path == place[0] and video.split == "train" and video.source == batch.sources[i]
                for start in range(length - states + 1)
                if sequences.times[first + start] == place[1]
            ]
            assert len(inside) == 1
            assert torch.equal(batch.states[i], everything[inside[0] : inside[0] + states])
    train = [n for n, video in zip(sequences.length, sequences.of(), strict=True) if video.split == "train"]
    windows = sum(max(0, n - states + 1) for n in train)
    assert len(seen) == windows
    expected = 20 * 64 / windows
    assert all(abs(count - expected) < 5 * expected**0.5 for count in seen.values())


def test_a_mixture_gives_each_source_its_share_and_every_window_of_it(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    source = StoreSource(made, states=4, batch_size=4000, mixture={"a": 0.7})
    batch = source.batch(0)
    assert batch.sources.count("a") / 4000 == pytest.approx(0.7, abs=0.03)
    drawn = {(name, start) for name, start in zip(batch.names, batch.starts, strict=True)}
    plain = StoreSource(made, states=4, batch_size=4000).batch(0)
    assert drawn == {(name, start) for name, start in zip(plain.names, plain.starts, strict=True)}
    with pytest.raises(WildlamError, match="no training clip of z"):
        StoreSource(made, states=4, batch_size=4, mixture={"z": 0.7})


def test_batches_depend_on_seed_and_step_alone_and_are_shared_out(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    options = {"states": 4, "batch_size": 12}
    source = StoreSource(made, **options, seed=1)
    whole = source.batch(7)
    source.batch(8)
    again = StoreSource(FeatureStore.open(tmp_path / "store"), **options, seed=1).batch(7)
    assert torch.equal(again.states, whole.states)
    assert (again.names, again.starts) == (whole.names, whole.starts)
    assert StoreSource(made, **options, seed=2).batch(7).starts != whole.starts
    assert source.batch(8).starts != whole.starts
    shares = [StoreSource(made, **options, seed=1, rank=rank, world_size=3).batch(7) for rank in range(3)]
    assert torch.equal(torch.cat([share.states for share in shares]), whole.states)
    assert [name for share in shares for name in share.names] == whole.names
    with pytest.raises(WildlamError, match="12 clips cannot be shared equally by 5"):
        StoreSource(made, **options, rank=0, world_size=5)


def test_clips_too_long_for_the_store_are_refused(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    with pytest.raises(WildlamError, match="no clip of 17 states in split train, whose longest sequence has 16"):
        StoreSource(made, states=17, batch_size=1)
    with pytest.raises(WildlamError, match="longest sequence has 0"):
        StoreSource(FeatureStore.create_or_resume(tmp_path / "empty", FRAME, 4.0, 16), states=2, batch_size=1)


def test_evaluation_sees_fixed_clips_side_by_side(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    clips = [
        (name, start)
        for batch in eval_batches(made, "train", states=4, per_source=None, batch_size=3)
        for name, start in zip(batch.names, batch.starts, strict=True)
    ]
    counts = {row.path: n // 4 for row, n in zip(videos[1], [10, 12, 14, 16], strict=False)}
    assert clips == [(name, float(k)) for name, n in counts.items() for k in range(n)]
    some = [batch.starts for batch in eval_batches(made, "train", states=4, per_source=2, batch_size=3)]
    assert some == [[0.0, 2.0, 0.0], [3.0]]  # the first and the last of each of two sources
    (held_out,) = eval_batches(made, "held_out", states=4, per_source=None, batch_size=8)
    assert set(held_out.names) == {"b/5.mp4"}
