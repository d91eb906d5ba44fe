"""The server of a page on an index, asked over HTTP as a browser asks it, and as somebody else's page would."""

from __future__ import annotations

import csv
import io
import json
import os
import socket

import numpy as np
import pytest
from PIL import Image

from tests.index.indexes import an_index, random_features
from tests.index.served import an_index_of_files, asked, draw, request, served
from tf_simclr.errors import InputError
from tf_simclr.index.browsing import NEAREST, require_files
from tf_simclr.index.rows import Row
from tf_simclr.index.server import MOST_BYTES, PageServer
from tf_simclr.index.writing import write_index

N = 70
LABELS = ["cat", "dog", ""] * 23 + ["dog"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    return an_index_of_files(place / "index", place / "images", N, LABELS)


@pytest.fixture(scope="module")
def server(index):
    """Its network finds row 5, whatever the image, and refuses what is empty."""

    def network(content):
        if not content:
            raise InputError("`query` must be an image. Received: nothing. Pass another file")
        return index.normalised([5])[0]

    with served(index, lambda: network, "plotly") as server:
        yield server


def test_the_page_and_its_parts_need_nothing_from_elsewhere(server):
    for path, kind in (("/", "text/html"), ("/browse.js", "text/javascript"), ("/browse.css", "text/css")):
        status, headers, content = request(server, path)
        assert status == 200 and headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert "default-src 'none'" in headers["Content-Security-Policy"] and b"http" not in content
    assert request(server, "/plotly.js")[2] == b"plotly"


def test_the_map_has_a_place_and_a_class_for_every_row(server, index):
    status, _, content = request(server, "/map")
    whole = json.loads(content)
    assert status == 200 and len(whole["x"]) == len(whole["y"]) == N and whole["method"] == "pca"
    assert whole["classes"] == ["cat", "dog"] and whole["folder"] == index.identity.data_dir
    assert [(whole["classes"] + [""])[number] for number in whole["class"]] == LABELS


@pytest.mark.parametrize("size", ["thumbnail", "image"])
def test_an_image_is_that_of_its_row(server, size):
    for row in (0, N - 1):
        status, headers, content = request(server, f"/{size}/{row}")
        colour = np.random.default_rng(row).integers(0, 256, 3)
        assert status == 200 and headers["Content-Type"] == "image/jpeg"
        np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(content)))[10, 10], colour, atol=8)


def test_lists_say_path_and_class(server):
    assert asked(server, "/tiles", rows=[69, 2]) == (
        200,
        [{"row": 69, "path": "0069.png", "class": "dog"}, {"row": 2, "path": "0002.png", "class": ""}],
    )


def test_the_nearest_images_are_those_of_the_largest_cosine(server, index):
    status, found = asked(server, "/near_row", rows=[7])
    features = index.normalised(np.arange(N))
    similarities = features @ features[7]
    assert status == 200 and len(found) == NEAREST
    assert [tile["row"] for tile in found] == np.argsort(-similarities)[:NEAREST].tolist()
    np.testing.assert_allclose([tile["similarity"] for tile in found], np.sort(similarities)[::-1][:NEAREST], atol=1e-4)


def test_an_image_that_is_dropped_goes_through_the_network(server):
    status, _, content = request(server, "/near_image", b"an image")
    assert status == 200 and json.loads(content)[0]["row"] == 5
    status, _, content = request(server, "/near_image", b"")
    assert status == 400 and json.loads(content)["error"].startswith("`query` must be an image")


def test_text_is_found_in_paths_and_classes_whatever_the_case(server):
    assert asked(server, "/find", text="CAT") == (200, [row for row in range(N) if LABELS[row] == "cat"])
    assert asked(server, "/find", text="006") == (200, [6, *range(60, 70)])


def test_what_is_listed_is_saved_as_a_table(server):
    status, headers, content = request(
        server, "/table", json.dumps({"rows": [3, 1], "similarities": [1, 0.5]}).encode()
    )
    assert status == 200 and headers["Content-Type"].startswith("text/csv")
    assert list(csv.reader(io.StringIO(content.decode()))) == [
        ["row", "path", "class", "split", "similarity"],
        ["3", "0003.png", "cat", "", "1"],
        ["1", "0001.png", "dog", "", "0.5"],
    ]


# ---- What is refused ----


@pytest.mark.parametrize(
    "path",
    [
        *("/../index/index.json", "/thumbnail/../../index/index.json", "/%2e%2e/index/index.json", "//etc/passwd"),
        *("/thumbnail/..%2f..%2findex.json", "/thumbnail/%2e%2e", "/etc/passwd", "/thumbnail//etc/passwd", "/0000.png"),
        *(
            "/thumbnail/0000.png",
            "/thumbnail/-1",
            f"/thumbnail/{N}",
            "/thumbnail/0/../0",
            "/thumbnail/0%00",
            "/large/0",
        ),
        *(
            "/thumbnail/%D9%A1",
            "/thumbnail/0x1",
            "/browse.html",
            "/templates/browse.js",
            "/..\\index.json",
            "/map/",
            "//[",
        ),
    ],
)
def test_no_path_names_a_file(server, path):
    assert request(server, path)[0] in (400, 404)


def test_rows_that_point_out_of_the_folder_show_nothing(tmp_path):
    """An index of somebody else's may have any path in it, and a folder any link."""
    folder = tmp_path / "images"
    secret, neighbour = draw(tmp_path / "secret.png", 1), draw(tmp_path / "images-too" / "b.png", 1)
    draw(folder / "own.png", 2)
    (folder / "link.png").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    (folder / "inside.png").symlink_to("own.png")
    paths = [
        "own.png",
        "inside.png",
        "../secret.png",
        str(secret),
        "link.png",
        "linked/secret.png",
        "../images-too/b.png",
    ]
    rows = [Row(path, "", "", 10, f"{number:016x}") for number, path in enumerate(paths)]
    made = an_index(tmp_path / "index", random_features(7), data_dir=str(folder))
    blocks = [(np.arange(7), random_features(7))]
    index = write_index(made.directory, made.identity, rows, 8, blocks, checkpoint="/run", written_by={})
    assert neighbour.exists() and all(os.path.exists(index.path_of(row)) for row in range(7))
    with served(index) as server:
        assert [request(server, f"/image/{row}")[0] for row in range(7)] == [200, 200, 404, 404, 404, 404, 404]


def test_a_file_that_is_gone_or_damaged_shows_nothing(tmp_path):
    index = an_index_of_files(tmp_path / "index", tmp_path / "images", 3)
    (tmp_path / "images" / "0001.png").unlink()
    (tmp_path / "images" / "0002.png").write_bytes(b"no image")
    with served(index) as server:
        assert [request(server, f"/thumbnail/{row}")[0] for row in range(3)] == [200, 404, 404]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", None, "localhost.evil", "[::1", "a@evil"]
)
def test_a_name_that_points_here_is_not_this_server(server, host):
    for path, body in (("/map", None), ("/near_row", b'{"rows":[1]}')):
        assert request(server, path, body, Host=host)[0] == 403


def test_what_fails_on_the_server_is_said_to_the_page(index, capsys):
    def network(content):
        raise RuntimeError("no memory")

    with served(index, lambda: network) as server:
        status, _, content = request(server, "/near_image", b"an image")
    assert status == 500 and json.loads(content) == {"error": "the server failed: no memory"}
    assert "RuntimeError: no memory" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["localhost", "localhost:8350", "127.0.0.1:1", "[::1]:8350", socket.gethostname()])
def test_names_of_this_machine_are(server, host):
    assert request(server, "/map", Host=host)[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://localhost:1"])
def test_other_pages_may_not_ask(server, origin):
    assert request(server, "/near_row", b'{"rows":[1]}', Origin=origin)[0] == 403
    own = f"http://127.0.0.1:{server.server_address[1]}"
    assert request(server, "/near_row", b'{"rows":[1]}', Origin=own)[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/near_row", b"[1]", 400),
        ("/near_row", b"{", 400),
        ("/near_row", b"\xff", 400),
        ("/near_row", b'{"rows":[]}', 400),
        ("/near_row", b'{"rows":[1,2]}', 400),
        ("/near_row", b'{"rows":[70]}', 400),
        ("/near_row", b'{"rows":[-1]}', 400),
        ("/near_row", b'{"rows":["1"]}', 400),
        ("/near_row", b'{"rows":[true]}', 400),
        ("/near_row", b"{}", 400),
        ("/table", b'{"rows":[1],"similarities":["=1"]}', 400),
        ("/table", b'{"rows":[1],"similarities":[1,2]}', 400),
        ("/nothing", b"{}", 404),
        ("/thumbnail/0", b"{}", 404),
    ],
)
def test_a_request_of_another_kind_is_refused_with_a_reason(server, path, body, status):
    found, _, content = request(server, path, body)
    assert found == status and json.loads(content)["error"]


def test_a_body_must_say_how_long_it_is_and_be_bounded(server):
    assert request(server, "/near_image", b"", Content_Length=None)[0] == 411
    assert request(server, "/near_image", b"", Content_Length="-1")[0] == 411
    assert request(server, "/near_image", b"", Content_Length=str(MOST_BYTES + 1))[0] == 413


def test_it_listens_where_it_should_and_a_port_that_is_taken_is_one_line(server):
    assert server.server_address[0] == "127.0.0.1" and server.address.startswith("http://127.0.0.1:")
    port = server.server_address[1]
    with pytest.raises(InputError, match=rf"^`port` must be free.*Received: port={port}: .*--port=0[^\n]*$"):
        PageServer("", "127.0.0.1", port)
    with pytest.raises(InputError, match=r"^`host` must be an address of this machine.*Received: host=192.0.2.1"):
        PageServer("", "192.0.2.1", 0)


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "localhost"), ("localhost", "localhost"), ("::1", "[::1]")])
def test_other_addresses_of_this_machine(index, host, shown):
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with served(index, host=host) as server:
        assert server.address == f"http://{shown}:{server.server_address[1]}"
        assert request(server, "/map")[0] == 200


def test_an_index_without_files_or_whose_folder_is_gone_is_one_line(tmp_path):
    index = an_index_of_files(tmp_path / "index", tmp_path / "images", 2)
    require_files(index)
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"^The folder of images must be where it was.*images, which is not a folder"):
        require_files(index)
    with pytest.raises(InputError, match=r"^`index` must be of a folder of images.*of shapes"):
        require_files(an_index(tmp_path / "other", random_features(2), data_dir="", dataset="shapes"))
