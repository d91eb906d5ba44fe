"""Convert weights of other programs into a run's directory, and runs into files of other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.cli.main import say
from tf_simclr.config import ConvertConfig
from tf_simclr.train import checkpoints

if TYPE_CHECKING:
    from tf_simclr.cli.convert import ConvertResult

USAGE = """usage: python -m tf_simclr convert --checkpoint=IN --output=DIR [flags]

Reads the authors' TensorFlow checkpoints and SavedModels, and files of PyTorch under the names of torchvision, lightly,
solo-learn or Hugging Face, and writes a directory that run.py, evaluate and tf_simclr.load take as a run's. What the
network is follows from names and shapes; what these do not say is assumed, printed, and a flag here.

With --to=saved_model, keras, onnx, tflite, torch, huggingface or kaggle it writes a run for other programs, with an
example.py that reads it without tf_simclr."""
CONVERSION = flags.Group(ConvertConfig)
FLAG_GROUPS = (CONVERSION,)


def main(parsed: flags.ParsedFlags) -> ConvertResult:
    """Runs the task."""
    config = CONVERSION.build(parsed.values)
    config.validate()
    say(f"converting {config.checkpoint}")
    checkpoints.find(config.checkpoint or "")
    from tf_simclr.cli import convert

    return convert.run(config)
