"""Commands that let models travel: push, export."""

from __future__ import annotations

from wildlam.cli.common import Arguments, check_run, make_parser
from wildlam.cli.look import RUN_HELP


def run_push(argv: Arguments) -> None:
    """Publish a run on the Hugging Face Hub: best weights, controllers, decoder, prior, and a card of its results.

    Your folders and the names of your videos are left out of all files. Log in before: hf auth login, or set HF_TOKEN.
    Others load it by name: wildlam.load("user/name"), --run hf:user/name.

    Examples:
      wildlam push runs/demo user/name --license apache-2.0 --dry-run
      wildlam push runs/demo user/name --license apache-2.0 --about "Walks in Doom, filmed by wildlam collect."
      wildlam push runs/demo user/name --license cc-by-4.0 --private --card card.md
    """
    from wildlam.config import to_config
    from wildlam.workflows.configs import PushConfig

    parser = make_parser("push", run_push)
    parser.add_argument("run", help=RUN_HELP)
    parser.add_argument("name", help="where it goes: user/name, or organisation/name")
    parser.add_argument("--private", action="store_true", help="make the repository private, if it is new")
    parser.add_argument(
        "--dry-run", action="store_true", help="write the folder that would be uploaded, and upload nothing"
    )
    parser.add_class_arguments(PushConfig, skip={"run", "name", "private", "dry_run"})
    args = parser.parse_args(list(argv))
    check_run(args.run)
    given = {name: args[name] for name in ("run", "name", "private", "dry_run")}
    config = to_config(PushConfig, parser, args, **given)
    from wildlam.workflows.push import push

    print(push(config))


def run_export(argv: Arguments) -> None:
    """Write a run's functions for use without this package: encode, infer, predict, decode.

    torch: one .pt2 file of all, which PyTorch alone loads. onnx: a file for each (pip install 'wildlam[onnx]'). Each is
    loaded again and compared with the model; what differs is not kept. docs/sharing.md shows how they are called.

    Examples:
      wildlam export runs/demo -o demo.pt2
      wildlam export hf:user/name --format onnx -o name.onnx    # name.encode.onnx, name.infer.onnx, ...
    """
    from pathlib import Path

    from wildlam.config import to_config
    from wildlam.workflows.configs import ExportConfig

    parser = make_parser("export", run_export)
    parser.add_argument("run", help=RUN_HELP)
    parser.add_argument("-o", "--output", type=Path, help="file to write; NAME_OF_THE_RUN.pt2 or .onnx here by default")
    parser.add_class_arguments(ExportConfig, skip={"run", "output"})
    args = parser.parse_args(list(argv))
    check_run(args.run)
    config = to_config(ExportConfig, parser, args, run=args.run, output=args.output)
    from wildlam.workflows.export import export

    print(export(config))
