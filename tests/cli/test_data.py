"""index and encode: what they print, leave and answer to mistakes."""

from .tiny import TINY


def test_index(call, refused, videos, tmp_path):
    for _ in range(2):
        code, said = call("index", videos)[:2]
        assert code == 0
        assert said.splitlines()[0] == "6 videos, 0.01 hours, 2 held out, 4 for training"
        assert "copy: 5 (a/train/a0.mp4: the same bytes as a/test/a2.mp4, or encoded again)" in said
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("no video")
    assert refused("index", "nowhere") == "nowhere: no such folder, manifest or list of videos; check PATH"
    assert "empty: no videos found" in refused("index", "empty")
    assert "text: no videos found" in refused("index", "text")
    assert refused("index", videos, "--held_out", "2").startswith("held_out is 2.0: give a share")


def test_index_with_bad_files(call, refused, videos, make_video):
    for i in range(14):
        make_video(videos / "c" / f"{i}.mp4", frames=24)
    (videos / "c" / "bad.mp4").write_bytes(b"")
    remedy = "repair or remove it, or leave it out with --on_error=skip or --exclude PATTERN"
    assert refused("index", videos) == f"{videos}/c/bad.mp4: the file is empty (0 bytes); {remedy}"
    (videos / "c" / "worse.mp4").write_bytes(b"no video at all")
    assert "or leave them out with --on_error=skip" in refused("index", videos)
    status, out, _ = call("index", videos, "--on_error", "skip")
    assert (status, out[:9]) == (0, "20 videos")


def test_a_cache_that_cannot_be_written(call, refused, videos, tmp_path):
    (videos / ".wildlam").write_text("in the way")
    assert refused("train", "--data.path", videos, *TINY).endswith("name another folder with --data.cache")
    assert refused("index", videos).endswith("name another folder with --cache")
    assert call("index", videos, "--cache", tmp_path / "cache")[0] == 0


def test_encode_twice(call, videos):
    status, out, err = call("encode", "--data.path", videos, *TINY)
    assert status == 0
    assert out.startswith("96 states of 3584 bytes in ")
    status, out, err = call("encode", "--data.path", videos, *TINY)
    assert out.startswith("96 states")
    assert "encoding" not in err  # no bar where there is nothing to do
