import shutil
from pathlib import Path

import pytest

from wildlam.video import index as index_module


@pytest.fixture(scope="session")
def one_video(tmp_path_factory, make_video) -> Path:
    return make_video(tmp_path_factory.mktemp("one") / "one.mp4")


@pytest.fixture
def folder(tmp_path, one_video):
    """Make a folder of copies of a video under the given names."""

    def fill(*names: str) -> Path:
        for name in names:
            path = tmp_path / "videos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(one_video, path)
        return tmp_path / "videos"

    return fill


@pytest.fixture
def probed(monkeypatch) -> list[str]:
    """Names of the files that get opened."""
    names: list[str] = []
    real = index_module.probe

    def counting(path, *rest):
        names.append(Path(path).name)
        return real(path, *rest)

    monkeypatch.setattr(index_module, "probe", counting)
    return names
