"""Controllers from videos with poses: trained, resumed, loaded, refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import wildlam
from wildlam import cli
from wildlam.config import read_as, read_config
from wildlam.encoders import Lite0
from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.clips import labelled_clips
from wildlam.episodes.formats import read_episodes
from wildlam.errors import WildlamError
from wildlam.models.decoder import DecoderConfig
from wildlam.pretrained import TINY
from wildlam.runs.folder import Run
from wildlam.states.dataset import index_videos
from wildlam.training.parallel import blocks_of
from wildlam.workflows.baseline import (
    LabelledModelConfig,
    cut_labelled,
    read_space,
    train_labelled_model,
)
from wildlam.workflows.controller import (
    INCONCLUSIVE,
    ControllingConfig,
    controller_results,
    fit_linear,
    load_controlled,
    load_controller,
    train_controller,
)
from wildlam.workflows.decoder import DecodingConfig, train_decoder
from wildlam.workflows.plan import dynamics_of, plan

from ..helpers import make_run
from .controllers import TRAINING, loaded, train_whole_and_cut, weights

pytestmark = pytest.mark.usefixtures("tiny_models")


def test_a_controller_is_a_run_of_its_own(run, config):
    before = weights(run)
    folder = train_controller(run, config)
    assert folder == run / "controller"
    assert Run(folder).facts["command"] == "wildlam.train_controller(...) from Python"
    assert read_as(ControllingConfig, folder / "config.yaml") == config
    assert [row["step"] for row in Run(folder).metrics()] == [1, 2]
    assert all(torch.equal(weights(run)[name], weight) for name, weight in before.items())  # the model stays
    controller, space = load_controller(run, *loaded(run))
    assert space is PLANAR
    assert controller.act(torch.zeros(2, 3), torch.zeros(2, 4, 448)).shape == (2, 4)
    said = controller_results(folder)
    assert "3 labelled clips of 1 recording:" in said
    assert "controller's over inferred" in said
    assert " to " not in "".join(line for line in said.splitlines() if line.startswith("error"))  # no interval
    assert said.endswith(INCONCLUSIVE)
    losses = [row["held_out/loss"] for row in Run(folder).metrics() if "held_out/loss" in row]
    assert json.loads((folder / "results.json").read_text())["choosing"] == {"clips": 1, "loss": min(losses)}
    assert {"over_idm", "z", "movement"} <= json.loads((folder / "results.json").read_text()).keys()


def test_a_controller_and_plans_are_told_of_before_they_begin(run, config, caplog, monkeypatch):
    caplog.set_level("INFO", logger="wildlam")
    monkeypatch.setattr("wildlam.workflows.durations.SHORT", 60)  # on a busy machine, too
    train_controller(run, config)
    plan(run=run, protocol="recon", data=config.data, episodes=2, samples=10)
    assert "On this machine" not in caplog.text
    for name in ("durations.SHORT", "durations.FEW_STEPS", "controller.FEW_CLIPS", "plan.FEW_CANDIDATES"):
        monkeypatch.setattr(f"wildlam.workflows.{name}", 0)

    def told():
        (text,) = [one.getMessage() for one in caplog.records if one.getMessage().startswith("On this machine")]
        caplog.clear()
        return [" ".join(line.split()[:3]) for line in text.splitlines()[1:-1]]

    shutil.rmtree(config.data / ".wildlam")
    folder = train_controller(run, config, run / "again")
    assert told() == ["encode 12 labelled", "train 2 steps", "judge 3 held-out"]
    shutil.rmtree(folder / "checkpoints" / "step_00000002")
    train_controller(run, config, folder)  # the clips are encoded, half of the steps done
    assert told() == ["train 1 steps", "judge 3 held-out"]
    weights_before = weights(folder)
    assert all(torch.equal(weight, weights_before[name]) for name, weight in weights(run / "controller").items())
    train_labelled_model(
        loaded(run)[0], LabelledModelConfig(data=config.data, training=TRAINING), 4.0, run / "baseline"
    )
    assert told() == ["train 2 steps"]
    plan(run=run, protocol="recon", data=config.data, episodes=2, samples=10, baselines=[run / "baseline"])
    assert told() == ["encode 2 labelled", "latent 2 episodes", "baseline 2 episodes"]


def test_it_ends_with_a_report(run, config):
    """Of its rollouts, as pictures where there is a decoder, and of what it heeds."""
    for pictures in (1, 2):
        if pictures == 2:
            small = DecoderConfig(image_size=16, upsample=1)
            train_decoder(run, DecodingConfig(decoder=small, training=TRAINING))
        folder = train_controller(run, config, run / f"reported_{pictures}")
        page, found = (folder / "report.html").read_text(), json.loads((folder / "results.json").read_text())
        assert page.count("<img") == pictures
        assert ("has no decoder" in page) == (pictures == 1)
        assert '<th scope="row">turn (degrees)</th>' in page
        for of in ("inferred", "controller", "mean"):
            assert found["errors"][of].keys() == set(PLANAR.action_names)
        assert found["heeded"].keys() == set(PLANAR.action_names)
        assert all(value >= 0 for value in found["heeded"].values())
        for name in ("idm", "controller", "copy"):
            assert len(found["steps"][name]) == 7
            assert np.mean(found["steps"][name]) == pytest.approx(found[name]["mean"], rel=1e-4)


def test_several_learn_from_all_labels_and_act_by_their_mean(run, config, tmp_path):
    whole = train_whole_and_cut(run, replace(config, folds=3), tmp_path)
    found = json.loads((whole / "results.json").read_text())
    assert found["choosing"]["clips"] == 4  # each clip judges one of them
    several, space = load_controller(whole, *loaded(run))
    assert space is PLANAR
    actions, states = torch.randn(5, 3), torch.randn(5, 4, 448)
    each = [one.act(actions, states) for one in several.members]
    assert len(each) == 3
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(several.act(actions, states), (each[0] + each[1] + each[2]) / 3)
    for mine, alone in ((several.action_mean, "action_mean"), (several.action_std, "action_std")):
        assert mine.shape == getattr(several.members[0], alone).shape
    plans = plan(run=run, controller=whole, protocol="recon", data=config.data, episodes=2, samples=10).plans
    assert torch.isfinite(plans["latent"]).all()
    with pytest.raises(ValueError, match="folds must be 1 to 4, got 5"):
        replace(config, folds=5)
    parted = replace(config.training, accumulate=3)  # of 12 clips, but not of the 4 of each
    with pytest.raises(WildlamError, match="accumulate=3 does not divide the 4 clips"):
        train_controller(run, replace(config, folds=3, training=parted), tmp_path / "parted")


def test_one_of_several_learns_as_alone(run, config, tmp_path):
    """From the clips of its fold, of which a quarter is set apart for a single one."""
    several = train_controller(run, replace(config, folds=4), tmp_path / "several")
    alone = train_controller(run, config, tmp_path / "alone")
    found, other = weights(several), weights(alone)
    assert any(name.startswith("folds.3.") for name in found)
    assert [type(block).__name__ for block in blocks_of(load_controller(several, *loaded(run))[0])] == ["Block"] * 4
    for name in ("action_mean", "latent_std", "linear.weight"):
        torch.testing.assert_close(found[f"folds.0.{name}"], other[name], rtol=1e-3, atol=1e-3)


def test_a_controller_of_before_there_was_a_start_opens(run, config):
    config = replace(config, controller=replace(config.controller, start="network"))
    folder = train_controller(run, config)
    file = folder / "config.yaml"
    assert "  start: network\n" in file.read_text()
    file.write_text(file.read_text().replace("  start: network\n", ""))
    assert load_controller(run, *loaded(run))[0].config == config.controller


def test_an_interrupted_controller_becomes_the_same(run, config, tmp_path):
    train_whole_and_cut(run, config, tmp_path)


def test_unlabelled_videos_are_learnt_from(run, config, unlabelled, tmp_path):
    config = replace(config, training=replace(TRAINING, batch_size=8))
    alone = train_controller(run, config, tmp_path / "alone")
    config = replace(config, unlabelled=unlabelled)
    whole = train_whole_and_cut(run, config, tmp_path)
    assert any(not torch.equal(weights(alone)[name], weight) for name, weight in weights(whole).items())


def test_unlabelled_videos_lie_beside_those_of_the_run(run, config, unlabelled, tmp_path):
    """Not in the cache of the run, which holds another folder's."""
    file = run / "config.yaml"
    file.write_text(file.read_text().replace("cache: null", f"cache: {tmp_path / 'cache'}"))
    index_videos(read_config(file).data)
    assert (tmp_path / "cache/manifest.parquet").is_file()
    train_controller(run, replace(config, unlabelled=unlabelled, training=replace(TRAINING, batch_size=8)))


def test_unlabelled_videos_that_are_not_there_are_named(run, config, tmp_path):
    with pytest.raises(WildlamError, match="nothing"):
        train_controller(run, replace(config, unlabelled=tmp_path / "nothing"), tmp_path / "out")


def test_a_batch_of_one_has_no_room_for_unlabelled_clips(run, config, unlabelled, tmp_path):
    config = replace(config, unlabelled=unlabelled, training=replace(TRAINING, batch_size=1))
    with pytest.raises(WildlamError, match="batch_size must be at least 2"):
        train_controller(run, config, tmp_path / "out")


def test_actions_are_told_from_latent_ones_that_hold_them():
    rng = torch.Generator().manual_seed(0)
    z, mixed = torch.randn(32, 7, 8, generator=rng), torch.randn(8, 3, generator=rng)
    scale, offset = torch.tensor([10.0, 1.0, 0.0]), torch.tensor([5.0, -1.0, 2.0])  # the last never varies
    actions = (z @ mixed) * scale + offset
    told = fit_linear(z[:24], actions[:24])
    torch.testing.assert_close(told(z[24:].flatten(0, 1)), actions[24:].flatten(0, 1), atol=0.05, rtol=0.01)
    torch.testing.assert_close(
        fit_linear(z, torch.randn(32, 7, 3, generator=rng))(z).std(), torch.tensor(0.0), atol=0.5, rtol=0
    )


def test_another_configuration_is_refused(driven, config):
    with pytest.raises(WildlamError, match="holds a controller with seed 0, not 1"):
        train_controller(driven, replace(config, seed=1))


def test_more_clips_than_there_are_are_refused(run, config):
    with pytest.raises(WildlamError, match="holds 9 training clips of 8 states, 10 are asked for"):
        train_controller(run, replace(config, clips=10))
    with pytest.raises(ValueError, match="clips must be at least 4"):
        ControllingConfig(data=config.data, clips=1)
    with pytest.raises(ValueError, match="clips must be at least 4"):
        LabelledModelConfig(data=config.data, clips=1)


def test_held_out_clips_teach_and_choose_nothing(run, config):
    encoder, _ = loaded(run)
    found = cut_labelled(config.data, encoder, 4.0, 8).encoded(encoder, seed=0)
    train, validation = found.apart()
    assert (len(train), len(validation)) == (6, 2)
    assert {episode.split for episode, _ in found.held_out.places} == {"held_out"}
    assert {episode.split for episode, _ in [*train.places, *validation.places]} == {"train"}
    given = labelled_clips(read_episodes(config.data), encoder, "train", states=8, fps=4.0).few(8, 0)
    places = sorted((e.name, frames[0]) for e, frames in given.places)
    both = [*train.places, *validation.places]
    assert sorted((e.name, frames[0]) for e, frames in both) == places
    assert len(set(train.names) & set(validation.names)) <= 1  # of an episode with more than were needed


def test_the_commands(run, config, capsys):
    few = ["--training.steps", "2", "--training.batch_size", "4", "--controller.width", "16"]
    assert cli.main(["controller", "train", str(run), "--data", str(config.data), "--clips", "4", *few]) == 0
    assert "plan       wildlam plan" in capsys.readouterr().out
    (run / "controller").rename(run / "driver")  # the baseline's plans need one
    few = ["--training.steps", "2", "--training.batch_size", "4"]
    assert cli.main(["controller", "baseline", str(run), "--data", str(config.data), "--clips", "4", *few]) == 0
    assert f"controller wildlam controller train {run} --data {config.data}" in capsys.readouterr().out
    (run / "driver").rename(run / "controller")
    assert cli.main(["plan", str(run), "--data", str(config.data), "--episodes", "2"]) == 0
    assert "recon protocol, on 2 clips of 1 recording held out" in capsys.readouterr().out
    assert cli.main(["controller", "baseline", str(run), "--data", str(config.data), "--clips", "4", *few]) == 0
    assert f"plan       wildlam plan {run} --data {config.data} --baselines {run}/baseline" in capsys.readouterr().out
    assert (
        read_as(LabelledModelConfig, run / "baseline" / "config.yaml").model == read_config(run / "config.yaml").model
    )
    call = ["plan", str(run), "--data", str(config.data), "--episodes", "2", "--baselines", str(run / "baseline")]
    assert cli.main(call) == 0
    assert "\nbaseline " in capsys.readouterr().out
    assert cli.main(["controller", "drive"]) == 2


def test_a_controller_drives_the_model_that_it_was_trained_for_alone(driven, config, labelled, tmp_path):
    folder = driven / "controller"
    results = (folder / "results.json").read_text()
    torch.manual_seed(1)
    other = make_run(tmp_path / "other", labelled, Lite0(image_size=64, dtype="float32"))
    with pytest.raises(WildlamError, match="controller of another run"):
        plan(run=other, protocol="recon", data=config.data, controller=folder, episodes=2)
    with pytest.raises(WildlamError, match=r"controller of another run.*give another out$"):
        train_controller(other, config, folder)
    assert (folder / "results.json").read_text() == results
    with pytest.raises(WildlamError, match="has no controller; train one"):
        plan(run=driven, protocol="recon", data=config.data, controller=tmp_path / "nowhere", episodes=2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "The controller works"),
        ({"z": 1.2}, "no better than the mean latent action"),
        ({"z": 0.95}, "Whether the controller is better than the mean latent action cannot be told"),
        ({"over_copy": 1.2}, "no better than copying"),
        ({"over_copy": 1.05}, "Whether rollouts are better than copying the first state cannot be told"),
        ({"movement": 0.1}, "The controller hardly moves"),
        ({"movement": 0.2}, "Whether the controller does more than hardly move cannot be told"),
        ({"clips": 9}, "Too few for an interval"),
        ({"recordings": 4, "z": 1.2}, "Too few for an interval"),
    ],
)
def test_a_controller_is_judged_in_words(tmp_path, changed, said):
    plain = {
        "idm": 0.2,
        "controller": 0.3,
        "copy": 0.5,
        "over_idm": 1.5,
        "over_copy": 0.6,
        "z": 0.7,
        "movement": 0.5,
        "movement_idm": 0.6,
    }
    amount = {"clips": 12, "recordings": 6, "choosing": {"clips": 1, "loss": 16.4}}
    found = {name: {"mean": v, "low": 0.9 * v, "high": 1.1 * v} for name, v in plain.items()}
    for name, value in changed.items():
        found[name] = {"mean": value, "low": 0.9 * value, "high": 1.1 * value} if name in plain else value
    (tmp_path / "results.json").write_text(json.dumps(amount | found))
    told = controller_results(tmp_path)
    assert said in told.splitlines()[-1]
    assert "Validation loss, on 1 labelled clips: 16.4;" in told


def test_results_of_earlier_versions_are_judged_by_their_intervals(tmp_path):
    """They do not say how many recordings the clips are of."""
    found = json.loads((TINY / "controller_arm/results.json").read_text())
    del found["recordings"]
    (tmp_path / "results.json").write_text(json.dumps(found))
    said = controller_results(tmp_path)
    assert "240 labelled clips:" in said
    mean, low, high = (found["controller"][end] for end in ("mean", "low", "high"))
    assert low < high
    assert f"{mean:.3f} ({low:.3f} to {high:.3f})" in said
    assert said.endswith("The controller works; wildlam plan shows how well plans with it do.")


def test_another_configuration_is_named_and_what_has_learnt_nothing_gives_way(driven, config):
    run = driven
    other = replace(config, clips=5)
    with pytest.raises(WildlamError, match="holds a controller with clips 4, not 5"):
        train_controller(run, other)
    for checkpoint in (run / "controller" / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    train_controller(run, other)


def test_keywords_replace_what_the_configuration_says(run, config, tmp_path):
    folder = wildlam.train_controller(str(run), config, out=str(tmp_path / "other"), seed=1)
    assert folder == tmp_path / "other"
    assert read_as(ControllingConfig, folder / "config.yaml") == replace(config, seed=1)
    with pytest.raises(WildlamError, match="ControllingConfig has no clip; did you mean clips"):
        wildlam.train_controller(run, data="videos", clip=4)


def test_data_by_another_path_are_the_same(driven, config, monkeypatch):
    monkeypatch.chdir(config.data.parent)
    train_controller(driven, replace(config, data=Path(config.data.name)))


def test_what_is_something_else_is_named(driven, config, tmp_path):
    run, controller, baseline = driven, driven / "controller", tmp_path / "labelled"
    with pytest.raises(WildlamError, match="give the folder of a run, not of a controller"):
        plan(run=controller, protocol="recon", data=config.data)
    with pytest.raises(WildlamError, match="is no world model of real actions"):
        dynamics_of(load_controlled(run), [controller])
    with pytest.raises(WildlamError, match="has no controller"):
        load_controlled(run, baseline)
    with pytest.raises(WildlamError, match=f"{run} holds no controller, or one whose config.yaml is damaged"):
        train_controller(run, config, run)
    with pytest.raises(WildlamError, match=r"is a run folder, whose report would be overwritten; give another out$"):
        plan(run=run, protocol="recon", data=config.data, out=run)
    (controller / "actions.json").write_text('{"drives": "me"}')
    with pytest.raises(WildlamError, match=r"actions\.json: does not say what its actions are"):
        read_space(Run(controller), "", drives=True)


def test_remedies_name_what_can_be_given(run, config, unlabelled, tmp_path):
    broken = unlabelled / "broken.mp4"
    broken.write_bytes(b"no film")
    with pytest.raises(WildlamError, match=r"broken\.mp4.*repair or remove it$"):
        train_controller(run, replace(config, unlabelled=unlabelled))
    broken.rename(config.data / "broken.mp4")
    with pytest.raises(WildlamError, match=r"broken\.mp4.*repair or remove it$"):
        train_controller(run, config)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WildlamError, match=r"check data$"):
        read_episodes(tmp_path / "empty")


def test_poses_of_half_a_film_are_refused(run, config):
    file = next(config.data.rglob("a.poses.csv"))
    whole = file.read_text()
    file.write_text("\n".join(whole.splitlines()[:26]) + "\n")
    with pytest.raises(WildlamError, match=r"a\.poses\.csv: ends at 3\.00 s, its video at 6\.12 s"):
        train_controller(run, config)
    head, *rows = whole.splitlines()
    halved = [",".join([str(float(row.split(",")[0]) / 2), *row.split(",")[1:]]) for row in rows]
    file.write_text("\n".join([head, *halved]) + "\n")
    with pytest.raises(WildlamError, match=r"a\.poses\.csv: ends at 3\.06 s, its video at 6\.12 s"):
        train_controller(run, config)


def test_a_run_without_a_controller_says_how_to_get_one(run, config):
    with pytest.raises(WildlamError, match="wildlam controller train"):
        plan(run=run, protocol="recon", data=config.data)


def test_what_was_interrupted_is_not_taken_for_trained(driven, config, tmp_path):
    run, other = driven, tmp_path / "labelled"
    (run / "controller" / "results.json").unlink()
    with pytest.raises(WildlamError, match="was interrupted: give the same `wildlam controller train` again"):
        load_controlled(run)
    train_controller(run, config)
    (other / "actions.json").unlink()
    with pytest.raises(WildlamError, match="or its training was interrupted"):
        dynamics_of(load_controlled(run), [other])


def test_states_that_cannot_be_kept_are_used(run, config, caplog, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wildlam.episodes.clips.save_file", full)
    train_controller(run, config)
    assert "the next call encodes them again" in caplog.text
