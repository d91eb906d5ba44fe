"""TensorFlow's start-up lines stay off the terminal, and nothing else does; a whole run: test_train_end_to_end.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tf_simclr.cli import start_noise
from tf_simclr.cli.start_noise import noise

ROOT = Path(__file__).parents[2]
AT_IMPORT = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795830604.498683    2835 port.cc:153] oneDNN custom operations are on. You may see slightly different
2026-11-28 01:50:13.836209: I tensorflow/core/util/port.cc:113] oneDNN custom operations are on. You may see slightly
I0000 00:00:1795830604.584289 2835 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available CPU
To enable the following instructions: AVX2 AVX512F FMA, in other operations, rebuild TensorFlow with the appropriate
E0000 00:00:1736372.1 1 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting to register factory for plugin
2026-11-28 01:50:13.9: E external/x.cc:607] Unable to register cuFFT factory: Attempting to register factory for plugin
W0000 00:00:1744 1 computation_placer.cc:177] computation placer already registered. Please check linkage and avoid
2026-11-28 01:50:15.5: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning: Could not find TensorRT
""".splitlines()
WITHOUT_GPU = """\
I0000 00:00:1795830604.499298    2835 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be
E0000 00:00:1 2835 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN
""".splitlines()
REAL = """\
E0000 00:00:1795830604.498683 1 cuda_executor.cc:1] out of memory
2026-11-28 01:50:13.836209: F tensorflow/core/platform/x.cc:1] Check failed: 1 == 2
The TensorFlow library was compiled to use AVX512F instructions, but these aren't available on your machine.
W0000 00:00:17 1 gpu_device.cc:2344] Cannot dlopen some GPU libraries. Please make sure the missing libraries mentioned
Traceback (most recent call last):
ImportError: libcudart.so.12: cannot open shared object file: No such file or directory
""".splitlines()


def test_what_is_noise():
    for has_gpu in (False, True):
        assert all(re.search(noise(has_gpu), line) for line in AT_IMPORT)
        assert not [line for line in REAL if re.search(noise(has_gpu), line)]
        assert all(bool(re.search(noise(has_gpu), line)) != has_gpu for line in WITHOUT_GPU)


def errors_of(program, **more):
    environment = {k: v for k, v in os.environ.items() if k != start_noise.LEVEL} | {"PYTHONPATH": str(ROOT)} | more
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    return done.stderr.splitlines(), done.returncode


def test_lines_of_all_writers_pass_through_in_order_and_the_terminal_is_given_back():
    program = """
import os, sys
from tf_simclr.cli.start_noise import filtered
before = os.fstat(2)
print("first", file=sys.stderr)
with filtered("noise|more of it"):
    os.write(2, b"second, bytes that are no text: \\xff\\nnoise\\n")
    print("more of it\\nthird", file=sys.stderr)
    os.system("echo noise >&2; echo of a child >&2")
assert os.path.samestat(os.fstat(2), before)
print("noise afterwards", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    first, second, *others = done.stderr.splitlines()
    assert (first, second) == (b"first", b"second, bytes that are no text: \xff")
    assert others == [b"third", b"of a child", b"noise afterwards"]


@pytest.mark.parametrize("end", ["os.abort()", "os.kill(os.getpid(), 9)", "os._exit(7)", "raise SystemExit(7)"])
def test_nothing_is_lost_where_the_process_ends(end):
    program = f"""
import os
from tf_simclr.cli.start_noise import filtered
with filtered("noise"):
    os.write(2, b"noise\\nthe reason")
    {end}
"""
    lines, code = errors_of(program)
    assert lines == ["the reason"] and code != 0


# A module that is imported in place of TensorFlow, and writes what it does.
STAND_IN = """
import os, sys, types
os.write(2, b"oneDNN custom operations are on. x\\nE failed call to cuInit: x\\nsomething else\\n")
config = types.SimpleNamespace(list_physical_devices=lambda kind=None: os.write(2, b"listed\\n") * 0)
"""
START = """
import sys
from tf_simclr.cli import start_noise
start_noise._GPU_FILES = (sys.executable if {gpu} else "/nowhere",)
with start_noise.quiet_start():
    import tensorflow
assert not [finder for finder in sys.meta_path if isinstance(finder, start_noise._TensorFlowFinder)]
"""


def test_the_import_is_filtered_unless_the_lines_are_asked_for(tmp_path):
    (tmp_path / "tensorflow.py").write_text(STAND_IN)
    places = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    everything = ["oneDNN custom operations are on. x", "E failed call to cuInit: x", "something else"]
    assert errors_of(START.format(gpu=False), **places) == (["something else", "listed"], 0)
    assert errors_of(START.format(gpu=False), **places, TF_CPP_MIN_LOG_LEVEL="0") == (everything, 0)
    seen, _ = errors_of(START.format(gpu=True), **places, CUDA_VISIBLE_DEVICES="0")
    assert seen == ["E failed call to cuInit: x", "something else", "listed"]
    environment = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", start_noise.LEVEL)}
    words = [sys.executable, "-c", START.format(gpu=True)]
    done = subprocess.run(words, env=environment | places, capture_output=True, text=True, check=True)
    assert "note: TensorFlow cannot use the GPU of this machine" in done.stderr.splitlines()[-1]


def test_a_program_without_standard_error_or_with_a_broken_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libcudart.so.12 is missing')")
    places = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    lines, code = errors_of(START.format(gpu=False), **places)
    assert code == 1 and lines[-1] == "ImportError: libcudart.so.12 is missing"
    silent = "import types\nconfig = types.SimpleNamespace(list_physical_devices=dict)\n"
    (tmp_path / "tensorflow.py").write_text(silent)
    assert errors_of(f"import os; os.close(2)\n{START.format(gpu=False)}", **places) == ([], 0)
