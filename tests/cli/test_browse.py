"""The page on an index, as it is started, clicked on and ended."""

from __future__ import annotations

import csv
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.index.indexes import an_index, random_features
from tests.index.served import an_index_of_files, draw
from tests.index.visitor import Visitor
from tests.networks import TINY_RUN, write_run
from tests.studies.browser import NAMES, find_chromium
from tf_simclr.cli import browse_flags, flags
from tf_simclr.cli.main import main
from tf_simclr.index.store import open_index

pytest.importorskip("plotly", reason="plotly, of the extra `browse`, is not installed")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
HUNG_SECONDS = 120
N = 24
HOSTILE = "<b onclick=alert(1)>"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, a folder of 24 images in two classes, and an index of them."""
    place = tmp_path_factory.mktemp("place")
    (place / "run").mkdir()
    write_run(place / "run", TINY_RUN, 2)
    for number in range(N):
        name = f"{number:02d}{HOSTILE * (number == 4)}.png"
        draw(place / "images" / ("cat", "dog")[number % 2] / name, number)
    words = [f"--checkpoint={place / 'run'}", f"--data_dir={place / 'images'}", f"--out={place / 'index'}"]
    assert main(["embed", *words, "--eval_batch_size=8"]) == 0
    return place


class Started:
    """The program, from its first line with an address to Ctrl-C."""

    def __init__(self, *words):
        command = [sys.executable, "-m", "tf_simclr", "browse", *words]
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.lines = []
        while not self.lines or "http" not in self.lines[-1]:
            line = self.process.stdout.readline()
            assert line, f"it ended before it served: {self.lines}"
            self.lines.append(line)
        self.address = re.search(r"http://\S+", self.lines[-1])[0]

    def request(self, path, body=None):
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=HUNG_SECONDS)
        try:
            connection.request("GET" if body is None else "POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=HUNG_SECONDS)
        return self.process.returncode, rest


@pytest.fixture(scope="module")
def started(place):
    started = Started(f"--index={place / 'index'}", "--port=0", "--map=pca")
    yield started
    if started.process.poll() is None:
        started.end()


def test_it_says_where_the_page_is_and_for_whom(started, place):
    assert started.lines[-1] == f"{N} images of {place / 'images'}: {started.address} (Ctrl-C ends)\n"
    assert urlsplit(started.address).hostname == "127.0.0.1"
    assert json.loads(started.request("/map")[1])["method"] == "pca"
    assert b"plotly" in started.request("/plotly.js")[1][:100]


def test_a_copy_of_an_image_finds_it_by_the_network(started, place):
    status, content = started.request("/near_image", (place / "images" / "dog" / "07.png").read_bytes())
    best = json.loads(content)[0]
    assert status == 200 and best["path"] == "dog/07.png" and best["similarity"] == pytest.approx(1, abs=1e-4)
    for content in (b"", b"no image", (place / "images" / "dog" / "07.png").read_bytes()[:60]):
        status, answer = started.request("/near_image", content)
        assert status == 400 and "\n" not in json.loads(answer)["error"]


@pytest.mark.skipif(find_chromium() is None, reason=f"no {', '.join(NAMES)} on the path")
def test_a_person_selects_looks_searches_drops_and_saves(started, place, tmp_path):
    """Every step by the mouse, in a browser."""
    paths = [row.path for row in open_index(str(place / "index")).rows]
    with Visitor(find_chromium(), tmp_path / "profile") as visitor:
        visitor.visit(started.address)
        visitor.wait_for("document.querySelector('#map .plot-container') && data && map.layout.xaxis.range")
        visitor.save_to(tmp_path)
        left, top, width, height = visitor.value("(b => [b.x, b.y, b.width, b.height])(map.getBoundingClientRect())")

        # A loop around the whole map selects all images.
        corners = [(0.02, 0.06), (0.98, 0.06), (0.98, 0.98), (0.02, 0.98), (0.02, 0.07)]
        visitor.press(*([left + x * width, top + y * height] for x, y in corners))
        visitor.wait_for(f"document.getElementById('heading').textContent === '{N} images selected'")
        visitor.wait_for(f"document.querySelectorAll('#list li').length === {N}")
        assert visitor.value("[...document.querySelectorAll('#list button')].map(b => +b.dataset.row)") == list(
            range(N)
        )
        assert HOSTILE in visitor.text("#list") and not visitor.value("document.querySelector('#list b')")
        visitor.wait_for("[...document.querySelectorAll('#list img')].slice(0, 6).every(i => i.naturalWidth)")

        # A click on an image of the list shows its nearest, and Back the selection again.
        visitor.click("#list button[data-row='3']")
        visitor.wait_for(f"document.getElementById('heading').textContent === '{N} nearest images'")
        visitor.wait_for("document.querySelector('#list button')?.dataset.row === '3'")
        assert paths[3] in visitor.text("#large-name") and "1.000" in visitor.text("#list button")
        visitor.click("#back")
        visitor.wait_for(f"document.getElementById('heading').textContent === '{N} images selected'")

        # A click on the map does the same for the image there, once the selection is cleared.
        visitor.click("#clear")
        visitor.wait_for("document.getElementById('save').disabled && document.getElementById('back').disabled")
        axes = "[map._fullLayout.xaxis, map._fullLayout.yaxis]"
        x, y = visitor.value(f"(([x, y]) => [x.l2p(data.x[5]) + x._offset, y.l2p(data.y[5]) + y._offset])({axes})")
        visitor.move([left + x + 1, top + y])
        visitor.wait_for("!document.getElementById('hover').hidden")
        visitor.press([left + x, top + y])
        visitor.wait_for("document.querySelector('#list button')?.dataset.row === '5'")

        # Words in the field find paths and classes.
        visitor.click("#text")
        visitor.write("dog/")
        visitor.click("#find button")
        visitor.wait_for(f"document.getElementById('heading').textContent.startsWith('{N // 2} images whose path')")

        # An image that is dropped on the page finds itself, and what is listed is saved.
        visitor.drop(place / "images" / "cat" / "10.png", [left + 200, top + 200])
        visitor.wait_for("document.getElementById('large-name').textContent === '10.png'")
        row = paths.index("cat/10.png")
        visitor.wait_for(f"document.querySelector('#list button')?.dataset.row === '{row}'")
        visitor.click("#save")
        saved = tmp_path / "images.csv"
        visitor.wait_until(saved.exists)
        with saved.open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == N and lines[0]["path"] == "cat/10.png" and float(lines[0]["similarity"]) > 0.999

        # A file that is no image is one line, and the page goes on.
        (tmp_path / "words.txt").write_text("words")
        visitor.drop(tmp_path / "words.txt", [left + 200, top + 200])
        visitor.wait_for("document.getElementById('heading').textContent.startsWith('`query` must be an image')")
        page = visitor.page()

        # Without the program, too.
        assert started.end()[0] == 0
        visitor.click("#find button")
        visitor.wait_for("document.getElementById('heading').textContent.startsWith('The program that serves')")
        assert not [error for error in page.errors if "400 (Bad Request)" not in error]
        assert {urlsplit(one).hostname for one in page.requests if one.startswith("http")} == {"127.0.0.1"}


def test_ctrl_c_and_sigterm_are_its_usual_ends(place):
    for number, name in ((signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM")):
        started = Started(f"--index={place / 'index'}", "--port=0")
        assert started.end(number) == (0, f"{name} received: the page is closed\n")


# ---- What cannot work ----


@pytest.fixture
def refused(capsys):
    """The one line with which the program refuses to begin."""

    def call(*words):
        capsys.readouterr()
        assert main(["browse", *words]) == 2
        line = capsys.readouterr().err.strip()
        assert "\n" not in line
        return line

    return call


def test_what_cannot_work_is_one_line(refused, place, tmp_path):
    index = f"--index={place / 'index'}"
    assert "`index` must name the directory" in refused()
    assert "which has no index.json" in refused(f"--index={tmp_path}")
    assert "`port` must be" in refused(index, "--port=70000")
    assert "`host` must be an address" in refused(index, "--host=")
    assert "`host` must be an address of this machine" in refused(index, "--host=no.such.host.invalid", "--port=0")
    assert "--map=tsne: value should be one of <auto|umap|pca>" in refused(index, "--map=tsne")
    made = an_index(tmp_path / "none", random_features(3), data_dir="", dataset="shapes")
    assert "`index` must be of a folder of images" in refused(f"--index={made.directory}")


def test_a_port_in_use_and_a_folder_that_is_gone(refused, tmp_path):
    index = an_index_of_files(tmp_path / "index", tmp_path / "images", 3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"`port` must be free, and one that you may use. Received: port={port}" in refused(
            f"--index={index.directory}", f"--port={port}"
        )
    assert not list((tmp_path / "index").glob("map-*"))  # before long work
    (tmp_path / "images").rename(tmp_path / "moved")
    assert "The folder of images must be where it was" in refused(f"--index={index.directory}")


def test_a_package_that_is_missing_is_named_with_its_extra(refused, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    line = refused(f"--index={place / 'index'}")
    assert "pip install plotly, or the extra `browse`" in line


def test_another_network_is_said_on_the_page(place, tmp_path):
    """--checkpoint is where the network lies now."""
    (tmp_path / "other").mkdir()
    other = write_run(tmp_path / "other", TINY_RUN | {"resnet_depth": 18}, 2)
    parsed = flags.parse([f"--index={place / 'index'}", f"--checkpoint={other}"], browse_flags.FLAG_GROUPS)
    wanted = browse_flags.BROWSE.build(parsed.values)
    with pytest.raises(ValueError, match="holds another network than"):
        browse_flags._network(open_index(str(place / "index")), wanted)
