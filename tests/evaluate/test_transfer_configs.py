"""The configs of the 12 transfer sets, each tried on a small data set of the real one's features, splits and layout."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tf_simclr.cli import evaluate_flags
from tf_simclr.cli.flags import parse
from tf_simclr.data.datasets import load_sources

CONFIGS = Path(__file__).parents[2] / "tf_simclr" / "configs" / "transfer"
# SimCLR, Table 8: ResNet-50 (4x), linear and fine-tuned, and supervised on ImageNet and then fine-tuned.
TABLE_8 = {
    "food101": (76.9, 89.4, 88.7),
    "cifar10": (95.3, 98.6, 98.3),
    "cifar100": (80.2, 89.0, 88.7),
    "birdsnap": (48.4, 78.2, 77.8),
    "sun397": (65.9, 68.1, 67.0),
    "cars196": (60.0, 92.1, 91.4),
    "fgvc_aircraft": (61.2, 87.0, 88.0),
    "voc2007": (84.2, 86.6, 86.5),
    "dtd": (78.9, 77.8, 78.8),
    "oxford_iiit_pet": (89.2, 92.1, 93.2),
    "caltech101": (93.9, 94.1, 94.2),
    "oxford_flowers102": (95.0, 97.6, 98.0),
}
# Appendix B.8: all others top-1.
METRICS = dict.fromkeys(("fgvc_aircraft", "oxford_iiit_pet", "caltech101", "oxford_flowers102"), "mean_per_class")
METRICS |= {"voc2007": "map_11_point"}
WITH_VALIDATION = {"fgvc_aircraft", "voc2007", "dtd", "oxford_flowers102"}
IN_FOLDERS = {"birdsnap", "fgvc_aircraft"}
IMAGES, GREY_STEP = 6, 12


def settings(name):
    """The two configs that a flag file makes."""
    values = parse([f"--flagfile={CONFIGS / name}.cfg"], evaluate_flags.FLAG_GROUPS).values
    values |= {"checkpoint": "PRETRAINED", "data_dir": "TFDS"}
    return evaluate_flags.PROTOCOLS.build(values), evaluate_flags.DATA.build(values)


def splits_of(name):
    protocol, data = settings(name)
    return [split for split in (data.train_split, protocol.validation_split, data.eval_split) if split]


def comment(name):
    lines = (CONFIGS / f"{name}.cfg").read_text().splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


# ---- Flags and comments ----


def test_there_is_a_config_for_each_of_the_12_sets():
    assert {path.stem for path in CONFIGS.glob("*.cfg")} == set(TABLE_8) and len(TABLE_8) == 12


@pytest.mark.parametrize("name", TABLE_8)
def test_the_flags_are_the_papers(name):
    protocol, data = settings(name)
    protocol.validate()
    data.validate()
    assert protocol.metric == METRICS.get(name, "top_1")
    assert protocol.protocol_names == ("logreg",) and data.image_size == 224
    assert (protocol.validation_split is not None) == (name in WITH_VALIDATION)
    assert len(set(splits_of(name))) == len(splits_of(name))


@pytest.mark.parametrize("name", TABLE_8)
def test_the_comment_has_the_command_and_the_papers_numbers(name):
    text = comment(name)
    where = "IMAGES" if name in IN_FOLDERS else "TFDS"
    command = f"python -m tf_simclr evaluate --flagfile=configs/transfer/{name}.cfg --checkpoint=PRETRAINED"
    assert f"{command} --data_dir={where}" in text
    assert tuple(map(float, re.findall(r"(\d+\.\d)%", text))) == TABLE_8[name]
    assert ("--protocols=finetune_grid" in text) == (name != "voc2007")
    assert all(part in text for part in ("Source:", "Data:", "Expected:", "Time:"))


# ---- Small data sets of the same shape ----


def label_of(number, classes):
    return 7 * number % classes


def shown_in(number):
    """VOC: the classes of an image, and those that more than difficult objects show; some images have none."""
    every = {label_of(number, 20), label_of(number + 1, 20)} if number % 4 else set()
    return sorted(every), sorted(label for label in every if (label + number) % 3)


def grey(number, shape=(None, None, 3)):
    return np.full([side or 8 for side in shape], number * GREY_STEP, np.uint8)


def value_of(key, feature, number):
    """What the feature of this name holds for one image."""
    kinds = tfds.features
    if key in ("labels", "labels_no_difficult"):
        return shown_in(number)[key == "labels_no_difficult"]
    if isinstance(feature, kinds.Image):
        return grey(number, feature.shape)
    if isinstance(feature, kinds.ClassLabel):  # other labels than "label" differ, so that none is taken for it
        return label_of(number if key == "label" else number + 1, feature.num_classes)
    if isinstance(feature, kinds.BBoxFeature):
        return kinds.BBox(0.0, 0.0, 1.0, 1.0)
    if isinstance(feature, kinds.Text):
        return f"{number}.jpg"
    if isinstance(feature, kinds.Sequence):
        return []
    raise AssertionError(f"{key}: {feature} is no feature of these data sets")


class NoDownloads:
    """Stands for TFDS's download manager: every address is one folder, with the lists that splits are made of."""

    def __init__(self, folder):
        self.folder = folder
        for path, classes in {
            "cifar-10-batches-bin/batches.meta": 10,
            "cifar-100-binary/fine_label_names": 100,
        }.items():
            self._write(f"{path}.txt", [f"class {label}" for label in range(classes)])
        self._write("cifar-100-binary/coarse_label_names.txt", [f"group {label}" for label in range(20)])
        for name in ("Training_01.txt", "Testing_01.txt"):
            self._write(name, [])

    def _write(self, path, lines):
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text("\n".join(lines))

    def download_and_extract(self, addresses):
        return dict.fromkeys(addresses, self.folder) if isinstance(addresses, dict) else self.folder

    def extract(self, path):
        return self.folder

    def iter_archive(self, path):
        return iter(())


def prepare(dataset, folder):
    """Writes a few images as TFDS's own code for this data set would: its features, its splits."""
    builder = tfds.builder(dataset, data_dir=folder)
    own_splits = builder._split_generators

    def examples(first):
        for number in range(first, first + IMAGES):
            yield number, {key: value_of(key, feature, number) for key, feature in builder.info.features.items()}

    def small_splits(dl_manager):
        found = own_splits(NoDownloads(Path(folder)))
        names = sorted(map(str, found if isinstance(found, dict) else (split.name for split in found)))
        return {name: examples(IMAGES * place) for place, name in enumerate(names)}

    builder._split_generators = small_splits
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder


def opened(name, folder):
    """Every split of a config, by its name."""
    dataset = settings(name)[1].dataset
    return {
        split: load_sources(dataset, data_dir=folder, train_split=split, eval_split=None)[0]
        for split in splits_of(name)
    }


def numbers(source):
    images = [source.decode(record["data"]).numpy() for record in source.records(None)]
    return [round(float(image.mean()) * 255 / GREY_STEP) for image in images]


def require_disjoint(sources):
    seen = [number for source in sources.values() for number in numbers(source)]
    assert len(seen) == len(set(seen)) == IMAGES * len(sources)


@pytest.mark.parametrize("name", [name for name in TABLE_8 if name not in (*IN_FOLDERS, "voc2007")])
def test_splits_and_labels_of_a_set_of_tfds(name, tmp_path):
    builder = prepare(settings(name)[1].dataset, str(tmp_path))
    sources = opened(name, str(tmp_path))
    require_disjoint(sources)
    classes = builder.info.features["label"].num_classes
    assert f"{classes} classes" in comment(name)
    for source in sources.values():
        labels = [int(record["label"]) for record in source.records(None)]
        assert source.labelled and source.num_classes == classes and source.targets is None
        assert labels == [label_of(number, classes) for number in numbers(source)]
    assert set(builder.info.splits) == set(sources)


def test_splits_and_targets_of_voc2007(tmp_path):
    builder = prepare("voc/2007", str(tmp_path))
    sources = opened("voc2007", str(tmp_path))
    require_disjoint(sources)
    assert set(builder.info.splits) == set(sources)
    ignored_anywhere = False
    for source in sources.values():
        targets = source.targets()
        assert not source.labelled and source.class_names == tuple(builder.info.features["labels"].feature.names)
        assert targets.positives.shape == (IMAGES, 20) and "20 classes" in comment("voc2007")
        for number, positives, ignored in zip(numbers(source), targets.positives, targets.ignored, strict=True):
            every, clear = shown_in(number)
            assert np.flatnonzero(positives).tolist() == clear
            assert np.flatnonzero(ignored).tolist() == sorted(set(every) - set(clear))
        ignored_anywhere |= bool(targets.ignored.any())
    assert ignored_anywhere


@pytest.mark.parametrize("name", sorted(IN_FOLDERS))
def test_splits_and_labels_of_a_set_in_folders(name, tmp_path):
    assert not [known for known in tfds.list_builders() if "birdsnap" in known or "aircraft" in known]
    for place, split in enumerate(splits_of(name)):
        assert f"IMAGES/{split}/CLASS/*.jpg" in comment(name)
        for number in range(IMAGES * place, IMAGES * (place + 1)):
            path = tmp_path / split / f"class {number % 2}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey(number)).save(path)
    sources = opened(name, str(tmp_path))
    require_disjoint(sources)
    for source in sources.values():
        assert source.class_names == ("class 0", "class 1")
        labels = [int(record["label"]) for record in source.records(None)]
        assert labels == [number % 2 for number in numbers(source)]
