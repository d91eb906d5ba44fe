"""--study_datasets: names of configs, of TensorFlow Datasets, and folders; read without TensorFlow."""

from __future__ import annotations

import pytest

from tf_simclr.cli.study_sets import transfer_sets
from tf_simclr.errors import InputError
from tf_simclr.evaluate.report.paper_results import TABLE_8, table_8
from tf_simclr.studies.result_tables import table8


def test_without_a_name_all_of_the_paper_s(tmp_path):
    given = {"dataset": "imagenet2012", "data_dir": str(tmp_path)}
    with pytest.raises(InputError, match="takes birdsnap from a folder of this name in --data_dir"):
        transfer_sets("", given)
    for name in ("birdsnap", "fgvc_aircraft"):
        (tmp_path / name).mkdir()
    sets = transfer_sets("", given)
    rows = [table_8(one.known_as) for one in sets]
    assert None not in rows and sorted(rows) == sorted(TABLE_8.values())
    assert all(one.metric == row[0] for one, row in zip(sets, rows, strict=True))
    places = {one.name: one.flags["data_dir"] for one in sets}
    assert places["birdsnap"] == str(tmp_path / "birdsnap") and places["cifar10"] == str(tmp_path)
    voc = next(one for one in sets if one.several)
    assert (voc.name, voc.validation_split, voc.flags["eval_split"]) == ("voc2007", "validation", "test")
    cells = table8("paper", sets)
    # A set of images with several classes is not fine-tuned on, so that no random start has anything to show there.
    assert len(cells) == 12 + 12 + 11
    paper = {cell.name: cell.paper for cell in cells}
    assert paper["SimCLR cars196"] == {"transfer_linear": 0.6, "transfer_finetuned": 0.921}
    assert paper["supervised voc2007"] == {"transfer_finetuned": 0.865} and paper["random dtd"] == {}


def test_names_and_folders(tmp_path):
    (tmp_path / "my flowers").mkdir()
    names = f"{tmp_path / 'my flowers'}@mean_per_class,cifar10,beans"
    folder, cifar, plain = transfer_sets(names, {"dataset": "shapes"})
    assert (folder.name, folder.metric) == ("my flowers", "mean_per_class")
    shared = {"image_size": 48, "eval_batch_size": 7, "train_split": "train[:9]", "dataset": "shapes", "seed": 3}
    data = folder.data(shared)
    assert (data.dataset, data.data_dir, data.train_split) == ("folder", str(tmp_path / "my flowers"), "train")
    assert (data.image_size, data.eval_batch_size) == (48, 7), "images are read as the study's"
    assert (cifar.flags["dataset"], cifar.metric, "data_dir" in cifar.flags) == ("cifar10", "top_1", False)
    assert (plain.flags["dataset"], plain.flags["eval_split"]) == ("beans", "test")


@pytest.mark.parametrize(
    "names,message",
    [
        ("cifar10@best", "METRIC` must be one of: top_1"),
        ("./missing/", "must name folders that exist. Received: ./missing/"),
    ],
)
def test_what_is_no_set(names, message):
    with pytest.raises(InputError) as error:
        transfer_sets(names, {})
    assert message in str(error.value)


def test_two_folders_of_one_name(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place / "cars").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a name of its own for each data set\. Received: cars more than once"):
        transfer_sets(f"{tmp_path}/a/cars,{tmp_path}/b/cars", {})
