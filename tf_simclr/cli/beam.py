"""Runs blocks of work on the runner of an Apache Beam pipeline. It imports apache_beam, an extra of its own."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.utils.shared import Shared

from tf_simclr.config.beam import BeamConfig
from tf_simclr.data.blocks import write_blocks
from tf_simclr.data.listing import ListedSplit
from tf_simclr.data.prepare_blocks import shrink_block, shrunk_elsewhere
from tf_simclr.errors import InputError
from tf_simclr.index.block_embedding import BlockEmbedder, EmbeddingWork
from tf_simclr.index.pieces import Pieces

# A block costs half a second to begin with.
_IMAGES_OF_A_BLOCK, _LEAST_BLOCKS = 8192, 8
# Of workers, which otherwise say much of themselves; --beam_options may say something else.
_QUIET = "--default_sdk_harness_log_level=ERROR"
_AGAIN = "Remove the cause, and run the same command again"


class _Embed(beam.DoFn):
    """Computes blocks with one network for each process, however many threads it has.

    A block makes its own batches, so that the batches of RunInference, which would be of blocks, are of no use here.
    """

    def __init__(self, work: EmbeddingWork, pieces: Pieces):
        self._work, self._pieces, self._shared = work, pieces, Shared()

    def setup(self) -> None:
        """Reads the network, unless another thread has."""
        self._embedder = self._shared.acquire(lambda: BlockEmbedder(self._work, self._pieces))

    def process(self, block: str) -> Iterator[int]:
        """The number of features that were computed."""
        yield self._embedder(block)


def embed_on(config: BeamConfig, work: EmbeddingWork, files: list[ListedSplit], pieces: Pieces) -> None:
    """Has workers compute the features of files into the pieces of an index.

    Raises:
        InputError: options that Apache Beam does not take, or a pipeline that fails.
    """
    blocks: list[str] = []
    # In whole batches, so that an image stands where it stands in the batches of one process.
    wanted = min(_IMAGES_OF_A_BLOCK, sum(listed.num_examples for listed in files) // _LEAST_BLOCKS)
    size = max(1, wanted // work.batch_size) * work.batch_size
    for listed in files:
        blocks += write_blocks(pieces.block_prefix(), listed, size, len(blocks))
    _run(config, blocks, "Embed" >> beam.ParDo(_Embed(work, pieces)))


def shrunk_on(config: BeamConfig, listed: ListedSplit, *, side: int, prefix: str) -> Iterator[tuple[bytes, int]]:
    """What a prepared folder stores of each image, where workers reduce them; see `shrunk_elsewhere`.

    Raises:
        InputError: options that Apache Beam does not take, or a pipeline that fails.
    """
    work = "Prepare" >> beam.Map(functools.partial(shrink_block, side=side))
    return shrunk_elsewhere(listed, side, prefix, lambda blocks: _run(config, blocks, work))


def options_of(config: BeamConfig) -> PipelineOptions:
    """The options of a pipeline.

    Raises:
        InputError: Apache Beam does not take them.
    """
    heard = io.StringIO()
    runner = [] if config.runner == "direct" else [f"--runner={config.runner.capitalize()}Runner"]
    try:
        with contextlib.redirect_stderr(heard):
            options = PipelineOptions([*runner, _QUIET, *config.options])
            options.get_all_options()
    except SystemExit as error:
        why = heard.getvalue().strip().splitlines()[-1]
        raise InputError(
            f"`beam_options` must be options of Apache Beam. Received: {config.beam_options!r}: {why}. Correct them"
        ) from error
    return options


def _run(config: BeamConfig, blocks: list[str], work: Any) -> None:
    options = options_of(config)
    runner = _direct(options) if config.runner == "direct" else None
    try:
        with beam.Pipeline(runner=runner, options=options) as pipeline:
            _ = pipeline | "Blocks" >> beam.Create(blocks) | "Spread" >> beam.Reshuffle() | work
    except Exception as error:
        raise InputError(
            f"`runner` {config.runner} could not finish its work. Received: {_reason(error)}. {_AGAIN}"
        ) from error


def _direct(options: PipelineOptions) -> FnApiRunner:
    """The runner of this machine. By its name, Apache Beam would first try another one, which it downloads."""
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return FnApiRunner(provision_info=ExtendedProvisionInfo(provision))


def _reason(error: BaseException) -> str:
    """The last line of a worker's error: Apache Beam puts the traceback of the worker before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("[while running")] or [type(error).__name__]
    return lines[-1].partition(" [while running")[0]
