from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tf_simclr.cli import completion, flags
from tf_simclr.config import ExperimentConfig, build_config
from tf_simclr.errors import InputError

CONFIGS = Path(completion.QUICKSTART).parent
ALL = completion.ALL_FLAG_GROUPS

REFERENCE_DEFAULTS = {
    "learning_rate": 0.3, "learning_rate_scaling": "linear", "warmup_epochs": 10, "weight_decay": 1e-6,
    "batch_norm_decay": 0.9, "train_batch_size": 512, "train_split": "train", "train_epochs": 100, "train_steps": 0,
    "eval_steps": 0, "eval_batch_size": 256, "checkpoint_epochs": 1, "checkpoint_steps": 0, "eval_split": "validation",
    "cache_dataset": False, "mode": "train", "train_mode": "pretrain", "lineareval_while_pretraining": True,
    "checkpoint": None, "zero_init_logits_layer": False, "fine_tune_after_block": -1, "master": None,
    "model_dir": None, "data_dir": None, "tpu_name": None, "tpu_zone": None, "gcp_project": None, "optimizer": "lars",
    "momentum": 0.9, "eval_name": None, "keep_checkpoint_max": 5, "keep_hub_module_max": 1, "temperature": 0.1,
    "hidden_norm": True, "proj_head_mode": "nonlinear", "proj_out_dim": 128, "num_proj_layers": 3,
    "ft_proj_selector": 0, "global_bn": True, "width_multiplier": 1, "resnet_depth": 50, "sk_ratio": 0, "se_ratio": 0,
    "image_size": 224, "color_jitter_strength": 1.0, "use_blur": True,
    # Ours differ from the authors' in these two.
    "dataset": "", "use_tpu": False,
}  # fmt: skip

CIFAR = """--train_mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 --weight_decay=1e-4
    --temperature=0.5 --dataset=cifar10 --image_size=32 --eval_split=test --resnet_depth=18 --use_blur=False
    --color_jitter_strength=0.5 --model_dir=D --use_tpu=False"""
IMAGENET = """--train_mode=pretrain --train_batch_size=4096 --train_epochs=100 --temperature=0.1 --learning_rate=0.075
    --learning_rate_scaling=sqrt --weight_decay=1e-4 --dataset=imagenet2012 --image_size=224 --eval_split=validation
    --data_dir=T --model_dir=D --use_tpu=False --train_summary_steps=0"""
FINETUNE = """--mode=train_then_eval --train_mode=finetune --fine_tune_after_block=4 --zero_init_logits_layer=True
    --variable_schema='(?!global_step|(?:.*/|^)Momentum|head)' --global_bn=False --optimizer=momentum
    --learning_rate=0.1 --weight_decay=0 --warmup_epochs=0 --checkpoint=D --dataset=cifar10 --model_dir=D"""


def config_of(line):
    parsed = flags.parse(shlex.split(line), ALL)
    return build_config(parsed.values), parsed


def test_names_and_defaults_are_the_authors():
    values = flags.parse([], ALL).values
    assert {name: values[name] for name in REFERENCE_DEFAULTS} == REFERENCE_DEFAULTS


@pytest.mark.parametrize("line", [CIFAR, IMAGENET, FINETUNE], ids=["cifar", "imagenet", "finetune"])
def test_the_authors_command_lines_are_accepted(line):
    config, parsed = config_of(line)
    for word in shlex.split(line):
        name, value = word[2:].split("=", 1)
        if name not in flags.IGNORED_FLAGS:
            assert str(parsed.values[name]).lower() in (value.lower(), str(float(value)) if value[0].isdigit() else "")
    assert isinstance(config, ExperimentConfig)


def test_flags_without_effect_are_reported():
    assert config_of(IMAGENET)[1].ignored == ("train_summary_steps",)
    assert config_of(FINETUNE)[1].ignored == ("variable_schema",)


def test_sqrt_scaling():
    assert config_of(IMAGENET)[0].optimizer.peak_learning_rate(4096) == pytest.approx(4.8)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.cfg")), ids=lambda p: p.stem)
def test_every_flag_file_makes_a_config_and_explains_itself(path):
    config, _ = config_of(f"--flagfile={path}")
    assert config.data.dataset
    header = path.read_text().split("\n--")[0]
    for part in ("Source:", "Command:", "Expected:", "Time:"):
        assert part in header


def test_the_recipes_are_all_there():
    names = {path.stem for path in CONFIGS.glob("*.cfg")}
    wanted = "quickstart cifar10_resnet18 cifar10_resnet50 imagenet_resnet50 linear_eval finetune_1pct finetune_10pct"
    assert names >= {*wanted.split(), "supervised"}


def test_without_a_dataset_the_quickstart_supplies_what_was_not_given():
    parsed, origin = completion.complete(flags.parse(["--temperature=0.25"], ALL))
    quickstart = flags.parse([f"--flagfile={completion.QUICKSTART}"], ALL)
    assert parsed.values == quickstart.values | {"temperature": 0.25}
    assert "configs/quickstart.cfg" in origin


def test_without_a_dataset_a_run_directory_supplies_its_own_flags(tmp_path):
    (tmp_path / "flags.json").write_text(build_config({"dataset": "cifar10", "seed": 7}).to_json())
    parsed, origin = completion.complete(flags.parse([f"--model_dir={tmp_path}", "--mode=eval"], ALL))
    assert (parsed.values["dataset"], parsed.values["seed"], parsed.values["mode"]) == ("cifar10", 7, "eval")
    assert parsed.values["model_dir"] == str(tmp_path)
    assert str(tmp_path) in origin


def test_a_directory_is_named_when_none_is_given():
    config = completion.with_model_dir(build_config({"dataset": "a/b:1.0"}))
    assert config.runtime.model_dir.startswith("runs/a_b_1.0-")


def test_eval_needs_a_directory():
    with pytest.raises(InputError, match="model_dir"):
        completion.with_model_dir(build_config({"dataset": "shapes", "mode": "eval"}))


@pytest.mark.parametrize(
    "line,message",
    [
        ("--tempreature=1", "tempreature"),
        ("--temperature=warm", "warm"),
        ("--stem=tiny", "auto"),
        ("stray", "Received: stray"),
        ("--flagfile=/nowhere.cfg", "^Unable to open flagfile.*/nowhere.cfg'. Recipes of the package are in /"),
        ("--flagfile configs/quickstrat.cfg", "Did you mean: configs/quickstart.cfg"),
    ],
)
def test_a_wrong_command_line_is_one_line(line, message):
    with pytest.raises(InputError, match=message) as error:
        flags.parse(shlex.split(line), ALL)
    assert "\n" not in str(error.value)


def test_the_recipes_of_the_package_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for typed in ("configs/tiny.cfg", "/nowhere/configs/tiny.cfg", "tiny.cfg", "configs/transfer/cars196.cfg"):
        assert flags.recipe(typed) == str(flags.CONFIGS / typed.rpartition("configs/")[2])
    assert flags.with_recipes(["--flagfile", "configs/tiny.cfg"])[1] == str(flags.CONFIGS / "tiny.cfg")
    parsed = flags.parse(["--flagfile=configs/tiny.cfg"], ALL)
    assert parsed.values["image_size"] == 32
    own = tmp_path / "configs" / "tiny.cfg"
    own.parent.mkdir()
    own.write_text("--image_size=48\n")
    assert flags.parse(["--flagfile=configs/tiny.cfg"], ALL).values["image_size"] == 48
    with pytest.raises(InputError, match="nothing"):
        flags.parse(["--flagfile=configs/nothing.cfg"], ALL)
