"""Commands that act with what was learnt, and the demo of it all: plan, play, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wildlam.cli.common import Arguments, command, finished, make_parser

if TYPE_CHECKING:
    from wildlam.config import Parser


def run_plan(argv: Arguments) -> None:
    """Plan in held-out episodes towards a goal image, with a run's model and controller, and judge the plans.

    droid: three free steps, found by the cross-entropy method; judged by the displacement. recon: one action divided
    into eight steps, the best of 120; judged by its trajectory (ATE, RPE). Lengths are in the units of the data.

    Examples:
      wildlam plan runs/demo --data runs/demo/videos --protocol recon
      wildlam plan runs/demo --data runs/demo/videos --controller runs/demo/controller_32 --protocol droid
    """
    from wildlam.episodes.pairing import TOLERANCE
    from wildlam.workflows.plan import EPISODES, plan

    parser = make_parser("plan", run_plan)
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


def run_play(argv: Arguments) -> None:
    """Let a run's model and controller act in a simulator towards goal images: model-predictive control.

    Each step plans anew (cross-entropy method, three steps ahead) from what is seen. Success is to end near the goal.
    nav walks in levels that `wildlam collect nav` holds out; arm moves the hand of a Fetch robot. On two cores fifty
    episodes take three to ten minutes, and half as long again for each of --baselines.

    Examples:
      wildlam play runs/nav/run --world nav --episodes 10
      wildlam play runs/tiny --world arm --controller runs/tiny/controller_arm    # after `wildlam demo --pretrained`
    """
    from wildlam.workflows.play import EPISODES, TASKS, play

    parser = make_parser("play", run_play)
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


def _add_controller(parser: Parser) -> None:
    parser.add_argument("--controller", type=Path, help="its folder; RUN/controller by default")
    parser.add_argument(
        "--baselines", type=Path, nargs="+", default=[], help="world models trained on real actions, to compare with"
    )


def run_demo(argv: Arguments) -> None:
    """Collect a small unlabelled mix of videos, learn its latent actions and report: the whole job, without a GPU.

    An interrupted demo goes on where it stopped when called again. With --pretrained nothing is trained: wildlam-tiny,
    which comes with the package, is evaluated and plans in films of both worlds (an arm, and walks) made for it.

    Examples:
      wildlam demo
      wildlam demo --pretrained
    """
    from wildlam.workflows.demo import EPISODES, OUT, PRETRAINED_EPISODES, PRETRAINED_OUT, STEPS, demo, demo_pretrained

    parser = make_parser("demo", run_demo)
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
        finished(out)
        print("\n".join(["", *map(str, plans)]))
        print(f"Next, closed loop:  {command('play', out, '--world', 'arm', '--controller', out / 'controller_arm')}")
        return
    episodes = EPISODES if args.episodes is None else args.episodes
    finished(demo(args.out or OUT, episodes=episodes, steps=args.steps, seed=args.seed))
    print("Next, on your own videos:  wildlam train --data.path DIR_OF_VIDEOS")
