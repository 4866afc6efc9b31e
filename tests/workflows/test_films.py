"""Pictures that lie one by one become films, with what was done beside them, on which everything else runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import wildlam
from wildlam import cli
from wildlam.episodes.clips import cut_clips
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.poses import PLANAR
from wildlam.episodes.vectors import Commands, Reading
from wildlam.errors import WildlamError
from wildlam.workflows import films
from wildlam.workflows.controller import load_controlled
from wildlam.workflows.films import safe_name, write_films

from ..aloha import DATA, STEPS, write_aloha
from ..data.rlds import make
from ..helpers import shorten_evaluations

RLDS = Path(make.__file__).parent / make.NAME / make.VERSION
STATES = Reading(actions="states")


def by_name(episodes):
    return {Path(one.name).stem: one for one in episodes}


def equal(read, direct):
    """Whether films hold the numbers, splits and pictures of what they were made of."""
    read, direct = by_name(read), by_name(direct)
    assert read.keys() == direct.keys()
    for name, one in read.items():
        same = direct[name]
        assert one.split == same.split or name == "val_000000"  # of RLDS: it shows what train_000000 does
        assert one.rate == pytest.approx(same.rate)
        kind = "commands" if isinstance(one.space, Commands) else "poses"
        np.testing.assert_array_equal(getattr(one, kind), getattr(same, kind))
        chosen = [0, len(one.times) // 2, len(one.times) - 1]
        seen, stored = one.frames(chosen, 32).float(), same.frames(chosen, 32).float()
        assert (seen - stored).abs().mean() < 3
    return read


def test_rlds(tmp_path, capsys):
    data = shutil.copytree(RLDS, tmp_path / "my sets" / make.NAME / make.VERSION)
    assert cli.main(["train", "--data.path", str(data)]) == 2
    assert f"wildlam data '{data}' --films FOLDER" in capsys.readouterr().err
    out = tmp_path / "films"
    assert cli.main(["data", str(data), "--films", str(out)]) == 2
    assert "say it, as with --rate 10" in capsys.readouterr().err
    assert cli.main(["data", str(data), "--rate", "3", "--films", str(out)]) == 0
    assert f"5 films in {out}\nnext       wildlam train --data.path {out}" in capsys.readouterr().out
    equal(read_episodes(out), read_episodes(data, reading=Reading(rate=3)))
    equal(read_episodes(out, reading=STATES), read_episodes(data, reading=Reading(rate=3, actions="states")))


@pytest.fixture
def demos(tmp_path):
    """Two files of names that are alike but for signs, in which a picture has an odd side."""
    rng = np.random.default_rng(0)
    (tmp_path / "demos").mkdir()
    for name in ("a b", "a+b"):
        with h5py.File(tmp_path / "demos" / f"{name}.hdf5", "w") as file:
            for k in range(3):
                demo = file.create_group(f"data/demo_{k}")
                demo["actions"], demo["obs/eef"] = rng.normal(size=(40, 3)) * [1, 1, 1e-7], rng.normal(size=(40, 2))
                demo["obs/agentview_image"] = rng.integers(0, 255, (40, 4, 5, 3), np.uint8).repeat(9, 1).repeat(9, 2)
    return tmp_path / "demos"


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_what_is_trained_on_films_is_what_the_pictures_would_give(demos, tmp_path, monkeypatch):
    shorten_evaluations(monkeypatch)
    out, run = tmp_path / "films", tmp_path / "run"
    wildlam.preview(path=demos, films=out)
    few = wildlam.TrainingConfig(steps=2, batch_size=2, precision="fp32")
    wildlam.train(
        data=wildlam.DataConfig(path=out, workers=0, frames=4),
        encoder=wildlam.Lite0(image_size=32, dtype="float32"),
        model=wildlam.ModelConfig(bottleneck=wildlam.Noisy(dim=4)),
        training=few,
        out=run,
    )
    wildlam.train_controller(run, data=out, training=few)
    driven = load_controlled(run)
    assert driven.space.components == tuple(f"action {k}" for k in range(3))
    for split in ("train", "held_out"):
        of_films, direct = (
            cut_clips(read_episodes(data), driven.encoder, split, states=8, fps=4.0) for data in (out, demos)
        )
        assert of_films.space == direct.space == driven.space
        acted = (sorted(one.actions(frames).tolist() for one, frames in cut.places) for cut in (of_films, direct))
        assert next(acted) == next(acted)
    made = wildlam.plan(run=run, data=out, protocol="droid", episodes=1, samples=16, iterations=1)
    assert made.plans["latent"].shape == (1, 3, 15)


def test_names_are_safe_and_apart(demos, tmp_path):
    found = wildlam.preview(path=demos, films=tmp_path / "films")
    assert found.films == 6
    names = sorted(file.name for file in (tmp_path / "films").rglob("*.mp4"))
    assert names == [f"a_b_demo_{end}.mp4" for end in ("0", "0_2", "1", "1_2", "2", "2_2")]
    read = read_episodes(tmp_path / "films")
    assert all(len(one.times) == 40 for one in read)
    done = sorted(one.commands.tolist() for one in read)
    assert done == sorted(one.commands.tolist() for one in read_episodes(demos))  # to the last digit


def test_a_call_that_is_repeated_goes_on(demos, tmp_path, monkeypatch, bars):
    out = tmp_path / "films"
    write, written = films.write_mp4, []

    def fails(path, *rest, **more):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(path, *rest, **more)

    monkeypatch.setattr(films, "write_mp4", fails)
    with pytest.raises(WildlamError, match="No space left on device; free some space, or give another films"):
        wildlam.preview(path=demos, films=out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    assert set(stamps) == set(written)
    monkeypatch.setattr(films, "write_mp4", write)
    made = bars(films)
    assert wildlam.preview(path=demos, films=out).films == 6
    assert made[0].n == made[0].total == 6 * 40
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    with pytest.raises(WildlamError, match="holds films with actions recorded, not states; give another films"):
        wildlam.preview(path=demos, actions="states", films=out)
    with pytest.raises(WildlamError, match="is not empty; give another films"):
        wildlam.preview(path=demos, films=demos)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_lerobot_with_pictures_in_tables(tmp_path, make_video, kind, capsys):
    data, out = write_aloha(tmp_path / "aloha", make_video, kind), tmp_path / "films"
    done = cli.main(["data", str(data), "--camera", "cam_left_wrist", "--films", str(out)])
    if kind == "video":
        assert done == 2
        assert "lie in a film, which is trained on as it is; leave --films out" in capsys.readouterr().err
        assert not out.exists()
        return
    assert done == 0
    equal(read_episodes(out), read_episodes(data, reading=Reading(camera="cam_left_wrist")))
    with pytest.raises(WildlamError, match=r"lie in tables; write each episode as a film.*wildlam data \S+ --films"):
        wildlam.index(path=data)


def test_films_end_where_frames_are_missing(tmp_path):
    data = write_aloha(tmp_path / "aloha", None, "image", numbers=(0, 1))
    file = data / DATA.format(episode_chunk=0, episode_index=0)
    table = pq.read_table(file)
    pq.write_table(table.take([*range(10), 15, *range(20, STEPS)]), file)
    assert wildlam.preview(path=data, films=tmp_path / "films").films == 3
    read = by_name(read_episodes(tmp_path / "films"))
    assert {name: len(one.times) for name, one in read.items()} == {
        "episode_000000_part1": 10,
        "episode_000000_part2": 20,
        "episode_000001": STEPS,
    }
    assert read["episode_000000_part1"].recording == read["episode_000000_part2"].recording
    direct = by_name(read_episodes(data))["episode_000000"]
    np.testing.assert_array_equal(read["episode_000000_part2"].commands, direct.commands[11:])
    gapped, whole = read_episodes(data)
    other = replace(whole, name=f"{gapped.name}_part2")
    assert films.write_films([gapped, other], tmp_path / "apart", {}, progress=False) == 3
    names = sorted(path.name for path in (tmp_path / "apart").rglob("*.mp4"))
    assert names == [f"episode_000000_part{end}.mp4" for end in ("1", "2", "2_2")]


def test_poses_lie_beside_films(tmp_path):
    poses = np.random.default_rng(0).normal(size=(5, 3))
    grey = [torch.full((32, 32, 3), 40 * k, dtype=torch.uint8) for k in range(5)]
    times, held = np.arange(5) / 4, []
    for name in ("../a", ".b"):
        pictures = lambda chosen: [grey[k] for k in chosen]  # noqa: E731
        held.append(
            Episode(name, "train" if name == ".b" else "held_out", times, poses, PLANAR, None, pictures=pictures)
        )
    assert write_films(held, tmp_path / "films", {}, progress=False) == 2
    assert (tmp_path / "films" / "held_out" / "a.poses.csv").is_file()
    for one in read_episodes(tmp_path / "films"):
        np.testing.assert_allclose(one.poses, poses, atol=1e-6)


def test_pictures_of_several_sizes_are_told(tmp_path):
    sizes = [torch.zeros(32, 32 + 8 * (k // 3), 3, dtype=torch.uint8) for k in range(5)]
    pictures = lambda chosen: [sizes[k] for k in chosen]  # noqa: E731
    one = Episode("a", "train", np.arange(5) / 4, np.zeros((5, 3)), PLANAR, None, pictures=pictures)
    with pytest.raises(WildlamError, match="a: its pictures differ in size, 32 x 32 and 40 x 32"):
        write_films([one], tmp_path / "films", {}, progress=False)
    assert not list((tmp_path / "films").rglob("*.mp4"))


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../x", "x"), (".hidden", "hidden"), ("a/b c;$(d)", "a_b_c_d"), ("café_1.2", "café_1.2"), ("..", "episode")],
)
def test_names_of_films(name, safe):
    assert safe_name(name) == safe
