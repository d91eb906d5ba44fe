"""Look at the images of an index in a web browser."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX
from tf_simclr.cli.main import say
from tf_simclr.config import BrowseConfig, IndexConfig
from tf_simclr.escape import as_text
from tf_simclr.index.browsing import Browsing, require_files
from tf_simclr.index.image_map import image_map
from tf_simclr.index.server import PageServer
from tf_simclr.index.store import Index, open_index
from tf_simclr.optional import require_plotly_js
from tf_simclr.train.interrupts import StopRequest

USAGE = """usage: python -m tf_simclr browse --index=INDEX [flags]

Serves a page with a map of the images of an index, similar ones close to each other. Select images on the map, look at
the nearest ones of one, drop an image on the page to search for it, and save what is listed as a table. Only this
machine can open the page, unless --host says otherwise. Ctrl-C ends it."""
BROWSE = flags.Group(BrowseConfig)
FLAG_GROUPS = (INDEX, BROWSE)
_LOCAL = ("127.0.0.1", "localhost", "::1")
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class BrowseResult:
    """How serving a page ended.

    Attributes:
        exit_code: of the program that does the same.
    """

    exit_code: int = 0


def main(parsed: flags.ParsedFlags) -> BrowseResult:
    """Runs the task until Ctrl-C or SIGTERM."""
    where: IndexConfig = INDEX.build(parsed.values)
    wanted: BrowseConfig = BROWSE.build(parsed.values)
    where.validate()
    wanted.validate()
    script = require_plotly_js()
    index = open_index(where.directory)
    require_files(index)
    with PageServer(script, wanted.host, wanted.port) as server:  # a port that is taken is known before long work
        browsing = Browsing(index, image_map(index, wanted.map, say), functools.partial(_network, index, wanted))
        stop, waiting = StopRequest(), threading.Event()
        with stop.watch():
            threading.Thread(target=server.serve, args=[browsing], daemon=True).start()
            say(f"{browsing.rows:,} images of {as_text(index.identity.data_dir)}: {server.address} (Ctrl-C ends)")
            if wanted.host not in _LOCAL:
                say(f"note: anyone who can reach {wanted.host} can look at the images, without a password")
            while not stop:
                waiting.wait(_LOOK_SECONDS)
            server.shutdown()
            say(f"{stop.signal_name} received: the page is closed")
    return BrowseResult()


def _network(index: Index, wanted: BrowseConfig) -> Callable[[bytes], np.ndarray]:
    from tf_simclr.cli.task import named_images  # imports TensorFlow, which takes seconds
    from tf_simclr.index.query import QueryNetwork

    network = QueryNetwork(index, wanted.checkpoint)

    def feature(content: bytes) -> np.ndarray:
        with named_images():
            return network.feature(content)

    return feature
