"""Figures of the paper, each with its place, to stand beside our own."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.protocols import read_labelled_training

TOP_1, TOP_5, MEAN_PER_CLASS, MAP_11_POINT = "top_1", "top_5", "mean_per_class", "map_11_point"


@dataclass(frozen=True)
class Reference:
    """A figure of the paper.

    Attributes:
        value: in [0, 1].
        source: its place, and what must be known to compare with it.
        stem: of the paper's ResNet, "imagenet" or "cifar"; a network with another stem is another network.
    """

    value: float
    source: str
    stem: str = "imagenet"


# Width multiplier of the ResNet-50 -> top-1 and top-5.
TABLE_6 = {1: (0.693, 0.890), 2: (0.742, 0.920), 4: (0.765, 0.932)}
# Kind of training, width multiplier -> top-5 with 1% and with 10% of the labels.
TABLE_7 = {
    ("finetune", 1): (0.755, 0.878),
    ("finetune", 2): (0.830, 0.912),
    ("finetune", 4): (0.858, 0.926),
    ("supervised", 1): (0.484, 0.804),
}
# Data set -> metric, linear, fine-tuned, and fine-tuned after pretraining with labels: all of the ResNet-50 (4x). TFDS
# ships no Birdsnap and no Aircraft, but reads what was prepared under these names in --data_dir.
TABLE_8 = {
    "food101": (TOP_1, 0.769, 0.894, 0.887),
    "cifar10": (TOP_1, 0.953, 0.986, 0.983),
    "cifar100": (TOP_1, 0.802, 0.890, 0.887),
    "birdsnap": (TOP_1, 0.484, 0.782, 0.778),
    "sun397": (TOP_1, 0.659, 0.681, 0.670),
    "cars196": (TOP_1, 0.600, 0.921, 0.914),
    "fgvc_aircraft": (MEAN_PER_CLASS, 0.612, 0.870, 0.880),
    "voc": (MAP_11_POINT, 0.842, 0.866, 0.865),
    "dtd": (TOP_1, 0.789, 0.778, 0.788),
    "oxford_iiit_pet": (MEAN_PER_CLASS, 0.892, 0.921, 0.932),
    "caltech101": (MEAN_PER_CLASS, 0.939, 0.941, 0.942),
    "oxford_flowers102": (MEAN_PER_CLASS, 0.950, 0.976, 0.980),
}
# The features of a linear classifier are stored once for linear_cached; the paper's are of crops and flips.
_LINEAR = {"linear": "", "linear_cached": ", on crops and flips"}
# The configs of imagenet2012_subset in TFDS; the first is what its bare name means.
_SUBSETS = {"1pct": 0.01, "10pct": 0.1}


def paper_figure(
    dataset: str, resnet_depth: int, width_multiplier: float, protocol: str, metric: str
) -> Reference | None:
    """What the paper reports for a network, a data set and a protocol; None where it reports nothing.

    Args:
        dataset: as in --dataset, a TFDS name with or without its config and version: "cifar10", "cifar10:3.0.2",
            "voc/2007". A data set of another kind, `folder` say, has no figure.
        resnet_depth: of a ResNet without selective kernels and without squeeze-and-excitation.
        width_multiplier: of the same.
        protocol: as in --protocols.
        metric: as in `Record.metrics`.
    """
    if resnet_depth != 50:
        return None
    name, config = _parts_of(dataset)
    found = _on_imagenet(name, config, width_multiplier, protocol, metric)
    found = found or (_on_cifar10(protocol, metric) if (name, width_multiplier) == ("cifar10", 1) else None)
    return found or (_transferred(dataset, protocol, metric) if width_multiplier == 4 else None)


def _parts_of(dataset: str) -> tuple[str, str]:
    """Name and config, "" for none, of a TFDS name "name/config:version"."""
    name, _, config = dataset.split(":")[0].partition("/")
    return name, config


def _on_imagenet(name: str, config: str, width: float, protocol: str, metric: str) -> Reference | None:
    """Tables 6 and 7, and the best known of Table 1's supervised networks without a policy made for ImageNet."""
    training = read_labelled_training(protocol)
    if training is None:
        is_linear = name == "imagenet2012" and protocol in _LINEAR and width in TABLE_6 and metric in (TOP_1, TOP_5)
        if not is_linear:
            return None
        return Reference(TABLE_6[int(width)][metric == TOP_5], f"SimCLR, Table 6{_LINEAR[protocol]}")
    kind = "finetune" if training.pretrained else "supervised"
    if name == "imagenet2012_subset":
        fraction = _SUBSETS.get(config or "1pct") if training.whole else None
    else:
        fraction = training.fraction if name == "imagenet2012" else None
    if fraction in (0.01, 0.1) and (kind, width) in TABLE_7 and metric == TOP_5:
        return Reference(TABLE_7[kind, int(width)][fraction == 0.1], "SimCLR, Table 7")
    if (kind, fraction, width, metric) == ("supervised", 1, 1, TOP_1):
        return Reference(0.770, "SimCLR, Table 1, supervised with colour distortion of strength 1/8")
    return None


def _on_cifar10(protocol: str, metric: str) -> Reference | None:
    """Appendix B.9: pretrained on CIFAR-10 itself."""
    if metric != TOP_1:
        return None
    if protocol in _LINEAR:
        source = f"SimCLR, Appendix B.9, pretrained on CIFAR-10{_LINEAR[protocol]}"
        return Reference(0.940, source, stem="cifar")
    if protocol == "supervised":
        return Reference(0.951, "SimCLR, Appendix B.9, with the augmentation of the pretraining", stem="cifar")
    return None


def table_8(dataset: str) -> tuple[str, float, float, float] | None:
    """The row of TABLE_8 for a name of TensorFlow Datasets, as in `paper_figure`; None for another data set."""
    name, config = _parts_of(dataset)
    return None if name == "voc" and config not in ("", "2007") else TABLE_8.get(name)


def _transferred(dataset: str, protocol: str, metric: str) -> Reference | None:
    """Table 8: pretrained on ImageNet."""
    row = table_8(dataset)
    if row is None or metric != row[0]:
        return None
    _, linear, finetuned, after_labels = row
    if protocol == "logreg":
        return Reference(linear, "SimCLR, Table 8, pretrained on ImageNet")
    if protocol == "finetune_grid":
        source = f"SimCLR, Table 8, pretrained on ImageNet; {100 * after_labels:.1f} where that was with labels"
        return Reference(finetuned, source)
    return None
