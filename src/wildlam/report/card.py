"""The model card of a run that is given to others: ``README.md``, made from its configuration and its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from wildlam.config import read_config
from wildlam.evaluation.intervals import LEVEL, PerClip
from wildlam.evaluation.one_step import METHODS
from wildlam.evaluation.verdict import verdict_of
from wildlam.fileio import read_json
from wildlam.pretrained import tiny_decoder
from wildlam.report.text import markdown_table
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run

PAPER = "https://arxiv.org/abs/2601.05230"
TAGS = ("wildlam", "world-model", "latent-actions", "inverse-dynamics", "video")


def model_card(run: Run, name: str, license: str, about: str, parts: Mapping[str, Sequence[str]]) -> str:
    """The card of a run, as Markdown with metadata in front.

    Args:
        run: the run, as it is given to others.
        name: its name on the Hub, ``user/name``.
        license: identifier of the licence of the weights.
        about: what the videos show and where they are from, in the author's words; may be empty.
        parts: what was trained for it: lines with figures, by the folder's name.

    Raises:
        WildlamError: a file of it is damaged.
    """
    lines = [
        "---",
        yaml.safe_dump(_metadata(run, license), sort_keys=False).rstrip(),
        "---",
        "",
        f"# {name.partition('/')[2]}",
        "",
        "A latent action model: from video without actions it has learnt what happens from one state to the next (an "
        "inverse dynamics model infers *latent actions*), and what a latent action leads to (a world model predicts "
        f"the next state), as in [Learning Latent Action World Models In The Wild]({PAPER}). States are those of a "
        "frozen encoder, whose weights are not part of this repository.",
        "",
        *markdown_table(["", ""], _facts(run, license)),
        "",
        *_use(name, "decoder" in parts or tiny_decoder(run.encoder_spec.fingerprint) is not None),
        "## Data",
        "",
        *_data(run, about),
        "",
        "## Figures",
        "",
        *_figures(run),
        "",
        *_parts(parts),
        "## Limits",
        "",
        *_limits(run),
    ]
    return "\n".join(lines) + "\n"


def _metadata(run: Run, license: str) -> dict[str, Any]:
    found: dict[str, Any] = {"library_name": "wildlam", "license": license, "tags": list(TAGS)}
    weights = getattr(read_config(run.path / "config.yaml").encoder, "model", None)
    return found if weights is None else found | {"base_model": weights, "base_model_relation": "adapter"}


def _facts(run: Run, license: str) -> Iterator[tuple[str, str]]:
    config, spec, facts = read_config(run.path / "config.yaml"), run.encoder_spec, run.facts
    best = checkpoints.best(run.checkpoints)
    weights = getattr(config.encoder, "model", None)
    yield (
        "encoder",
        f"{spec.name}{f' ({weights})' if weights else ''}, fingerprint `{spec.fingerprint}`; {spec.grid[0]} x "
        f"{spec.grid[1]} tokens of width {spec.width} from frames of {spec.image_size} pixels",
    )
    yield (
        "states",
        f"one of {spec.frames_per_state} frame{'s' * (spec.frames_per_state > 1)}, at {config.data.fps:g} frames a "
        "second",
    )
    model = config.model
    yield "model", f"size {model.size}, inverse dynamics `{model.idm}`, predicts {model.predict}"
    yield "latent action", f"`{model.bottleneck}`, consistency `{model.consistency}`"
    parameters = sum(weight.numel() for weight in best.model_tensors().values())
    yield "weights", f"{parameters / 1e6:.1f} million numbers, safetensors"
    yield (
        "training",
        f"{best.step:,} of {config.training.steps:,} steps of {config.training.batch_size} clips of "
        f"{config.data.frames} frames, seed {facts['seed']}; `config.yaml` has every setting",
    )
    yield "software", ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    yield "licence", license


def _use(name: str, painted: bool) -> list[str]:
    more = [f"wildlam transfer hf:{name} turning.mp4 kitchen.mp4"] if painted else []
    return [
        "## Use",
        "",
        "```python",
        "import wildlam",
        "",
        f'trained = wildlam.load("{name}")',
        'actions = trained.infer("video.mp4")  # actions.z: float32 [T - 1, Z]',
        "```",
        "",
        "```bash",
        f"wildlam infer hf:{name} video.mp4",
        *more,
        "```",
        "",
    ]


def _data(run: Run, about: str) -> Iterator[str]:
    yield about or "What the videos show, where they are from and under what licence is not told."
    file = run.path / "results.json"
    if file.is_file():
        yield ""
        yield f"Sources, by the names of their folders: {', '.join(read_json(file)['sources'])}."
    yield ""
    yield "The model has seen pixels alone. The videos are not part of this repository."


def _figures(run: Run) -> Iterator[str]:
    if not (run.path / "results.json").is_file():
        yield "It has not been evaluated."
        return
    results, per_clip = read_json(run.path / "results.json"), run.path / "evaluations.json"
    present = [method for method in METHODS if method in results["all"]]
    yield f"Held-out one-step L1 error of the states (lower is better), {results['clips']} clips:"
    yield ""
    if per_clip.is_file():
        clips = PerClip.from_json(read_json(per_clip)["one_step"])
        of = {source: clips.where([own == source for own in clips.sources]) for source in results["sources"]}
        rows = {source: [_estimate(few, one) for one in present] for source, few in (of | {"all": clips}).items()}
        told = f"In brackets {100 * LEVEL:.0f} % bootstrap intervals over recordings, where there are enough."
    else:
        rows = {source: [f"{row[one]:.3f}" for one in present] for source, row in results["sources"].items()}
        rows["all"] = [f"{results['all'][one]:.3f}" for one in present]
        told = ""
    yield from markdown_table(
        ["", *(METHODS[method] for method in present)], [[source, *cells] for source, cells in rows.items()]
    )
    if told:
        yield ""
        yield told
    yield ""
    verdict = verdict_of(run.path)
    yield f"**{verdict.head}**"
    yield ""
    yield from (f"- {sentence}" for sentence in verdict.sentences if not sentence.startswith("Next:"))


def _estimate(clips: PerClip, method: str) -> str:
    """The mean of an error, with its interval if there are enough clips for one."""
    found = clips.estimate(method)
    return str(found) if clips.is_enough else f"{found.mean:.3f}"


def _parts(parts: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if parts:
        yield "## Trained for it"
        yield ""
    for folder, lines in parts.items():
        yield f"`{folder}/`:"
        yield ""
        yield from ("```text", *lines, "```", "")


def _limits(run: Run) -> Iterator[str]:
    yield (
        "- It knows the videos it was trained on: on others its latent actions may mean little. `wildlam eval RUN "
        "--data.path DIR` tells, on yours."
    )
    yield (
        "- Latent actions have no names and no units. What one means is found out by a controller or a linear map, "
        "from labelled clips."
    )
    yield (
        "- What it predicts are states of its encoder, a step at a time; errors add up over a rollout. Pictures are "
        "painted by a decoder for looking, and are no evidence of what would happen."
    )
    yield f"- It works with the encoder of fingerprint `{run.encoder_spec.fingerprint}` alone, and refuses others."
    if (run.path / "results.json").is_file():
        for claim in verdict_of(run.path).claims:
            if claim.holds is False:
                yield f"- {claim.said}"
