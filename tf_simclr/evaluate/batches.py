"""The batches of a split, divided over the replicas of a strategy: every example exactly once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_simclr.config import DataConfig, eval_crop_for
from tf_simclr.data.parts import FileDecoder
from tf_simclr.data.pipeline import eval_batches
from tf_simclr.data.source import ImageSource
from tf_simclr.train.strategy import distribute, per_replica_batch


@dataclass(frozen=True)
class _InAHurry:
    """Batches of files whose decoding is not watched, which takes as long again as decoding a small image.

    Attributes:
        hurried: the batches; an error in them names no file.
        named: makes the same, with errors that do: they are taken from the first batch on that fails.
    """

    hurried: Iterable[dict[str, Any]]
    named: Callable[[], Iterable[dict[str, Any]]]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        done = 0
        try:
            for batch in self.hurried:
                done += 1
                yield batch
        except (tf.errors.OpError, UnicodeDecodeError):
            yield from itertools.islice(self.named(), done, None)


@dataclass(frozen=True)
class EvalLoader:
    """How an evaluation reads the images of a split: every example once, divided over the replicas of a strategy.

    Attributes:
        strategy: devices.
        batch_size: global; a multiple of the replicas.
        image_size: side of the images.
        eval_crop: share of the shorter side that is seen, in (0, 1]; None for `config.eval_crop_for` this size.
    """

    strategy: tf.distribute.Strategy
    batch_size: int
    image_size: int
    eval_crop: float | None = None

    @classmethod
    def of(cls, data: DataConfig, strategy: tf.distribute.Strategy) -> EvalLoader:
        """As the flags say."""
        return cls(strategy, data.eval_batch_size, data.image_size, data.crop_of_evaluation)

    @property
    def crop(self) -> float:
        """The share of the shorter side that is seen."""
        return eval_crop_for(self.image_size, self.eval_crop)

    def batches(self, source: ImageSource) -> Iterable[dict[str, Any]]:
        """One pass over a split, as often as it is iterated over.

        Returns:
            an iterable of the batches of `eval_batches`, one share a replica, with "row" int64 [batch]: the place of
            each example in the canonical order of the split. The filling, whose mask is 0, has rows beyond the end.

        Raises:
            InputError: the batch does not divide by the replicas, or a number is out of range.
        """
        share = per_replica_batch("eval_batch_size", self.batch_size, self.strategy)
        if not isinstance(source.decode, FileDecoder):
            return self._batches(source, share)
        hurried = dataclasses.replace(source, decode=dataclasses.replace(source.decode, hurried=True))
        return _InAHurry(self._batches(hurried, share), lambda: self._batches(source, share))

    def _batches(self, source: ImageSource, share: int) -> Iterable[dict[str, Any]]:
        def dataset_of(context: tf.distribute.InputContext) -> tf.data.Dataset:
            workers, worker = context.num_input_pipelines, context.input_pipeline_id
            # Padded as one batch of all this process's replicas and divided afterwards: no replica goes without.
            own_batch = share * (context.num_replicas_in_sync // workers)
            batches = eval_batches(
                source,
                image_size=self.image_size,
                batch_size=own_batch,
                eval_crop=self.crop,
                shard=(workers, worker),
            )

            def with_rows(number: tf.Tensor, batch: dict[str, Any]) -> dict[str, Any]:
                own_rows = number * own_batch + tf.range(own_batch, dtype=tf.int64)
                return batch | {"row": worker + workers * own_rows}

            return batches.enumerate().map(with_rows).rebatch(share, drop_remainder=True)

        return distribute(self.strategy, dataset_of)
