#!/usr/bin/env bash
# The wheel alone, without the checkout: tests/wheel.sh WHEEL. It is installed into an empty environment, beside links to
# what it says it depends on (its own requirements, and those of the extras that the README's commands ask for), as
# .venv has them; what .venv has beyond that is not seen. There run the commands and
# the Python that README.md and the tutorials show.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
wheel="$(realpath "$1")"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" HF_HUB_OFFLINE=1

"$root/.venv/bin/uv" venv --quiet --python "$root/.venv/bin/python" empty
"$root/.venv/bin/uv" pip install --quiet --python empty/bin/python --no-index --no-deps "$wheel"
"$root/.venv/bin/python" "$root/tests/link_requirements.py" empty app cuts plan rlds worlds
export PATH="$folder/empty/bin:$PATH"
python - "$folder" <<'PYTHON'
import sys
import wildlam
assert wildlam.__file__.startswith(sys.argv[1]), wildlam.__file__
PYTHON

python "$root/tests/readme_commands.py"
echo "the wheel works without the checkout"
