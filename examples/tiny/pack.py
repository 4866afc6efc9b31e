"""Make the model that comes with the package of a run and what was trained for it: the last step of ``train.sh``.

    python examples/tiny/pack.py runs/worlds/run --parts controller_nav controller_arm decoder prior

Weights are kept in bfloat16, in which training makes its matrix products; optimisers are left behind.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from wildlam.pretrained import TINY, packing

MADE_BY = "bash examples/tiny/train.sh"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--parts", nargs="+", default=[], help="folders in the run's: controllers, a decoder, a prior")
    args = parser.parse_args()
    for old in TINY.iterdir() if TINY.is_dir() else ():
        if old.is_dir():
            shutil.rmtree(old)
    pack(args.run, TINY)
    for part in args.parts:
        pack(args.run / part, TINY / part)
    size = sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file())
    print(f"{TINY}: {size / 1e6:.1f} MB")


def pack(folder: Path, to: Path) -> None:
    """See ``packing.pack``."""
    packing.pack(folder, to, MADE_BY, half=True)


if __name__ == "__main__":
    main()
