"""The page of a study in a repository: complete, without dead links, and small."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from tools.publish_study import publish

PAGE = "![Figure](pictures/a.png)\n\nAll numbers: [numbers.csv](numbers.csv), [numbers.json](numbers.json)\n"


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    (folder / "pictures").mkdir(parents=True)
    (folder / "README.md").write_text(PAGE)
    (folder / "numbers.csv").write_text("cell,top_1\n")
    (folder / "numbers.json").write_text("{}")
    ramp = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    Image.fromarray(ramp).save(folder / "pictures" / "a.png")
    (folder / "pictures" / "a.svg").write_text("<svg/>")
    return folder


def test_links_lead_to_what_was_copied(results, tmp_path):
    destination = tmp_path / "docs" / "study"
    size = publish(results, destination)
    page = (destination / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links == ["pictures/a.png", "numbers.csv"] and all((destination / link).exists() for link in links)
    files = sorted(path.name for path in destination.rglob("*") if path.is_file())
    assert files == ["README.md", "a.png", "numbers.csv"]
    assert size == sum(path.stat().st_size for path in destination.rglob("*") if path.is_file())


def test_figures_look_as_before(results, tmp_path):
    publish(results, tmp_path / "study")
    before, after = (
        np.asarray(Image.open(folder / "pictures" / "a.png").convert("RGB"), np.int32)
        for folder in (results, tmp_path / "study")
    )
    assert np.abs(before - after).mean() < 2
    assert Image.open(tmp_path / "study" / "pictures" / "a.png").mode == "P"


def test_publishing_again_leaves_no_older_figure(results, tmp_path):
    publish(results, tmp_path / "study")
    (results / "pictures" / "a.png").rename(results / "pictures" / "b.png")
    publish(results, tmp_path / "study")
    assert [path.name for path in (tmp_path / "study" / "pictures").iterdir()] == ["b.png"]


def test_a_study_without_a_page_is_refused_and_nothing_is_written(results, tmp_path):
    (results / "numbers.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no numbers\.csv: run the study there with --report"):
        publish(results, tmp_path / "study")
    assert not (tmp_path / "study").exists()
