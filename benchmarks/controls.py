"""Do the evaluations see what they claim? Models that are wrong in a known way: docs/results/controls.md.

    python benchmarks/controls.py [--run runs/demo] [--out docs/results]

Evaluates the run (of the demo, by default) and, on the same clips, models that cheat (z is the next state), are blind
(z is ignored) or shuffled (z means something else in every scene). About two minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from common import machine

import wildlam
from wildlam.distributed import Processes
from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.poses import true_actions
from wildlam.evaluation.broken_models import Blind, Cheating, Shuffled
from wildlam.evaluation.cycle import cycle
from wildlam.evaluation.intervals import Estimate
from wildlam.evaluation.leakage import leakage
from wildlam.evaluation.one_step import one_step
from wildlam.evaluation.probes import probes
from wildlam.evaluation.rollout import rollout
from wildlam.report.text import markdown_table
from wildlam.workflows.open_run import inferred, load_clips

HEADS = ("permuted / own", "scene cut", "unbridged", "cycle", "probe")
WORDS = {
    "trained": "the run itself",
    "cheating": "z is the next state; to be caught by the scene cuts",
    "blind": "z is ignored; to be caught by the rollout (another clip's z does as well) and the probe",
    "shuffled": "z means something else in every scene; to be caught by the cycle",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="a trained run whose videos have poses")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for controls.json and .md")
    args = parser.parse_args()

    trained = wildlam.load(args.run)
    device = torch.device("cpu")
    spec = trained.encoder.spec
    models = {
        "trained": trained.model,
        "cheating": Cheating(spec.grid, spec.width),
        "blind": Blind(trained.model),
        "shuffled": Shuffled(trained.model),
    }
    data = load_clips(trained.config, trained.encoder, Processes(0, 1, device))
    found: dict[str, dict[str, Estimate | None]] = {}
    for name, model in models.items():
        model.eval()
        clips, labelled = inferred(data, model, data.held_out), inferred(data, model, data.labelled())
        actions, known = true_actions(clips, data.manifest.root)
        of_train = true_actions(labelled, data.manifest.root)[0]
        errors, unrolled = one_step(model, clips), rollout(model, clips)
        found[name] = row = {"one step": errors.estimate("idm"), **dict.fromkeys(HEADS)}
        cuts = leakage(model, clips).per_clip
        row["unbridged"] = cuts.estimate("cut", over="cut_copy")
        if name != "cheating":  # whose errors are 0, and whose z is as wide as a state
            row["permuted / own"] = unrolled.per_clip.estimate("permuted", over="idm")
            row["scene cut"] = cuts.estimate("cut", over="plain")
            row["cycle"] = cycle(model, clips, unrolled).per_clip.estimate("cycled", over="original")
            probed = probes(labelled, of_train, clips.where(known), actions[known], list(PLANAR.action_names))
            row["probe"] = probed.r_squared("linear z")["mean"]
        print(name, {key: str(value) for key, value in found[name].items()}, flush=True)
    heads = list(found["trained"])
    lines = [
        "# Do the evaluations see what they claim?",
        "",
        f"Made by `python benchmarks/controls.py --run {args.run}` on {machine()}: the demo's model and, on its",
        "held-out clips, models that are wrong in a known way, with 95 % bootstrap intervals over videos (one seed).",
        "",
        *markdown_table(
            ["model", *heads], ([name, *(str(row[h] or "-") for h in heads)] for name, row in found.items())
        ),
        "",
        *(f"- **{name}**: {words}." for name, words in WORDS.items()),
        "",
        "one step: L1 error with inferred z. permuted / own: error of two-second rollouts with another clip's z over",
        "that with their own; 1 says that z is ignored. scene cut: error at a cut over that without one (a perfect",
        "cheat divides 0 by 0). unbridged: error at a cut over that of copying the state before it; 0 says that z held",
        "the state after it. cycle: rollout error with actions that have been to another video over that with those",
        "that have not. probe: mean R² of the true actions by a linear map of z.",
        "",
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "controls.md").write_text("\n".join(lines))
    record = {name: {h: vars(e) if e else None for h, e in row.items()} for name, row in found.items()}
    (args.out / "controls.json").write_text(json.dumps({"machine": machine(), "models": record}, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
