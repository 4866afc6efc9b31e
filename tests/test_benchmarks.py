"""Benchmarks that the machine at hand cannot judge still run, and say so."""

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wildlam.episodes.action_spaces import ARM, PLANAR
from wildlam.errors import WildlamError
from wildlam.models.transformer import SIZES
from wildlam.pretrained import unpack
from wildlam.worlds.simulators import SIMULATORS

from .workflows.test_goal_regression import Adds
from .workflows.test_pseudo_labels import films, hidden

GPU = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


@pytest.fixture
def measure(monkeypatch):
    """Run ``benchmarks/gpu.py`` with some arguments."""
    monkeypatch.syspath_prepend(str(GPU.parent))
    gpu = importlib.import_module("gpu")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(GPU), *map(str, arguments)])
        gpu.main()

    return run


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(measure, tmp_path, capsys):
    measure("--out", tmp_path / "gpu.json")
    assert capsys.readouterr().out == "no GPU here: nothing was measured\n"
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_it_runs_on_small_models(measure, tmp_path):
    measure("--tiny", "--out", tmp_path / "gpu.json")
    rows = {row["name"]: row for row in json.loads((tmp_path / "gpu.json").read_text())}
    for kind in ("plain", "compiled"):
        for states in ("online", "stored states"):
            assert rows[f"step of 4 clips, {states}, {kind}: clips/s"]["value"] > 0
    assert rows["plan, droid, ViT-L"]["value"] > 0
    assert "cpu" in next(iter(rows.values()))["machine"] or torch.cuda.is_available()


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(GPU.parent))
    return importlib.import_module("planning")


def row(**of):
    return {"protocol": "droid", "world": "arm", "seed": 0, "clips": 32, "figure": "f", "value": 1.0} | of


def test_rows_of_a_study_are_added_part_by_part_and_belong_to_one_study(study, tmp_path):
    rows = study.Rows(tmp_path / "planning.json", {"samples": 64}, study.KEYS)
    other = study.Rows(tmp_path / "planning.json", {"samples": 64}, study.KEYS)
    rows.add([row(), row(figure="g")])
    other.add([row(clips="all"), row(clips=128)])
    rows.add([row(value=2.0)])  # a part is replaced whole
    assert [(r["clips"], r["value"]) for r in other.read()] == [(32, 2.0), (128, 1.0), ("all", 1.0)]
    assert rows.has(clips=32, seed=0)
    assert not rows.has(clips=32, seed=1)
    rows.add([row(machine="another one's"), row(figure="g")])
    first, second = (r["machine"] for r in rows.read()[:2])
    assert first == "another one's" != second  # who adds what was measured before says where
    with pytest.raises(WildlamError, match="is of"):
        study.Rows(tmp_path / "planning.json", {"samples": 300}, study.KEYS).read()


def test_every_world_can_be_filmed_planned_played_and_diagnosed(study):
    diagnose, worlds = (importlib.import_module(name) for name in ("diagnose", "worlds"))
    assert set(study.PLAYED) == set(study.TENTH) == set(study.WORLDS)
    assert set(study.WORLDS) < set(diagnose.WORLDS) == set(worlds.FILMS) - {worlds.MOVERS}
    for world, (protocol, figure, (iterations,)) in study.WORLDS.items():
        told = diagnose.WORLDS[world]
        assert (told.protocol, told.figure, told.searches[0][1]) == (protocol, figure, iterations)
        simulator = SIMULATORS[study.PLAYED[world]["world"]]
        assert simulator.space is {"droid": ARM, "recon": PLANAR}[protocol]


def test_the_study_that_is_stored_goes_on_with_another_world(study):
    stored = json.loads((GPU.parent.parent / "docs" / "results" / "planning.json").read_text())["of"]
    args = argparse.Namespace(steps=None, episodes=64, samples=64)
    assert {"weights": stored["weights"], **study.settings(args)} == stored


def test_a_labelled_model_of_few_clips_is_trained_gently(study, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(study, "train_labelled_model", lambda _, config, fps, out: taken.append((config, out)))
    args = argparse.Namespace(run=unpack(tmp_path / "run", tmp_path), work=tmp_path, steps=None)
    for count in (32, 128, 0):
        study.labelled_of(args, "arm", count, 0)
    assert [config.training.optimizer.muon for config, _ in taken] == [False, True, True]
    assert [config.training.steps for config, _ in taken] == [200, 400, 800]
    assert [config.clips for config, _ in taken] == [32, 128, None]
    assert [out.name for _, out in taken] == ["labelled_arm_32_0", "labelled_arm_128_0", "labelled_arm_all_0"]


def test_the_closed_loop_is_told_over_seeds(study):
    common = {"protocol": study.PLAY, "model": "latent", "clips": 168, "figure": "success", "low": 0.1, "high": 0.9}
    closed = [row(**common, value=0.5), row(**common | {"figure": "final distance"}, value=0.07)]
    args = argparse.Namespace(episodes=64, samples=64)
    one = study.text([r | {"machine": "m"} for r in closed], args)
    assert "| arm | latent | 168 | 1 | 0.5 (0.1 to 0.9) | 0.07 (0.1 to 0.9) |" in one
    closed += [r | {"seed": 1, "value": r["value"] + 0.2} for r in closed]
    two = study.text([r | {"machine": "m"} for r in closed], args)
    assert "| arm | latent | 168 | 2 | 0.600 (0.500 to 0.700) | 0.170 (0.070 to 0.270) |" in two


def test_plans_of_other_settings_are_made_anew(study, tmp_path, monkeypatch):
    made = []

    def plan(run, protocol, data, *, out, guide, controls, clips, **_):
        made.append((out, guide, controls, clips))
        out.mkdir(exist_ok=True)
        (out / "plans.json").write_text(json.dumps({"summary": {"latent": {}} | ({"cloning": {}} if controls else {})}))

    monkeypatch.setattr(study, "plan", plan)
    args = argparse.Namespace(run=tmp_path, work=tmp_path, samples=64, episodes=64)
    where = tmp_path / "controller", tmp_path / "labelled"
    for samples in (64, 64, 300):
        args.samples = samples
        study.planned(args, "arm", *where, 32, 0, False)
    assert len(made) == len({out for out, *_ in made}) == 4
    assert [of for _, *of in made] == [[None, True, 32], [study.GUIDE, False, 32]] * 2  # all of the same clips
    study.planned(args, "nav", *where, study.ALL, 0, False)
    assert [of for _, *of in made[4:]] == [[None, True, None], [study.GUIDE, False, None]]
    free = made[0][0] / "plans.json"
    free.write_text('{"summary": {"latent": {}}}')  # as it was before there were controls
    args.samples = 64
    study.planned(args, "arm", *where, 32, 0, False)
    assert [out for out, *_ in made[6:]] == [free.parent]


def test_guided_plans_have_rows_beside_those_without(study, tmp_path):
    driver = tmp_path / "controller"
    driver.mkdir()
    errors = {name: {"mean": 0.5} for name in ("over_idm", "z", "movement")}
    (driver / "results.json").write_text(json.dumps(errors))
    free = {"latent": 0.1, "no move": 0.9, "regression": 0.12}
    plans = {"free": (None, free | {"labelled_arm_32_0": 0.2})}
    plans["guided"] = (
        0.1,
        {"latent": 0.05, "labelled_arm_32_0": 0.15, "no move": 0.9, "regression": 0.12, "guide": 0.11},
    )
    for name, (guide, found) in plans.items():
        (tmp_path / name).mkdir()
        summary = {label: {"displacement": {"mean": value}} for label, value in found.items()}
        (tmp_path / name / "plans.json").write_text(json.dumps({"guide": guide, "summary": summary}))
    figures = {tmp_path / name: "f" for name in plans}
    rows = study.rows_of("arm", driver, tmp_path / "labelled_arm_32_0", figures)
    found = {r["model"]: r["value"] for r in rows if r["figure"] == "f"}
    guided = {"latent, guided": 0.05, "labelled, guided": 0.15, "regression with z": 0.11}
    assert found == free | guided | {"labelled": 0.2}
    assert len([r for r in rows if r["figure"] == "f"]) == len(found)
    figure = study.drawn("displacement", 6)
    told = [row(**r, machine="m") | ({"figure": figure} if r["figure"] == "f" else {}) for r in rows]
    page = study.text(told, argparse.Namespace(episodes=64, samples=64))
    assert "| 0.50 | 0.11 | 0.25 | 0.33 | 0.42 |" in page
    assert "latent, guided" in study.curves(told).decode()


@pytest.mark.slow
def test_pusht_tells_every_model_by_share_of_labels(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(GPU.parent))
    pusht = importlib.import_module("pusht")
    summary = {
        label: {
            name: {"mean": float(value + n), "low": value, "high": value + n + 1}
            for n, name in enumerate(pusht.FIGURES)
        }
        for value, label in enumerate(
            (
                *pusht.FLOORS,
                "regression",
                "cloning",
                "labelled_pusht_21_0",
                "latent",
                *pusht.POLICY,
                "guide",
                pusht.PSEUDO_CLONING,
            )
        )
    }
    monkeypatch.setattr(pusht, "driver_of", lambda *_: tmp_path / "controller")
    monkeypatch.setattr(pusht, "labelled_of", lambda *_: tmp_path / "labelled_pusht_21_0")
    monkeypatch.setattr(pusht, "train_policy", lambda *_, **__: tmp_path / "policy")
    asked = []

    def play(*, out, **options):
        asked.append(options)
        out.mkdir(parents=True)
        (out / "play.json").write_text(json.dumps({"summary": summary}))

    monkeypatch.setattr(pusht, "play", play)
    args = argparse.Namespace(run=tmp_path / "nano" / "run", work=tmp_path, episodes=4)
    parts = [(way, 0.05) for way in pusht.WAYS] + [(way, 1.0) for way in pusht.WAYS if way not in pusht.PSEUDO_WAYS]
    rows = [{"machine": "m", **r} for way, share in parts for r in pusht.acted(args, way, share, 420, 0)]
    of_asked = [(one["clips"], one.get("guide"), "policy" in one, "unlabelled" in one) for one in asked]
    ways = [(None, False, False), (0.1, False, False), (None, True, False), (0.1, False, True)]
    assert of_asked == [(21, *way) for way in (*ways, (None, True, False))] + [(None, *way) for way in ways[:3]]
    assert {r["clips"] for r in rows} == {21, 420}
    told = argparse.Namespace(films=8, size="nano", steps=2, batch=4, episodes=4)
    page = pusht.text(rows, told)
    assert "## 5% of the labels: 21 clips" in page
    assert "| labelled | 1 | 4 (4 to 5) | 5 (4 to 6) |" in page
    assert "## 100% of the labels: 420 clips" in page
    again = pusht.text([*rows, *({**r, "seed": 1, "mean": r["mean"] + 1} for r in rows)], told)
    assert "| labelled | 2 | 4.500 (4.000 to 5.000) |" in again
    assert "| latent, guided | 1 | 5 (5 to 6) |" in page
    assert "latent, guided" in pusht.curves(rows).decode()


@pytest.mark.slow
def test_acting_tells_every_model_and_how_long_it_thinks(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(GPU.parent))
    acting = importlib.import_module("acting")
    monkeypatch.setattr(acting, "driver_of", lambda *_: tmp_path / "controller")
    monkeypatch.setattr(acting, "labelled_of", lambda *_: tmp_path / "labelled_arm_64_0")
    monkeypatch.setattr(acting, "train_policy", lambda run, **options: options["out"])
    asked = []

    def play(*, out, **options):
        asked.append(options)
        names = acting.GUIDED if options["guide"] else acting.UNGUIDED
        figures = {name: {"mean": 0.5, "low": 0.25, "high": 0.75} for name in (acting.SUCCESS, acting.DISTANCE)}
        labels = [*names, *(one.name for one in options["baselines"])]
        out.mkdir(parents=True)
        times = {label: 7.4 for label in labels if label != "no move"}
        (out / "play.json").write_text(json.dumps({"summary": dict.fromkeys(labels, figures), "milliseconds": times}))

    monkeypatch.setattr(acting, "play", play)
    args = argparse.Namespace(run=tmp_path / "run", work=tmp_path, episodes=4, ways=list(acting.WAYS))
    rows = [{"world": "arm", "clips": 64, "seed": 0, "machine": "m", **r} for r in acting.acted(args, "arm", 64, 0)]
    free, guided = asked
    assert (free["controls"], free["guide"], free["policy"].name) == (True, None, "policy_arm")
    assert (guided["controls"], guided["guide"], guided["policy"]) == (False, 0.1, None)
    page = acting.text(rows, args)
    for model in acting.MODELS:
        of_model = "" if model == "no move" else "7"
        assert f"| {model} | 1 | 0.5 (0.25 to 0.75) | 0.5 (0.25 to 0.75) | {of_model} |" in page
    assert "planner from policy" in acting.curves(rows).decode()
    args.ways = ["alone"]
    few = {row["model"] for row in acting.acted(args, "arm", 16, 0)}
    assert few == set(acting.UNGUIDED.values())
    assert [one["baselines"] for one in asked[2:]] == [[]]


@pytest.mark.slow
def test_pseudo_labels_are_told_by_what_teaches(monkeypatch):
    monkeypatch.syspath_prepend(str(GPU.parent))
    study = importlib.import_module("pseudo_labels")
    (seen, truth), held_out = films(60, 1), hidden(20, 2)
    rows = study.judged(Adds(), seen, truth.few(8, 0), held_out, 3, 0)
    assert {row["teacher"] for row in rows} == {study.FEW, study.LATENT, study.CHANGE}
    missed = {(row["teacher"], row["learner"], row["steps"]): row["missed"] for row in rows}
    assert len(missed) == len(rows) == 12
    assert missed[study.LATENT, "cloning", 3] < missed[study.FEW, "cloning", 3]
    assert {row["teacher"] for row in study.judged(Adds(), seen, truth, held_out, 3, 0)} == {study.FEW}
    part = {"world": "arm", "seed": 0, "machine": "m"}
    of_all = [{**part, "clips": "all", **row} for row in rows[:4]]
    page = study.text([*({**part, "clips": 8, **row} for row in rows), *of_all])
    assert page.count("| 8 | ") == 3
    assert "| all | all labels | " in page
    assert study.share_missed(lambda *_: held_out.actions.sum(dim=1), held_out, 7) == 0


def test_floors_lie_below_what_is_reached(monkeypatch):
    monkeypatch.syspath_prepend(str(GPU.parent))
    monkeypatch.setitem(SIZES, "L", replace(SIZES["L"], depth=2))  # every block counts the same
    floors = importlib.import_module("floors")
    rows = json.loads((GPU.parent / "results" / "cpu_2_cores.json").read_text())
    bench = {row["name"]: row["value"] for row in rows}
    found = floors.on_cpu(bench)
    assert all(0 < floor.flops / (1e9 * bench["matmul ceiling"]) < floor.reached for floor in found)
    of_gpus, _ = floors.on_gpu({})
    told = (GPU.parent.parent / "docs" / "results" / "floors.md").read_text()
    assert all(f"| {floor.what} |" in told and floor.moved > 0 for floor in [*found, *of_gpus])
    assert of_gpus[0].flops > of_gpus[1].flops  # the encoder's


def test_the_demo_tells_how_large_its_report_is(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(GPU.parent))
    demo_seeds = importlib.import_module("demo_seeds")
    errors = dict.fromkeys(demo_seeds.METHODS, 0.5)

    def demo(command, out):
        out.mkdir()
        (out / "report.html").write_bytes(bytes(8_200_000 if out.name == "demo_seed1" else 3_000_000))
        return {"sources": {"doom": errors}, "all": errors, "evaluations": {}}

    monkeypatch.setattr(demo_seeds, "results", demo)
    monkeypatch.setattr(demo_seeds, "TESTS", {})
    monkeypatch.setattr(
        "sys.argv", ["demo_seeds.py", "--seeds", "0", "1", "--runs", str(tmp_path), "--out", str(tmp_path)]
    )
    demo_seeds.main()
    assert "- size of report.html, aim under 8 MB: missed (largest 8.2 MB)." in capsys.readouterr().out
    assert json.loads((tmp_path / "demo.json").read_text())["report_bytes"] == [3_000_000, 8_200_000]
    assert "reached (largest 3.0 MB)" in demo_seeds.of_size([3_000_000])


@pytest.mark.slow
def test_the_ceiling_of_pusht_is_told_by_what_is_seen(monkeypatch, tmp_path):
    """From films of a moment, with networks that hardly learn: the true motions alone lead anywhere."""
    pytest.importorskip("gym_pusht")
    monkeypatch.syspath_prepend(str(GPU.parent))
    ceiling = importlib.import_module("pusht_ceiling")
    monkeypatch.setattr(ceiling, "STEPS", {"poses": 2, "states": 2})
    monkeypatch.setattr(ceiling, "SECONDS", 5.0)
    monkeypatch.setattr(ceiling, "NOISE", [0.0, 10.0])
    few = ["--films", "9", "--clips", "4", "0", "--seeds", "0", "--episodes", "4"]
    monkeypatch.setattr(sys, "argv", ["x", "--work", str(tmp_path), "--out", str(tmp_path), *few])
    ceiling.main()
    rows = json.loads((tmp_path / "pusht_ceiling.json").read_text())["rows"]
    assert [(r["seen"], r["noise"], r["clips"]) for r in rows] == [
        ("poses", 0.0, 4),
        ("poses", 0.0, "all"),
        ("poses", 10.0, "all"),
        ("read", 0.0, "all"),
        ("replay", 0.0, "all"),
        ("states", 0.0, 4),
        ("states", 0.0, "all"),
    ]
    assert all(0 <= r["success"] <= 1 for r in rows if r["seen"] != "read")
    page = (tmp_path / "pusht_ceiling.md").read_text()
    assert "| poses | 10 | all | 1 |" in page
    assert "(root mean square)" in page
    before = (tmp_path / "pusht_ceiling.json").read_text()
    ceiling.main()  # nothing is done again
    assert (tmp_path / "pusht_ceiling.json").read_text() == before


def test_the_true_motions_solve_most_of_pusht(monkeypatch):
    pytest.importorskip("gym_pusht")
    monkeypatch.syspath_prepend(str(GPU.parent))
    assert importlib.import_module("pusht_ceiling").replayed(20, seed=0) >= 0.5
