"""Plans for accelerators: against what was measured, what the paper says, and arithmetic by hand."""

from __future__ import annotations

import math
import os

import pytest

from tf_simclr.cli import budget, flags
from tf_simclr.cli.accelerators import accelerators, measured_rate, several
from tf_simclr.cli.completion import ALL_FLAG_GROUPS
from tf_simclr.cli.dry_run import describe_run
from tf_simclr.cli.dry_run_memory import GIB, largest_batch, largest_micro_batch, memory_of
from tf_simclr.cli.main import main
from tf_simclr.config import build_config
from tf_simclr.errors import InputError
from tf_simclr.files import read_json

TABLE = read_json(str(flags.CONFIGS / "accelerators.json"))
HOUR = 3600


def recipe(name, **values):
    parsed = flags.parse([f"--flagfile=configs/{name}.cfg"], ALL_FLAG_GROUPS)
    return build_config(parsed.values | {"precision": "bfloat16", **values})


@pytest.fixture(scope="module")
def resnet50():
    """The paper's default run, described."""
    return describe_run(recipe("imagenet_resnet50"), frozenset())


@pytest.fixture
def planned(resnet50, monkeypatch):
    """Plans the paper's default run, which is traced once, on accelerators, with other flags; returns the numbers."""

    def plan(text, hours=None, **values):
        config = recipe("imagenet_resnet50", **values)
        replaced = budget.replace(resnet50, config=config)
        monkeypatch.setattr(budget, "describe_run", lambda config, given: replaced)
        return budget.run(config, frozenset(), hours, several(text))

    return plan


# ---- Against what was measured ----


def test_the_estimate_of_memory_is_near_what_was_measured(resnet50):
    row = measured_rate(recipe("imagenet_resnet50", jit_compile=True), "h200")
    config = recipe("imagenet_resnet50", train_batch_size=row["batch"])
    assert memory_of(config, resnet50.costs, 1).total / GIB == pytest.approx(row["memory_gib"], rel=0.1)


def test_the_efficiencies_are_those_of_the_measured_rows(resnet50):
    small = {"dataset": "cifar10", "image_size": 32, "resnet_depth": 18, "precision": "bfloat16"}
    described = {50: resnet50, 18: describe_run(build_config(small), frozenset())}
    h200 = accelerators()["h200"]
    peaks = h200.flops_per_second("bfloat16"), 1e9 * h200.bandwidth_gb_s
    rooflines = {depth: 1 / found.costs.seconds(*peaks) for depth, found in described.items()}
    shares = {True: [], False: []}
    for row in TABLE["measured"]:
        if row["precision"] == "bfloat16":
            shares[row["jit_compile"]].append(row["images_per_second"] / rooflines[row["resnet_depth"]])
    assert len(shares[True]) == len(shares[False]) == 2
    for compiled, found in shares.items():
        assert 0.9 * h200.efficiency(compiled) < min(found) and max(found) < 1.5 * h200.efficiency(compiled)


def test_the_papers_run_takes_about_what_the_paper_says(planned, capsys):
    found = planned("v3-128")
    assert 1.0 < found.numbers["hours"] < 1.5 and not found.measured  # 1.5 h, communication included
    assert found.numbers["fits"] and "estimate: 31,279 steps, 100 epochs" in capsys.readouterr().out


def test_a_measured_rate_is_taken_and_named(planned, capsys):
    found = planned("h200", 24, jit_compile=True, train_batch_size=256)
    assert found.measured and found.numbers["images_per_second"] == 3469
    assert found.numbers["budget_epochs"] == pytest.approx(24 * HOUR * 3469 / 1_281_167)
    assert "measured: 3,469 images/s (measured on one NVIDIA H200 SXM 141 GB, batch 256" in capsys.readouterr().out
    # Another precision, card or number of cards is not what was measured.
    assert not planned("h200", jit_compile=True, precision="float32", train_batch_size=256).measured
    assert not planned("h100", jit_compile=True, train_batch_size=256).measured
    two = planned("h200-2", train_batch_size=512)
    assert not two.measured and two.numbers["images_per_second"] == 2 * 1015


def test_a_batch_that_does_not_fit_gets_micro_batches(planned, resnet50, capsys):
    found = planned("h200", jit_compile=True)
    assert not found.numbers["fits"] and "--micro_batch_size=1024, which counts below" in capsys.readouterr().out
    costs = resnet50.costs
    again = costs.step_flops / (costs.step_flops + 2 * costs.forward_flops)
    assert found.numbers["images_per_second"] == pytest.approx(3469 * again) and not found.measured


# ---- By hand ----


def test_the_roofline_takes_the_longer_of_arithmetic_and_traffic(resnet50):
    costs = budget.replace(resnet50.costs, work=((8.0, 2.0), (3.0, 9.0)))
    assert costs.seconds(4.0, 3.0) == max(8 / 4, 2 / 3) + max(3 / 4, 9 / 3)


def test_the_largest_batches_are_the_last_that_fit(resnet50):
    config, costs, memory = resnet50.config, resnet50.costs, 28 * GIB
    for replicas in (1, 4):
        largest = largest_batch(costs, config, memory, replicas)

        def taken(images, replicas=replicas):
            data = budget.replace(config.data, train_batch_size=images * replicas)
            return memory_of(budget.replace(config, data=data), costs, replicas, 0).total

        assert taken(largest) <= memory < taken(largest + 1)
    assert largest_batch(costs, config, costs.weight_bytes) == 0
    micro = largest_micro_batch(costs, config, memory)
    assert micro == 2 ** int(math.log2(micro))
    assert memory_of(config, costs, 1, micro).total <= memory < memory_of(config, costs, 1, 2 * micro).total
    assert largest_micro_batch(costs, config, costs.weight_bytes) == 0


@pytest.mark.parametrize(
    "text, name, devices", [("h100", "h100", 1), ("a100-8", "a100", 8), ("v4-8", "v4", 4), ("v3-128", "v3", 128)]
)
def test_names_of_several_devices(text, name, devices):
    assert several(text) == (name, accelerators()[name], devices)


@pytest.mark.parametrize("text", ["v7", "H100", "h100-0", "h100-", "h100-x", "v4-3", "v4--8", ""])
def test_a_wrong_name_is_one_line(text):
    with pytest.raises(InputError, match=r"^`accelerator` must .*Received: accelerator=") as error:
        several(text)
    assert "\n" not in str(error.value)


def test_every_accelerator_says_where_its_numbers_come_from():
    for one in accelerators().values():
        assert one.source and one.title and min(one.memory_gib, one.bandwidth_gb_s, one.float32_tflops) > 0
        assert one.bfloat16_tflops >= one.float32_tflops and one.usable_bytes < one.memory_gib * GIB
    assert all(row["accelerator"] in accelerators() and row["commit"] and row["date"] for row in TABLE["measured"])


# ---- The command ----

SMALL = ("--dataset=cifar10", "--image_size=16", "--resnet_depth=10", "--width_multiplier=0.0625", "--use_blur=False")


def test_a_plan_is_printed_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "--accelerator=l4", "--budget_hours=1", *SMALL]) == 0
    lines = capsys.readouterr().out.partition("next: ")[0].splitlines()
    assert not os.listdir(tmp_path) and "1 x NVIDIA L4" in lines[1]
    assert all(line.startswith(("estimate: ", "measured: ")) for line in lines[2:]) and len(lines) == 7
    assert "this batch fits" in lines[3] and "enough for this run" in lines[6]


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "`accelerator` must name what the run is planned for"),
        (["--accelerator=v7"], "`accelerator` must be one of: a100, "),
        (["--accelerator=h100", "--budget_hours=0"], "`budget_hours` must be > 0"),
        (["--accelerator=h100", "--budget_hours=nan"], "`budget_hours` must be"),
        (["--accelerator=h100-8", "--jit_compile"], "`jit_compile` must be False on several GPUs"),
        (["--accelerator=h100", "--model_dir=here"], "Unknown command line flag 'model_dir'"),
        (["--accelerator=h100", "--train_batch_size=50001"], "at most the 50000 images"),
    ],
)
def test_what_could_not_work_is_one_line(words, message, capsys):
    assert main(["plan", *SMALL, *words]) == 2
    text = capsys.readouterr().err
    assert message in text and text.count("\n") == 1
