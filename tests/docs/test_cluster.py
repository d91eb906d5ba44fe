"""The recipes of docs/cluster.md: the scripts really run, and the files agree with the exit codes of the program."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tf_simclr.cli import flags, train_flags
from tf_simclr.cli.failures import EXIT_NO_FILE
from tf_simclr.cli.main import EXIT_BAD_INPUT
from tf_simclr.cli.task import EXIT_SOME_FAILED
from tf_simclr.cli.train import EXIT_WORKER_LOST
from tf_simclr.config import RuntimeConfig, build_config
from tf_simclr.train.device_choice import choose
from tf_simclr.train.interrupts import EXIT_CODES

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "docs" / "cluster"
SUPERVISE, SLURM, KUBERNETES = (CLUSTER / name for name in ("supervise.sh", "slurm.sh", "kubernetes.yaml"))
FINAL = {EXIT_SOME_FAILED, EXIT_BAD_INPUT, EXIT_CODES["SIGINT"]}
AGAIN = {EXIT_NO_FILE, EXIT_WORKER_LOST, EXIT_CODES["SIGTERM"], 128 + signal.SIGKILL}


def test_the_page_has_all_codes():
    table = dict(re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", (ROOT / "docs" / "cluster.md").read_text(), re.MULTILINE))
    assert {int(code) for code, what in table.items() if "again" in what} == AGAIN
    assert {int(code) for code, what in table.items() if "again" not in what} == FINAL | {0}


# ---- The loop ----


def supervised(tmp_path, program, **environment):
    script = tmp_path / "program.sh"
    script.write_text(f"echo start >> {shlex.quote(str(tmp_path / 'starts'))}\n{program}\n")
    more = {"MOST_STARTS": "3", "PAUSE": "0"} | environment
    return subprocess.Popen(["bash", str(SUPERVISE), "bash", str(script)], env=os.environ | more)


def starts(tmp_path):
    path = tmp_path / "starts"
    return path.read_text().count("start") if path.exists() else 0


@pytest.mark.parametrize("code", [0, *sorted(FINAL), *sorted(AGAIN)])
def test_the_loop_starts_again_what_may_go_on(tmp_path, code):
    assert supervised(tmp_path, f"exit {code}").wait(60) == code
    assert starts(tmp_path) == (3 if code in AGAIN else 1)


def test_the_loop_ends_when_the_program_is_done(tmp_path):
    program = f"[ $(wc -l < {shlex.quote(str(tmp_path / 'starts'))}) = 2 ] || exit 75"
    assert supervised(tmp_path, program).wait(60) == 0
    assert starts(tmp_path) == 2


def test_the_loop_passes_sigterm_on_and_waits_until_the_program_has_saved(tmp_path):
    waits = 'touch "$0.ready"\nwhile :; do sleep 0.05; done'
    saves = f"trap 'sleep 0.3; echo saved >> \"$0.saved\"; exit 143' TERM\n{waits}"
    process = supervised(tmp_path, saves, PAUSE="600")
    wait_for(tmp_path / "program.sh.ready", process)
    process.terminate()
    assert process.wait(60) == 143
    assert (tmp_path / "program.sh.saved").exists() and starts(tmp_path) == 1


def test_the_loop_ends_at_once_while_it_waits(tmp_path):
    process = supervised(tmp_path, 'touch "$0.ready"; exit 75', PAUSE="600")
    wait_for(tmp_path / "program.sh.ready", process)
    process.terminate()
    assert process.wait(60) in (75, 143) and starts(tmp_path) == 1


def wait_for(path, process):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.005)


@pytest.mark.whole_runs
def test_the_loop_brings_a_killed_training_to_its_end(tmp_path, tiny_flags):
    run = tmp_path / "run"
    words = [sys.executable, str(ROOT / "run.py"), *tiny_flags, "--train_steps=40", f"--model_dir={run}"]
    environment = os.environ | {"PAUSE": "0", "MOST_STARTS": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(["bash", str(SUPERVISE), *words], env=environment, stdout=log, stderr=log)
        wait_for(run / "lock.json", process)
        owner = json.loads((run / "lock.json").read_text())["pid"]
        wait_for(run / "ckpt-2.checksums.json", process)
        os.kill(owner, signal.SIGKILL)
        assert process.wait(300) == 0, (tmp_path / "log").read_text()
    output = (tmp_path / "log").read_text()
    assert "supervise: start 1 ended with code 137" in output and "resuming from step" in output
    assert (run / "ckpt-40.index").exists() and (run / "saved_model" / "40").is_dir()


# ---- Slurm ----

SRUN = """#!/bin/bash
shift  # --kill-on-bad-exit=1
code=0
for ((SLURM_PROCID = 0; SLURM_PROCID < SLURM_NNODES; SLURM_PROCID++)); do
    export SLURM_PROCID
    "$@" || code=$?
done
exit $code
"""
SCONTROL = """#!/bin/bash
if [ "$1" = requeue ]; then echo "$2" >> "$LOG.requeued"; else printf '%s\\n' node1 node2 | head -n "$SLURM_NNODES"; fi
"""
PYTHON = """#!/bin/bash
printf '%s\\n' "${TF_CONFIG:-none}" "$@" >> "$LOG"
exit "$CODE"
"""


def slurm(tmp_path, nodes, code):
    """Runs the script between stand-ins; what the program was started with, and whether the job was queued again."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("python", PYTHON)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log"), "CODE": str(code)}
    environment |= {"SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": str(nodes)}
    words = ["bash", str(SLURM), "--model_dir=/shared/two words", "--seed=1"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.returncode == code
    return (tmp_path / "log").read_text().splitlines(), (tmp_path / "log.requeued").exists()


def test_slurm_on_one_node(tmp_path):
    lines, requeued = slurm(tmp_path, 1, 0)
    assert lines == ["none", "run.py", "--model_dir=/shared/two words", "--seed=1"] and not requeued


def test_slurm_on_two_nodes_makes_workers(tmp_path):
    lines, _ = slurm(tmp_path, 2, 0)
    for index, text in enumerate((lines[0], lines[4])):
        config = json.loads(text)
        assert config["task"] == {"type": "worker", "index": index}
        hosts, ports = zip(*(address.split(":") for address in config["cluster"]["worker"]), strict=True)
        assert hosts == ("node1", "node2") and len(set(ports)) == 1 and 20000 <= int(ports[0]) < 40000
        choice = choose(RuntimeConfig(), {"TF_CONFIG": text}, 1)
        assert choice.worker.index == index and choice.worker.count == 2
    assert lines[5:] == lines[1:4]


@pytest.mark.parametrize("code", [0, *sorted(FINAL), *sorted(AGAIN)])
def test_slurm_queues_again_what_may_go_on(tmp_path, code):
    assert slurm(tmp_path, 1, code)[1] == (code in AGAIN)


def test_slurm_gives_the_program_more_time_than_it_needs():
    text = SLURM.read_text()
    assert "#SBATCH --requeue" in text and "#SBATCH --open-mode=append" in text
    assert int(re.search(r"#SBATCH --signal=TERM@(\d+)", text)[1]) >= 30


# ---- Kubernetes and containers ----


def test_kubernetes_agrees_with_the_exit_codes():
    spec = yaml.safe_load(KUBERNETES.read_text())["spec"]
    ignore, fail, count = spec["podFailurePolicy"]["rules"]
    [container] = spec["template"]["spec"]["containers"]
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert fail["action"] == "FailJob" and set(fail["onExitCodes"]["values"]) == FINAL
    assert count["action"] == "Count" and set(count["onExitCodes"]["values"]) == AGAIN
    for rule in (fail, count):
        assert rule["onExitCodes"]["containerName"] == container["name"] and rule["onExitCodes"]["operator"] == "In"
    # What the API asks for where there is a podFailurePolicy.
    assert spec["template"]["spec"]["restartPolicy"] == "Never" and spec["backoffLimit"] > 0
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 30


def test_kubernetes_starts_a_command_that_can_work():
    [container] = yaml.safe_load(KUBERNETES.read_text())["spec"]["template"]["spec"]["containers"]
    values = build_config(flags.parse(container["args"], train_flags.FLAG_GROUPS).values)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert values.runtime.model_dir.startswith("/results") and values.data.data_dir == "/data"
    assert mounts == {"/data", "/results"} and "command" not in container


def test_the_dockerfile_names_what_is_there():
    text = (ROOT / "Dockerfile").read_text()
    instructions = re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE)
    default, stages = dict(instructions[:1])["ARG"], [value for name, value in instructions if name == "FROM"]
    assert default == "VARIANT=cpu" and stages == ["python:3.11-slim AS cpu", "cpu AS gpu", "${VARIANT}"]
    for name in re.findall(r"requirements[\w-]*\.txt", text):
        assert (ROOT / name).is_file()
    entry = json.loads(dict(instructions)["ENTRYPOINT"])
    assert entry == ["tini", "--", "python", "run.py"] and (ROOT / entry[-1]).is_file()
    assert "tini" in text.split("apt-get install")[1].split("\n")[0] and ("USER", "simclr") in instructions
