"""The README's command lines run one after the other, as somebody pastes them, on folders of a few made-up images.

Names in capitals stand for folders of the reader; here they are made. Data sets that would have to be downloaded are
replaced by the built-in one, and lengths, batches and widths are as small as can be: flags that come later count. What
decides which network a command is about (depth, image size, mode) stays the README's own, and so does the order: two
commands that do not go together in one --model_dir fail here.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs.interpreter import Interpreter
from tests.docs.test_docs import blocks_of, copy_checkout, environment
from tf_simclr.cli.flags import parse
from tf_simclr.cli.main import TASKS
from tf_simclr.config.own_images import TRAINING_FLAGS, own_images_defaults
from tf_simclr.data.datasets import BUILT_IN

pytestmark = pytest.mark.whole_runs
README = Path(__file__).parents[2] / "README.md"
STARTS = {"python run.py": "train"}
STARTS |= {f"python -m tf_simclr {task}": task for task in ("evaluate", "embed", "search")}
# Commands that show a form, and cannot be pasted: other machines or programs' files, or dots in place of flags.
NOT_A_COMMAND = re.compile(r"\.\.\.|gs://|resnet50\.")
SMALL = {
    "train": "--width_multiplier=0.0625 --train_batch_size=8 --eval_batch_size=8 --train_steps=2 --warmup_epochs=0",
    "evaluate": "--eval_batch_size=20 --eval_seeds=0 --knn_k=5 --logreg_strengths=1 --logreg_iterations=5 "
    "--linear_epochs=0.1 --finetune_epochs=0.5 --finetune_batch_size=8 --supervised_epochs=0.1 --grid_steps=1 "
    "--grid_learning_rates=0.1 --grid_weight_decays=0",
    "embed": "--eval_batch_size=20",
    "search": "",
}
BUILT_IN_DATA = "--dataset=shapes --train_split=train[:128] --eval_split=test[:40]"
# One percent of the labels is one image a class.
PER_CLASS = {"train": 100, "test": 10}
CLASSES = ("ant", "bee")


def commands():
    """(line of the block, task, flags) of every command line of the README that can be pasted, in order."""
    found = []
    for block in blocks_of(README):
        if block.language != "bash" or "runnable" in block.words:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            text = line.partition(" # ")[0].strip()
            start = next((start for start in STARTS if text.startswith(start)), None)
            if start is not None and not NOT_A_COMMAND.search(text):
                found.append((block.line, STARTS[start], shlex.split(text.removeprefix(start))))
    return found


def image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def folder(root, labelled):
    """DIR/SPLIT/CLASS/*.png, or DIR/*.png."""
    for split, count in PER_CLASS.items():
        for label, name in enumerate(CLASSES):
            for number in range(count):
                place = root / split / name if labelled else root
                image(place / f"{split}{label}_{number}.png", [label, number, len(str(root))])
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Placeholder -> a folder; TFDS is not read, since the data sets there are replaced."""
    root = tmp_path_factory.mktemp("folders")
    labelled = {name: folder(root / name.lower(), labelled=True) for name in ("IMAGES", "OTHER")}
    return labelled | {"UNLABELLED": folder(root / "unlabelled", labelled=False), "TFDS": root / "tfds"}


def filled_in(task, words, folders, checkout):
    """The flags of a command on made-up data, small."""
    placeholders = re.compile(r"=([A-Z][A-Z_]+)$")
    for word in words:
        name = placeholders.search(word)
        assert name is None or name[1] in folders, f"what does {name[1]} stand for? Add it to `folders`"
    filled = [placeholders.sub(lambda found: f"={folders[found[1]]}", word) for word in words]
    in_checkout = [re.sub("^--flagfile=", f"--flagfile={checkout}/", word) for word in filled]
    parsed = parse(in_checkout, importlib.import_module(TASKS[task]).FLAG_GROUPS)
    dataset = parsed.values.get("dataset", "")
    if task == "train" and parsed.values["data_dir"]:
        dataset = dataset or "folder"
    more = shlex.split(BUILT_IN_DATA) if dataset and dataset not in BUILT_IN else []
    if task == "train" and dataset == "folder" and not parsed.given & TRAINING_FLAGS:
        # What the program chooses by itself: with a training flag, such as those below, it would not.
        more += [f"--{name}={value}" for name, value in own_images_defaults(PER_CLASS["train"] * len(CLASSES)).items()]
    return [*filled, *more, *shlex.split(SMALL[task])]


def test_there_are_commands_of_each_task():
    assert {task for _, task, _ in commands()} == set(STARTS.values()) and len(commands()) >= 5


def test_the_readme_s_commands_run_in_order(folders, tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    interpreter = Interpreter(environment(tmp_path / "bin"))
    try:
        for number, (line, task, words) in enumerate(commands()):
            flags = filled_in(task, words, folders, checkout)
            script = checkout / f"command_{number}.py"
            script.write_text(
                f"from tf_simclr.cli.main import run_task\nraise SystemExit(run_task({task!r}, {flags}))\n"
            )
            code, output = interpreter.run(script, checkout)
            assert code == 0, f"README.md:{line}: {task} {shlex.join(flags)}\nexit code {code}\n{output}"
    finally:
        interpreter.close()
    flags = [json.loads(path.read_text()) for path in checkout.glob("runs/*/flags.json")]
    assert flags and all(record["dataset"] for record in flags)
