"""A download cut short is told, for every container that allows to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.video.ffmpeg import H264, ffmpeg, film, needs_ffmpeg
from wildlam.errors import WildlamError
from wildlam.video.decode import VideoError, probe
from wildlam.video.index import index
from wildlam.video.oddities import oddities

pytestmark = needs_ffmpeg

MUXED = {
    "fast.mp4": "-movflags +faststart",
    "fragments.mp4": "-movflags frag_keyframe+empty_moov",
    "plain.mkv": "",
    "sound.mkv": "sound",
    "live.mkv": "-f matroska -live 1",
    "plain.webm": "-c:v libvpx-vp9 -b:v 200k",
    "plain.avi": "-c:v mpeg4 -bf 2 -q:v 4",
    "plain.ts": "",
    "sound.ts": "sound",
    "plain.flv": "",
    "plain.mov": "-movflags +faststart",
    "plain.ogv": "-c:v libtheora -q:v 7",
    "plain.wmv": "-c:v wmv2 -q:v 4",
}
REFUSED = {"fast.mp4", "plain.mkv", "sound.mkv", "plain.webm", "plain.avi", "plain.flv", "plain.mov"}
UNKNOWABLE = {"live.mkv"}


def muxed(folder: Path, name: str) -> Path:
    if (folder / name).exists():
        return folder / name
    whole = folder / "whole.mkv"
    if not whole.exists():
        # Noise, so that the pictures are most of the file.
        noise = ["-f", "lavfi", "-i", "testsrc2=d=6:r=10:s=128x96,noise=alls=40:allf=t"]
        ffmpeg(*noise, *H264.split(), whole)
    sound = ["-f", "lavfi", "-i", "sine=d=6", "-map", "0", "-map", "1", "-c:a", "aac"] if MUXED[name] == "sound" else []
    codec = [] if "-c:v" in MUXED[name] else ["-c:v", "copy"]
    options = [] if sound else MUXED[name].split()
    ffmpeg("-i", whole, *sound, *codec, *options, folder / name)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.mark.parametrize("name", MUXED)
def test_whole_files_are_not_called_short(folder, name):
    info = probe(muxed(folder, name))
    assert info.duration == pytest.approx(6.0, abs=0.15)
    assert not [odd for odd in info.odd if odd.startswith("shorter")]


@pytest.mark.parametrize("name", [name for name in MUXED if name not in UNKNOWABLE])
def test_a_file_cut_short_is_told(folder, tmp_path, name):
    data = muxed(folder, name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: len(data) * 6 // 10 // 188 * 188 + 100])
    if name in REFUSED:
        with pytest.raises(VideoError, match="cut short"):
            probe(cut)
    else:
        info = probe(cut)
        assert info.duration < 5
        assert [odd for odd in info.odd if odd.startswith("shorter than declared")]


def test_sound_that_goes_on_is_told(tmp_path):
    picture = film(tmp_path / "a.mp4", H264, 30)
    ffmpeg(*f"-i {picture} -f lavfi -i sine=d=9 -map 0 -map 1 -c:v copy -c:a aac {tmp_path / 'b.mkv'}".split())
    assert probe(tmp_path / "b.mkv").odd[0].startswith("shorter than declared: its sound goes on until 9.0")


def test_the_index_refuses_or_skips_and_names_it(folder, tmp_path, caplog):
    for name in ("plain.mkv", "plain.ts", "sound.mkv"):
        data = muxed(folder, name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2] if name == "plain.mkv" else data)
    data = (tmp_path / "plain.ts").read_bytes()
    (tmp_path / "plain.ts").write_bytes(data[: len(data) // 2 // 188 * 188 + 50])
    with pytest.raises(WildlamError, match=r"plain\.mkv: cut short"):
        index(tmp_path, progress=False, max_skipped=0.5)
    manifest = index(tmp_path, progress=False, on_error="skip", max_skipped=0.5)
    assert "plain.mkv: cut short" in caplog.text
    assert [(path, kind) for path, kind, _ in oddities(manifest) if kind != "copy"] == [
        ("plain.ts", "shorter than declared")
    ]
