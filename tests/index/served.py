"""A page on an index, served by a thread of the tests, and requests to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading

import numpy as np
from PIL import Image

from tests.index.indexes import an_index, random_features
from tf_simclr.index.browsing import Browsing
from tf_simclr.index.image_map import image_map
from tf_simclr.index.server import PageServer


def draw(path, seed, side=20):
    """An image file, each seed of another colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(np.random.default_rng(seed).integers(0, 256, 3).tolist())
    Image.new("RGB", (side, side), colour).save(path)
    return path


def an_index_of_files(directory, folder, n, labels=None, **changes):
    """An index of random features, and a file for each of its rows."""
    for number in range(n):
        draw(folder / f"{number:04d}.png", number)
    return an_index(directory, random_features(n), labels, data_dir=str(folder), **changes)


@contextlib.contextmanager
def served(index, load_network=dict, script="", host="127.0.0.1"):
    """The server of an index, which answers until the context ends."""
    with PageServer(script, host, 0) as server:
        browsing = Browsing(index, image_map(index, "pca"), load_network)
        thread = threading.Thread(target=server.serve, args=[browsing])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def request(server, path, body=None, **headers):
    """Status, headers and content; the path goes out as it is, and None leaves a header out."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
    try:
        sent = {"Host": f"127.0.0.1:{server.server_address[1]}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if body is not None:
            sent = {"Content-Length": str(len(body))} | sent
        connection.putrequest("GET" if body is None else "POST", path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def asked(server, path, **values):
    """What the server answers to JSON."""
    status, _, content = request(server, path, json.dumps(values).encode())
    return status, json.loads(content)
