#!/usr/bin/env bash
# The commands of README.md and of the tutorials on little data, in a folder of their own, by the `wildlam` and `python` of
# PATH (tests/wheel.sh puts the wheel's there): each must end well and leave what it promises.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
ran=" "

run() { # wildlam with these arguments, shown first
  echo "\$ wildlam $*"
  wildlam "$@"
  ran+="$1 "
}

run demo --episodes 2 --steps 2
test -s runs/demo/report.html

videos=runs/demo/videos
tiny=(--data.path "$videos" --training.steps 2 --training.batch_size 4 --encoder.image_size 64)
run index "$videos" --cuts
run encode "${tiny[@]}"
run store verify "$videos"
run train "${tiny[@]}" --out runs/first
run train --resume runs/first
run train --estimate "${tiny[@]}" --gpus 2 # the README's own, at the paper's size, takes a minute
# As torchrun does; an environment of links has no script of that name.
python -m torch.distributed.run --nproc-per-node 2 --no-python wildlam train "${tiny[@]}" --out runs/two \
  --model.bottleneck Sparse --model.bottleneck.l1 0.1 --action_free false
run eval runs/first --data.path "$videos/filmed"
run show runs/first
run decoder train runs/first --training.steps 2 --training.batch_size 2
run decoder show runs/first
test -s runs/first/decoded.html
run transfer "$videos/filmed/held_out/carphone_pristine_00.mp4" "$videos/doom/train/map04_0_000.mp4" \
  --run runs/first -o film.mp4
test -s film.mp4
sed -E -e 's/\[([^],]+)[^]]*\]/[\1]/' -e '/Sparse:/,/covariance:/d' "$root/configs/sweeps/limits.yaml" >few.yaml
run sweep --config few.yaml --data.path "$videos" --out runs/sweep --encoder.image_size 64 --training.steps 2 \
  --training.batch_size 4 --training.eval_every 2 --training.save_every 2
test -s runs/sweep/sweep.svg
run report runs/first runs/sweep
grep -q "<video" runs/first/report.html
run infer "$videos/filmed/held_out/carphone_pristine_00.mp4" --run runs/first --output actions
test -s actions.npz
test -s actions.parquet
for name in first two; do
  test -s "runs/$name/results.json"
  test -s "runs/$name/report.html"
done
# The README's Python names videos that the demo films when it is not in such a hurry.
mkdir -p "$videos/doom/held_out"
cp -n "$videos/filmed/held_out/carphone_pristine_00.mp4" "$videos/doom/held_out/maze_0_001.mp4"
cp -n "$videos/doom/train/map04_0_000.mp4" "$videos/doom/held_out/arena_0_001.mp4"
run decoder train runs/demo --training.steps 1 --training.batch_size 2
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

run collect nav -o walks --episodes 8 --seconds 4 # one walk in each level
run controller train runs/first --data walks --clips 4 --unlabelled walks --training.steps 2 --training.batch_size 4
run controller baseline runs/first --data walks --clips 4 --training.steps 2 --training.batch_size 4
run plan runs/first --data walks --protocol recon --baselines runs/first/baseline --episodes 2
test -s runs/first/plan-recon/plans.json
run demo --pretrained --episodes 8 --out runs/tiny
run play runs/tiny --world arm --controller runs/tiny/controller_arm --episodes 1
run play runs/first --world nav --episodes 1
test -s runs/first/play-nav/play.json
run collect arm -o arms --episodes 6 --seconds 3 --format lerobot
run controller train runs/first --data arms --clips 4 --training.steps 2 --training.batch_size 4 --out runs/arm_controller
run play runs/first --world arm --episodes 1 --controller runs/arm_controller

known=$(wildlam --help | sed -nE 's/^  ([a-z]+) .*/\1/p' | paste -sd '|')
for command in $(sed -nE "s/^(.*[^a-z.\/-])?wildlam ($known)( .*)?$/\2/p" "$root/README.md" "$root"/docs/tutorials/*.md | sort -u); do
  [[ "$ran" == *" $command "* ]] || { echo "README.md or a tutorial shows wildlam $command, which is not run here" >&2; exit 1; }
done
echo "the README's commands ran"
