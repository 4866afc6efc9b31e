"""Draw the starts and goals of PushT anew, into the file that ``wildlam play --world pusht`` reads.

python benchmarks/pusht_tasks.py [--out src/wildlam/worlds/pusht_tasks.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wildlam.worlds import pusht_tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("src/wildlam/worlds") / pusht_tasks.FILE)
    args = parser.parse_args()
    seeds = [pusht_tasks.drawn(seed) for seed in range(pusht_tasks.SEEDS)]
    lines = [",\n".join(json.dumps(pair, separators=(",", ":")) for pair in pairs) for pairs in seeds]
    about = "x, y of disc and T in pixels, angle in radians, velocity of the disc in pixels a second; of start and goal"
    of = ",\n".join(f"[\n{of_seed}\n]" for of_seed in lines)
    args.out.write_text(f'{{"about": {json.dumps(about)}, "pairs": [\n{of}\n]}}\n')


if __name__ == "__main__":
    main()
