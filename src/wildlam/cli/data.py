"""Commands on videos and what is derived from them: index, encode, store, collect."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path

from wildlam.cli.common import RUN_USAGE, Arguments, about, command, make_parser
from wildlam.errors import WildlamError, named
from wildlam.fileio import writing


def run_index(argv: Arguments) -> None:
    """List the videos of a folder in a manifest, or refresh it.

    Looks into every file once, and again only when it changed. `wildlam train` does this by itself.

    Example:
      wildlam index ~/videos --on_error skip
    """
    from wildlam.config import to_config
    from wildlam.video.files import location
    from wildlam.workflows.configs import IndexConfig

    parser = make_parser("index", run_index)
    parser.add_argument(
        "path",
        type=location,
        help="folder of videos and tar shards (searched at any depth), or a list of them (.csv, .txt); also a URL",
    )
    parser.add_argument("--exclude", nargs="+", default=[], help="patterns of paths or names to leave out: '*.gif'")
    parser.add_argument("--cuts", action="store_true", help="look for cuts, for --data.cuts (wildlam[cuts]; slower)")
    parser.add_class_arguments(IndexConfig, skip={"path", "exclude", "cuts"})
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write as CSV what is odd about which video, or why it is skipped"
    )
    args = parser.parse_args(list(argv))
    config = to_config(IndexConfig, parser, args, path=args.path, exclude=args.exclude, cuts=args.cuts)
    from wildlam.workflows.index import index

    with named({"path": "PATH"}):
        found = index(config)
    if args.report is not None:
        with writing(args.report, "give another --report"), args.report.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "kind", "details"), *found.odd])
    print(found)
    if args.cuts:
        cuts = found.manifest.cuts()
        print(f"{sum(map(len, cuts.values()))} cuts in {len(cuts)} of them; --data.cuts true takes no clip across one")


def run_data(argv: Arguments) -> None:
    """Look at labelled data before anything is trained: episodes, rates, actions, what is odd.

    Writes a page with some episodes: their frames, and the curves of what was done; with --films, a film of every
    episode, which `wildlam train` reads where the data hold pictures one by one. Formats: LeRobot v2.1 and v3.0 of
    any robot, RLDS (Open X-Embodiment), DROID and RECON as released, HDF5 of robomimic, LIBERO and ALOHA, Zarr of
    Diffusion Policy, or videos with NAME.poses.csv or NAME.actions.csv beside them.

    Examples:
      wildlam data ~/lerobot/pusht
      wildlam data ~/lerobot/aloha --actions recorded --block summed --camera cam_high --out aloha.html
      wildlam data ~/tensorflow_datasets/my_robot/1.0.0 --rate 10
      wildlam data ~/tensorflow_datasets/my_robot/1.0.0 --rate 10 --films runs/my_robot/films
    """
    from wildlam.config import to_config
    from wildlam.workflows.data import PreviewConfig, preview

    parser = make_parser("data", run_data)
    parser.add_argument("path", type=Path, help="folder of the data")
    parser.add_class_arguments(PreviewConfig, skip={"path"})
    args = parser.parse_args(list(argv))
    config = to_config(PreviewConfig, parser, args, path=args.path)
    with named({**{part.name: f"--{part.name}" for part in fields(PreviewConfig)}, "path": "PATH", "data": "PATH"}):
        found = preview(config)
    print(found)
    if config.films is not None:
        print(f"{found.films} films in {config.films}")
        print(f"next       {command('train', '--data.path', config.films)}")


def run_encode(argv: Arguments) -> None:
    """Encode the videos of a folder into a feature store; training reads it instead of the videos.

    Takes the same keys as `wildlam train`, which does this by itself; those of the model and of training are
    ignored (--help-all). Under torchrun each process encodes its share.

    Examples:
      wildlam encode --data.path ~/videos --encoder VJEPA2 --encoder.model ~/models/vjepa2-vitl --data.frames 16
      torchrun --nproc-per-node 8 --no-python wildlam encode --data.path ~/videos --encoder VJEPA2
    """
    from wildlam.config import RunConfig, run_parser, to_config
    from wildlam.video.config import DataConfig

    parser = run_parser(**about("encode", run_encode), usage=RUN_USAGE.format("encode"))
    parser.show_only({"config", "encoder", *(f"data.{part.name}" for part in fields(DataConfig))})
    config = to_config(RunConfig, parser, parser.parse_args(list(argv)))
    from wildlam.workflows.encode import encode

    if found := encode(config):
        print(f"{found.states} states of {found.state_bytes} bytes in {found.folder}")


def run_store(argv: Arguments) -> None:
    """Maintain the encoded states of videos: info shows a summary, verify checks all states, repair repairs the store.

    PATH is a store, or a folder of videos that has been encoded. Every state has a checksum, which training compares as
    well. repair removes videos with damaged states, which the next run encodes again, and duplicates, joins small
    files and frees unused space; it waits for a run that encodes.

    Examples:
      wildlam store info ~/videos
      wildlam store verify ~/videos/.wildlam/states-lite0-1234567890abcdef-4fps.lance
      wildlam store repair ~/videos
    """
    parser = make_parser("store", run_store)
    parser.add_argument("action", choices=["info", "verify", "repair"], help="what to do")
    parser.add_argument("path", metavar="PATH", type=Path, help="a store, or a folder of videos")
    args = parser.parse_args(list(argv))
    from wildlam.states import integrity
    from wildlam.states.store import FeatureStore

    damaged = []
    for path in integrity.find_stores(args.path):
        opened = FeatureStore.open(path)
        if args.action == "info":
            print("\n".join(integrity.describe(opened)))
            continue
        damage = (integrity.verify if args.action == "verify" else integrity.repair)(opened)
        print("\n".join([f"store      {path}", *integrity.describe_damage(damage)]))
        if damage and args.action == "verify":
            damaged.append(str(path))
        elif args.action == "repair":
            print("\n".join(integrity.describe(FeatureStore.open(path))[3:]))
    if damaged:
        raise WildlamError(f"damaged: {', '.join(damaged)}; repair it by `{command('store', 'repair', args.path)}`")


def run_collect(argv: Arguments) -> None:
    """Film a world whose true actions are known: videos to train on, with their poses.

    Of simulators a share of the films has a ball that drifts about and light that changes, which no action causes.
    With --cameras many the arm is seen from another place, at another angle and through another lens in each film, in
    held-out ones from other sides; NAME.camera.json says from where. Actions stay in the robot's axes, as DROID's.
    In movers nobody acts: pieces of real frames move in front of others, or Doom's monsters walk about, and
    NAME.truth.npz says of each where it is, how it moves and what is seen of it (see docs/commands.md).

    pusht needs pip install 'wildlam[pusht]'; it is filmed at 10 frames a second, and what the disc was told lies in
    NAME.actions.csv.

    Formats: video (H.264 at 8 frames a second, pusht 10, each with NAME.poses.csv); lerobot (v3.0, the same); recon
    (nav: HDF5 as RECON is released, 4 a second); droid (arm: as DROID is released, 15 a second). All can be given to
    `wildlam controller train` and `wildlam plan`. Finished films are kept, so that an interrupted call can be repeated.

    Examples:
      wildlam collect nav -o runs/nav/videos --episodes 400
      wildlam collect arm -o runs/arm/droid --episodes 50 --format droid
      wildlam collect arm -o runs/arm/videos --cameras many --seconds 8
      wildlam collect pusht -o runs/pusht/videos --seconds 20
      wildlam collect movers -o runs/movers/videos --movers 1,2 --background still --seconds 8
    """
    from wildlam.workflows.collect import FORMATS, WORLDS, collect
    from wildlam.worlds.cameras import CAMERAS
    from wildlam.worlds.movers import BACKGROUNDS, KINDS, MOVERS
    from wildlam.worlds.recorder import SHARE
    from wildlam.worlds.simulators import SIMULATORS

    parser = make_parser("collect", run_collect)
    about_worlds = ". ".join(f"{name}: {one.about}" for name, one in SIMULATORS.items())
    about_worlds += ". movers: up to four things that move independently, in front of backgrounds that move or do not"
    parser.add_argument("world", choices=list(WORLDS), help=f"the world. {about_worlds}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for what is filmed")
    parser.add_argument("--episodes", type=int, default=400, help="films in all")
    parser.add_argument("--seconds", type=float, default=16.0, help="length of each")
    parser.add_argument("--format", choices=list(FORMATS), default="video", help="how it is written")
    parser.add_argument(
        "--distractors", type=float, help=f"of simulators: share of the films with a ball and lights ({SHARE:g})"
    )
    parser.add_argument(
        "--cameras", choices=CAMERAS, help="of arm: the same for all films, or one drawn for each (fixed)"
    )
    counts, kinds = ",".join(map(str, MOVERS)), ",".join(BACKGROUNDS)
    parser.add_argument("--kind", choices=list(KINDS), help="of movers: what moves (cutouts)")
    parser.add_argument("--movers", metavar="N,N...", help=f"of movers: how many may be in a film ({counts})")
    parser.add_argument("--background", metavar="KIND,KIND...", help=f"of movers: what is behind them ({kinds})")
    parser.add_argument("--seed", type=int, default=0, help="seed of all films")
    args = parser.parse_args(list(argv))
    with named({"out": "--output", "form": "--format", "backgrounds": "--background"}):
        films = collect(
            args.world,
            args.output,
            args.format,
            episodes=args.episodes,
            seconds=args.seconds,
            seed=args.seed,
            distractors=args.distractors,
            cameras=args.cameras,
            kind=args.kind,
            movers=None if args.movers is None else _counts(args.movers),
            backgrounds=None if args.background is None else args.background.split(","),
        )
    print(f"{films} films in {args.output}")
    if args.format in ("video", "lerobot"):  # films that training reads
        print(f"next       {command('train', '--data.path', args.output)}")
    else:
        print(f"next       {command('controller', 'train', 'RUN', '--data', args.output)}")


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise WildlamError(f"--movers must be whole numbers, such as 0,1,2; got {text}") from error
