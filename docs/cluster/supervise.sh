#!/bin/bash
# Starts a command of tf_simclr again until it is done:
#     docs/cluster/supervise.sh python run.py --model_dir=/results/run --dataset=imagenet2012 ...
# MOST_STARTS (100) bounds the starts, PAUSE (30) is the seconds between two. SIGTERM and Ctrl-C are passed on.
set -uo pipefail
stopping=""
code=0
for ((start = 1; start <= ${MOST_STARTS:-100}; start++)); do
    "$@" &
    program=$!
    trap 'stopping=yes; kill -TERM "$program" 2>/dev/null' TERM INT
    code=0
    wait "$program" || code=$?
    while kill -0 "$program" 2>/dev/null; do # a signal ended the wait; the program is still saving
        code=0
        wait "$program" || code=$?
    done
    case $code in
    0 | 1 | 2 | 130) break ;; # done; or a person must read what it says; or Ctrl-C
    esac
    [ -z "$stopping" ] || break
    echo "supervise: start $start ended with code $code; again in ${PAUSE:-30} s" >&2
    sleep "${PAUSE:-30}" &
    wait $!
    [ -z "$stopping" ] || break
done
exit "$code"
