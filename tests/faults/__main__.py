"""All faults, at length: kills, damaged files, full disks.

    python -m tests.faults [--kills 30] [--ranks 5] [--mutations 500] [--seed 0] [--out docs/results]

Takes about half an hour on two cores, and root on Linux for the full disks (a tmpfs). Writes faults.json and faults.md;
ends with exit code 1 if anything ended as it must not.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.commands import fresh, make_folder
from tests.faults.full_disk import fill_disks
from tests.faults.kills import kill_all
from tests.faults.mutations import UNWANTED, mutate_all, prepare
from tests.faults.ranks import kill_ranks
from wildlam.worlds.sample_films import collect_sample_films

Tallies = dict[str, dict[str, Counter[str]]]

WANTED = {
    "kills": ["kills", "same"],
    "mutations": ["success", "skip", "error"],
    "full disk": ["success", "error", "of a checkpoint", "same"],
}
UNWANTED_OF = {
    "kills": ["different", "error"],
    "mutations": list(UNWANTED),
    "full disk": ["unnamed error", "different"],
}


def main() -> None:
    """Do it, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="kills in all, shared out among the commands")
    parser.add_argument("--ranks", type=int, default=5, help="kills of one of two processes of a training")
    parser.add_argument("--mutations", type=int, default=500, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=0, help="of moments and damages")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for faults.json and faults.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        collect_sample_films(folder / "clips")
        clips = sorted((folder / "clips").rglob("*.mp4"), key=lambda path: path.stat().st_size)[:2]
        few, many = (make_folder(folder / name, clips, copies) for name, copies in (("few", 6), ("many", 40)))
        tallies: Tallies = {"kills": kill_all(few, many, folder / "kills", args.kills, args.seed)}
        pair = fresh(few, folder / "pair") / "videos"  # of its own, as it encodes them otherwise
        tallies["kills"]["train, one of two processes"] = kill_ranks(pair, folder / "ranks", args.ranks, args.seed)
        tallies["full disk"] = fill_disks(few, folder / "disks")
        tallies["mutations"] = mutate_all(prepare(few), folder / "mutations", args.mutations, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    about = {"seed": args.seed, "machine": machine}
    (args.out / "faults.json").write_text(json.dumps(about | tallies, indent=2) + "\n")
    text = table(tallies)
    command = f"python -m tests.faults --kills {args.kills} --ranks {args.ranks} --mutations {args.mutations}"
    (args.out / "faults.md").write_text(
        f"# Faults survived\n\nMade by `{command} --seed {args.seed}` on {machine}.\n\n{text}"
    )
    print(text)
    if unwanted(tallies):
        raise SystemExit(1)


def unwanted(tallies: Tallies) -> int:
    """How often something ended as it must not."""
    return sum(tally[end] for kind, of in tallies.items() for tally in of.values() for end in UNWANTED_OF[kind])


def table(tallies: Tallies) -> str:
    """The tallies as a Markdown table for each kind of fault."""
    lines = []
    for kind, of in tallies.items():
        ends = WANTED[kind] + UNWANTED_OF[kind]
        lines += [f"| {kind} | {' | '.join(ends)} |", f"| --- |{' --- |' * len(ends)}"]
        lines += [f"| {name} | {' | '.join(str(tally[end]) for end in ends)} |" for name, tally in of.items()]
        total: Counter[str] = sum(of.values(), Counter())
        lines += [f"| all | {' | '.join(str(total[end]) for end in ends)} |", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
