"""Draw the views that a training would see, without training."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.cli import flags
from tf_simclr.cli.completion import ONLY_DATA_DIR
from tf_simclr.cli.main import say
from tf_simclr.config import FOLDER, SHAPES, AugmentationConfig, DataConfig, build_config
from tf_simclr.config.own_images import DECIDING_FLAGS
from tf_simclr.config.paths import require_folder
from tf_simclr.config.views import ViewsConfig

USAGE = """usage: python -m tf_simclr views --data_dir=FOLDER [flags]

Draws images of a folder or data set beside random views of them, as a training with the same flags sees them in its
first epochs. Choose by looking: raise --min_crop_area where a piece of an image does not show what it is an image of,
lower --color_jitter_strength where colour matters. Without --data_dir and --dataset, built-in images are drawn."""
VIEWS = flags.Group(ViewsConfig)
DATA = flags.Group(
    DataConfig, frozenset({"train_batch_size", "eval_batch_size", "eval_split", "hold_out_by", "cache_dataset"})
)
AUGMENTATION = flags.Group(AugmentationConfig)
FLAG_GROUPS = (VIEWS, DATA, AUGMENTATION)


@dataclass(frozen=True)
class ViewsResult:
    """What was drawn.

    Attributes:
        out: path of the drawing.
        exit_code: of the program that does the same.
    """

    out: str
    exit_code: int = 0


def main(parsed: flags.ParsedFlags) -> ViewsResult:
    """Runs the task."""
    wanted: ViewsConfig = VIEWS.build(parsed.values)
    wanted.validate()
    require_folder("out", wanted.out)
    values = {field.name: parsed.values[field.name] for group in (DATA, AUGMENTATION) for field in group.fields}
    if not values["dataset"]:
        values["dataset"] = FOLDER if values["data_dir"] else SHAPES
        if values["data_dir"]:
            say(f"note: {ONLY_DATA_DIR}")
    config = build_config(values | {"seed": wanted.seed})
    from tf_simclr.cli import views  # imports TensorFlow, which takes seconds

    return ViewsResult(views.run(config, wanted, chosen=not parsed.given & DECIDING_FLAGS))
