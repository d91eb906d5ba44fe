"""The model card of a Hugging Face repository, README.md."""

from __future__ import annotations

from collections.abc import Sequence

from tf_simclr.files import to_json
from tf_simclr.interop.formats.source import Source


def model_page(source: Source, notes: Sequence[str]) -> str:
    """The text of the model card: what the network is, its data, its figures, its flags, and how it is read.

    Args:
        source: the networks.
        notes: what is to be known of the files.
    """
    card, network = source.card, source.network
    name = f"SimCLR ResNet-{network.resnet_depth} x{network.width_multiplier:g}"
    parts = [
        _front(source),
        f"# {name}",
        f"An encoder trained by SimCLR ({source.card.config.get('train_mode', 'pretrain')}) with tf_simclr, as it is "
        f"after step {card.step}. It takes images in [0, 1], float32 [batch, height, width, 3], and was trained at "
        f"{card.image_size} pixels. `final_avg_pool` of its outputs is h, {_width(source)} numbers an image.",
        "## Use",
        "```python\nimport keras\n\nencoder = keras.saving.load_model(FOLDER)\nh = encoder(images)"
        '["final_avg_pool"]\n```',
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
