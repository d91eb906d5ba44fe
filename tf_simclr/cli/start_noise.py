"""Keeps off the terminal what TensorFlow writes whenever it starts, and which says nothing about this run.

TF_CPP_MIN_LOG_LEVEL does not reach these lines: some are written before TensorFlow reads it, others are errors by their
level. So the lines pass through `stderr_filter.py` while TensorFlow is imported and looks for devices, and no longer.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_NOISE = (
    r"^WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR$",
    r"oneDNN custom operations are on\.",
    r"This TensorFlow binary is optimized (?:to use available|with)",
    r"^To enable the following instructions: ",
    r"Unable to register cu(?:DNN|FFT|BLAS) factory: Attempting to register factory for plugin",
    r"computation placer already registered\.",
    r"TF-TRT Warning: Could not find TensorRT",
)
# These matter where there is a GPU, and only there.
_NO_GPU = (r"Could not find cuda drivers on your machine", r"failed call to cuInit")
_GPU_FILES = ("/dev/nvidia[0-9]*", "/dev/dxg")  # the second is that of Windows' Linux
_UNSEEN_GPU = (
    "note: TensorFlow cannot use the GPU of this machine. Set TF_CPP_MIN_LOG_LEVEL=0 in the environment to see why"
)
_FILTER = Path(__file__).with_name("stderr_filter.py")
_SECONDS_TO_END = 5.0


def noise(has_gpu: bool) -> str:
    """A regular expression of the lines that are left out."""
    return "|".join(_NOISE if has_gpu else (*_NOISE, *_NO_GPU))


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """For a whole program: leaves out TensorFlow's start-up lines if it is first imported in this context.

    Everything else that is written then reaches standard error, also where the process dies. All lines are shown with
    TF_CPP_MIN_LOG_LEVEL set to 0 or 1.
    """
    if "tensorflow" in sys.modules or os.environ.get(LEVEL) in ("0", "1"):
        yield
        return
    os.environ.setdefault(LEVEL, "2")  # no warnings and notes afterwards
    finder = _TensorFlowFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.remove()


@contextlib.contextmanager
def filtered(pattern: str) -> Iterator[None]:
    """Leaves out lines of standard error, of Python and of libraries in C++; what cannot be filtered stays as it is.

    Args:
        pattern: a regular expression; lines in which it is found are left out.
    """
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    try:
        process = _start_filter(pattern)
        if process is None:
            yield
            return
        assert process.stdin is not None
        os.dup2(process.stdin.fileno(), 2)
        process.stdin.close()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)  # closes the last end of the pipe, at which the filter ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_END)
    finally:
        os.close(kept)


def _start_filter(pattern: str) -> subprocess.Popen[bytes] | None:
    if not sys.executable:
        return None
    command = [sys.executable, "-I", "-S", str(_FILTER), pattern]
    try:
        # In a session of its own Ctrl-C does not end it before the program.
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    except OSError:
        return None


class _TensorFlowFinder:
    """Finds nothing itself. It has the first import of TensorFlow filtered, whichever module that comes from."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder` describes it."""
        del path, target
        if name != "tensorflow":
            return None
        self.remove()
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def quietly(module: ModuleType) -> None:
            has_gpu = any(glob.glob(pattern) for pattern in _GPU_FILES)
            with filtered(noise(has_gpu)):
                execute(module)
                module.config.list_physical_devices()  # looks for GPUs, and opens none
            if has_gpu and "CUDA_VISIBLE_DEVICES" not in os.environ and not module.config.list_physical_devices("GPU"):
                print(_UNSEEN_GPU, file=sys.stderr, flush=True)

        spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec

    def remove(self) -> None:
        """Leaves imports alone from here on."""
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)
