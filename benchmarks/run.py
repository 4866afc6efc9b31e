"""Run the short form of all benchmarks and gather their rows: ``python benchmarks/run.py [--out build/bench.json]``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("train_step", "rollout", "decoding", "store", "encoding", "plan_speed", "drive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="JSON file for all rows")
    out = parser.parse_args().out
    rows = []
    for name in BENCHMARKS:
        print(f"\n{name}", flush=True)
        part = out.parent / f"{name}.json"
        subprocess.run([sys.executable, str(HERE / f"{name}.py"), "--short", "--out", str(part)], check=True)
        rows += json.loads(part.read_text())
    out.write_text(json.dumps(rows, indent=2))
    missed = [row["name"] for row in rows if row["met"] is False]
    print(f"\n{len(rows)} rows in {out}; aims missed: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
