"""Where a run lives and what it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tf_simclr.config.option import check_options, listed, option
from tf_simclr.errors import InputError

PRECISIONS = ("float32", "bfloat16", "float16")
AUGMENT_ON = ("auto", "host", "device")
AUTO_PRECISION = "auto"


@dataclass(frozen=True)
class RuntimeConfig:
    """Where the run lives and what it runs on."""

    mode: str = option(
        "train",
        "Train, evaluate the checkpoints of a run, or train and then evaluate.",
        ("train", "eval", "train_then_eval"),
    )
    model_dir: str | None = option(None, "Directory of the run; omitted: runs/<dataset>-<date>-<time>.", path=True)
    overwrite: bool = option(
        False,
        "Start a new run in --model_dir. What is there now is kept: the directory is renamed to "
        "<model_dir>.replaced-<date>-<time>.",
    )
    seed: int = option(0, "Seed of weights, shuffling and every augmentation.", at_least=0, at_most=2**31 - 1)
    precision: str = option(
        "float32",
        "Arithmetic of the layers: float32, bfloat16, or float16 (with dynamic loss scaling). Variables, "
        "batch-norm statistics, loss and optimiser are always float32. auto, for run.py: times a few steps of "
        "float32 and bfloat16, and uses bfloat16 if it is at least 1.1 times as fast; a resumed run keeps its "
        "choice.",
        (*PRECISIONS, AUTO_PRECISION),
    )
    jit_compile: bool = option(False, "Compile the whole training step with XLA; one device only.")
    augment_on: str = option(
        "auto",
        "Where colour, blur and the other operators of the views run: on the host, in the input pipeline, or on the "
        "device, inside the training step, for which the host decodes, crops and sends 8-bit crops. Both give the same "
        "views, apart from the rounding of the crops. auto: device on GPUs and TPUs, host on CPUs.",
        AUGMENT_ON,
        affects=(),
    )
    input_workers: str | None = option(
        None,
        "Other processes that read, decode and crop the training images, and make the views where the host does: "
        "grpc://HOST:PORT, several with commas, each started by python -m tf_simclr input_worker. They read the same "
        "paths and give the same batches as this process would. Omitted: this process does it.",
        affects=(),
    )
    strategy: str = option(
        "auto",
        "Devices: one_device, mirrored (all GPUs of the machine, or all logical CPUs), multi_worker (TF_CONFIG), tpu, "
        "or auto: tpu with --use_tpu or --tpu_name, multi_worker where TF_CONFIG names a cluster, mirrored with 2 or "
        "more GPUs, otherwise one device.",
        ("auto", "one_device", "mirrored", "multi_worker", "tpu"),
    )
    cpu_devices: int = option(
        0,
        "Split the CPU into this many logical devices, to try replicas without GPUs; 0 does not split it.",
        at_least=0,
        at_most=1024,
    )
    use_tpu: bool = option(False, "Run on a TPU (our default is False; the authors' is True).")
    tpu_name: str | None = option(None, "Name of the TPU to use, or 'local' on a TPU VM.")
    tpu_zone: str | None = option(None, "Zone of the TPU; omitted: the machine's own.")
    gcp_project: str | None = option(None, "Project of the TPU; omitted: the machine's own.")
    master: str | None = option(None, "Address of the TPU's master; --tpu_name is the usual way to name a TPU.")

    @property
    def directory(self) -> str:
        """The run's directory, once it has one."""
        if self.model_dir is None:
            raise InputError("`model_dir` must name the run's directory. Received: None. Pass --model_dir=DIR")
        return self.model_dir

    @property
    def input_addresses(self) -> tuple[str, ...]:
        """The addresses of --input_workers, grpc://HOST:PORT, each once; empty where this process makes the batches."""
        if self.input_workers is None:
            return ()
        return listed("input_workers", self.input_workers, _input_address)

    @property
    def tpu_request(self) -> tuple[str, Any] | None:
        """Name and value of the flag that asks for a TPU; None without one."""
        asked = {"tpu_name": self.tpu_name, "master": self.master, "use_tpu": self.use_tpu}
        return next(((name, value) for name, value in asked.items() if value), None)

    def require_precision(self, task: str) -> None:
        """Raises InputError where --precision leaves the choice to a run; `task` is the name of a command without one.

        What is trained there is compared, and must not depend on how fast the machine was.
        """
        if self.precision == AUTO_PRECISION:
            raise InputError(
                f"`precision` must be {', '.join(PRECISIONS)} for {task}. Received: precision={self.precision}. Pass "
                "one of them"
            )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        _ = self.input_addresses
        if self.overwrite and self.mode == "eval":
            raise InputError(
                "`overwrite` starts a new run, and mode eval evaluates the one that is there. Received: "
                "overwrite=True, mode=eval. Leave one of them out"
            )
        if self.tpu_request is not None and self.strategy not in ("auto", "tpu"):
            name, value = self.tpu_request
            raise InputError(
                f"`{name}` asks for a TPU. Received: {name}={value} with strategy={self.strategy}. Pass one of the two"
            )


def _input_address(text: str) -> str:
    try:
        url = urlsplit(text)
        whole = url.scheme == "grpc" and bool(url.hostname) and bool(url.port) and url.netloc == text[len("grpc://") :]
    except ValueError:  # the port is not a number, or too large
        whole = False
    if not whole:
        raise InputError(
            f"`input_workers` must be addresses grpc://HOST:PORT, with commas between them. Received: input_workers="
            f"{text}. Take those that python -m tf_simclr input_worker prints"
        )
    return text
