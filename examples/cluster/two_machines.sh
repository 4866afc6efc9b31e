#!/usr/bin/env bash
# Two machines without a scheduler: on both, at about the same time,
#   examples/cluster/two_machines.sh FIRST_HOST CONFIG VIDEOS RUN
# They must see VIDEOS and RUN under the same paths, and port 29500 of the first must be open to the second. Started
# again after a stop it goes on from the last checkpoint.
set -euo pipefail
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 # restarts must not find the addresses of processes that are gone
first=$1 config=$2 videos=$3 run=$4
if [[ -f $run/config.yaml ]]; then
  what=(--resume "$run")
else
  what=(--config "$config" --data.path "$videos" --out "$run")
fi
exec torchrun --nnodes 2 --nproc-per-node "${PROCESSES:-gpu}" --rdzv-id wildlam --rdzv-backend c10d \
  --rdzv-endpoint "$first:29500" --max-restarts 10 --no-python wildlam train "${what[@]}"
