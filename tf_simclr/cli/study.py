"""Opens what a study needs, runs its cells, and writes its pages."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tf_simclr.cli.main import say
from tf_simclr.cli.study_plan import StudyPlan
from tf_simclr.cli.task import EXIT_SOME_FAILED, TerminalReporter, build_own_strategy, named_images
from tf_simclr.config import StudyConfig, build_config
from tf_simclr.data.datasets import build_splits
from tf_simclr.directory_lock import DirectoryLock
from tf_simclr.errors import StoppedError
from tf_simclr.evaluate.protocols.context import Splits, open_splits
from tf_simclr.optional import require_jinja2, require_matplotlib, require_scikit_learn
from tf_simclr.studies.comparison import CheckedFinding, check_finding
from tf_simclr.studies.given_network import open_network
from tf_simclr.studies.identity import claim, identity
from tf_simclr.studies.plan import PlannedCell
from tf_simclr.studies.report import write_report
from tf_simclr.studies.results import Results, read_results
from tf_simclr.studies.run_cell import StudyContext
from tf_simclr.studies.runner import Runner
from tf_simclr.studies.study import TRANSFER, TRANSFORMATIONS, Study, StudyCell
from tf_simclr.studies.transfer import NETWORKS_DIRECTORY, open_set
from tf_simclr.train.interrupts import StopRequest, exit_code_of
from tf_simclr.train.strategy import per_replica_batch
from tf_simclr.train.timing import describe_memory


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        directory: of its pages and results, `model_dir`.
        results: the measures of all cells that are measured, over seeds; None where the study was stopped, and goes on
            with the same flags.
        findings: the paper's findings, each with whether it holds here.
        failed: a line for each cell that could not be measured.
        exit_code: of the program that does the same; 0 where all went well.
    """

    directory: str
    results: Results | None = None
    findings: tuple[CheckedFinding, ...] = ()
    failed: tuple[str, ...] = ()
    exit_code: int = 0


def run(planned: StudyPlan, command: str) -> StudyResult:
    """Runs a study.

    Args:
        planned: which one, how much of it, and on which images.
        command: as it was called, for the page.

    Raises:
        InputError: what a person can fix, before any long work starts.
    """
    began = time.monotonic()
    tf.get_logger().setLevel("ERROR")  # networks are built and traced again and again, which it warns of each time
    study, config, directory, todo = planned.study, planned.config, planned.directory, planned.todo
    require_packages(planned.cells)
    stop = StopRequest()
    with stop.watch(), named_images():
        try:
            with stop.at_once():
                context = open_context(planned, stop)
                runner = Runner(study, context, directory, keep_runs=config.keep_runs)
                runner.check(todo)
                with contextlib.nullcontext() if config.report else lock_of(config, directory):
                    cache = planned.data.cache_dataset
                    found = run_cells(study, config, context, runner, todo, command, cache=cache)
        except StoppedError:
            name, code = exit_code_of(stop)
            say(f"{name} received: what was done is kept in {directory}; run the same command to go on")
            return StudyResult(directory, exit_code=code)
    for line in found.failed:
        say(f"error: not measured: {line}")
    say(f"done after {time.monotonic() - began:.0f} s{describe_memory()}")
    return found


def lock_of(config: StudyConfig, directory: str) -> DirectoryLock:
    """The lock of a study's directory; shards of the same division work in it at the same time."""
    index, count = config.part
    if count == 1:
        return DirectoryLock(directory, say)
    return DirectoryLock(directory, say, name=f"lock-{index}-of-{count}.json", beside=rf"lock-\d+-of-{count}\.json")


def run_cells(
    study: Study,
    config: StudyConfig,
    context: StudyContext,
    runner: Runner,
    todo: Sequence[PlannedCell],
    command: str,
    *,
    cache: bool,
) -> StudyResult:
    """Runs what is planned in a directory that is this process's own, and draws what is there.

    Raises:
        InputError: the directory holds another study.
        StoppedError: somebody asked to stop.
    """
    directory, cells = runner.directory, study.cells(config.scale)
    notes = claim(directory, identity(study, context), new=not config.report)
    for line in (*describe(study, config, context, len(todo), directory), *(f"note: {note}" for note in notes)):
        say(line)
    if cache and todo:
        runner.hold_images()
    failed = runner.run(todo)
    results = read_results(directory, [cell.name for cell in cells], context.splits.test.num_examples)
    findings = tuple(check_finding(finding, cells, results) for finding in study.findings)
    if config.report or config.part[1] == 1:  # of several shards none knows when the others are done
        report(study, context, directory, command, results, findings)
    return StudyResult(directory, results, findings, tuple(failed), EXIT_SOME_FAILED if failed else 0)


def require_packages(cells: Sequence[StudyCell]) -> None:
    """Raises InputError where a package is missing that would be needed hours later."""
    require_matplotlib()
    require_jinja2()
    if any(cell.task == TRANSFORMATIONS for cell in cells):
        require_scikit_learn("neural_network", "Predicting transformations")
    if any(cell.task == TRANSFER for cell in cells):
        require_scikit_learn()


def report(
    study: Study,
    context: StudyContext,
    directory: str,
    command: str,
    results: Results,
    findings: Sequence[CheckedFinding],
) -> None:
    """Writes the pages of what is there, and says what the findings are."""
    page = write_report(study, context.scale, context.flags, results, context.splits.train, directory, command=command)
    say(f"{page} written, with numbers.csv, numbers.json and README.md beside it")
    for line in summary(study.cells(context.scale), results, findings):
        say(line)


def summary(cells: Sequence[StudyCell], results: Results, findings: Sequence[CheckedFinding]) -> list[str]:
    """The findings, a line each, and how many cells there are."""
    missing = sum(not results.of(cell.name) for cell in cells)
    lines = [f"{missing} of {len(cells)} cells are not measured yet"] if missing else []
    return lines + [f"{checked.outcome}: {checked.statement} ({checked.numbers})" for checked in findings]


def open_context(planned: StudyPlan, stop: StopRequest) -> StudyContext:
    """Devices and images, checked."""
    strategy, _ = build_own_strategy(planned.runtime, "a study runs each of its cells")
    network = None
    if planned.config.checkpoint:
        network = open_network(planned.config.checkpoint, planned.given, strategy, say)
        flags = {**planned.flags, **network.flags}
        planned = dataclasses.replace(planned, flags=flags, data=build_config(flags).data)
    per_replica_batch("eval_batch_size", planned.data.eval_batch_size, strategy)
    return StudyContext(
        scale=planned.config.scale,
        flags=planned.flags,
        splits=open_images(planned),
        strategy=strategy,
        stop=stop,
        reporter=TerminalReporter(),
        given=network,
        sets={one.name: open_set(one, planned.flags) for one in planned.sets},
        networks=os.path.join(planned.directory, NETWORKS_DIRECTORY),
    )


def open_images(planned: StudyPlan) -> Splits:
    """The splits of a study; one that evaluates nothing needs neither labels nor a second one."""
    if planned.evaluates:
        return open_splits(planned.data, None, planned.listed)
    train = build_splits(planned.data, eval_split=None, before=planned.listed).train
    return Splits(train, train)


def describe(study: Study, config: StudyConfig, context: StudyContext, count: int, directory: str) -> list[str]:
    """What the study is, in a few lines."""
    train, test = context.splits.train, context.splits.test
    index, shards = config.part
    shard = f", shard {index} of {shards}" if shards > 1 else ""
    cells = f"{len(study.cells(config.scale))} of the study, seeds {config.seeds}"
    return [
        f"{study.title}, scale {config.scale}; results in {directory}",
        f"TensorFlow {tf.__version__}; {train.name}: {train.num_examples} training and {test.num_examples} test "
        f"images, {train.num_classes} classes",
        *([f"nothing is trained: {config.checkpoint} is measured"] if config.checkpoint else []),
        "nothing is run: the pages of what is there" if config.report else f"{count} cells to run{shard}: {cells}",
    ]
