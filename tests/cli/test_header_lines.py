from __future__ import annotations

from tests.data.folders import class_folders, make_images
from tf_simclr.cli import header_lines
from tf_simclr.cli.main import run_task


def test_a_long_listing_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    folder = make_images(tmp_path / "data", class_folders({"a": 8, "b": 8}))
    flags = [f"--data_dir={folder}", "--dataset=folder", "--image_size=8", f"--out={tmp_path / 'views.png'}"]
    monkeypatch.setattr(header_lines, "SECONDS_BETWEEN_LINES", 0.0)
    assert run_task("views", flags) == 0
    assert "listing the images: 16 headers read so far" in capsys.readouterr().out
    monkeypatch.undo()
    assert run_task("views", flags) == 0
    assert "listing the images" not in capsys.readouterr().out
