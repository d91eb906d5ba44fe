"""The memory that a replica of a run would need: variables and gradients exactly, what a step keeps as an estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tf_simclr.cli.dry_run_graph import StepCosts
from tf_simclr.config import ExperimentConfig

GIB = 2**30
_FLOAT32 = 4
# As in tf_simclr.losses.anchors: the whole matrix of similarities up to so many entries, else blocks of so many.
_WHOLE_MATRIX, _BLOCK = 2**24, 2**21
# Similarities, their softmax and the gradient.
_COPIES_OF_SIMILARITIES = 3
# A tensor and its gradient, beside what is kept.
_IN_WORK = 2


@dataclass(frozen=True)
class Memory:
    """Bytes on one replica.

    Attributes:
        images: of the global batch that are the replica's own.
        in_flight: of these, how many go through the network at a time.
        weights: variables of the networks, in float32, and their copies in the layers' type; of a memory bank, its copy
            of the networks and its queue.
        gradients: of what is trained; with micro-batches also their sum.
        optimizer: the optimizer's own variables.
        activations: what the backward pass needs of the images in flight, and the two widest tensors: an estimate.
        batch: the views in float32 and what the loss holds: an estimate.
    """

    images: int
    in_flight: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    batch: float

    @property
    def total(self) -> float:
        """Of all of them."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.batch


def memory_of(config: ExperimentConfig, costs: StepCosts, replicas: int, micro_batch_size: int | None = None) -> Memory:
    """The memory of one of some replicas.

    Args:
        config: of the run.
        costs: of its step.
        replicas: that share the batch; the largest share counts where they do not divide it.
        micro_batch_size: in place of the config's; 0 for none.
    """
    micro = config.train.micro_batch_size if micro_batch_size is None else micro_batch_size
    images = -(-config.data.train_batch_size // replicas)
    in_flight = min(images, micro) if micro else images
    return Memory(
        images,
        in_flight,
        weights=costs.weight_bytes + costs.copied_bytes + costs.memory_bytes,
        gradients=costs.gradient_bytes * (2 if micro else 1),
        optimizer=costs.slot_bytes,
        activations=in_flight * (costs.kept_bytes + _IN_WORK * costs.widest_bytes),
        batch=_batch_bytes(config, costs, images),
    )


def _batch_bytes(config: ExperimentConfig, costs: StepCosts, images: int) -> float:
    views = images * costs.views * config.data.image_size**2 * 3 * _FLOAT32
    if config.train.train_mode == "finetune":
        return views
    rows, columns = 2 * images, 2 * config.data.train_batch_size + config.loss.memory_size
    entries = rows * columns
    held = entries if entries <= _WHOLE_MATRIX else _BLOCK
    return views + _FLOAT32 * _COPIES_OF_SIMILARITIES * held


def largest_batch(costs: StepCosts, config: ExperimentConfig, memory: float, replicas: int = 1) -> int:
    """Images of each of some replicas whose step fits into so many bytes, without micro-batches; 0 for none."""

    def fits(images: int) -> bool:
        whole = replace(config, data=replace(config.data, train_batch_size=images * replicas))
        return memory_of(whole, costs, replicas, 0).total <= memory

    return _largest(fits)


def largest_micro_batch(costs: StepCosts, config: ExperimentConfig, memory: float, replicas: int = 1) -> int:
    """The largest power of two for --micro_batch_size with which the batch fits into so many bytes; 0 for none."""
    largest = _largest(lambda images: memory_of(config, costs, replicas, images).total <= memory, most=2**20 - 1)
    return 2 ** (largest.bit_length() - 1) if largest else 0


def _largest(fits: Callable[[int], bool], most: int = 2**30 - 1) -> int:
    """The largest number up to `most`, one below a power of two, that fits where all smaller ones do; 0 for none."""
    found, step = 0, (most + 1) // 2
    while step:
        found, step = (found + step if fits(found + step) else found), step // 2
    return found
