"""Data sets of TensorFlow Datasets (TFDS), read with their images still encoded."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_simclr.data import fingerprint
from tf_simclr.data.image_files import AS_USUAL, Reading, in_threads
from tf_simclr.data.parts import FileDecoder
from tf_simclr.data.source import (
    UNLABELLED,
    ImageSource,
    MultiLabel,
    Records,
    Span,
    no_global_seed,
    records_from_table,
)
from tf_simclr.data.splits import SplitSources
from tf_simclr.data.tfds_builder import import_tfds, one_line, open_builder
from tf_simclr.errors import InputError

MEMORY_BUDGET = 2 << 30
SHUFFLE_BUFFER = 50_000
_MAX_INDEX = 2**36  # what the key of an augmentation has room for
# PASCAL VOC: the classes of an image, and those of them that more than difficult objects show.
_SEVERAL_LABELS, _WITHOUT_DIFFICULT = "labels", "labels_no_difficult"
_TARGETS_BATCH = 4096


def open_tfds(
    name: str,
    *,
    data_dir: str | None,
    train_split: str,
    eval_split: str | None,
    validation_split: str | None = None,
    built_in: Sequence[str] = (),
    memory_budget: int = MEMORY_BUDGET,
    shuffle_buffer: int = SHUFFLE_BUFFER,
    reading: Reading = AS_USUAL,
) -> SplitSources:
    """Opens a data set of TFDS, which is downloaded and prepared first when it is not there yet.

    Args:
        name: "cifar10", "name/config" or "name:version".
        data_dir: where TFDS keeps its data; None for its default, ~/tensorflow_datasets.
        train_split: a split of TFDS, slices included: "train", "train[:10%]", "train+validation".
        eval_split: likewise; None for none.
        validation_split: likewise.
        built_in: names of the other kinds of data set, for the message about an unknown name.
        memory_budget: bytes; a split whose encoded size is below is held in memory and shuffled as a whole.
        shuffle_buffer: images in the shuffle buffer of a larger split, whose files are shuffled besides.
        reading: how its images are read.

    Returns:
        the training source, the evaluation source or None, and the validation source or None.

    Raises:
        InputError: TFDS is missing, or the name, a split or the images in it cannot be used.
    """
    tfds = import_tfds(name, built_in)
    builder = open_builder(tfds, name, data_dir, built_in)
    reader = _Reader(tfds, builder, name, memory_budget, shuffle_buffer, reading)
    others = (None if split is None else reader.source(split) for split in (eval_split, validation_split))
    return SplitSources(reader.source(train_split), *others)


def load_tfds(
    name: str, *, data_dir: str | None, train_split: str, eval_split: str | None, **options: Any
) -> tuple[ImageSource, ImageSource | None]:
    """The training and the evaluation source of `open_tfds`, which takes the same `options`."""
    sources = open_tfds(name, data_dir=data_dir, train_split=train_split, eval_split=eval_split, **options)
    return sources.train, sources.evaluation


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Makes sources of the splits of one prepared builder."""

    tfds: Any
    builder: Any
    name: str
    memory_budget: int
    shuffle_buffer: int
    reading: Reading

    def source(self, split: str) -> ImageSource:
        """One split, or slice of it, as a source."""
        num_examples = self._num_examples(split)
        image_key, label_key = self._keys()
        several = label_key is None and self._has_several_labels(_SEVERAL_LABELS)
        classes, notes = self._classes(label_key, several)
        height, width, _ = self.builder.info.features[image_key].shape
        spans = self._spans(split)
        source = ImageSource(
            name=self.name,
            split=split,
            num_examples=num_examples,
            num_classes=len(classes),
            class_names=classes,
            image_shape=(height, width, 3) if height and width else None,
            records=self._streamed(split, image_key, label_key, num_examples),
            decode=FileDecoder(self.reading, lambda pair: (pair[0], pair[1])),
            notes=notes,
            location=str(self.builder.data_path),
            fingerprint=self._fingerprint(spans, classes),
            names=lambda: tuple(
                f"{os.path.basename(shard)}__{number}" for shard, start, stop in spans for number in range(start, stop)
            ),
            spans=spans,
            targets=functools.partial(self._targets, split, len(classes)) if several else None,
        )
        total = max(1, sum(info.num_examples for info in self.builder.info.splits.values()))
        size = self.builder.info.dataset_size * num_examples // total

        def load() -> ImageSource:
            table = source.records(None).batch(num_examples).get_single_element()
            records = records_from_table(table["index"], table["label"], table["data"])
            return dataclasses.replace(source, records=records, load=None)

        if size <= self.memory_budget:
            return load()
        note = (
            f"{self.name} {split} ({size / 1e9:.1f} GB) is shuffled by files and then in a buffer of "
            f"{min(self.shuffle_buffer, num_examples)} images, not as a whole"
        )
        return dataclasses.replace(source, load=load, notes=(*notes, note))

    def _spans(self, split: str) -> tuple[Span, ...]:
        """Where the examples of a split lie, in file order."""
        found = self.builder.info.splits[split].file_instructions
        return tuple(Span(os.fspath(part.filename), part.skip, part.skip + part.take) for part in found)

    def _fingerprint(self, spans: Sequence[Span], classes: Sequence[str]) -> str:
        shards = list(dict.fromkeys(span.container for span in spans))
        sizes = dict(zip(shards, in_threads(_size_of, shards), strict=True))
        info = self.builder.info
        config = None if self.builder.builder_config is None else self.builder.builder_config.name
        parts = [(os.path.basename(span.container), sizes[span.container], span.start, span.stop) for span in spans]
        return fingerprint.of_facts("tfds", info.name, config, str(info.version), tuple(classes), parts)

    def _num_examples(self, split: str) -> int:
        splits = self.builder.info.splits
        try:
            number = splits[split].num_examples
        except (KeyError, ValueError, AssertionError) as error:
            raise InputError(
                f"{self.name} has the splits: {', '.join(splits)}, and slices of them such as train[:10%]. Choose "
                f"with --train_split and --eval_split. Received: split={split!r}"
            ) from error
        if number < 1:
            raise InputError(f"The split holds no image: choose a larger slice. Received: split={split!r}")
        return number

    def _keys(self) -> tuple[str, str | None]:
        """The names of the image and of the label (None without one) among the features."""
        features, supervised = self.builder.info.features, self.builder.info.supervised_keys or ()
        kinds = self.tfds.features
        images = [k for k in ("image", *supervised, *features) if _is_a(features, k, kinds.Image)]
        labels = [k for k in ("label", *supervised) if _is_a(features, k, kinds.ClassLabel)]
        usable = [k for k in images if np.dtype(features[k].np_dtype) in (np.uint8, np.uint16)]
        if not usable:
            raise InputError(
                f"This data set has no images of 8 or 16 bits among its features: {', '.join(features)}. Choose "
                f"another. Received: dataset={self.name!r}"
            )
        return usable[0], labels[0] if labels else None

    def _classes(self, label_key: str | None, several: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of the classes, and what a person should know of them."""
        features = self.builder.info.features
        if label_key:
            return tuple(features[label_key].names), ()
        if several:
            note = f"an image of {self.name} may have several classes: pretraining takes it as unlabelled"
            return tuple(features[_SEVERAL_LABELS].feature.names), (note,)
        return (), (f"{self.name} has no class labels",)

    def _has_several_labels(self, key: str) -> bool:
        features, kinds = self.builder.info.features, self.tfds.features
        return _is_a(features, key, kinds.Sequence) and isinstance(features[key].feature, kinds.ClassLabel)

    def _streamed(self, split: str, image_key: str, label_key: str | None, num_examples: int) -> Records:
        """Records read from the files: in file order, or with shuffled files and a shuffle buffer."""
        wanted = (image_key, label_key) if label_key else (image_key,)

        def standard(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            identity = example["tfds_id"]
            return {
                "index": tf.strings.to_hash_bucket_fast(identity, _MAX_INDEX),
                "label": tf.cast(example[label_key] if label_key else UNLABELLED, tf.int64),
                "data": tf.stack([example[image_key], identity]),
            }

        def records(seed: tf.Tensor | None) -> tf.data.Dataset:
            with no_global_seed():
                dataset = self._examples(split, wanted, {image_key: self.tfds.decode.SkipDecoding()}, seed)
                if seed is not None:
                    buffer = min(self.shuffle_buffer, num_examples)
                    dataset = dataset.shuffle(buffer, seed=seed, reshuffle_each_iteration=False)
            return dataset.map(standard)

        return records

    def _targets(self, split: str, num_classes: int) -> MultiLabel:
        """Several classes an image, in file order; the images themselves are not read."""
        keys = [key for key in (_SEVERAL_LABELS, _WITHOUT_DIFFICULT) if self._has_several_labels(key)]

        def shown(example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            every, clear = (
                tf.reduce_any(tf.one_hot(example[key], num_classes, True, False, dtype=tf.bool), axis=0)
                for key in (keys[0], keys[-1])
            )
            return clear, tf.logical_and(every, tf.logical_not(clear))

        batches = self._examples(split, keys, {}, None).map(shown).batch(_TARGETS_BATCH)
        positives, ignored = zip(*batches.as_numpy_iterator(), strict=True)
        return MultiLabel(np.concatenate(positives), np.concatenate(ignored))

    def _examples(
        self, split: str, features: Sequence[str], decoders: dict[str, Any], seed: tf.Tensor | None
    ) -> tf.data.Dataset:
        """Some features of the examples, in file order, or with the files shuffled by a seed."""
        options = {} if seed is None else {"shuffle_seed": seed}
        return self.builder.as_dataset(
            split=split,
            shuffle_files=seed is not None,
            decoders=self.tfds.decode.PartialDecoding(dict.fromkeys(features, True), decoders=decoders),
            read_config=self.tfds.ReadConfig(
                add_tfds_id=True,
                try_autocache=False,
                shuffle_reshuffle_each_iteration=False,
                interleave_cycle_length=1 if seed is None else 16,
                enable_ordering_guard=False,
                **options,
            ),
        )


def _size_of(shard: str) -> int:
    try:
        return int(tf.io.gfile.stat(shard).length)
    except tf.errors.OpError as error:
        raise InputError(
            f"A file of the prepared data set cannot be read: {one_line(error)} Received: {shard!r}. Prepare it again"
        ) from error


def _is_a(features: Any, key: str, kind: type) -> bool:
    return key in features and isinstance(features[key], kind)
