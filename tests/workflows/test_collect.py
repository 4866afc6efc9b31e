"""Films in every format: written by `collect`, read as labelled data, with the splits and poses that they had."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest

from wildlam import cli
from wildlam.episodes.action_spaces import ARM, PLANAR, PUSHER
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.formats.posed_videos import read_posed_videos
from wildlam.episodes.vectors import Commands, Reading
from wildlam.errors import WildlamError
from wildlam.workflows.collect import FORMATS, collect
from wildlam.worlds import walkers
from wildlam.worlds.doom import METRE
from wildlam.worlds.recorder import distracted
from wildlam.worlds.simulators import SIMULATORS

FEW = {"episodes": 2, "seconds": 2, "distractors": 0.0, "seed": 0}
KINDS = [("nav", form) for form in ("lerobot", "recon")] + [("arm", form) for form in ("lerobot", "droid")]


@pytest.mark.parametrize(("world", "form"), KINDS)
def test_what_is_written_is_read_again(tmp_path, world, form, monkeypatch):
    if not find_spec({"nav": "vizdoom", "arm": "mujoco"}[world]):
        pytest.skip("needs the simulator")
    monkeypatch.setattr(walkers, "LEVELS", {name: walkers.LEVELS[name] for name in ("maze", "arena")})
    kept = []

    def filmed(path):
        episodes = read_posed_videos(path)
        kept.extend((e.split, e.poses, e.frames([0, 5], 128)) for e in episodes)
        return episodes

    monkeypatch.setattr("wildlam.workflows.collect.read_posed_videos", filmed)
    assert collect(world, tmp_path / "out", form, **FEW) == 2
    found = read_episodes(tmp_path / "out")
    assert not (tmp_path / "out" / ".films").exists()
    assert sorted(e.split for e in found) == ["held_out", "train"]
    assert len(kept) == 2
    for split, poses, frames in kept:
        (episode,) = (e for e in found if e.split == split)
        assert episode.space is (PLANAR if world == "nav" else ARM)
        assert episode.rate == pytest.approx(FORMATS[form].fps, rel=1e-3)
        metres = (METRE, METRE, 1) if form == "recon" else np.ones(poses.shape[1])
        assert np.allclose(episode.space.between(episode.poses), episode.space.between(poses / metres), atol=1e-3)
        # Compressed twice, but the same pictures.
        assert (episode.frames([0, 5], 128).float() - frames.float()).abs().mean() < 6
    if form == "lerobot":  # which takes a task's words from the index of the table that pandas reads
        tasks = pq.read_table(tmp_path / "out" / "meta" / "tasks.parquet")
        assert tasks.schema.pandas_metadata["index_columns"] == ["task"]


@pytest.mark.skipif(not find_spec("gym_pusht"), reason="needs gym-pusht")
def test_pusht_is_written_as_the_public_set_is(tmp_path):
    """Features, names and meaning of lerobot/pusht: where the disc is, where it is told to go, what the T covers."""
    assert collect("pusht", tmp_path / "out", "lerobot", **FEW) == 2
    info = json.loads((tmp_path / "out" / "meta" / "info.json").read_text())
    features = info["features"]
    assert info["fps"] == 10
    for key in ("observation.state", "action"):
        assert features[key] == {"dtype": "float32", "shape": [2], "names": {"motors": ["motor_0", "motor_1"]}}
    assert features["observation.image"]["shape"] == [96, 96, 3]
    assert {key: features[key]["dtype"] for key in features if key.startswith("next.")} == {
        "next.reward": "float32",
        "next.done": "bool",
        "next.success": "bool",
    }
    table = pq.read_table(tmp_path / "out" / "data" / "chunk-000" / "file-000.parquet")
    state, action, reward, done = (
        np.array(table[key].to_pylist()) for key in ("observation.state", "action", "next.reward", "next.done")
    )
    assert state.shape == action.shape == (40, 2)
    moving = np.linalg.norm(state[1:19] - state[:18], axis=1) > 3
    toward = ((state[1:19] - state[:18]) * (action[:18] - state[:18])).sum(axis=1) > 0
    assert toward[moving].mean() > 0.8  # it goes where it is told
    assert done.nonzero()[0].tolist() == [19, 39]
    assert ((reward >= 0) & (reward <= 1)).all()
    train = next(e for e in read_episodes(tmp_path / "out", reading=Reading(actions="states")) if e.split == "train")
    assert train.space.action_names == ("d motor_0", "d motor_1")
    assert SIMULATORS["pusht"].takes(train.space, 2.0)
    told = read_episodes(tmp_path / "out")[0].space
    assert isinstance(told, Commands)
    assert SIMULATORS["pusht"].takes(told.over(5), 2.0)
    assert not SIMULATORS["pusht"].takes(told, 2.0)  # a command, where a step has five
    assert not SIMULATORS["pusht"].takes(Commands.of(told.components, "summed", commands=5), 2.0)


@pytest.mark.skipif(not find_spec("gym_pusht"), reason="needs gym-pusht")
def test_what_covers_the_green_t_is_rewarded(tmp_path):
    there, aside = np.array([10.0, 10, 256, 256, np.pi / 4]), np.array([10.0, 10, 100, 400, 0])
    episode = Episode("e", "train", np.arange(3) / 10, np.stack([aside, there, aside]), PUSHER, lambda *_: None)
    more = SIMULATORS["pusht"].as_lerobot([episode])["more"]
    assert more["next.reward"][0].tolist() == [1, 0, 0]
    assert more["next.success"][0].tolist() == [True, False, False]


@pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")
@pytest.mark.parametrize("form", ["video", "lerobot", "droid"])
def test_every_format_keeps_the_cameras(tmp_path, form, monkeypatch):
    few = {**FEW, "cameras": "many"}
    drawn = []

    def filmed(path):
        episodes = read_posed_videos(path)
        drawn.extend((e.split, e.camera) for e in episodes)
        return episodes

    monkeypatch.setattr("wildlam.workflows.collect.read_posed_videos", filmed)
    assert collect("arm", tmp_path, form, **few) == 2
    found = {e.split: e.camera for e in read_episodes(tmp_path)}
    assert len(found) == 2
    assert None not in found.values()
    assert found["train"] != found["held_out"]
    for split, camera in drawn:
        assert np.allclose(found[split].extrinsics, camera.extrinsics, atol=1e-5)
        assert found[split].field_of_view == pytest.approx(camera.field_of_view, abs=1e-4)
    assert collect("arm", tmp_path, form, **few) == 2
    for other in (None, "fixed"):
        with pytest.raises(WildlamError, match="holds films with cameras many, not fixed; give another out"):
            collect("arm", tmp_path, form, **FEW, cameras=other)


@pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")
def test_films_of_before_there_were_cameras_to_choose_are_gone_on_with(tmp_path):
    assert collect("arm", tmp_path, **FEW) == 2
    record = json.loads((tmp_path / ".films.json").read_text())
    assert record.pop("cameras") == "fixed"
    (tmp_path / ".films.json").write_text(json.dumps(record))
    with pytest.raises(WildlamError, match="holds films with cameras fixed, not many; give another out"):
        collect("arm", tmp_path, **FEW, cameras="many")
    assert collect("arm", tmp_path, **FEW, cameras="fixed") == 2


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(WildlamError, match=r"^form droid is for arm, not for nav"):
        collect("nav", tmp_path / "a", "droid", **FEW)
    with pytest.raises(WildlamError, match=r"^distractors is a share"):
        collect("nav", tmp_path / "a", **{**FEW, "distractors": 2.0})
    (tmp_path / "file").touch()
    with pytest.raises(WildlamError, match="is not empty"):
        collect("nav", tmp_path, "recon", **FEW)
    with pytest.raises(WildlamError, match=r"^episodes must be at least 1, got 0"):
        collect("nav", tmp_path / "a", **{**FEW, "episodes": 0})
    with pytest.raises(WildlamError, match=r"^seed must be 0 to .*, got -1"):
        collect("nav", tmp_path / "a", **{**FEW, "seed": -1})
    assert not (tmp_path / "a").exists()  # a refused call claims no folder
    with pytest.raises(WildlamError, match=r"^seconds must be at least 2"):
        collect("nav", tmp_path / "a", **{**FEW, "seconds": 1.0})
    with pytest.raises(WildlamError, match=r"cannot write to .*: .*; give another out$"):
        collect("nav", tmp_path / "file" / "below", **FEW)


def test_what_is_written_in_a_format_is_there_for_good(tmp_path, monkeypatch):
    filmed = []

    def film(path, episodes, **_):
        filmed.append(episodes)
        return [path] * episodes

    monkeypatch.setattr(walkers, "collect_nav", film)
    monkeypatch.setattr("wildlam.workflows.collect.read_posed_videos", lambda path: [])
    monkeypatch.setitem(FORMATS, "recon", replace(FORMATS["recon"], write=lambda path, episodes: None))
    assert collect("nav", tmp_path / "out", "recon", **FEW) == 2
    assert collect("nav", tmp_path / "out", "recon", **FEW) == 2
    assert filmed == [2]
    with pytest.raises(WildlamError, match="holds films with episodes 2, not 3"):
        collect("nav", tmp_path / "out", "recon", **{**FEW, "episodes": 3})
    with pytest.raises(WildlamError, match="holds films with format recon, not video"):
        collect("nav", tmp_path / "out", **FEW)
    (tmp_path / "out" / ".films.json").write_text("[]")
    with pytest.raises(WildlamError, match=r"\.films\.json holds no JSON object"):
        collect("nav", tmp_path / "out", "recon", **FEW)


def test_a_format_that_cannot_be_written_is_not_filmed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for world, form in (("nav", "recon"), ("arm", "droid")):
        with pytest.raises(WildlamError, match=r"pip install 'wildlam\[plan\]'"):
            collect(world, tmp_path / "out", form, **FEW)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not find_spec("vizdoom"), reason="needs ViZDoom")
def test_films_of_one_kind_lie_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(walkers, "LEVELS", {name: walkers.LEVELS[name] for name in ("maze", "arena")})
    out = tmp_path / "films"
    assert collect("nav", out, **FEW) == 2
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    with pytest.raises(WildlamError, match="holds films with world nav, not arm"):
        collect("arm", out, **FEW)
    with pytest.raises(WildlamError, match="holds films with seconds 2, not 3"):
        collect("nav", out, **{**FEW, "seconds": 3})
    with pytest.raises(WildlamError, match="holds films with seed 0, not 1"):
        collect("nav", out, **{**FEW, "seed": 1})
    with pytest.raises(WildlamError, match="holds 2 films; ask for as many"):
        collect("nav", out, **{**FEW, "episodes": 1})
    assert collect("nav", out, **{**FEW, "episodes": 3}) == 3
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    assert before.items() <= after.items()  # nothing was filmed again


@pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")
def test_a_call_that_was_interrupted_while_writing_can_be_repeated(tmp_path, monkeypatch):
    plain = FORMATS["droid"]

    def interrupted(path, episodes):
        plain.write(path, episodes[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(FORMATS, "droid", replace(plain, write=interrupted))
        with pytest.raises(KeyboardInterrupt):
            collect("arm", tmp_path / "out", "droid", **FEW)
    assert collect("arm", tmp_path / "out", "droid", **FEW) == 2
    assert len(read_episodes(tmp_path / "out")) == 2


def test_the_command_says_what_is_next(tmp_path, capsys):
    if not find_spec("mujoco"):
        pytest.skip("needs MuJoCo")
    assert cli.main(["collect", "arm", "-o", str(tmp_path), "--episodes", "1", "--seconds", "2"]) == 0
    assert "1 films" in capsys.readouterr().out


def test_movers_are_filmed_with_options_of_their_own(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr("wildlam.worlds.movers.pictures.sample_scenes", lambda split: [[noise]])
    for module in ("wildlam.worlds.movers.collect", "wildlam.workflows.collect"):
        monkeypatch.setattr(f"{module}.sources", lambda: ["films"])
    few = {"episodes": 2, "seconds": 2, "seed": 0}
    assert collect("movers", tmp_path, **few, movers=[1, 2], backgrounds=["still"]) == 2
    assert len(list(tmp_path.rglob("*.truth.npz"))) == 2
    assert collect("movers", tmp_path, **few, movers=[1, 2], backgrounds=["still"]) == 2
    with pytest.raises(WildlamError, match="holds films with movers 1,2, not 0,1,2,3,4; give another out"):
        collect("movers", tmp_path, **few)
    for module in ("wildlam.worlds.movers.collect", "wildlam.workflows.collect"):
        monkeypatch.setattr(f"{module}.sources", lambda: ["films", "doom"])
    with pytest.raises(WildlamError, match="holds films with pictures films, not films,doom"):  # other pixels
        collect("movers", tmp_path, **few, movers=[1, 2], backgrounds=["still"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["movers", "--format", "lerobot"], "--format lerobot is for arm, nav and pusht, not for movers"),
        (["pusht", "--format", "droid"], "--format droid is for arm, not for pusht"),
        (["movers", "--movers", "1,x"], "--movers must be whole numbers, such as 0,1,2; got 1,x"),
        (["movers", "--movers", "9"], "--movers must be counts from 0 to 8, such as 0,1,2; got 9"),
        (["movers", "--background", "calm"], "--background must be any of still,panning,shaking for cutouts; got calm"),
        (["movers", "--distractors", "0.1"], "--distractors is for arm, nav and pusht, not for movers"),
        (["nav", "--kind", "monsters"], "--kind is for movers, not for nav"),
        (["nav", "--movers", "1"], "--movers is for movers, not for nav"),
        (["arm", "--background", "still"], "--background is for movers, not for arm"),
        (["nav", "--cameras", "many"], "--cameras is for arm, not for nav"),
        (["movers", "--cameras", "fixed"], "--cameras is for arm, not for movers"),
    ],
)
def test_options_of_other_worlds_are_refused(tmp_path, capsys, arguments, message):
    world, *options = arguments
    assert cli.main(["collect", world, "-o", str(tmp_path / "out"), *options]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_distractions_move_and_change_the_light():
    film = [np.full((32, 32, 3), 120, np.uint8)] * 20
    painted = np.stack(distracted(film, np.random.default_rng(0)))
    assert painted.shape == (20, 32, 32, 3)
    corner = painted[:, 0, 0, 0].astype(int)
    assert corner.max() - corner.min() > 10  # the light
    balls = np.abs(painted.astype(int) - np.median(painted, axis=(1, 2), keepdims=True)).sum(-1) > 30
    assert balls.any(axis=(1, 2)).mean() > 0.8
    assert not np.array_equal(balls[0], balls[10])
