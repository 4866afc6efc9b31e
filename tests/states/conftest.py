import pytest

from .toys import row, write_video


@pytest.fixture
def videos(tmp_path):
    """Five videos, of 10, 12, 14, 16 and 18 states at 4 fps and one state a frame; the last is held out."""
    root = tmp_path / "videos"
    names = ["a/1.mp4", "a/it's 2.mp4", "b/3.mp4", "b/4.mp4", "b/5.mp4"]
    for i, name in enumerate(names):
        write_video(root / name, frames=20 + 4 * i, seed=i)
    return root, [row(root, name, "held_out" if i == 4 else "train") for i, name in enumerate(names)]
