"""The teacher of a distillation, and the classes that a student learns from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import tensorflow as tf

from tf_simclr.config import ExperimentConfig
from tf_simclr.data.class_order import describe_difference, positions, with_class_order
from tf_simclr.data.source import ImageSource
from tf_simclr.errors import InputError
from tf_simclr.nn.model import SimCLRModel
from tf_simclr.train.build import Data
from tf_simclr.train.directory import RunDirectory


@dataclass(frozen=True)
class Teacher:
    """A trained network with a supervised head, of which nothing changes.

    Attributes:
        model: the networks, in float32.
        num_classes: of its head.
        class_names: in the order of its logits; empty where its checkpoint does not say.
        digest: of its values, the same wherever it lies.
        place: of its checkpoint, for messages.
    """

    model: SimCLRModel
    num_classes: int
    class_names: tuple[str, ...]
    digest: str
    place: str

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Float32 [n, classes] of images float32 [n, h, w, 3] in [0, 1], in inference mode; no gradient passes."""
        return tf.stop_gradient(self.model.endpoints(images, training=False)["logits_sup"])


def with_classes_of(teacher: Teacher, config: ExperimentConfig, data: Data) -> tuple[Data, list[str]]:
    """The splits with the classes of the teacher, counted as its logits are.

    Images without labels get its classes too, and the label -1, so that the student's head is the teacher's.

    Args:
        teacher: of the run.
        config: of the command.
        data: its splits.

    Returns:
        the splits, and lines that a person should see.

    Raises:
        InputError: labels of other classes, or labels that the loss needs and the images have not.
    """
    if config.distillation.distill_alpha < 1 and not data.train.labelled:
        raise InputError(
            "`distill_alpha` must be 1 for images without one label each. Received: distill_alpha="
            f"{config.distillation.distill_alpha:g}, dataset={data.train.name}. Leave it out, or label the images"
        )
    notes: list[str] = []
    if teacher.class_names:
        names = teacher.class_names
    else:
        names = data.train.class_names if data.train.labelled else ()
        notes.append(
            f"{teacher.place} does not name the classes of its head: "
            + ("they are taken for those of the images" if names else "they have numbers only")
        )
    if not data.train.labelled:
        notes.append("no label of the training images is used: the student's classes are the teacher's")
    train = _in_classes(teacher, names, data.train)
    evaluation = None if data.evaluation is None else _in_classes(teacher, names, data.evaluation)
    if data.evaluation is not None and not data.evaluation.labelled:
        evaluation = data.evaluation  # -1 is no label to compare with
    return replace(data, train=train, evaluation=evaluation), notes


def _in_classes(teacher: Teacher, names: tuple[str, ...], source: ImageSource) -> ImageSource:
    """A split with the classes of these names."""
    if not source.labelled:
        return replace(source, num_classes=teacher.num_classes, class_names=names, targets=None)
    if source.num_classes != teacher.num_classes or (names and positions(source.class_names, names) is None):
        difference = (
            describe_difference(names, source.class_names)
            if teacher.class_names
            else f"{teacher.num_classes} classes there, {source.num_classes} here"
        )
        raise InputError(
            f"`teacher` must have the classes of the images. Received: {teacher.place} with {teacher.num_classes} "
            f"classes, {source.name} {source.split!r} with {source.num_classes} ({difference}). Fine-tune a teacher on "
            "these classes, or take images of its classes or without labels"
        )
    return with_class_order(source, names) if names else source


def require_same_teacher(found: RunDirectory, teacher: Teacher) -> None:
    """Raises InputError where the run in a directory has learnt from another teacher."""
    was = found.manifest.teacher if found.done and found.manifest is not None else ""
    if was and was != teacher.digest:
        raise InputError(
            f"`teacher` must be the one that the run in {found.path} began with. Received: teacher={teacher.place} "
            f"(SHA-256 {teacher.digest[:12]}), where it was {was[:12]}. Pass that one, or another --model_dir"
        )
