"""The model card of a Hugging Face repository, README.md."""

from __future__ import annotations

from collections.abc import Sequence

from tf_simclr.files import to_json
from tf_simclr.interop.formats.source import Source

_USE_KERAS = """```python
import keras

encoder = keras.saving.load_model(FOLDER)
h = encoder(images)["final_avg_pool"]
```"""


def model_page(source: Source, notes: Sequence[str]) -> str:
    """The text of the model card for Hugging Face: what the network is, its data, figures and flags, how it is read.

    Args:
        source: the networks.
        notes: what is to be known of the files.
    """
    return f"{_front(source)}\n\n{page_body(source, _USE_KERAS, notes)}"


def page_body(source: Source, use: str, notes: Sequence[str]) -> str:
    """The same without the block that Hugging Face reads.

    Args:
        source: the networks.
        use: a block of Python that computes h.
        notes: what is to be known of the files.
    """
    card = source.card
    parts = [
        f"# {model_name(source)}",
        summary(source),
        "## Use",
        use,
        "`example.py` does the same and checks the images. `simclr.json` has what a program must know.",
        "## Files",
        "\n".join(f"- {note}" for note in notes),
        "## Data",
        f"Trained on `{card.dataset}`." if card.dataset else "The data of the training are not recorded.",
        "## Metrics",
        _metrics(source),
        "## Flags",
        f"```json\n{to_json(card.config, indent=2)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def model_name(source: Source) -> str:
    """The title of a network."""
    return f"SimCLR ResNet-{source.network.resnet_depth} x{source.network.width_multiplier:g}"


def summary(source: Source) -> str:
    """What the network is and what it takes, in three sentences."""
    card = source.card
    return (
        f"An encoder trained by SimCLR ({card.config.get('train_mode', 'pretrain')}) with tf_simclr, as it is "
        f"after step {card.step}. It takes images in [0, 1], float32 [batch, height, width, 3], and was trained at "
        f"{card.image_size} pixels. `final_avg_pool` of its outputs is h, {_width(source)} numbers an image."
    )


def _front(source: Source) -> str:
    """The block that Hugging Face reads."""
    library = ["library_name: keras", "pipeline_tag: image-feature-extraction"]
    # A JSON text is a YAML text, whatever is in it.
    lines = [f"license: {to_json(source.license)}", *library, "tags:", "- simclr", "- self-supervised"]
    return "\n".join(["---", *lines, *(["- safetensors"] if source.has_torch_names else []), "---"])


def _width(source: Source) -> int:
    return int(source.model.encoder.output["final_avg_pool"].shape[-1])


def _metrics(source: Source) -> str:
    if not source.card.metrics:
        return "The network was not evaluated."
    rows = [f"| {name} | {value:.6g} |" for name, value in sorted(source.card.metrics.items())]
    return "\n".join(["| metric | value |", "|---|---|", *rows])
