"""What was filmed at once lies on one side of the split: cameras, parts of a film, copies; nothing else is."""

from __future__ import annotations

import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from wildlam import cli
from wildlam.errors import WildlamError
from wildlam.video import index as index_module
from wildlam.video.index import index
from wildlam.video.manifest import Manifest, manifest_path
from wildlam.video.mp4 import write_mp4
from wildlam.video.recordings import by_name
from wildlam.video.splits import assign_splits


def film(path: Path, seed: int, seconds: float = 2.0, fps: int = 25, moves: bool = True) -> Path:
    """A disc that wanders over a scene that all films share: only the motion tells them apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:96, :128]
    scene = (60 + x + 20 * (y // 24 % 2)).astype(np.uint8)
    phase, speed = rng.uniform(0, 6, 2), rng.uniform(1, 3, 2)
    frames = []
    for i in range(round(seconds * fps)):
        at = 48 + 30 * np.sin(phase + speed * (i / fps if moves else 0))
        disc = (x - at[0] - 16) ** 2 + (y - at[1]) ** 2 < 400
        frames.append(np.where(disc, 230, scene)[..., None].repeat(3, 2).astype(np.uint8))
    write_mp4(path, frames, fps)
    return path


def again(source: Path, target: Path, *how: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *how, target], check=True)


def quiet_index(root: Path, **options) -> Manifest:
    return index(root, progress=False, **options)


def recordings(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.column("path").to_pylist(), manifest.recordings().to_pylist(), strict=True))


@pytest.mark.parametrize(
    "names",
    [
        ["ep2/ext1.mp4", "ep2/ext2.mp4", "ep2/wrist.mp4"],
        ["ep2_ext1.mp4", "ep2_wrist.mp4", "ep2-left.mp4"],
        ["observation.images.top/ep_000001.mp4", "observation.images.wrist_left/ep_000001.mp4"],
        ["x/cam_high/3.mp4", "x/cam_left_wrist/3.mp4"],
        ["camera 1/a.mp4", "camera 2/a.mp4"],
        ["s.tar/0007.left.mp4", "s.tar/0007.right.mp4"],
        ["film_part1.mp4", "film_part2.mp4", "film.mov"],
        ["film/part1.mp4", "film/part2.mp4"],
        ["film-Scene-001.mp4", "film-Scene-014.mp4"],
        ["film 1 of 2.avi", "film 2 of 2.avi"],
        ["film.mp4", "film-001.mp4", "film (1).mp4"],
        ["GOPR0012.MP4", "GP010012.MP4", "GX020012.MP4"],
        ["abc_000010_000020.mp4", "abc_000100_000110.mp4"],
        ["v_Archery_g01_c01.avi", "v_Archery_g01_c02.avi"],
    ],
)
def test_of_one_recording_by_their_names(names):
    others = ["ep3/ext1.mp4", "other.mp4", "film_2.mp4", "v_Archery_g02_c01.avi"]
    found = by_name([*names, *others])
    assert {found[name] for name in names} == {min(names)}
    assert all(found[name] == name for name in others)


def test_plain_numbers_and_words_are_no_cameras_nor_parts():
    names = ["walk_001.mp4", "walk_002.mp4", "clip_1.mp4", "clip_2.mp4", "a-001.mp4", "a-002.mp4", "scene_1.mp4"]
    names += ["scene_2.mp4", "cup.mp4", "script1.mp4", "script2.mp4", "e1m3_0_000.mp4", "e1m3_0_001.mp4", "1/0.mp4"]
    assert by_name(names) == {name: name for name in names}


def test_a_recording_is_on_one_side_and_a_single_file_where_it_was():
    cameras = [f"ep{i}/{camera}.mp4" for i in range(60) for camera in ("ext1", "ext2", "wrist")]
    single = [f"{i}.mp4" for i in range(100)]
    splits = assign_splits(cameras + single, 0.3, {}, firsts=by_name(cameras + single))
    for i in range(60):
        assert len({splits[f"ep{i}/{camera}.mp4"] for camera in ("ext1", "ext2", "wrist")}) == 1
    assert 0.1 < np.mean([splits[name] == "held_out" for name in cameras]) < 0.5
    assert {name: splits[name] for name in single} == assign_splits(single, 0.3, {})


@pytest.mark.parametrize("earlier", [{}, {"a/left.mp4": "held_out", "a/right.mp4": "train"}])
def test_what_training_has_seen_is_not_held_out(earlier):
    """Not by an earlier split that parted a recording, nor by folders that name both."""
    names = ["a/left.mp4", "a/right.mp4"] if earlier else ["test/a.mp4", "train/b.mp4"]
    firsts = {"c.mp4": "c.mp4", "d.mp4": "d.mp4"} | dict.fromkeys(names, names[0])
    splits = assign_splits(firsts, 0.1, earlier, firsts=firsts)
    assert [splits[name] for name in names] == ["train", "train"]
    assert "held_out" in splits.values()


def test_copies_are_found_and_other_films_of_the_scene_are_not(tmp_path):
    for seed in range(8):
        film(tmp_path / f"{seed}.mp4", seed)
    shutil.copy(tmp_path / "0.mp4", tmp_path / "zero.mp4")
    again(tmp_path / "1.mp4", tmp_path / "one.mkv", "-vf", "scale=96:72", "-c:v", "mpeg4", "-q:v", "8")
    again(tmp_path / "2.mp4", tmp_path / "two.mp4", "-r", "15", "-crf", "33", "-pix_fmt", "yuv420p")
    manifest = quiet_index(tmp_path)
    copies = {video.path: video.copy_of for video in manifest if video.copy_of not in (None, video.path)}
    assert copies == {"zero.mp4": "0.mp4", "one.mkv": "1.mp4", "two.mp4": "2.mp4"}
    splits = {video.path: video.split for video in manifest}
    assert all(splits[copy] == splits[first] for copy, first in copies.items())
    assert list(quiet_index(tmp_path)) == list(manifest)


def test_a_copy_that_comes_later_follows_its_original(tmp_path):
    for seed in range(4):
        film(tmp_path / "v" / f"{seed}.mp4", seed)
    held = [video.path for video in quiet_index(tmp_path / "v") if video.split == "held_out"]
    again(tmp_path / "v" / held[0], tmp_path / "v" / "later.mp4", "-crf", "30", "-pix_fmt", "yuv420p")
    after = {video.path: video for video in quiet_index(tmp_path / "v")}
    assert after["later.mp4"].copy_of == held[0]
    assert [path for path, video in after.items() if video.split == "held_out"] == sorted([*held, "later.mp4"])


def test_of_films_in_which_nothing_moves_only_equal_bytes_are_copies(tmp_path):
    film(tmp_path / "a.mp4", 0, moves=False)
    film(tmp_path / "b.mp4", 1)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "c.mp4")
    again(tmp_path / "a.mp4", tmp_path / "d.mp4", "-crf", "30", "-pix_fmt", "yuv420p")
    found = {video.path: video.copy_of for video in quiet_index(tmp_path)}
    assert found == {"a.mp4": "a.mp4", "b.mp4": None, "c.mp4": "a.mp4", "d.mp4": None}


def test_copies_of_one_film_alone_are_split_all_the_same_and_told(tmp_path, caplog):
    film(tmp_path / "ep0" / "ext1.mp4", 0)
    for name in ("ep0/wrist.mp4", "ep1/ext1.mp4", "ep1/wrist.mp4", "ep2/ext1.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "ep0" / "ext1.mp4", tmp_path / name)
    splits = {video.path: video.split for video in quiet_index(tmp_path)}
    assert "all 5 videos are copies of one" in caplog.text
    assert set(splits.values()) == {"train", "held_out"}
    assert splits["ep0/ext1.mp4"] == splits["ep0/wrist.mp4"]


def test_something_of_each_source_is_held_out(tmp_path):
    for source, count in (("many", 10), ("few", 2), ("one", 1)):
        for number in range(count):
            film(tmp_path / source / f"{number}.mp4", 100 * count + number, seconds=0.2)
    manifest = quiet_index(tmp_path, held_out=1e-9)
    held = [video.source for video in manifest if video.split == "held_out"]
    assert sorted(held) == ["few", "many", "many"]


def test_the_command_tells_what_belongs_together(tmp_path, capsys):
    for seed, name in enumerate(("a_left", "a_right", "b", "c", "d")):
        film(tmp_path / f"{name}.mp4", seed, seconds=0.5)
    shutil.copy(tmp_path / "b.mp4", tmp_path / "copy.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    assert cli.main(["index", str(tmp_path), "--exclude", "d.*", "broken*"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("5 videos, ")
    assert "recordings of several videos (cameras, parts, copies): 2, of 4 videos" in told
    assert "copy: 1 (copy.mp4: the same bytes as b.mp4, or encoded again)" in told
    assert cli.main(["index", str(tmp_path), "--on_error", "skip", "--max_bad", "0.01"]) == 2
    assert "more than the 1% that may be skipped" in capsys.readouterr().err
    assert cli.main(["index", str(tmp_path), "--on_error", "skip", "--max_bad", "0.5"]) == 0
    with pytest.raises(WildlamError, match=r": data\.exclude leaves no video"):
        quiet_index(tmp_path, exclude=["*"])


def test_a_manifest_of_before_opens_and_is_looked_through_again(tmp_path):
    for seed in range(3):
        film(tmp_path / f"{seed}.mp4", seed, seconds=0.5)
    shutil.copy(tmp_path / "0.mp4", tmp_path / "zero.mp4")
    made, path = quiet_index(tmp_path), manifest_path(tmp_path)
    as_of_version_4(path)
    old = Manifest.read(path)
    assert old.column("path").to_pylist() == made.column("path").to_pylist()
    assert recordings(old) == {video.path: video.path for video in made}
    assert list(quiet_index(tmp_path)) == list(made)
    assert pq.read_table(path)["look"].null_count == 0


def as_of_version_4(path: Path) -> None:
    """Make a manifest what version 4 wrote."""
    import json

    from wildlam.video import manifest as module

    known = Manifest.read(path)
    late = ("look", "copy_of", "recording", "breaks", "odd")
    table = known.table.drop_columns([name for name in late if name in known.table.column_names])
    about = {"version": 4, "root": str(known.root.resolve()), "held_out": known.held_out}
    about["crc"] = module._checksum(about, module._slices(table))
    pq.write_table(table.replace_schema_metadata({"wildlam": json.dumps(about)}), path)


def test_two_indexers_at_once_share_the_work(tmp_path, monkeypatch):
    probed, real = 0, index_module.probe

    def slowly(file, count):
        nonlocal probed
        probed += 1
        time.sleep(0.05)
        return real(file)

    monkeypatch.setattr(index_module, "probe", slowly)
    for seed in range(6):
        film(tmp_path / "v" / f"{seed}.mp4", seed, seconds=0.5)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(quiet_index, [tmp_path / "v"] * 2)
    assert list(one) == list(other)
    assert probed == 6  # by the first; the second waits and finds all done
    assert len(Manifest.read(manifest_path(tmp_path / "v"))) == 6
    assert {file.name for file in (tmp_path / "v" / ".wildlam").iterdir()} == {
        "manifest.parquet",
        ".manifest.parquet.lock",
    }
