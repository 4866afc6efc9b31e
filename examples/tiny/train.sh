#!/usr/bin/env bash
# The commands that made wildlam-tiny, from nothing; about an hour and a half on two cores.
set -euo pipefail
run=runs/worlds/run
videos=runs/worlds/videos
wildlam collect arm -o $videos/arm --episodes 480 --seconds 8 --seed 10
wildlam collect nav -o $videos/nav --episodes 568 --seed 10
wildlam collect movers -o $videos/movers --episodes 480 --seconds 8 --seed 10
python -c "from pathlib import Path; from wildlam.worlds import collect_sample_films; collect_sample_films(Path('$videos/filmed'))"
wildlam train --data.path $videos --data.cache runs/worlds/cache --data.mixture '{arm: 0.32, nav: 0.32, movers: 0.32}' \
  --action_free false --training.steps 3300 --training.eval_every 300 --training.save_every 300 --out $run
for world in nav arm; do
  wildlam controller train $run --data $videos/$world --training.steps 800 --training.eval_every 80 \
    --training.save_every 80 --seed 1 --out $run/controller_$world
done
wildlam decoder train $run --decoder.size nano
wildlam prior train $run --prior Gaussian --prior.components 32
python examples/tiny/pack.py $run --parts controller_nav controller_arm decoder prior
