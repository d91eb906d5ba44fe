#!/bin/bash
# Trains on one or several nodes, and is queued again until it is done.
# Submit: sbatch docs/cluster/slurm.sh --dataset=imagenet2012 --model_dir=/shared/run --train_epochs=800
# --model_dir must be on a disk that all nodes share.
#SBATCH --job-name=simclr
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@300
set -uo pipefail
# Five minutes before the time limit Slurm sends SIGTERM to the programs, which save their step and end with 143.
trap '' TERM
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export WORKERS=""
if [ "$SLURM_NNODES" -gt 1 ]; then
    port=$((20000 + SLURM_JOB_ID % 20000))
    WORKERS=$(printf '"%s:'"$port"'",' $nodes)
    WORKERS=${WORKERS%,}
fi
code=0
srun --kill-on-bad-exit=1 bash -c '
    trap - TERM
    if [ -n "$WORKERS" ]; then
        task="{\"type\": \"worker\", \"index\": $SLURM_PROCID}"
        export TF_CONFIG="{\"cluster\": {\"worker\": [$WORKERS]}, \"task\": $task}"
    fi
    exec python run.py "$@"' simclr "$@" || code=$?
case $code in
0 | 1 | 2 | 130) ;; # done; or a person must read what it says
*) scontrol requeue "$SLURM_JOB_ID" ;; # 143: the time was up; 75: a worker was lost; 74: a disk; 137: killed
esac
exit "$code"
