#!/usr/bin/env bash
# Slurm: sbatch examples/cluster/slurm.sh CONFIG VIDEOS RUN
# A process on each GPU of each machine. The job is put back into the queue when its time is over or a machine fails,
# and goes on from the last checkpoint: the same command begins and resumes.
#SBATCH --job-name=wildlam
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 # restarts must not find the addresses of processes that are gone
config=$1 videos=$2 run=$3

# Two minutes before the end: back into the queue. What was trained since the last checkpoint is trained again.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

if [[ -f $run/config.yaml ]]; then
  what=(--resume "$run")
else
  what=(--config "$config" --data.path "$videos" --out "$run")
fi
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK" # which newer Slurms do not hand on by themselves
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d --rdzv-endpoint "$first:29500" --max-restarts 10 --no-python wildlam train "${what[@]}" &
wait $!
