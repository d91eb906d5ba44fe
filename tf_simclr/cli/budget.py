"""What of a run fits on accelerators, and how long it takes there: measured where it was, else an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tf_simclr.cli.accelerators import Accelerator, measured_host, measured_rate
from tf_simclr.cli.dry_run import DryRun, describe_run
from tf_simclr.cli.dry_run_memory import GIB, largest_batch, largest_micro_batch, memory_of
from tf_simclr.cli.main import say
from tf_simclr.config import AUTO_PRECISION, ExperimentConfig
from tf_simclr.errors import InputError

_HOUR = 3600


@dataclass(frozen=True)
class BudgetResult:
    """What was planned.

    Attributes:
        numbers: by name: images_per_second, hours, largest_batch (of a device), fits (1 or 0), and budget_epochs where
            there is a budget.
        measured: whether the rate was measured, on one device, with the same network.
        exit_code: of the program that does the same.
    """

    numbers: Mapping[str, float]
    measured: bool
    exit_code: int = 0


@dataclass(frozen=True)
class _Rate:
    images_per_second: float
    measured: bool
    why: str


def run(
    config: ExperimentConfig, given: frozenset[str], hours: float | None, wanted: tuple[str, Accelerator, int]
) -> BudgetResult:
    """Plans a run.

    Args:
        config: of a run of run.py.
        given: names of the flags that were given.
        hours: of the budget; None without one.
        wanted: name of an accelerator, what it is, and how many devices there are.

    Raises:
        InputError: as `describe_run`, or a step that is compiled on several GPUs.
    """
    name, one, devices = wanted
    if config.runtime.jit_compile and devices > 1 and not one.xla_always:
        raise InputError(
            "`jit_compile` must be False on several GPUs: a step compiles on one device only. Received: "
            f"jit_compile=True, accelerator={name}-{devices}. Leave it out, or pass --accelerator={name}"
        )
    if config.runtime.precision == AUTO_PRECISION:
        config = replace(config, runtime=replace(config.runtime, precision="bfloat16"))
    found = describe_run(config, given)
    say(f"{_described(found)} on {devices} x {one.title}: {one.memory_gib:g} GiB each ({one.source})")
    numbers, micro, line = _memory(found, one, devices)
    for text in line:
        say(text)
    if micro:
        found = _with_micro_batches(found, micro)
    rate = _rate(found, name, one, devices)
    kind = "measured" if rate.measured else "estimate"
    say(f"{kind}: {rate.images_per_second:,.0f} images/s ({rate.why})")
    seconds = found.durations.train_steps * found.config.data.train_batch_size / rate.images_per_second
    numbers |= {"images_per_second": rate.images_per_second, "hours": seconds / _HOUR}
    epochs = found.durations.train_steps * found.config.data.train_batch_size / found.images
    say(f"estimate: {found.durations.train_steps:,} steps, {epochs:,.4g} epochs, take {_time(seconds)}, from that rate")
    if hours is not None:
        numbers["budget_epochs"] = hours * _HOUR * rate.images_per_second / found.images
        enough = "enough for this run" if numbers["hours"] <= hours else "too few for this run"
        say(f"estimate: {hours:g} hours are {numbers['budget_epochs']:,.4g} epochs, {enough}")
    for text in _host(found, rate):
        say(text)
    return BudgetResult(numbers, rate.measured)


def _described(found: DryRun) -> str:
    model, config = found.config.model, found.config
    return (
        f"ResNet-{model.resnet_depth} x{model.width_multiplier:g}, {config.data.image_size} px, "
        f"{config.train.train_mode}, {config.runtime.precision}, batch {config.data.train_batch_size:,}"
    )


def _memory(found: DryRun, one: Accelerator, devices: int) -> tuple[dict[str, float], int, list[str]]:
    """Numbers, the micro-batch that the run needs in order to fit, or 0, and lines."""
    config, costs, usable = found.config, found.costs, one.usable_bytes
    largest = largest_batch(costs, config, usable, devices)
    own = memory_of(config, costs, devices)
    fits = own.total <= usable
    numbers = {"largest_batch": float(largest), "fits": float(fits)}
    lines = [
        f"estimate: at most {largest:,} images on a device, {largest * devices:,} in all, in {usable / GIB:.1f} GiB "
        "that a run can use, without micro-batches"
    ]
    where = "the device" if devices == 1 else f"each of {devices} devices"
    need = f"estimate: {own.images:,} images on {where} take {own.total / GIB:,.1f} GiB"
    if fits:
        return numbers, 0, [*lines, f"{need}: this batch fits"]
    micro = 0 if config.train.train_mode == "finetune" else largest_micro_batch(costs, config, usable, devices)
    remedy = f"pass --micro_batch_size={micro}, which counts below" if micro else "take more devices or a smaller batch"
    return numbers, micro, [*lines, f"{need}: this batch does not fit; {remedy}"]


def _with_micro_batches(found: DryRun, size: int) -> DryRun:
    """The run with micro-batches, which take the forward pass a second time."""
    costs, train = found.costs, replace(found.config.train, micro_batch_size=size)
    if not found.config.train.micro_batch_size:
        second = costs.views * costs.forward_flops
        more = 1 + second / costs.step_flops
        work = tuple((more * flops, more * moved) for flops, moved in costs.work)
        costs = replace(costs, step_flops=costs.step_flops + second, work=work)
    return replace(found, config=replace(found.config, train=train), costs=costs)


def _rate(found: DryRun, name: str, one: Accelerator, devices: int) -> _Rate:
    """Images a second of all devices."""
    config, costs, row = found.config, found.costs, measured_rate(found.config, name)
    times = [f"times {devices}, without communication"] if devices > 1 else []
    if row is not None:
        place = f"measured on one {one.title}, batch {row['batch']}, commit {row['commit']}, {row['date']}"
        rate: float = row["images_per_second"]
        if config.train.micro_batch_size:
            rate *= 1 - costs.views * costs.forward_flops / costs.step_flops
            times.append("less the second forward pass of micro-batches")
        return _Rate(devices * rate, not times, ", ".join([place, *times]))
    share = one.efficiency(config.runtime.jit_compile)
    roofline = 1 / costs.seconds(one.flops_per_second(config.runtime.precision), 1e9 * one.bandwidth_gb_s)
    compiled = one.xla_always or config.runtime.jit_compile
    how = "compiled by XLA" if compiled else "without --jit_compile"
    why = f"{share:.0%} of the roofline of {roofline:,.0f} images/s, as steps {how} reach on an H200"
    return _Rate(devices * share * roofline, False, ", ".join([why, *times]))


def _time(seconds: float) -> str:
    if seconds >= 48 * _HOUR:
        return f"{seconds / _HOUR / 24:,.1f} days"
    return f"{seconds / _HOUR:,.2f} hours" if seconds >= _HOUR / 10 else f"{seconds:,.0f} seconds"


def _host(found: DryRun, rate: _Rate) -> list[str]:
    """How many CPU cores would make the views that fast; nothing where that was not measured."""
    host, config = measured_host(), found.config
    if config.data.image_size != host["image_size"] or config.train.train_mode != "pretrain":
        return []
    cores = rate.images_per_second * host["cpu_cores"] / host["views_per_second"]
    return [
        f"estimate: about {cores:,.0f} CPU cores make the views that fast, or the devices wait for them (measured: "
        f"{host['views_per_second']} images/s by {host['cpu_cores']} cores, {host['what']}, commit {host['commit']}, "
        f"{host['date']})"
    ]
