"""Linear evaluation on stored features against the same with the encoder run anew for every image of every epoch.

    PYTHONPATH=. python benchmarks/cached_linear.py  # ResNet-18 x0.5 at 32 px, 1,000 images, 90 epochs

Both are protocols of `python -m tf_simclr evaluate`, on one checkpoint of a network as it is initialised (its values do
not matter for the time): linear_cached, whose time includes the one pass of the encoder over both splits, and linear,
whose time includes its random crops and flips. Every epoch is really run. One run, one process, one after the other.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile

import tensorflow as tf

from tf_simclr.cli.evaluate import open_context
from tf_simclr.config import FLAGS_FILE, DataConfig, ProtocolConfig, RuntimeConfig, build_config
from tf_simclr.evaluate.load import read_config
from tf_simclr.evaluate.protocols.runner import Runner
from tf_simclr.train.build import build_networks
from tf_simclr.train.checkpoint_store import CheckpointStore


def write_checkpoint(directory: pathlib.Path, arguments: argparse.Namespace) -> None:
    """A run's directory with the networks as they are initialised."""
    flags = {
        "dataset": "shapes",
        "image_size": arguments.size,
        "resnet_depth": arguments.depth,
        "width_multiplier": arguments.width,
    }
    config = build_config(flags)
    tf.keras.utils.set_random_seed(0)
    model = build_networks(config, num_classes=10)
    CheckpointStore(str(directory), model.named_variables(), 1).save(1)
    (directory / FLAGS_FILE).write_text(json.dumps(config.to_flags(), allow_nan=False))


def main() -> None:
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1000, help="training images")
    parser.add_argument("--test_pictures", type=int, default=500)
    parser.add_argument("--epochs", type=float, default=90.0)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--size", type=int, default=32, help="side of the images")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=0.5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = pathlib.Path(scratch)
        write_checkpoint(run, arguments)
        protocols = ProtocolConfig(
            checkpoint=scratch,
            protocols="linear_cached,linear",
            linear_epochs=arguments.epochs,
            linear_batch_size=arguments.batch,
            finetune_batch_size=arguments.batch,
        )
        data = DataConfig(
            dataset="shapes",
            train_split=f"train[:{arguments.images}]",
            eval_split=f"test[:{arguments.test_pictures}]",
            image_size=arguments.size,
        )
        runtime = RuntimeConfig(model_dir=str(run / "evaluated"))
        cells, _ = Runner(open_context(protocols, data, runtime, *read_config(scratch))).run()
    seconds = {cell.protocol: cell.seconds for cell in cells}
    for cell in cells:
        print(f"{cell.protocol:>14}  {cell.seconds:8.1f} s, top-1 {cell.metrics['top_1']:.1%}")
    print(f"stored features are {seconds['linear'] / seconds['linear_cached']:.1f} times as fast")


if __name__ == "__main__":
    main()
