"""The command that opens the playground."""

import shutil
import sys
import tempfile

import pytest

import wildlam.app
from wildlam.cli import main
from wildlam.pretrained import unpack


def test_without_the_extra_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(wildlam, "app", wildlam.app)  # which is another module when it is imported again
    for name in [name for name in sys.modules if name.startswith("wildlam.app")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["app"]) == 2
    assert capsys.readouterr().err == "wildlam: error: the playground needs uvicorn: pip install 'wildlam[app]'\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "nothing is not a run folder"),
        (["--videos", "nothing"], "nothing: no such folder of videos"),
        (["--port", "70000"], "--port must be from 0 to 65535"),
        (["--host", "256.0.0.1"], "give another --host or --port"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_cannot_be_opened_is_refused_in_a_line(arguments, said, capsys, tmp_path, monkeypatch):
    pytest.importorskip("uvicorn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["app", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("wildlam-app-*"))


def test_what_is_missing_is_said_before_the_address(monkeypatch, capsys, tmp_path):
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: [one.close() for one in sockets])
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr("wildlam.workflows.decoder.tiny_decoder", lambda _: None)
    run = unpack(tmp_path / "run", tmp_path)
    shutil.rmtree(run / "decoder")
    assert main(["app", str(run), "--port", "0", "--index", str(tmp_path / "nowhere")]) == 0
    loading, decoder, index, address = capsys.readouterr().out.splitlines()
    assert loading.startswith("loading")
    assert decoder == f"{run} has no decoder; Drive, Transfer and Plan need one: wildlam decoder train {run}"
    assert index.startswith(f"{tmp_path / 'nowhere'} has no search index yet")
    assert address.startswith("playground http://localhost:")


def test_the_help_is_plain_text(capsys):
    with pytest.raises(SystemExit):
        main(["app", "--help"])
    told = capsys.readouterr().out
    assert "``" not in told
    assert 'of `"tiny"` the films' in told


def test_interrupted_while_it_loads_nothing_is_said_to_resume(monkeypatch, capsys):
    pytest.importorskip("uvicorn")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("wildlam.runs.folder.Run.open", interrupted)
    assert main(["app"]) == 130
    assert capsys.readouterr().err == "wildlam: interrupted; the playground was not open yet\n"


def test_opened_to_others_it_says_who_sees_what(monkeypatch, capsys, tmp_path):
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: [one.close() for one in sockets])
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    assert main(["app", "--port", "0"]) == 0
    assert "whoever" not in (alone := capsys.readouterr().out)
    assert "http://localhost:" in alone
    assert main(["app", "--port", "0", "--host", "0.0.0.0"]) == 0
    told = capsys.readouterr().out
    assert "whoever can reach 0.0.0.0:" in told
    assert "there is no password" in told
    assert not list(tmp_path.glob("wildlam-app-*"))
