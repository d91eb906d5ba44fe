"""What a training step is fed: the augmentation of a run, and its batches from a step on."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.pipeline import ready, train_batches
from tf_simclr.data.remote import remote_batches
from tf_simclr.data.source import ImageSource
from tf_simclr.data.views import ViewPolicy
from tf_simclr.train.online_head import share_of_plain
from tf_simclr.train.strategy import distribute, per_replica_batch


def view_policy(config: ExperimentConfig) -> tuple[ViewPolicy, int]:
    """The augmentation of a training run, and how many views of each image it takes."""
    size, augmentation = config.data.image_size, config.augmentation
    num_views = 1 if config.train.trains_classifier else 2
    if augmentation.operators:
        policy = ViewPolicy.composed(
            size,
            augmentation.operators,
            one_branch=augmentation.augmentation_branch == "one",
            color_jitter_strength=augmentation.color_jitter_strength,
            color_jitter_impl=augmentation.color_jitter_impl,
            min_crop_area=augmentation.min_crop_area,
        )
    elif num_views == 1:
        policy = ViewPolicy.crop_and_flip(size, augmentation.min_crop_area)
    else:
        policy = ViewPolicy(
            image_size=size,
            color_jitter_strength=augmentation.color_jitter_strength,
            color_jitter_impl=augmentation.color_jitter_impl,
            blur=augmentation.use_blur,
            min_crop_area=augmentation.min_crop_area,
        )
    return policy, num_views


def plain_share(config: ExperimentConfig, source: ImageSource, share: int) -> int:
    """Images of a replica's batch that the online head sees as evaluation does; 0 where the head is another, or none.

    Never more than a micro-batch: they go through the encoder together.
    """
    if not (source.labelled and config.train.trains_online_head and config.train.online_head == "standardised"):
        return 0
    return min(share_of_plain(config.data.train_batch_size, share), config.train.micro_batch_size or share)


def build_train_iterator(
    config: ExperimentConfig,
    source: ImageSource,
    strategy: tf.distribute.Strategy,
    start_step: int,
    *,
    host_only: bool = False,
) -> Any:
    """A distributed iterator over training batches that stands at `start_step`; `host_only` as in `train_batches`."""
    policy, num_views = view_policy(config)
    share = per_replica_batch("train_batch_size", config.data.train_batch_size, strategy)

    def dataset_of(context: tf.distribute.InputContext) -> tf.data.Dataset:
        # Replicas of this process take batches in turn: one global step is that many of them.
        in_turn = context.num_replicas_in_sync // context.num_input_pipelines
        batches = functools.partial(
            train_batches,
            source,
            policy=policy,
            num_views=num_views,
            batch_size=share,
            seed=config.runtime.seed,
            shard=(context.num_input_pipelines, context.input_pipeline_id),
            cache=config.data.cache_dataset,
            plain=plain_share(config, source, share),
            eval_crop=config.data.crop_of_evaluation,
            host_only=host_only,
        )
        first, addresses = start_step * in_turn, config.runtime.input_addresses
        if not addresses:
            return batches(start_step=first)
        return ready(remote_batches(addresses, lambda dealt: batches(start_step=first, dealt=dealt)))

    return iter(distribute(strategy, dataset_of))
