#!/bin/bash
# Spreads a study over a Slurm array: every task takes each 8th cell, and none waits for another. Tasks share --model_dir.
# Submit:       sbatch docs/studies/slurm_array.sh
# When all end: python -m tf_simclr study --study=figure5 --scale=paper --dataset=imagenet2012 --data_dir=$TFDS_DATA_DIR \
#                   --seeds=0,1 --model_dir=$HOME/studies/figure5 --report
#SBATCH --job-name=figure5
#SBATCH --array=0-7
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@300
set -euo pipefail
# Slurm signals this shell five minutes before the time limit; the program saves its step, and a requeued task goes on.
python -m tf_simclr study --study=figure5 --scale=paper --dataset=imagenet2012 --data_dir="$TFDS_DATA_DIR" \
    --seeds=0,1 --precision=bfloat16 --model_dir="$HOME/studies/figure5" \
    --shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" &
program=$!
trap 'kill -TERM $program' TERM
code=0
wait $program || code=$?
if kill -0 $program 2>/dev/null; then  # the trap ended the first wait; the program is still saving
    code=0
    wait $program || code=$?
fi
if [ "$code" -eq 143 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
