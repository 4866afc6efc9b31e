"""The command line: each command parses its arguments, calls one function of the library and prints what came of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wildlam import __version__
from wildlam.types import WildlamError

Arguments = Sequence[str]


def main(argv: Arguments | None = None) -> int:
    """Run ``wildlam COMMAND ...``; return the exit status: 0, 2 for an error the user can mend, 130 if interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"wildlam {__version__}")
        return 0
    try:
        command = COMMANDS.get(argv[0])
        if command is None:
            import difflib

            near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
            raise WildlamError(f"unknown command {argv[0]!r}; {hint}")
        command(argv[1:])
    except WildlamError as error:
        print(f"wildlam: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("wildlam: interrupted; what was finished is kept, and the same command goes on from it", file=sys.stderr)
        return 130
    return 0


def index(argv: Arguments) -> None:
    """List the videos of a folder in a manifest, or refresh it.

    Looks into every file once, and again only when it changed. Example:

        wildlam index ~/videos --on_error skip
    """
    from wildlam.data.manifest import index

    parser = _parser("index")
    parser.add_argument(
        "path", type=Path, help="folder of videos (searched at any depth), or a list of them (.csv, .txt)"
    )
    parser.add_argument("--held_out", type=float, default=0.1, help="share of the videos kept for evaluation")
    parser.add_argument("--on_error", choices=["raise", "skip"], default="raise", help="what to do with a bad file")
    parser.add_argument("--cache", type=Path, help="folder for the manifest (default: PATH/.wildlam)")
    args = parser.parse_args(list(argv))
    manifest = index(args.path, held_out=args.held_out, on_error=args.on_error, cache=args.cache)
    hours = sum(manifest.table["duration"].to_pylist()) / 3600
    held_out = len(manifest.split("held_out"))
    print(f"{len(manifest)} videos, {hours:.2f} hours, {held_out} held out, {len(manifest) - held_out} for training")


def encode(argv: Arguments) -> None:
    """Encode the videos of a folder into a feature store; training reads it instead of the videos.

    Takes the same keys as `wildlam train`, which does this by itself. Example:

        wildlam encode --data.path ~/videos --encoder VJEPA2 --encoder.model ~/models/vjepa2-vitl --data.frames 16
    """
    from wildlam.config import run_parser, to_run_config
    from wildlam.pipeline import encode, index_videos

    parser = run_parser(**_about("encode"))
    config = to_run_config(parser, parser.parse_args(list(argv)))
    store = encode(config.data, config.encoder.build(), index_videos(config.data))
    print(f"{len(store)} states of {store.state_bytes} bytes in {store.path}")


def train(argv: Arguments) -> None:
    """Train latent actions on a folder of videos, evaluate them on held-out videos and write a report.

    Examples:

        wildlam train --data.path ~/videos
        wildlam train --data.path ~/videos --model.bottleneck Sparse --model.bottleneck.l1 0.1 --training.steps 3000
        wildlam train --config configs/laptop.yaml --data.path ~/videos --seed 1
        wildlam train --resume runs/videos-20260101-120000
        torchrun --nproc-per-node 2 --no-python wildlam train --data.path ~/videos --out runs/two
    """
    from wildlam.config import read_config, run_parser, to_run_config
    from wildlam.pipeline import train
    from wildlam.training import Run

    parser = run_parser(**_about("train"))
    parser.add_argument("--resume", type=Path, help="run folder to go on with; it knows its own configuration")
    if "--resume" in argv or any(a.startswith("--resume=") for a in argv):
        args = _parser("train --resume")
        args.add_argument("--resume", type=Path)
        run = Run.open(args.parse_args(list(argv)).resume)
        _finished(train(read_config(run.path / "config.yaml"), resume=True))
    else:
        _finished(train(to_run_config(parser, parser.parse_args(list(argv)))))


def evaluate(argv: Arguments) -> None:
    """Evaluate a trained run on held-out videos again, its own or others, and rewrite its results and report.

    Examples:

        wildlam eval runs/demo
        wildlam eval runs/demo --data ~/other/videos
    """
    from wildlam.pipeline import evaluate

    parser = _parser("eval")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--data", type=Path, help="another folder of videos, of which the held-out ones are used")
    args = parser.parse_args(list(argv))
    evaluate(args.run, args.data)
    _finished(args.run)


def infer(argv: Arguments) -> None:
    """Infer the latent action of every transition of a video, with timestamps, as .npz and .parquet.

    Example:

        wildlam infer holiday.mp4 --run runs/demo --output holiday_actions
    """
    from wildlam.trained import load

    parser = _parser("infer")
    parser.add_argument("video", type=Path, help="video file")
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("--output", type=Path, help="where to write, without suffix (default: the video's name, here)")
    args = parser.parse_args(list(argv))
    actions = load(args.run).infer(args.video)
    npz, parquet = actions.save(args.output or Path(args.video.stem))
    print(f"{len(actions.z)} latent actions of width {actions.z.shape[1]} in {npz} and {parquet}")


def show(argv: Arguments) -> None:
    """Print a run's summary: what it is, how far it got, its results.

    Example:

        wildlam show runs/demo
    """
    from wildlam.training import Run

    parser = _parser("show")
    parser.add_argument("run", type=Path, help="run folder")
    print(summary(Run.open(parser.parse_args(list(argv)).run)))


def demo(argv: Arguments) -> None:
    """Collect a small unlabelled mix of videos, learn its latent actions and report: the whole job, without a GPU.

    An interrupted demo goes on where it stopped when called again. Example:

        wildlam demo
    """
    from wildlam.demo import demo

    parser = _parser("demo")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run folder")
    parser.add_argument("--episodes", type=int, default=160, help="walks through Doom levels to film, 16 s each")
    parser.add_argument("--steps", type=int, default=400, help="training steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of the walks and of the training")
    args = parser.parse_args(list(argv))
    _finished(demo(args.out, episodes=args.episodes, steps=args.steps, seed=args.seed))
    print("Next, on your own videos:  wildlam train --data.path DIR_OF_VIDEOS")


COMMANDS: dict[str, Callable[[Arguments], None]] = {
    "index": index,
    "encode": encode,
    "train": train,
    "eval": evaluate,
    "infer": infer,
    "show": show,
    "demo": demo,
}


def summary(run: Any) -> str:
    """What a run is, how far it got and what it reached, as text."""
    from wildlam.config import read_config
    from wildlam.evaluation.one_step import METHODS
    from wildlam.training.run import read_json

    facts, metrics = run.facts, run.metrics()
    config = read_config(run.path / "config.yaml")
    lines = [
        f"run        {run.path}",
        f"command    {facts['command']}",
        f"started    {facts['started']} on {facts['machine']}, torch {facts['versions']['torch']}, seed {facts['seed']}",
        f"videos     {config.data.path}, {config.data.frames} frames at {config.data.fps:g} frames/s",
        f"encoder    {facts['encoder']['name']}, {facts['encoder']['grid']} tokens of width {facts['encoder']['width']}",
        f"model      {config.model.size}, {config.model.bottleneck}",
        f"steps      {metrics[-1]['step'] if metrics else 0} of {config.training.steps}",
    ]
    if (run.path / "results.json").is_file():
        results = read_json(run.path / "results.json")
        rows = {**results["sources"], "all": results["all"]}
        present = [method for method in METHODS if method in results["all"]]
        lines += [
            "",
            f"Held-out one-step L1 error, {results['clips']} clips:",
            " " * 20 + "".join(f"{m:>15}" for m in present),
        ]
        lines += [f"{name[:19]:20}" + "".join(f"{row[m]:15.4f}" for m in present) for name, row in rows.items()]
        lines += ["", f"report     {run.path / 'report.html'}"]
    return "\n".join(lines)


def _finished(run_path: Path) -> None:
    from wildlam.training import Run
    from wildlam.training.distributed import is_main_process

    if is_main_process():
        print(summary(Run.open(run_path)))


def _about(name: str) -> dict[str, Any]:
    function = COMMANDS[name.split()[0]]
    text = (function.__doc__ or "").rstrip()
    return {"prog": f"wildlam {name}", "description": text}


def _parser(name: str) -> Any:
    from wildlam.config import Parser

    return Parser(**_about(name))


def _usage() -> str:
    lines = [
        f"wildlam {__version__}: learn the action space of unlabelled video",
        "",
        "usage: wildlam COMMAND [--help] ...",
        "",
    ]
    lines += [f"  {name:8} {(function.__doc__ or '').splitlines()[0]}" for name, function in COMMANDS.items()]
    return "\n".join([*lines, "", "start with: wildlam demo"])
