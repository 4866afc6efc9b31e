import pytest
import torch
from torch import nn

from wildlam.distributed import Processes
from wildlam.errors import WildlamError
from wildlam.runs import checkpoints

ALONE = Processes(0, 1, torch.device("cpu"))


def save(folder, step, score=None, keep=2):
    writer = checkpoints.Writer(folder, keep, ALONE)
    writer.save(step, score, {"weight": torch.full((2, 3), float(step))}, {"m": torch.arange(3.0) * step})
    writer.wait()


def test_round_trip_and_keep_last(tmp_path):
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    assert [c.step for c in checkpoints.listing(tmp_path)] == [3, 4]
    assert torch.equal(checkpoints.best(tmp_path).model_tensors()["weight"], torch.full((2, 3), 4.0))
    assert torch.equal(checkpoints.best(tmp_path).state_tensors()["m"], torch.arange(3.0) * 4)
    assert not list(tmp_path.glob(".*"))


def test_an_unfinished_checkpoint_is_not_seen(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".step_00000002.tmp").mkdir()
    (tmp_path / ".step_00000002.tmp" / "model.safetensors").write_bytes(b"half")
    assert checkpoints.last(tmp_path).step == 1
    save(tmp_path, 2)
    assert checkpoints.last(tmp_path).step == 2


def test_damage_is_named(tmp_path):
    save(tmp_path, 1)
    file = tmp_path / "step_00000001" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(WildlamError, match=r"cannot read .*model\.safetensors.*delete that checkpoint"):
        checkpoints.last(tmp_path).model_tensors()


PART = "shard-00001-model-00001-of-00001.safetensors"


@pytest.mark.parametrize("name", ["model.safetensors", "meta.json", f"state/{PART}"])
def test_no_flipped_bit_becomes_another_weight_or_step(tmp_path, name):
    save(tmp_path, 1, score=0.5)
    file = tmp_path / "step_00000001" / name
    whole = file.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        file.write_bytes(spoilt)
        with pytest.raises(WildlamError, match=name):  # noqa: PT012
            checkpoints.last(tmp_path).model_tensors()
            checkpoints.last(tmp_path).state_tensors()


def test_one_without_its_description_says_what_to_do(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "step_00000001" / "meta.json").unlink()
    with pytest.raises(WildlamError, match=r"meta\.json: No such file or directory\. Delete that checkpoint: the one"):
        checkpoints.last(tmp_path)


def test_all_files_have_the_rights_of_new_ones(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "new").touch()
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.rglob("*") if file.is_file()}
    assert modes["model.safetensors"] == modes["meta.json"] == modes["new"]


def test_closing_waits_for_what_was_begun(tmp_path):
    writer = checkpoints.Writer(tmp_path, 2, ALONE)
    writer.save(7, None, {"weight": torch.zeros(1_000_000)}, {"m": torch.zeros(1_000_000)})
    writer.close()  # as where training is interrupted
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000007"]


def test_none_yet(tmp_path):
    assert checkpoints.last(tmp_path) is None
    with pytest.raises(WildlamError, match="no checkpoint in"):
        checkpoints.best(tmp_path)


def test_full_disk_leaves_earlier_checkpoints(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(WildlamError, match=r"No space left on device; free some space and resume$"):
        save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000001"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "lacks weight 'bias'"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)}, "has an unknown weight 'more'"),
        ({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)}, r"'weight' is \[2, 4\], the config wants \[2, 3\]"),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, tensors, message):
    with pytest.raises(WildlamError, match=message):
        checkpoints.load_weights(nn.Linear(3, 2), tensors, tmp_path)
