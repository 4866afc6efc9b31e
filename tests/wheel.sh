#!/usr/bin/env bash
# The wheel alone, without the checkout: tests/wheel.sh WHEEL. It is installed into an empty environment, beside links to
# what it says it depends on (its own requirements, and those of the extras that the README's demo asks for), as
# .venv has them; what .venv has beyond that is not seen. There `wildlam demo --pretrained` and the README's Python run.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
wheel="$(realpath "$1")"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" HF_HUB_OFFLINE=1

"$root/.venv/bin/python" -m venv empty
empty/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps "$wheel"
"$root/.venv/bin/python" "$root/tests/link_requirements.py" empty worlds plan
export PATH="$folder/empty/bin:$PATH"
python - "$folder" <<'PYTHON'
import sys
import wildlam
assert wildlam.__file__.startswith(sys.argv[1]), wildlam.__file__
PYTHON

wildlam demo --pretrained --episodes 8 --out runs/demo
test -s runs/demo/report.html
# The README's snippets take the demo's run and names of videos, and a decoder.
wildlam decoder train runs/demo --training.steps 1 --training.batch_size 2 --training.precision fp32
videos=runs/demo/videos/doom/held_out
mkdir -p "$videos"
films=("$(find runs/demo -name '*.mp4' | sort | head -n 1)" "$(find runs/demo -name '*.mp4' | sort | tail -n 1)")
cp "${films[0]}" "$videos/maze_0_001.mp4"
cp "${films[1]}" "$videos/arena_0_001.mp4"
python - "$root/README.md" <<'PYTHON'
import re
import sys
from pathlib import Path
snippets = re.findall(r"```python\n(.*?)```", Path(sys.argv[1]).read_text(), re.DOTALL)
assert snippets
for snippet in snippets:
    print(snippet)
    exec(snippet, {})
PYTHON
test -s film.mp4
echo "the wheel works without the checkout"
