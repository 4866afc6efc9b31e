"""A playground of wildlam-tiny and the films that come with it, as `wildlam app` without arguments has it."""

import shutil
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from wildlam.app.config import AppConfig  # noqa: E402
from wildlam.app.server import _listening, make_app, open_playground  # noqa: E402
from wildlam.pretrained import TINY, unpack  # noqa: E402
from wildlam.report.html import Section, paragraph, write_report  # noqa: E402


@contextmanager
def served(config, port=0):
    """Serve a playground in a thread; give it and its address."""
    playground = open_playground(config)
    sock = _listening(config.host, port)
    app = make_app(playground, {"localhost", "127.0.0.1"})
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        yield playground, address
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A folder of runs to watch: a copy of wildlam-tiny."""
    folder = tmp_path_factory.mktemp("runs")
    unpack(folder / "tiny", folder)
    shutil.rmtree(folder / "tiny" / "prior")
    write_report(folder / "tiny" / "report.html", "A report", Section("Part", paragraph("of the run")))
    return folder


@pytest.fixture
def without_decoder(runs, tmp_path, monkeypatch):
    """A run without a decoder, for whose encoder there is none elsewhere."""
    monkeypatch.setattr("wildlam.workflows.decoder.tiny_decoder", lambda _: None)
    return shutil.copytree(runs / "tiny", tmp_path / "no decoder", ignore=shutil.ignore_patterns("decoder"))


@pytest.fixture
def some_unusable(tmp_path, make_video):
    """A folder of two videos, a single frame among them, and of two files that are none."""
    folder = tmp_path / "some"
    make_video(folder / "good.mp4", frames=48)
    make_video(folder / "one_frame.mp4", frames=1)
    (folder / "a_corrupt.mp4").write_bytes(b"no film" * 200)
    (folder / "an_empty.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def tiny(runs):
    """A playground that is ready, and its address."""
    with served(AppConfig(run=TINY, runs=runs)) as (playground, address):
        until = time.monotonic() + 120
        while playground.transitions is None and time.monotonic() < until:
            with urllib.request.urlopen(f"{address}/api/state", timeout=10) as answer:
                assert answer.status == 200  # pages answer while it loads
            time.sleep(0.1)
        assert playground.transitions is not None, playground.told()
        yield playground, address
