from __future__ import annotations

import numpy as np
import pytest

from tf_simclr.config import build_config
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.shapes import shapes_source
from tf_simclr.errors import InputError
from tf_simclr.studies import tables, views
from tf_simclr.studies.plan import cell_config
from tf_simclr.studies.study import Gallery, Views
from tf_simclr.train.input import view_policy

FIGURE = Views("views", "Views of one image")
IMAGES = 3
ONE_BRANCH = {"augmentation": "cutout", "augmentation_branch": "one"}
BOTH = {"augmentation": "crop,flip,color_jitter", "use_blur": False}


def config(**values):
    return build_config({"dataset": "shapes", "image_size": 16, "seed": 5, **values})


@pytest.fixture(scope="module")
def source():
    return shapes_source("train[4:7]")


@pytest.mark.parametrize("values", [BOTH, ONE_BRANCH, {"train_mode": "finetune"}], ids=["both", "one", "labels"])
def test_the_views_are_those_of_training(source, values):
    chosen = config(**values)
    policy, num_views = view_policy(chosen)
    batches = train_batches(source, policy=policy, batch_size=IMAGES, num_views=num_views, seed=5)
    index, original = views.image_of(source, 1)
    assert index == 5
    shown = views.augmented_views(chosen, original, index, 2)
    assert shown.dtype == np.uint8 and shown.shape == (2, 16, 16, 3)
    for epoch, batch in enumerate(batches.take(2)):
        row = list(batch["index"].numpy()).index(index)
        trained = batch["views"][0][row].numpy() * 255
        assert np.abs(trained - shown[epoch]).max() <= 0.51  # rounded to bytes


def test_of_one_branch_the_augmented_views_are_shown(source):
    _, original = views.image_of(source, 0)
    shown = views.augmented_views(config(**ONE_BRANCH), original, 4, 6)
    assert ((shown == 0).all(axis=-1).sum(axis=(1, 2)) >= 16).all(), "cutout leaves a black box in each"


def test_the_grid(source, monkeypatch):
    pytest.importorskip("matplotlib", reason="plots need the extra `evaluate`")
    kept = []
    monkeypatch.setattr(views, "save", lambda canvas, directory, name: kept.append(canvas) or name)
    rows = [("both", config(**BOTH)), ("one, $x$", config(**ONE_BRANCH))]
    assert views.draw_views(FIGURE, rows, source, "", image=2, count=4) == ["views"]
    (axes,) = kept[0].axes
    assert len(axes.images) == 2 * 5
    index, original = views.image_of(source, 2)
    for number, (_, chosen) in enumerate(rows):
        first, *others = axes.images[5 * number : 5 * number + 5]
        assert np.allclose(first.get_array(), original.numpy() * 255, atol=0.51)
        assert np.array_equal(
            [image.get_array() for image in others], views.augmented_views(chosen, original, index, 4)
        )
        # Rows go down, columns to the right, and the image itself stands apart.
        lefts = [image.get_extent()[0] for image in (first, *others)]
        assert lefts == pytest.approx([0, 1.15, 2.15, 3.15, 4.15])
        assert {image.get_extent()[3] for image in (first, *others)} == {float(number)}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["both", "one, $x$"]


def test_the_gallery(source, monkeypatch):
    pytest.importorskip("matplotlib", reason="plots need the extra `evaluate`")
    kept = []
    monkeypatch.setattr(views, "save", lambda canvas, directory, name: kept.append(canvas) or name)
    columns = [("both of them", config(**BOTH)), ("one", config(**ONE_BRANCH))]
    assert views.draw_gallery(Gallery("gallery", "Images", 2), columns, source, "") == ["gallery"]
    (axes,) = kept[0].axes
    assert len(axes.images) == 2 * 3
    for row, number in enumerate((0, 1)):  # of three images the first and the second
        index, original = views.image_of(source, number)
        shown = [image.get_array() for image in axes.images[3 * row : 3 * row + 3]]
        assert np.allclose(shown[0], original.numpy() * 255, atol=0.51)
        for tile, (_, chosen) in zip(shown[1:], columns, strict=True):
            assert np.array_equal(tile, views.augmented_views(chosen, original, index, 1)[0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["image", "both\nof\nthem", "one"]


def test_every_operator_of_figure_4_is_seen(source):
    """Each alone, on every view: no view is the image, and the colour of the whole image stays where it should."""
    index, original = views.image_of(source, 0)
    plain = views.augmented_views(config(augmentation="flip@1e-6"), original, index, 1)[0].astype(int)
    for cell in tables.figure4("small"):
        seen = views.augmented_views(
            cell_config(dict(dataset="shapes", image_size=16), cell, 5, ""), original, index, 6
        )
        changed = [np.abs(view - plain).max() > 2 for view in seen]
        # A rotation may be of 0 degrees, and a blur so weak that it changes no level by more than two.
        assert all(changed) or (cell.name in ("rotate", "blur") and any(changed)), cell.name


def test_the_files(source, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the extra `evaluate`")
    (png,) = views.draw_views(FIGURE, [("both", config(**BOTH))], source, str(tmp_path), count=2)
    assert png == str(tmp_path / "views.png")
    svg = (tmp_path / "views.svg").read_text()
    assert svg.count("<image") == 3 and "augmented views</text>" in svg and len(svg) < 60_000


def test_no_rows_no_image(source, tmp_path):
    assert views.draw_views(FIGURE, [], source, str(tmp_path)) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [-1, IMAGES])
def test_a_image_that_is_not_there(source, number):
    with pytest.raises(InputError, match=rf"must be in \[0, 3\).*'train\[4:7\]' of shapes.*image={number}"):
        views.image_of(source, number)
