"""Every notebook runs on the CPU with tiny settings, and what is committed shows its results."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import tf_simclr
from tests.data.folders import class_folders, make_images

pytestmark = pytest.mark.whole_runs
ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KERNEL = "the_interpreter_of_the_tests"
IMAGES = ("image/png", "image/jpeg")
MAX_BYTES = 400_000
SECONDS_PER_CELL = 900  # far more than a healthy cell takes, also on a busy machine
# Directories of one machine, which mean nothing on another.
LOCAL_PATH = re.compile(r"/(?:home|root|tmp|work|Users|var|mnt)/")

TINY_PRETRAINING = {
    "train_split": "train[:32]",
    "eval_split": "test[:20]",
    "image_size": 16,
    "width_multiplier": 0.0625,
    "train_batch_size": 16,
    "train_steps": 3,
}
TINY_SEARCH = {"image_size": 16, "width_multiplier": 0.0625, "train_batch_size": 16, "train_steps": 4}
TINY = {
    "pretrain_tpu": {
        "TRAIN_SPLIT": "train[:32]",
        "EVAL_SPLIT": "test[:20]",
        "IMAGE_SIZE": 16,
        "WIDTH_MULTIPLIER": 0.0625,
        "BATCH_SIZE": 16,
        "TRAIN_STEPS": 3,
    },
    "finetune": {
        "PRETRAIN_FLAGS": TINY_PRETRAINING,
        "LABELLED_SPLIT": "train",
        "EVAL_SPLIT": "test",
        "BATCH_SIZE": 10,
        "EPOCHS": 2,
    },
    "search_your_images": {"EXAMPLES": 48, "TRAIN_FLAGS": TINY_SEARCH},
    "load_and_inference": {"GALLERY_SPLIT": "train[:40]", "QUERY_SPLIT": "test[:20]"},
}


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_parameters(cell):
    return "parameters" in cell.metadata.get("tags", [])


def assigned_names(source):
    names = set()
    for statement in ast.parse(source).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names |= {target.id for target in targets}
    return names


def with_settings(notebook, settings):
    """The notebook with a cell of other settings after its own; a setting it does not have is an error."""
    [position] = [number for number, cell in enumerate(notebook.cells) if is_parameters(cell)]
    unknown = set(settings) - assigned_names(notebook.cells[position].source)
    assert not unknown, f"the notebook has no such settings: {sorted(unknown)}"
    lines = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
    notebook.cells.insert(position + 1, nbformat.v4.new_code_cell(lines))
    return notebook


def printed(notebook):
    """All that the cells have printed."""
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def count_images(notebook):
    data = [output.get("data", {}) for cell in code_of(notebook) for output in cell.outputs]
    return sum(any(kind in IMAGES for kind in kinds) for kinds in data)


@pytest.fixture(scope="module")
def execute(tmp_path_factory):
    """Runs a notebook to its end in a directory, on the interpreter that runs the tests."""
    jupyter = tmp_path_factory.mktemp("jupyter")
    kernel = jupyter / "kernels" / KERNEL
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": KERNEL, "language": "python"}))

    def run(name, directory, **settings):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        with_settings(notebook, TINY[name] | settings)
        where = {"metadata": {"path": str(directory)}}
        NotebookClient(notebook, timeout=SECONDS_PER_CELL, kernel_name=KERNEL, resources=where).execute()
        return notebook

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(jupyter))
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.setenv("PYTHONPATH", str(ROOT))
        yield run


@pytest.fixture(scope="module")
def pretraining(execute, tmp_path_factory):
    """The notebook of a first pretraining of three steps, and the directory it ran in."""
    directory = tmp_path_factory.mktemp("work")
    return execute("pretrain_tpu", directory, TRAIN_STEPS=3), directory


@pytest.fixture(scope="module")
def unlabelled(execute, tmp_path_factory):
    """The notebook of a pretraining without labels, which begins where a run was stopped, and its directory."""
    directory = tmp_path_factory.mktemp("unlabelled")
    images = make_images(directory / "images", [f"{number}.png" for number in range(40)], side=20)
    # The recipe comes first: what follows it wins.
    recipe = {"flagfile": "configs/quickstart.cfg", "mode": "train", "untrained_baseline": False}
    run = {"dataset": "folder", "data_dir": images, "train_split": "train", "eval_split": "test", "train_steps": 3}
    small = {name: TINY_PRETRAINING[name] for name in ("image_size", "width_multiplier", "train_batch_size")}
    tf_simclr.run(**recipe, **run, **small, model_dir=directory / "runs" / "pretrain")
    settings = {"DATASET": "folder", "DATA_DIR": str(images), "TRAIN_SPLIT": "train", "EVAL_SPLIT": "test"}
    return execute("pretrain_tpu", directory, TRAIN_STEPS=6, **settings), directory


def test_pretraining_measures_what_was_learned(pretraining):
    notebook, directory = pretraining
    assert "training from step 0 to 3" in printed(notebook) and "20 held-out images, step 3" in printed(notebook)
    assert count_images(notebook) == 3
    result = json.loads((directory / "runs" / "pretrain" / "result.json").read_text())
    assert result["global_step"] == 3 and "untrained/label_top_1_accuracy" in result


def test_pretraining_resumes_and_needs_no_labels(unlabelled):
    notebook, directory = unlabelled
    assert "resuming from step 3 in runs/pretrain" in printed(notebook)
    assert "Without labels there is no accuracy to measure" in printed(notebook) and count_images(notebook) == 2
    assert (directory / "runs" / "pretrain" / "ckpt-6.index").is_file()


def test_fine_tuning_compares_every_start(execute, tmp_path):
    """On a folder with labels, from a network that was pretrained on other images."""
    images = class_folders({"train/a": 20, "train/b": 20, "test/a": 11, "test/b": 11})
    make_images(tmp_path / "images", images, side=20)
    notebook = execute("finetune", tmp_path, DATA_DIR=str(tmp_path / "images"))
    rows = json.loads((tmp_path / "runs" / "finetune" / "comparison.json").read_text())
    starts = {"from scratch", "pretrained", "pretrained, plain TensorFlow"}
    assert {(row["start"], row["trained"]) for row in rows} == {
        (start, trained) for start in starts for trained in ("linear head", "whole network")
    }
    # 22 images are held out, each counted once: black ones that fill up the last batch count nothing.
    assert all(0 <= row["top_1"] <= 1 and (row["top_1"] * 22) % 1 == pytest.approx(0, abs=1e-4) for row in rows)
    assert len(re.findall(r"^loaded encoder.* from runs/pretrain/ckpt-3", printed(notebook), re.M)) == 2
    assert count_images(notebook) == 1


def test_a_folder_without_labels_is_searched(execute, tmp_path):
    notebook = execute("search_your_images", tmp_path)
    text = printed(notebook)
    assert (
        "no class folders: its images have no labels" in text
        and "48 images of 32 numbers each: 48 computed now" in text
    )
    assert len(list((tmp_path / "built_in_images").glob("*.png"))) == 48
    assert count_images(notebook) == 5 and re.search(r"groups of copies; the page is copies\.html", text)
    for page in ("copies.html", "outliers.html"):
        assert (tmp_path / page).is_file()


def test_inference_loads_draws_and_searches(pretraining, execute):
    """On the run that pretrain_tpu left, as a reader of the notebooks has it."""
    notebook = execute("load_and_inference", pretraining[1])
    text = printed(notebook)
    assert re.search(r"final_avg_pool +\[1, 32\]", text)
    assert "h of the gallery: (40, 32)  h of the queries: (20, 32)" in text
    assert count_images(notebook) == 3
    assert len(re.findall(r"^a file of \d+ bytes: \w+$", text, re.M)) == 5
    # Files, feature vector and Keras model give the same features as the arrays did: up to rounding.
    differences = re.findall(r"^h by \S+: differs by (\S+) at most", text, re.M)
    assert len(differences) == 3 and all(float(difference) < 1e-4 for difference in differences)


def test_inference_without_labels_leaves_the_classes_out(unlabelled, execute):
    notebook = execute("load_and_inference", unlabelled[1], GALLERY_SPLIT="train")
    text = printed(notebook)
    assert "h of the gallery: (40, 32)  h of the queries: (40, 32)" in text and "accuracy" not in text
    assert "classes: none" in text and "same class" not in text
    assert count_images(notebook) == 2
    assert len(re.findall(r"^a file of \d+ bytes: no classes$", text, re.M)) == 5


def test_the_run_that_is_missing_is_made_by_the_same_lines_in_both_notebooks():
    """The test of fine-tuning starts without a run, that of inference with one: the first speaks for both."""
    made = []
    for name in ("finetune", "load_and_inference"):
        sources = [cell.source for cell in code_of(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4))]
        statements = [statement for source in sources for statement in ast.parse(source).body]
        [missing] = [each for each in statements if isinstance(each, ast.If) and "PRETRAIN_FLAGS" in ast.unparse(each)]
        assert ast.unparse(missing.test) == "not tf.io.gfile.exists(f'{PRETRAINED}/saved_model')"
        made.append(ast.unparse(missing))
    assert made[0] == made[1]


def test_settings_that_a_notebook_does_not_have_are_an_error():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("A = 1\nB: int = 2")])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    assert with_settings(notebook, {"B": 3}).cells[1].source == "B = 3"
    with pytest.raises(AssertionError, match=r"no such settings: \['C'\]"):
        with_settings(notebook, {"C": 3})


def setup_of(path):
    return next(cell.source for cell in code_of(nbformat.read(path, as_version=4)) if "WHEEL = " in cell.source)


def isolated(program, directory):
    """Runs Python without site-packages: not even an installed copy of the library is found."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", program], cwd=directory, capture_output=True, text=True)


def test_every_notebook_is_set_up_by_the_same_lines():
    assert len({setup_of(path) for path in NOTEBOOKS}) == 1


def test_a_machine_without_the_code_installs_the_wheel_of_a_release(tmp_path):
    setup = setup_of(NOTEBOOKS[0])
    if 'WHEEL = ""' in setup:
        ended = isolated(setup, tmp_path)
        assert ended.returncode != 0 and "Set WHEEL above to the address of the wheel of a release" in ended.stderr
    given = re.sub(r'WHEEL = "[^"]*"', 'WHEEL = "https://example.org/x.whl"', setup)
    shell = "class Shell:\n    run_line_magic = staticmethod(print)\nget_ipython = Shell\n"
    assert isolated(shell + given, tmp_path).stdout == (
        'pip install --quiet "tf_simclr[evaluate,index] @ https://example.org/x.whl"\n'
    )
    tpu = "import os; os.environ['TPU_ACCELERATOR_TYPE'] = 'v2-8'\n"
    installed = isolated(tpu + shell + given, tmp_path).stdout
    assert installed.startswith("pip install --quiet --no-deps https://example.org/x.whl ")
    packages = [word.strip('"') for word in installed.split()[5:]]
    lines = (ROOT / "requirements-tpu.txt").read_text().splitlines()
    assert packages == [line for line in lines if line and not line.startswith("#")]


def test_a_notebook_in_a_checkout_uses_that(tmp_path):
    inside = tmp_path / "checkout" / "notebooks"
    (tmp_path / "checkout" / "tf_simclr").mkdir(parents=True)
    (tmp_path / "checkout" / "tf_simclr" / "__init__.py").write_text("")
    inside.mkdir()
    ended = isolated(f"{setup_of(NOTEBOOKS[0])}\nimport tf_simclr; print(tf_simclr.__file__)", inside)
    assert ended.stdout.strip() == str(tmp_path / "checkout" / "tf_simclr" / "__init__.py"), ended.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_ends_with_the_reader_s_own_images(path):
    assert nbformat.read(path, as_version=4).cells[-1].source.startswith("## Now with your own images\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_starts_a_process(path):
    sources = [cell.source for cell in code_of(nbformat.read(path, as_version=4))]
    assert not [source for source in sources if "subprocess" in source or "run.py" in source.replace("../run.py", "")]


def test_every_notebook_is_run_by_a_test():
    assert {path.stem for path in NOTEBOOKS} == set(TINY)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_shows_its_results(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < MAX_BYTES
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert count_images(notebook) >= 1
    counts = [cell.execution_count for cell in code_of(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run from top to bottom, in a new kernel"
    assert sum(is_parameters(cell) for cell in notebook.cells) == 1
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = {kind: value for kind, value in output.get("data", {}).items() if kind not in IMAGES}
            found = LOCAL_PATH.search(output.get("text", "") + json.dumps(data))
            assert found is None, f"a path of one machine in the output: {found and found[0]}"
