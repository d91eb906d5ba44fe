"""How a dry run is printed, and its numbers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tf_simclr.cli.accelerators import accelerators
from tf_simclr.cli.dry_run_memory import GIB, Memory, memory_of

if TYPE_CHECKING:
    from tf_simclr.cli.dry_run import DryRun

_REPLICAS = tuple(2**power for power in range(10))
_SMALLEST_MICRO_BATCH, _LARGEST_MICRO_BATCH = 8, 256


def lines_of(found: DryRun) -> list[str]:
    """All that is printed, line by line."""
    config, costs, durations = found.config, found.costs, found.durations
    model, train = config.model, config.train
    classes = f"{found.num_classes:,} classes" if found.num_classes else "no labels"
    counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in costs.parameters.items())
    epochs = durations.train_steps * config.data.train_batch_size / found.images
    return [
        "dry run: nothing is trained, nothing is written",
        f"data: {config.data.dataset}, {found.images:,} training images, {classes}"
        + (" (published sizes; the data set need not be there)" if found.published else ""),
        f"network: ResNet-{model.resnet_depth} x{model.width_multiplier:g}, {model.stem_for(config.data.image_size)} "
        f"stem, {config.data.image_size} px, {train.train_mode}, {config.runtime.precision}",
        f"parameters: {counts}; {costs.total_parameters:,} in all, {costs.trained:,} trained",
        f"FLOPs: {costs.forward_flops / 1e9:,.4g} GFLOP forward for a view, {costs.step_flops / 1e9:,.4g} GFLOP an "
        f"image for a whole step ({costs.views} view{'s' * (costs.views > 1)}, forward and backward); of convolutions "
        "and products, two for a multiplication and an addition",
        f"length: {durations.train_steps:,} steps, {epochs:,.4g} epochs of {found.images / _batch(found):,.1f} steps, "
        f"{durations.warmup_steps:,} of warm-up; a checkpoint each {durations.checkpoint_steps:,} steps",
        f"learning rate: {', '.join(f'{rate:.4g} at step {step:,}' for step, rate in found.rates.items())}",
        *_memory_lines(found),
        *(f"note: {note}" for note in found.notes),
    ]


def _batch(found: DryRun) -> int:
    return found.config.data.train_batch_size


def _memory_lines(found: DryRun) -> list[str]:
    """A table: replicas that share the batch, and on one replica micro-batches."""
    rows = [(f"{replicas}", memory) for replicas, memory in _by_replicas(found)]
    if found.config.train.train_mode == "pretrain":
        rows += [(f"1, --micro_batch_size={m.in_flight}", m) for m in _by_micro_batches(found)]
    cells = [_HEADINGS, *(_row(found, name, memory) for name, memory in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        f"memory of a replica in GiB, for the batch of {_batch(found):,}: weights, gradients and optimizer are exact; "
        "activations, batch and loss are an estimate, without what a compiler saves",
        *("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells),
    ]


_HEADINGS = (
    *("replicas", "images each", "weights", "gradients", "optimizer"),
    *("activations", "batch and loss", "total", "fits on"),
)


def _row(found: DryRun, name: str, memory: Memory) -> tuple[str, ...]:
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.batch, memory.total)
    return (name, f"{memory.images:,}", *(f"{part / GIB:,.2f}" for part in parts), _fitting(memory))


def _fitting(memory: Memory) -> str:
    fits = [name for name, one in accelerators().items() if memory.total <= one.usable_bytes]
    return "all" if len(fits) == len(accelerators()) else ", ".join(fits) or "none"


def _by_replicas(found: DryRun) -> list[tuple[int, Memory]]:
    """The powers of two that divide the batch."""
    batch = _batch(found)
    counts = [count for count in _REPLICAS if batch % count == 0 and 2 * count <= batch]
    return [(count, memory_of(found.config, found.costs, count)) for count in counts]


def _by_micro_batches(found: DryRun) -> list[Memory]:
    if found.config.train.micro_batch_size:
        return []
    size, sizes = _LARGEST_MICRO_BATCH, []
    while size >= _SMALLEST_MICRO_BATCH:
        if size < _batch(found):
            sizes.append(size)
        size //= 4
    return [memory_of(found.config, found.costs, 1, size) for size in sizes]


def numbers_of(found: DryRun) -> dict[str, float]:
    """The numbers of a dry run, by name."""
    costs, memory = found.costs, memory_of(found.config, found.costs, 1)
    numbers: dict[str, float] = {f"parameters_{part}": count for part, count in costs.parameters.items()}
    numbers |= {
        "parameters": costs.total_parameters,
        "parameters_trained": costs.trained,
        "flops_forward_view": costs.forward_flops,
        "flops_step_image": costs.step_flops,
        "memory_bytes": memory.total,
        "memory_bytes_exact": memory.weights + memory.gradients + memory.optimizer,
        "images": found.images,
        "train_steps": found.durations.train_steps,
        "warmup_steps": found.durations.warmup_steps,
        "peak_learning_rate": found.config.optimizer.peak_learning_rate(_batch(found)),
    }
    return {f"dry_run/{name}": float(number) for name, number in numbers.items()}
