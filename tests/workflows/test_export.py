"""What is exported is the model, for any batch and any number of steps, without this package."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wildlam
from wildlam import cli
from wildlam.encoders import Lite0
from wildlam.encoders.lite0 import Lite0Encoder
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Adaptive, Deterministic, Discrete, Noisy
from wildlam.workflows import export as of_export

from ..helpers import make_run

ENCODER = Lite0(image_size=64, dtype="float32")


@pytest.fixture
def run(videos, tmp_path, tiny_models):
    def make(bottleneck):
        return make_run(tmp_path / "run", videos, ENCODER, ModelConfig(bottleneck=bottleneck))

    return make


def loaded(file):
    from torch.export.pt2_archive._package import load_pt2

    archive = load_pt2(file)
    return {name: program.module() for name, program in archive.exported_programs.items()}, archive.extra_files


@pytest.mark.slow
def test_one_file_holds_the_functions_for_any_batch_and_steps(run, videos, tmp_path):
    path = run(Noisy(dim=4))
    result = wildlam.export(run=path, output=tmp_path / "out" / "model.pt2")
    assert result.files == [tmp_path / "out" / "model.pt2"]
    assert list((tmp_path / "out").iterdir()) == result.files
    functions, extra = loaded(result.files[0])
    assert json.loads(extra["about.json"]) == result.facts
    assert result.facts["encoder"]["fingerprint"] == ENCODER.build("cpu").spec.fingerprint
    assert set(functions) == {"encode", "infer", "predict"}
    trained = wildlam.load(path)
    for batch, steps in ((1, 2), (4, 9)):
        video = torch.randint(256, (batch, steps, 3, 64, 64), dtype=torch.uint8)
        states = functions["encode"](video)
        torch.testing.assert_close(states, trained.encoder.encode(video).cpu(), rtol=1e-4, atol=1e-4)
        z = functions["infer"](states[:, :-1], states[:, 1:])
        torch.testing.assert_close(z, trained.model.infer(states.to(trained.encoder.device)).cpu())
        following = functions["predict"](states[:, :-1], z)
        assert following.shape == states[:, 1:].shape


@pytest.mark.slow
@pytest.mark.parametrize("bottleneck", [Adaptive(dim=4), Discrete(dim=4, codes=8), Deterministic(dim=4)], ids=repr)
def test_every_kind_of_latent_action_is_exported(run, bottleneck, tmp_path, monkeypatch):
    monkeypatch.delattr(Lite0Encoder, "as_module")  # it is the same
    result = wildlam.export(run=run(bottleneck), output=tmp_path / "model.pt2")
    assert set(result.differences) == {"infer", "predict"}
    assert max(result.differences.values()) < 1e-4


def test_a_file_that_is_not_the_model_is_not_kept(run, tmp_path, monkeypatch):
    path = run(Noisy(dim=4))
    (tmp_path / "model.pt2").write_text("from before")
    monkeypatch.delattr(Lite0Encoder, "as_module")
    write = of_export._WRITERS["torch"]

    def wrong(*given):
        files, functions = write(*given)
        return files, functions | {"predict": lambda states, actions: states + 1e-3}

    monkeypatch.setitem(of_export._WRITERS, "torch", wrong)
    with pytest.raises(WildlamError, match="the exported predict is not the model's, and is not kept"):
        wildlam.export(run=path, output=tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").read_text() == "from before"
    assert not list(tmp_path.glob(".export*"))


@pytest.mark.slow
def test_onnx_has_a_file_for_each_function(run, tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.delattr(Lite0Encoder, "as_module")
    path = run(Noisy(dim=4))
    result = wildlam.export(run=path, format="onnx", output=tmp_path / "model.onnx")
    assert [file.name for file in result.files] == ["model.infer.onnx", "model.predict.onnx"]
    session = onnxruntime.InferenceSession(result.files[1])
    assert [one.name for one in session.get_inputs()] == ["states", "actions"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["about.json"]) == result.facts
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(WildlamError, match=r"ONNX needs onnxscript: pip install 'wildlam\[onnx\]'"):
        wildlam.export(run=path, format="onnx")


@pytest.mark.slow
def test_the_packaged_model_is_used_without_this_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "tiny", "-o", "demo.pt2"]) == 0
    assert "written    demo.pt2" in capsys.readouterr().out
    page = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text()
    (snippet,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "load_pt2" in one]
    code = f"import sys\nsys.modules['wildlam'] = None\n{snippet}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "5", "3", "64", "64"]


def test_what_can_be_mended_is_said(run, tmp_path):
    path = run(Noisy(dim=4))
    with pytest.raises(ValueError, match=r"output must end in .pt2, got model.onnx"):
        of_export.ExportConfig(run=path, output="model.onnx")
    with pytest.raises(ValueError, match="format must be torch or onnx, got 'tf'"):
        of_export.ExportConfig(run=path, format="tf")
    (tmp_path / "file").write_text("")
    with pytest.raises(WildlamError, match=r"cannot write .*choose another output"):
        wildlam.export(run=path, output=tmp_path / "file" / "model.pt2")
    assert of_export.ExportConfig(run="tiny").output.name == "tiny.pt2"
