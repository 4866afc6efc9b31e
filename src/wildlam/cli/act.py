"""Commands that act with a trained model, and the demo: plan, play, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wildlam.cli.common import (
    OWN_RUN_HELP,
    Arguments,
    command,
    finished,
    make_parser,
    own_run,
    run_part,
    training_arguments,
)
from wildlam.errors import named

if TYPE_CHECKING:
    from wildlam.config import Parser


def run_plan(argv: Arguments) -> None:
    """Plan in held-out episodes towards a goal image, with a run's model, and evaluate the plans.

    droid: three free steps, found by the cross-entropy method; error of the displacement. recon: one action divided
    into eight steps, the best of 120; error of the trajectory (ATE, RPE). Lengths are in the units of the data.

    --in latent plans in latent actions that a prior (`wildlam prior train`) finds likely, and decodes them by a linear
    map from a few labelled clips: it needs no controller.

    --guide PRICE fits a linear map from start and goal to the whole motion, to labelled clips (--clips 32 of --labelled
    or --data; give those that the controller has seen), and makes it dear to leave what it guesses. The table then has
    that guess by itself (guide), and what the two pictures' states tell without any model (regression).

    Examples:
      wildlam plan runs/demo --data runs/demo/videos --protocol recon
      wildlam plan runs/demo --data runs/demo/videos --in latent --clips 32 --iterations 6
      wildlam plan runs/demo --data runs/demo/videos --controller runs/demo/controller_32 --protocol droid
      wildlam plan runs/arm --data arms --protocol droid --guide 0.1 --clips 32
      wildlam plan runs/arm --data arms --protocol droid --controls true --clips 32 --unlabelled films
    """
    from wildlam.config import to_config
    from wildlam.workflows.plan import PlanConfig, plan

    parser = make_parser("plan", run_plan)
    parser.add_argument("run", type=own_run, help=OWN_RUN_HELP)
    _add_baselines(parser)
    parser.add_argument(
        "--simulator",
        action="store_true",
        help="plan with the simulator that filmed them, too, in place of the model and of the controller: upper bounds",
    )
    _add_search_space(parser)
    parser.add_class_arguments(PlanConfig, skip={"run", "baselines", "simulator", "plan_in"})
    args = parser.parse_args(list(argv))
    given = {name: args[name] for name in ("run", "baselines", "simulator", "plan_in")}
    with named({"plan_in": "--in"}):
        print(plan(to_config(PlanConfig, parser, args, **given)))


def run_play(argv: Arguments) -> None:
    """Let a run's model act in a simulator towards goal images: model-predictive control.

    Every step replans from the current picture (cross-entropy method, three steps ahead; pusht as far as the goal is
    away). nav walks in levels that `wildlam collect nav` holds out, arm moves the hand of a Fetch robot: an episode
    succeeds if it ends near the goal, which does not lie near where the average command leads. pusht has starts, goals
    and success as the public benchmarks: it succeeds, and ends, as soon as it is there. Train for it with --data.fps 2,
    and controllers of --actions poses, states, or recorded, which then tells the disc where to go. On two cores fifty
    episodes take three to ten minutes, and half as long again for each of --baselines.

    --in latent needs no controller, and --guide PRICE guides plans by --labelled videos; see `wildlam plan --help`.

    Examples:
      wildlam play runs/nav/run --world nav --episodes 10
      wildlam play runs/nav/run --world nav --guide 0.1 --labelled runs/nav/videos --clips 32
      wildlam play runs/nav/run --world nav --in latent --labelled runs/nav/videos --clips 32
      wildlam play runs/pusht/run --world pusht --seed 1
      wildlam play runs/tiny --world arm --controller runs/tiny/controller_arm    # after `wildlam demo --pretrained`
    """
    _play(make_parser("play", run_play), argv)


def _play(parser: Parser, argv: Arguments, policy: str | None = None) -> None:
    """Act; with the ``policy`` of that name in the run's folder, if none is given."""
    from wildlam.config import to_config
    from wildlam.workflows.play import PlayConfig, play
    from wildlam.worlds.simulators import SIMULATORS

    parser.add_argument("run", type=own_run, help=OWN_RUN_HELP)
    parser.add_argument("--world", choices=list(SIMULATORS), required=True, help="the simulator")
    _add_baselines(parser)
    _add_search_space(parser)
    parser.add_class_arguments(PlayConfig, skip={"run", "world", "baselines", "plan_in"})
    args = parser.parse_args(list(argv))
    if policy and args.policy is None:
        args.policy = args.run / policy
    given = {name: args[name] for name in ("run", "world", "baselines", "plan_in")}
    with named({"plan_in": "--in"}):
        print(play(to_config(PlayConfig, parser, args, **given)))


def run_policy(argv: Arguments) -> None:
    """Train a policy: the latent action that leads from a state to a goal, cloned from videos without actions.

    What a film comes to some steps later is taken for the goal. `policy play` lets it act in a simulator: a linear map
    from few labelled clips makes its latent actions real ones. It acts by itself, and the run's model plans both
    without it and from what it would do; `wildlam play --policy` does the same. With --labelled it learns real actions
    instead: those that few labelled clips tell of all videos (pseudo-labels).

    Examples:
      wildlam policy train runs/arm/run
      wildlam policy train runs/arm/run --labelled runs/arm/videos --clips 64 --out runs/arm/real
      wildlam policy play runs/arm/run --world arm --labelled runs/arm/videos --clips 64
      wildlam policy play runs/arm/run --world arm --labelled runs/arm/videos --clips 64 --controls true
    """
    parts = {"train": _train_policy, "play": _play_policy}
    say = "`wildlam policy train RUN` or `wildlam policy play RUN --world WORLD --labelled PATH`"
    run_part("policy", run_policy, argv, parts, "train|play RUN", say)


def _train_policy(argv: Arguments) -> None:
    from wildlam.workflows.policy import FOLDER, PolicyTrainingConfig, policy_results, train_policy

    whose = "whose latent actions are cloned"
    args, config = training_arguments("policy train", run_policy, argv, PolicyTrainingConfig, whose, FOLDER)
    folder = train_policy(args.run, config, args.out)
    print(policy_results(folder))
    print(f"policy     {folder}")
    to_play = command("policy", "play", args.run, "--policy", folder, "--world", "WORLD", "--labelled", "DIR")
    print(f"play       {to_play}")


def _play_policy(argv: Arguments) -> None:
    from wildlam.workflows.policy import FOLDER

    _play(make_parser("policy play", run_policy), argv, FOLDER)


def _add_search_space(parser: Parser) -> None:
    parser.add_argument(
        "--in",
        dest="plan_in",
        choices=["actions", "latent"],
        default="actions",
        help="space to plan in: actions, by the controller; or latent, by the prior and labelled clips",
    )


def _add_baselines(parser: Parser) -> None:
    parser.add_argument(
        "--baselines", type=Path, nargs="+", default=[], help="world models trained on real actions, to compare with"
    )


def run_demo(argv: Arguments) -> None:
    """Collect a small unlabelled mix of videos, learn its latent actions and report, without a GPU.

    Called again, an interrupted demo is resumed. With --pretrained nothing is trained: wildlam-tiny,
    which comes with the package, is evaluated and plans in films of both worlds (an arm, and walks) made for it.

    Examples:
      wildlam demo                 # pip install 'wildlam[worlds]'
      wildlam demo --pretrained    # pip install 'wildlam[worlds,plan]'
    """
    from wildlam.workflows.demo import EPISODES, OUT, PRETRAINED_EPISODES, PRETRAINED_OUT, STEPS, demo, demo_pretrained

    parser = make_parser("demo", run_demo)
    parser.add_argument("--pretrained", action="store_true", help="use the model that comes with the package")
    parser.add_argument("--out", type=Path, help=f"run folder; {OUT}, or {PRETRAINED_OUT}, by default")
    parser.add_argument(
        "--episodes",
        type=int,
        help=f"walks to film, beside half as many films of movers ({EPISODES}); or films of each world "
        f"({PRETRAINED_EPISODES})",
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
    run = demo(args.out or OUT, episodes=episodes, steps=args.steps, seed=args.seed)
    finished(run)
    print("Next, on your own videos:  wildlam train --data.path DIR_OF_VIDEOS")
