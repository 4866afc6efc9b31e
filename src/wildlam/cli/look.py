"""Commands that show what was learnt: eval, infer, show, report, transfer, search."""

from __future__ import annotations

import sys
from pathlib import Path

from wildlam.cli.common import OWN_RUN_HELP, Arguments, check_run, make_parser, own_run, results, run_before, summary
from wildlam.errors import WildlamError, named

RUN_HELP = "run folder; tiny for the model that comes with the package; hf:user/name[@revision] for one on the Hub"


def run_evaluate(argv: Arguments) -> None:
    """Evaluate a trained run on held-out videos again, its own or others, and write results and report.

    Results on its own videos replace the run's; those on others go to RUN/on-NAME_OF_THE_FOLDER.

    Examples:
      wildlam eval runs/demo
      wildlam eval runs/demo --data.path ~/other/videos
      wildlam eval runs/demo --bounds runs/unconstrained
    """
    from wildlam.video.files import location

    parser = make_parser("eval", run_evaluate)
    parser.add_argument("run", type=own_run, help=OWN_RUN_HELP)
    parser.add_argument("--data.path", type=location, help="another folder of videos, whose held-out ones are used")
    parser.add_argument(
        "--bounds",
        type=Path,
        nargs="+",
        default=[],
        help="other runs to compare rollouts with, such as an unconstrained one",
    )
    args = parser.parse_args(list(argv))
    check_run(str(args.run))
    from wildlam.workflows.evaluate import evaluate

    with named({"data": "--data.path"}):
        folder = evaluate(run=args.run, data=args.data.path, bounds=args.bounds).folder
    print("\n".join(results(folder)))


def run_infer(argv: Arguments) -> int:
    """Infer the latent action of every transition of videos, with timestamps, as .npz and .parquet.

    Of several videos, those that cannot be used are reported, the others are done, and the exit status is 1. A run
    trained with --model.bottleneck Adaptive keeps as many dimensions of each as its transition needs, and writes how
    many (dims), or keeps --dims of all.

    Examples:
      wildlam infer runs/demo holiday.mp4 --output holiday_actions
      wildlam infer tiny holiday.mp4 ~/videos --output actions
    """
    usage = "wildlam infer RUN VIDEO..."
    parser = make_parser("infer", run_infer, usage=f"{usage} [--output OUTPUT] [--dims DIMS]")
    parser.add_argument(
        "video", nargs="*", help=f"first the run ({RUN_HELP}), then video files and folders of them, at any depth"
    )
    parser.add_argument("--run", help="the run, if it does not stand before the videos")
    parser.add_argument(
        "--output",
        type=Path,
        help="where to write, without suffix, or of several videos the folder; the videos' names, here, by default",
    )
    parser.add_argument("--dims", type=int, help="how many leading dimensions of latent actions to keep (Adaptive)")
    args = parser.parse_args(list(argv))
    run, given = run_before(args.video, args.run, usage)
    from tqdm import tqdm

    from wildlam.pretrained import run_path
    from wildlam.workflows.infer import InferConfig, infer_each

    videos, failed = 0, 0
    for one in infer_each(InferConfig(run=run_path(run), videos=given, output=args.output, dims=args.dims)):
        videos += 1
        if one.actions is None:
            tqdm.write(f"wildlam: error: {one.error}", file=sys.stderr)  # beside the bar
            failed += 1
        else:
            count, width = one.actions.z.shape
            tqdm.write(f"{count} latent actions of width {width} in {' and '.join(map(str, one.files))}")
    if failed:
        print(f"wildlam: {failed} of {videos} videos could not be used", file=sys.stderr)
    return 1 if failed else 0


def run_show(argv: Arguments) -> None:
    """Print the summary of a run: configuration, progress and results.

    Example:
      wildlam show runs/demo
    """
    parser = make_parser("show", run_show)
    parser.add_argument("run", help=RUN_HELP)
    args = parser.parse_args(list(argv))
    check_run(args.run)
    from wildlam.pretrained import run_path
    from wildlam.runs.folder import Run

    print(summary(Run.open(run_path(args.run))))


def run_report(argv: Arguments) -> None:
    """Write the report of runs and sweeps again: one self-contained page each, as report.html in its folder.

    A run's page is drawn from the evaluations that its folder keeps. What there is not, or of other weights, videos,
    bounds or decoder, is evaluated, and all of it with --anew. Of a sweep, the finished runs are used.

    Examples:
      wildlam report runs/demo runs/sweep
      wildlam report runs/demo --anew
    """
    parser = make_parser("report", run_report)
    parser.add_argument("runs", type=own_run, nargs="+", help="folders of runs or sweeps")
    parser.add_argument(
        "--anew", action="store_true", help="of runs: evaluate again what is kept, too, as `wildlam eval` does"
    )
    args = parser.parse_args(list(argv))
    for path in args.runs:
        if not (path / "sweep.yaml").is_file():
            check_run(str(path))
    from wildlam.fileio import read_json
    from wildlam.workflows.evaluate import evaluate

    for path in args.runs:
        if (path / "sweep.yaml").is_file():
            from wildlam.workflows.sweep import read_sweep, report_sweep

            report_sweep(read_sweep(path))
            print(f"report     {path / 'report.html'}")
        else:
            known = path / "results.json"
            bounds = read_json(known).get("bounds", []) if known.is_file() else []
            print(f"report     {evaluate(run=path, bounds=bounds, kept=not args.anew).folder / 'report.html'}")


def run_transfer(argv: Arguments) -> None:
    """Transfer the latent actions of one video to another, and show both and the result side by side.

    Infers the latent actions of the source's first seconds and unrolls them from the target's first frames. Writes a
    film (source, target as it was, target under the source's actions) and, as .mp4.json, the errors of the states.
    Painted by the run's decoder (`wildlam decoder train RUN`), or by wildlam-tiny's where the encoder is the default.

    Example:
      wildlam transfer runs/demo turning.mp4 kitchen.mp4 -o kitchen_turning.mp4
    """
    from wildlam.config import to_config
    from wildlam.workflows.configs import TransferConfig

    usage = "wildlam transfer RUN SOURCE TARGET"
    parser = make_parser("transfer", run_transfer, usage=f"{usage} [-o OUTPUT] [...]")
    parser.add_argument(
        "video",
        nargs="*",
        help=f"first the run ({RUN_HELP}), then the video that is acted in, and that which it is done to",
    )
    parser.add_argument("--run", help="the run, if it does not stand before the videos")
    parser.add_argument("-o", "--output", type=Path, default=Path("transfer.mp4"), help="film to write, .mp4")
    parser.add_class_arguments(TransferConfig, skip={"run", "source", "target", "output"})
    args = parser.parse_args(list(argv))
    run, videos = run_before(args.video, args.run, usage)
    if len(videos) != 2:
        raise WildlamError(f"give two videos behind the run, source and target, not {len(videos)}: {usage}")
    given = {"run": run, "source": videos[0], "target": videos[1], "output": args.output}
    config = to_config(TransferConfig, parser, args, **given)
    from wildlam.workflows.transfer import transfer

    print(transfer(config))


def run_search(argv: Arguments) -> None:
    """Find transitions by the action in them: those of other videos whose latent actions are nearest to an example's.

    `wildlam search build RUN` infers the latent action of every transition of the run's videos, or of those in
    --data.path, into RUN/search (of tiny, into .wildlam/search-tiny in that folder); called again, it adds what is new.
    Then a search prints the nearest transitions and writes a page that shows them. Distances are 1 - cosine: 0 is the
    same direction, 1 unrelated. Speeds are ranks, from 0, the slowest of all transitions, to 1.

    Examples:
      wildlam search build runs/demo
      wildlam search runs/demo --like doom/held_out/maze_0_001.mp4@2.5
      wildlam search runs/demo --like ~/holiday.mp4@2.5 --count 12 --distinct_videos true --min_speed 0.5
      wildlam search runs/demo --like doom/held_out/maze_0_001.mp4@2.5 --save_group turns
      wildlam search runs/demo --like group:turns
      wildlam search build tiny --data.path ~/videos
      wildlam search tiny --data.path ~/videos --like walk.mp4@2.5
    """
    if argv and argv[0] == "build":
        run_search_build(argv[1:])
        return
    from wildlam.config import to_config
    from wildlam.video.files import location
    from wildlam.workflows.configs import SearchConfig

    parser = make_parser(
        "search", run_search, usage="wildlam search RUN --like EXAMPLE [...]\n       wildlam search build RUN"
    )
    parser.add_argument("run", help=RUN_HELP)
    parser.add_argument(
        "--data.path", type=location, help="folder of the videos of the index, which that of tiny lies with"
    )
    parser.add_argument("--sources", nargs="+", default=[], help="sources to look in; all by default")
    parser.add_class_arguments(SearchConfig, skip={"run", "sources", "data"})
    args = parser.parse_args(list(argv))
    check_run(args.run)
    config = to_config(SearchConfig, parser, args, run=args.run, sources=args.sources, data=args.data.path)
    from wildlam.workflows.search import search

    with named({"data": "--data.path"}):
        found = search(config)
    print(found)
    print(f"page       {found.page}")


def run_search_build(argv: Arguments) -> None:
    """Infer the latent action of every transition of the run's videos, or of others, into a search index.

    States come from the feature store, where videos are encoded first that are not there yet. Called again, it adds
    what is new and takes out what is gone or has changed.

    Examples:
      wildlam search build runs/demo
      wildlam search build runs/demo --data.path ~/other/videos --out runs/demo/search_other
      wildlam search build tiny --data.path ~/videos --data.on_error skip
    """
    from wildlam.video.files import location

    parser = make_parser("search build", run_search_build)
    parser.add_argument("run", help=RUN_HELP)
    parser.add_argument("--data.path", type=location, help="folder of videos; those of the run by default")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for the index; RUN/search by default, or .wildlam/search-tiny in that of the videos (tiny)",
    )
    parser.add_argument(
        "--data.on_error",
        choices=["raise", "skip"],
        help="of a video that cannot be used; as in training if not given",
    )
    parser.add_argument("--data.max_bad", type=float, help="share of the videos that skip may leave out, 0 to 1")
    parser.add_argument("--data.exclude", nargs="+", help="patterns of paths or file names that are left out")
    args = parser.parse_args(list(argv))
    check_run(args.run)
    from wildlam.workflows.search_build import build_search

    left_out = {name: getattr(args.data, name) for name in ("on_error", "max_bad", "exclude")}
    with named({"data": "--data.path", **{name: f"--data.{name}" for name in left_out}}):
        print(build_search(run=args.run, data=args.data.path, out=args.out, **left_out))
