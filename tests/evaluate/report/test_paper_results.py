from __future__ import annotations

import pytest

from tf_simclr.evaluate.report.paper_results import paper_figure

# Typed from the paper, not from the code. Table 6: width, top-1, top-5.
TABLE_6 = """
1 69.3 89.0
2 74.2 92.0
4 76.5 93.2
"""
# Table 7, top-5: method, width, 1%, 10%.
TABLE_7 = """
finetune 1 75.5 87.8
finetune 2 83.0 91.2
finetune 4 85.8 92.6
supervised 1 48.4 80.4
"""
# Table 8, ResNet-50 (4x): data set, metric, linear, fine-tuned, fine-tuned after supervised pretraining.
TABLE_8 = """
food101 top_1 76.9 89.4 88.7
cifar10 top_1 95.3 98.6 98.3
cifar100 top_1 80.2 89.0 88.7
birdsnap top_1 48.4 78.2 77.8
sun397 top_1 65.9 68.1 67.0
cars196 top_1 60.0 92.1 91.4
fgvc_aircraft mean_per_class 61.2 87.0 88.0
voc/2007 map_11_point 84.2 86.6 86.5
dtd top_1 78.9 77.8 78.8
oxford_iiit_pet mean_per_class 89.2 92.1 93.2
caltech101 mean_per_class 93.9 94.1 94.2
oxford_flowers102 mean_per_class 95.0 97.6 98.0
"""


def lines_of(table):
    return [line.split() for line in table.strip().splitlines()]


def points(*arguments):
    """The figure as the paper prints it, and its place."""
    reference = paper_figure(*arguments)
    return f"{100 * reference.value:.1f}", reference.source


@pytest.mark.parametrize(("width", "top_1", "top_5"), lines_of(TABLE_6))
def test_table_6(width, top_1, top_5):
    network = (50, float(width))
    assert points("imagenet2012", *network, "linear", "top_1") == (top_1, "SimCLR, Table 6")
    assert points("imagenet2012", *network, "linear", "top_5") == (top_5, "SimCLR, Table 6")
    assert points("imagenet2012", *network, "linear_cached", "top_1") == (top_1, "SimCLR, Table 6, on crops and flips")
    assert paper_figure("imagenet2012", *network, "linear", "mean_per_class") is None


@pytest.mark.parametrize(("kind", "width", "one", "ten"), lines_of(TABLE_7))
def test_table_7(kind, width, one, ten):
    network = (50, float(width))
    for amount, expected in (("1pct", one), ("10pct", ten)):
        assert points("imagenet2012", *network, f"{kind}_{amount}", "top_5") == (expected, "SimCLR, Table 7")
        # The subset of that size as a data set of its own, all of whose labels are used.
        assert points(f"imagenet2012_subset/{amount}", *network, kind, "top_5")[0] == expected
        assert paper_figure(f"imagenet2012_subset/{amount}", *network, f"{kind}_{amount}", "top_5") is None
        assert paper_figure("imagenet2012", *network, f"{kind}_{amount}", "top_1") is None
    assert points("imagenet2012_subset:5.0.0", *network, kind, "top_5")[0] == one
    assert paper_figure("imagenet2012", *network, f"{kind}_5pct", "top_5") is None
    assert paper_figure("imagenet2012", *network, f"{kind}_13per_class", "top_5") is None


@pytest.mark.parametrize(("dataset", "metric", "linear", "finetuned", "after_labels"), lines_of(TABLE_8))
def test_table_8(dataset, metric, linear, finetuned, after_labels):
    assert points(dataset, 50, 4.0, "logreg", metric) == (linear, "SimCLR, Table 8, pretrained on ImageNet")
    figure, source = points(dataset, 50, 4.0, "finetune_grid", metric)
    assert figure == finetuned
    assert source == f"SimCLR, Table 8, pretrained on ImageNet; {after_labels} where that was with labels"
    for other in {"top_1", "top_5", "mean_per_class", "map_11_point"} - {metric}:
        assert paper_figure(dataset, 50, 4.0, "logreg", other) is None
    for protocol in ("knn", "linear", "finetune", "finetune_10pct", "supervised", "health"):
        assert paper_figure(dataset, 50, 4.0, protocol, metric) is None
    for width in (1.0, 2.0, 0.25):
        assert paper_figure(dataset, 50, width, "logreg", metric) is None
        assert paper_figure(dataset, 50, width, "finetune_grid", metric) is None


def test_cifar10_from_its_own_images():
    assert points("cifar10", 50, 1.0, "linear", "top_1") == ("94.0", "SimCLR, Appendix B.9, pretrained on CIFAR-10")
    assert points("cifar10", 50, 1.0, "linear_cached", "top_1")[0] == "94.0"
    assert points("cifar10", 50, 1.0, "supervised", "top_1")[0] == "95.1"
    assert {paper_figure("cifar10", 50, 1.0, name, "top_1").stem for name in ("linear", "supervised")} == {"cifar"}
    assert paper_figure("cifar10", 50, 4.0, "logreg", "top_1").stem == "imagenet"
    for protocol in ("supervised_10pct", "finetune", "knn", "logreg"):
        assert paper_figure("cifar10", 50, 1.0, protocol, "top_1") is None
    assert paper_figure("cifar100", 50, 1.0, "linear", "top_1") is None


def test_supervised_on_imagenet():
    figure, source = points("imagenet2012", 50, 1.0, "supervised", "top_1")
    assert (figure, source) == ("77.0", "SimCLR, Table 1, supervised with colour distortion of strength 1/8")
    assert paper_figure("imagenet2012", 50, 1.0, "supervised", "top_5") is None
    assert paper_figure("imagenet2012", 50, 2.0, "supervised", "top_1") is None
    assert paper_figure("imagenet2012", 50, 1.0, "finetune", "top_1") is None


@pytest.mark.parametrize("dataset", ["cifar10:3.0.2", "cifar10:3.*.*", "cifar10"])
def test_a_version_names_the_same_data_set(dataset):
    assert points(dataset, 50, 4.0, "logreg", "top_1")[0] == "95.3"


@pytest.mark.parametrize("dataset", ["voc", "voc:4.0.0", "voc/2007", "voc/2007:4.0.0"])
def test_voc_is_of_2007(dataset):
    assert points(dataset, 50, 4.0, "logreg", "map_11_point")[0] == "84.2"


@pytest.mark.parametrize(
    "dataset", ["folder", "shapes", "cifar10_1", "cifar10_corrupted/fog_1", "voc/2012", "huggingface:cifar10", "dtd_x"]
)
def test_other_data_sets_have_no_figure(dataset):
    for metric in ("top_1", "top_5", "mean_per_class", "map_11_point"):
        for protocol in ("linear", "logreg", "finetune_grid", "supervised"):
            assert not any(paper_figure(dataset, 50, width, protocol, metric) for width in (1.0, 2.0, 4.0))


@pytest.mark.parametrize("depth", [18, 34, 101, 152, 200])
def test_the_paper_tabulates_the_resnet_50(depth):
    assert paper_figure("imagenet2012", depth, 1.0, "linear", "top_1") is None
    assert paper_figure("cifar10", depth, 4.0, "logreg", "top_1") is None


def test_the_bare_name_of_a_subset_is_its_first_config_in_tfds():
    tfds = pytest.importorskip("tensorflow_datasets")
    for name, config in (("imagenet2012_subset", "1pct"), ("voc", "2007")):
        assert tfds.builder_cls(name).BUILDER_CONFIGS[0].name == config
