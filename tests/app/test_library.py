"""What may be brought, what is refused in one line, and that it is removed."""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import wildlam
from wildlam.app import library as room
from wildlam.app.library import Library
from wildlam.errors import WildlamError
from wildlam.video.index import index

from ..lerobot_sets import CAMERAS, EPISODES, STEPS, write_films


@pytest.fixture
def library():
    made = Library(None)
    yield made
    made.close()


def picture(kind="PNG", size=(40, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, kind)
    return file.getvalue()


def sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 44100, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path.read_bytes()


def test_a_picture_is_the_same_at_all_times(library):
    item = library.add("red.png", picture())
    frames = library.frames(item.key, [0.0, 5.0], 16)
    assert frames.shape == (2, 3, 16, 16)
    assert frames[:, 0].min() > 190
    assert library.seconds(item.key) == 0


def test_a_video_is_read_by_its_key_and_removed_with_it(library, make_video, tmp_path):
    item = library.add("../../a.mp4", make_video(tmp_path / "a.mp4", frames=48).read_bytes())
    assert item.name == "a.mp4"
    assert library.seconds(item.key) == pytest.approx(2)
    assert library.frames(item.key, [0.5], 32).shape == (1, 3, 32, 32)
    assert item.file.is_file()
    library.remove(item.key)
    assert not item.file.exists()
    with pytest.raises(WildlamError, match="no such video"):
        library.find(item.key)


def test_all_that_was_brought_goes_in_the_end(make_video, tmp_path):
    library = Library(None)
    item = library.add("a.mp4", make_video(tmp_path / "a.mp4").read_bytes())
    folder = item.file.parent
    library.close()
    assert not folder.exists()


def test_what_a_killed_playground_left_goes_at_the_next_start(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = """if True:
        import os, signal
        from wildlam.app.library import Library
        print(Library(None).folder, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    here = os.environ | {"PYTHONPATH": str(Path(wildlam.__file__).parents[1]), "TMPDIR": str(tmp_path)}
    left = Path(subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True).stdout.strip())
    (other := tmp_path / "wildlam-app-of-somebody").mkdir()  # of which nothing is known
    running = Library(None)
    assert left.parent == tmp_path
    assert not left.exists()
    Library(None).close()
    assert running.folder.is_dir()
    assert other.is_dir()
    running.close()


def test_the_oldest_upload_goes(library, monkeypatch):
    monkeypatch.setattr(room, "UPLOADS", 2)
    keys = [library.add(f"{i}.png", picture()).key for i in range(3)]
    with pytest.raises(WildlamError, match="removed after an hour"):
        library.find(keys[0])
    assert library.find(keys[2]).name == "2.png"


def test_an_upload_that_nobody_uses_goes(library, monkeypatch, make_video, tmp_path):
    old = library.add("a.mp4", make_video(tmp_path / "a.mp4").read_bytes())
    monkeypatch.setattr(room, "KEPT_FOR", -1.0)
    library.add("b.png", picture())
    assert not old.file.exists()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("empty.mp4", b"", "empty.mp4 is empty"),
        ("notes.txt", b"hello " * 100, "notes.txt cannot be read: it is none of these, or damaged; bring a video"),
        ("cut.jpg", picture("JPEG", (300, 300))[:700], "cut.jpg is damaged or cut short"),
        ("dot.png", picture(size=(2, 2)), "dot.png is 2 x 2; bring a larger picture"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_neither_video_nor_picture_is_refused_in_a_line(library, name, data, said):
    with pytest.raises(WildlamError) as error:
        library.add(name, data)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert "/tmp" not in str(error.value)
    assert [left.name for left in library.folder.iterdir()] == [room.IN_USE]


def test_sound_alone_is_refused(library, tmp_path):
    with pytest.raises(WildlamError, match=r"song\.m4a: the file holds no video stream"):
        library.add("song.m4a", sound(tmp_path / "song.m4a"))
    assert [left.name for left in library.folder.iterdir()] == [room.IN_USE]


def test_what_is_too_large_is_refused(library, monkeypatch, make_video, tmp_path):
    film = make_video(tmp_path / "a.mp4", frames=48).read_bytes()
    monkeypatch.setattr(room, "SECONDS", 1.0)
    with pytest.raises(WildlamError, match="lasts 2 s; bring at most 1 s"):
        library.add("a.mp4", film)
    monkeypatch.setattr(room, "PIXELS", 100)
    for name, data in (("a.mp4", film), ("a.png", picture())):
        with pytest.raises(WildlamError, match="bring one of at most 25 megapixels"):
            library.add(name, data)
    monkeypatch.setattr(room, "BYTES", 1000)
    with pytest.raises(WildlamError, match="larger than 0 MB"):
        library.add("a.mp4", film)


def test_a_picture_that_unfolds_to_gigabytes_is_refused(library):
    file = io.BytesIO()
    Image.new("1", (60_000, 60_000)).save(file, "PNG")  # some kilobytes
    with pytest.raises(WildlamError, match=r"bomb\.png has far too many pixels; bring one of at most 25 megapixels"):
        library.add("bomb.png", file.getvalue())


def test_videos_of_the_run_by_source_and_split(videos):
    library = Library(videos)
    assert library.sources == ["a", "b"]
    assert [one.split for one in library.videos] == ["held_out", "train", "train"] * 2
    assert library.find("v0").told() == {
        "key": "v0",
        "name": "a/test/a2.mp4",
        "source": "a",
        "split": "held_out",
        "kind": "video",
    }
    library.close()
    assert library.videos[0].file.is_file()


def test_videos_are_called_what_a_manifest_calls_them(tmp_path, make_video, read_number):
    """Those in tar shards, and episodes that are parts of a film; what cannot be read is left out."""
    write_films(tmp_path / "all" / "robot", make_video)
    with tarfile.open(tmp_path / "all" / "wild.tar", "w") as tar:
        for name in ("a.mp4", "b.mp4"):
            tar.add(make_video(tmp_path / name, frames=12), name)
            tar.add(tmp_path / name, f"._{name}")  # as macOS adds one for each file
    (tmp_path / "all" / "bad.tar").write_bytes(b"no tar" * 200)
    library = Library(tmp_path / "all")
    with pytest.raises(WildlamError, match=r"bad\.tar: not a tar file"):
        index(tmp_path / "all", progress=False)
    (tmp_path / "all" / "bad.tar").unlink()
    known = {video.path: video for video in index(tmp_path / "all", progress=False)}
    assert [one.name for one in library.videos] == list(known)
    assert {one.source for one in library.videos} == {"robot", "."}
    assert len(known) == len(CAMERAS) * EPISODES + 2
    for one in library.videos:
        assert one.source == known[one.name].source
        assert library.seconds(one.key) == pytest.approx(known[one.name].duration)
    later = next(one for one in library.videos if one.name.endswith("episode_000002"))
    assert read_number(library.frames(later.key, [0.4], 64)[0]) == 2 * STEPS + 8
    assert read_number(library.frames(library.named("wild.tar/b.mp4").key, [0.25], 64)[0]) == 6
    (tmp_path / "all" / "robot" / "videos" / CAMERAS[0] / "chunk-000" / "file-000.mp4").write_bytes(b"no film")
    with pytest.raises(WildlamError) as error:
        library.frames(later.key, [0.4], 64)
    assert str(error.value).startswith("robot/videos/")
    library.close()
