"""The command that opens the playground: app."""

from __future__ import annotations

from wildlam.cli.common import Arguments, check_run, make_parser
from wildlam.cli.look import RUN_HELP


def run_app(argv: Arguments) -> None:
    """Open the playground, a local web page: drive a model with keys, transfer, plan, map, search, watch runs.

    Without a RUN it is wildlam-tiny, with films that come with it. Pictures are by the run's decoder
    (`wildlam decoder train RUN`), or by wildlam-tiny's where the encoder is the default.

    Only this machine can open it; with --host others can, who then see the
    videos, bring their own and use this machine's time: there is no password.

    Examples:
      wildlam app
      wildlam app runs/demo
      wildlam app tiny --videos ~/videos
      wildlam app runs/demo --host 0.0.0.0 --port 8000
    """
    try:
        _open(argv)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the playground was not open yet") from None


def _open(argv: Arguments) -> None:
    from wildlam.app.config import AppConfig
    from wildlam.config import to_config

    parser = make_parser("app", run_app)
    parser.add_argument("run", nargs="?", default="tiny", help=RUN_HELP)
    parser.add_class_arguments(AppConfig, skip={"run"})
    args = parser.parse_args(list(argv))
    check_run(args.run)
    config = to_config(AppConfig, parser, args, run=args.run)
    print("loading, some seconds ...", flush=True)
    from wildlam.app.server import serve

    serve(config)
