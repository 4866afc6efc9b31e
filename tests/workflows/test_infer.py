"""A trained run in use: the latent actions of a whole video, whatever pieces it is encoded in."""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from wildlam.config import RunConfig
from wildlam.encoders import VJEPA2, Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Adaptive, Unconstrained
from wildlam.models.bottlenecks.base import leading
from wildlam.video.config import DataConfig
from wildlam.video.decode import decode_grid
from wildlam.workflows import trained
from wildlam.workflows.infer import infer, outputs
from wildlam.workflows.trained import LatentActions, Trained
from wildlam.workflows.transfer import transfer

from ..helpers import make_run, save_tiny

pytestmark = pytest.mark.usefixtures("tiny_models")


def untrained(encoder_config, bottleneck=None, **data):
    config = RunConfig(
        data=DataConfig(path="unused", **data),
        encoder=encoder_config,
        model=ModelConfig(bottleneck=bottleneck or Unconstrained(dim=4)),
    )
    encoder = encoder_config.build("cpu")
    torch.manual_seed(0)
    return Trained(config.model.build(encoder.spec.width, encoder.spec.grid).eval(), encoder, config, Path("unused"))


def test_pieces_do_not_show_in_the_actions(make_video, tmp_path, monkeypatch):
    video = make_video(tmp_path / "v.mp4", frames=120)  # 20 states
    model = untrained(Lite0(image_size=64, dtype="float32"))
    whole = model.infer(video)
    monkeypatch.setattr(trained, "FRAMES_AT_ONCE", 6)
    monkeypatch.setattr(trained, "ON_CPU", 4)
    counted = []
    pieces = model.infer(video, count=counted.append)
    assert sum(counted) == pytest.approx(19 / 4)
    assert len(counted) == 8  # two of each clip of six states or five
    torch.testing.assert_close(pieces.z, whole.z, atol=1e-4, rtol=1e-4)
    for actions in (whole, pieces):
        assert actions.z.shape == (19, 4)
        np.testing.assert_allclose(actions.start, np.arange(19) / 4)
        np.testing.assert_allclose(actions.end, np.arange(1, 20) / 4)


@pytest.mark.parametrize(("frames", "states"), [(96, 8), (120, 10), (126, 10), (48, 4), (24, 2)])
def test_clips_of_a_causal_encoder_cover_the_whole_video(make_video, tmp_path, frames, states):
    """Clips of 4 states overlap by one, so that none of the ``states - 1`` transitions is lost, nor given twice."""
    video = make_video(tmp_path / "v.mp4", frames=frames)
    model = untrained(VJEPA2(model=save_tiny(tmp_path / "vjepa2"), dtype="float32"), frames=8)
    assert [len(clip) for _, clip in model.encode(video)][:-1] == [4] * ((states - 2) // 3)
    counted = []
    actions = model.infer(video, count=counted.append)
    assert sum(counted) == pytest.approx((states - 1) / 2)
    np.testing.assert_allclose(actions.start, np.arange(states - 1) / 2)
    np.testing.assert_allclose(actions.end, actions.start + 0.5)


@pytest.mark.parametrize("dims", [None, 2])
def test_actions_that_are_cut_record_to_how_many_dimensions(make_video, tmp_path, monkeypatch, dims):
    video = make_video(tmp_path / "v.mp4", frames=120)
    model = untrained(Lite0(image_size=64, dtype="float32"), Adaptive(dim=4, tolerance=0.0))
    torch.nn.init.normal_(model.model.world_model.head.weight)  # else all predict the same: a copy
    whole = model.infer(video, dims=4).z
    actions = model.infer(video, dims=dims)
    assert actions.dims.shape == (19,)
    assert set(actions.dims.tolist()) <= ({2} if dims else {1, 2, 4})
    torch.testing.assert_close(actions.z, leading(whole, torch.from_numpy(actions.dims)))
    monkeypatch.setattr(trained, "FRAMES_AT_ONCE", 6)
    np.testing.assert_array_equal(model.infer(video, dims=dims).dims, actions.dims)  # whatever the pieces
    npz, parquet = actions.save(tmp_path / "a")
    np.testing.assert_array_equal(np.load(npz)["dims"], actions.dims)
    assert pq.read_table(parquet)["dims"].to_pylist() == actions.dims.tolist()


def test_dimensions_that_cannot_be_kept_are_refused(make_video, tmp_path, videos):
    video = make_video(tmp_path / "v.mp4", frames=48)
    model = untrained(Lite0(image_size=64, dtype="float32"), Adaptive(dim=4))
    for dims in (3, 0):
        with pytest.raises(WildlamError, match=rf"^dims {dims}: latent actions .* be cut so; give one of 1, 2, 4$"):
            model.infer(video, dims=dims)
    run = make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"))
    with pytest.raises(WildlamError, match=r"^dims 4: .*; Noisy is always whole, leave it out$"):
        infer(run=run, videos=[video, video.parent], output=tmp_path / "out", dims=4)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a", "a.v2", "a.npz", "a.parquet"])
def test_file_names(tmp_path, name):
    actions = LatentActions(torch.zeros(1, 4), np.zeros(1), np.ones(1))
    stem = "a.v2" if name == "a.v2" else "a"
    assert actions.save(tmp_path / name) == (tmp_path / f"{stem}.npz", tmp_path / f"{stem}.parquet")


def test_a_name_that_promises_another_kind_of_file_is_refused(tmp_path):
    actions = LatentActions(torch.zeros(1, 4), np.zeros(1), np.ones(1))
    with pytest.raises(WildlamError, match=r"out\.csv: latent actions are written as .*; leave \.csv out"):
        actions.save(tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_is_told_before_the_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("wildlam.workflows.infer.load", lambda _: pytest.fail("loaded"))
    monkeypatch.setattr("wildlam.workflows.transfer.load", lambda _: pytest.fail("loaded"))
    with pytest.raises(WildlamError, match=r"nothere\.mp4: no such file"):
        infer(run="tiny", videos=tmp_path / "nothere.mp4")
    with pytest.raises(WildlamError, match=r"nothere\.mp4: no such file"):
        transfer(run="tiny", source=tmp_path / "nothere.mp4", target=tmp_path / "b.mp4", output=tmp_path / "c.mp4")
    (tmp_path / "a.mp4").write_bytes(b"a film")
    with pytest.raises(WildlamError, match="latent actions are written as"):
        infer(run="tiny", videos=tmp_path / "a.mp4", output=tmp_path / "out.csv")


def test_where_the_actions_of_many_videos_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "films/a.mp4", "films/deep/b.MKV", "films/shard.tar", "films/notes.txt", "other/a.mov"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    assert outputs([Path("films/a.mp4")]) == {Path("films/a.mp4"): Path("a")}
    assert outputs([Path("a.mp4")], Path("out")) == {Path("a.mp4"): Path("out")}
    inside = {Path("films/a.mp4"): Path("out/a"), Path("films/deep/b.MKV"): Path("out/deep/b")}
    assert outputs([Path("films")], Path("out")) == inside
    assert outputs([Path("films/a.mp4"), Path("films/deep")]) == {
        Path("films/a.mp4"): Path("a"),
        Path("films/deep/b.MKV"): Path("b"),
    }
    with pytest.raises(WildlamError, match=r"a.mp4 and films/a.mp4 would both go to out/a; infer them in two calls"):
        outputs([Path("a.mp4"), Path("films")], Path("out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WildlamError, match="empty: no videos found"):
        outputs([Path("empty")])


def test_a_video_in_memory_gives_the_same_actions(make_video, tmp_path):
    video = make_video(tmp_path / "v.mp4", frames=96)
    model = untrained(Lite0(image_size=64, dtype="float32"))
    ((_, frames),) = list(decode_grid(video, 24.0, 64, chunk=200))
    whole, own = model.infer(video), model.infer(frames, fps=24)
    torch.testing.assert_close(own.z, whole.z)
    np.testing.assert_array_equal(own.end, whole.end)
    first, second = model.infer(torch.stack([frames, frames]), fps=24)
    torch.testing.assert_close(first.z, second.z)
    with pytest.raises(WildlamError, match=r"^video: too short, at 4 frames/s"):
        model.infer(frames[:3], fps=24)
    with pytest.raises(WildlamError, match="video is a batch of 1; encode one at a time"):
        list(model.encode(frames[None], fps=24))


def test_actions_as_a_table_and_as_a_picture(monkeypatch):
    pytest.importorskip("pandas")
    actions = LatentActions(torch.arange(6.0).view(3, 2), np.arange(3.0), np.arange(1.0, 4.0))
    rows = actions.to_pandas()
    assert list(rows.columns) == ["start", "end", "z0", "z1"]
    assert rows["z1"].tolist() == [1, 3, 5]
    assert repr(actions) == "LatentActions(3 of width 2, 0.00 to 3.00 s)"
    cut = LatentActions(actions.z, actions.start, actions.end, np.array([1, 2, 1]))
    assert cut.to_pandas()["dims"].tolist() == [1, 2, 1]
    assert actions.plot().axes[0].get_xlabel() == "seconds"
    assert "image/svg" in actions._repr_html_()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(WildlamError, match="pip install pandas"):
        actions.to_pandas()


def test_the_workflow_writes_what_it_gives(videos, make_video, tmp_path, bars, monkeypatch):
    made = bars(sys.modules["wildlam.workflows.infer"])
    monkeypatch.setattr(trained, "ON_CPU", 4)
    run = make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"))
    good, bad = make_video(tmp_path / "films" / "good.mp4", frames=96), tmp_path / "films" / "bad.mp4"
    bad.write_bytes(b"no video")
    found = infer(run=run, videos=tmp_path / "films", output=tmp_path / "out")
    assert found.actions.keys() == {good}
    assert found.files[good] == (tmp_path / "out" / "good.npz", tmp_path / "out" / "good.parquet")
    np.testing.assert_array_equal(np.load(found.files[good][0])["z"], found.actions[good].z)
    assert list(found.failed) == [bad]
    size = good.stat().st_size
    assert made[0].n == pytest.approx(made[0].total) == pytest.approx(size + bad.stat().st_size)
    assert 0 < made[0].steps[1] < size / 2  # after the bad one
    assert "good.mp4" in found._repr_html_()
    with pytest.raises(WildlamError, match=r"bad\.mp4"):
        infer(run=run, videos=bad)
