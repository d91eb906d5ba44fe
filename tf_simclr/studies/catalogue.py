"""All studies by name: their questions, figures and findings; the cells stand in tables.py."""

from __future__ import annotations

from tf_simclr.errors import require_choice
from tf_simclr.studies import findings, result_findings, result_tables, tables
from tf_simclr.studies.scales import PAPER, TINY
from tf_simclr.studies.significance import transfer_tables
from tf_simclr.studies.study import Bars, Curves, Gallery, HeatMap, Lines, Scatter, Study, Views

_TEST, _TRAIN = "Linear evaluation of h, test top-1 (%)", "Linear evaluation of h, train top-1 (%)"
# Of Table 7: groups of bars, and their colours.
AXES = "width", "method"
_CHOSEN_VIEWS = ("crop", "cutout", "color", "sobel", "noise", "blur", "rotate", "crop+color")

_STUDIES = (
    Study(
        name="figure4",
        title="Augmentation operators (SimCLR, Figure 4)",
        question="What does each augmentation operator do to an image?",
        paper_says="It studies these operators alone and in pairs; SimCLR itself composes random crop with flip, "
        "colour distortion and blur.",
        cells=tables.figure4,
        figures=(
            Gallery("operators", "Images, and a view of each by every operator"),
            Views("views", "Views of one image, as training draws them"),
        ),
        findings=(),
        measures=(),
        compared=None,
    ),
    Study(
        name="figure5",
        title="Pairs of augmentations (SimCLR, Figure 5)",
        question="Which operators must be composed for contrastive learning to learn good features?",
        paper_says="No single operator suffices, although the contrastive task is solved almost perfectly; composing "
        "random crops with colour distortion stands out.",
        cells=tables.figure5,
        figures=(
            HeatMap("test_top_1", _TEST, "top_1", "first", "second"),
            HeatMap("train_top_1", _TRAIN, "train_top_1", "first", "second"),
            HeatMap(
                "contrast_acc", "Contrastive accuracy at the end of pretraining (%)", "contrast_acc", "first", "second"
            ),
            Views("views", "Views by operator; both branches share the first crop", _CHOSEN_VIEWS),
        ),
        findings=(
            findings.crop_and_color_is_best,
            findings.no_single_operator_suffices,
            findings.contrastive_accuracy_is_no_guide,
        ),
        measures=("top_1", "train_top_1", "knn_top_1", "contrast_acc"),
    ),
    Study(
        name="table1",
        title="Strength of colour distortion, with and without labels (SimCLR, Table 1)",
        question="Does contrastive learning need stronger augmentation than training with labels?",
        paper_says="Stronger colour distortion substantially improves SimCLR and does not help, or hurts, training "
        "with labels. AutoAugment, found with labels, is worse for SimCLR than crop and strong colour distortion.",
        cells=tables.table1,
        figures=(
            Bars("test_top_1", "Test top-1 (%)", "top_1", "colour distortion", "method"),
            Views("views", "Views by colour distortion"),
        ),
        findings=(
            findings.simclr_gains_from_colour,
            findings.supervised_does_not,
            findings.autoaugment_is_worse,
        ),
        measures=("top_1", "knn_top_1", "contrast_acc"),
    ),
    Study(
        name="figure6",
        title="Histograms of crops (SimCLR, Figure 6)",
        question="What do two crops of one image have in common without colour distortion?",
        paper_says="Their histograms of pixel intensities: they suffice to tell images apart, a shortcut that colour "
        "distortion closes.",
        cells=tables.figure6,
        figures=(
            Curves("histograms", "Histograms of crops of two images", "intensity", "density", "views", panels="views"),
            Views("views", "Crops without and with colour distortion"),
        ),
        findings=(findings.colour_is_a_shortcut,),
        measures=("same_picture",),
        compared=None,
    ),
    Study(
        name="figure7",
        title="Depth and width (SimCLR, Figure 7)",
        question="Does contrastive learning gain more from larger networks than training with labels?",
        paper_says="Both gain from depth and width; the gap between them shrinks as networks grow.",
        cells=tables.figure7,
        figures=(Lines("test_top_1", _TEST, "top_1", "width", "depth", panels="method"),),
        findings=(findings.larger_networks_are_better, findings.the_gap_shrinks),
        measures=("top_1", "knn_top_1", "contrast_acc"),
        compared=None,
    ),
    Study(
        name="figure8",
        title="Projection heads (SimCLR, Figure 8)",
        question="Does a projection head help the representation before it, and of which kind and size?",
        paper_says="A nonlinear head is better than a linear one by 3 points, and much better than none, by more than "
        "10; the dimension of its output hardly matters; h is better than g(h) by more than 10 points.",
        cells=tables.figure8,
        figures=(
            Bars("test_top_1", _TEST, "top_1", "dimension", "head"),
            Bars(
                "projection_top_1", "Linear evaluation of g(h), test top-1 (%)", "projection_top_1", "dimension", "head"
            ),
        ),
        findings=(findings.heads_in_order, findings.h_is_better_than_g, findings.dimension_hardly_matters),
        measures=("top_1", "projection_top_1", "knn_top_1", "contrast_acc"),
    ),
    Study(
        name="table3",
        title="What g(h) discards (SimCLR, Table 3)",
        question="Can the transformation that was applied be recognised from h, and from g(h)?",
        paper_says="From h nearly always; g(h) is trained to be invariant and loses it.",
        cells=tables.table3,
        figures=(
            Bars("from_h", "Transformation predicted from h (%)", "from_h", "transformation"),
            Bars("from_projection", "Transformation predicted from g(h) (%)", "from_projection", "transformation"),
        ),
        findings=(findings.h_keeps_what_g_discards,),
        measures=("from_h", "from_projection", "chance", "top_1"),
        compared="from_projection",
    ),
    Study(
        name="head_curves",
        title="Linear and nonlinear heads along their pretraining (after SimCLR, Section 4.2)",
        question="How do the loss and the representation of both heads develop?",
        paper_says="The nonlinear head ends with the better representation.",
        cells=tables.head_curves,
        figures=(
            Curves("loss", "Pretraining loss", "step", "NT-Xent", "head", ("contrast_loss",)),
            Curves(
                "top_1", "Linear evaluation of h along pretraining", "step", "test top-1", "head", ("online_top_1",)
            ),
            Curves(
                "linear_loss",
                "Linear evaluation at the end: its loss",
                "step",
                "cross entropy",
                "head",
                ("linear_loss",),
            ),
            Curves(
                "linear_top_1",
                "Linear evaluation at the end: test top-1",
                "epoch",
                "test top-1",
                "head",
                ("linear_top_1",),
            ),
        ),
        findings=(findings.nonlinear_ends_better,),
        measures=("top_1", "projection_top_1", "knn_top_1", "contrast_loss"),
    ),
    Study(
        name="table4",
        title="Losses (SimCLR, Table 4)",
        question="Is NT-Xent better than other contrastive losses, each with settings of its own?",
        paper_says="NT-Xent is best by more than 5 points; semi-hard negatives help the others.",
        cells=tables.table4,
        figures=(Bars("test_top_1", _TEST, "top_1", "loss", "setting"),),
        findings=(findings.nt_xent_is_best, findings.semi_hard_helps),
        measures=("top_1", "knn_top_1", "contrast_acc"),
        best_of="loss",
    ),
    Study(
        name="table5",
        title="Normalisation and temperature (SimCLR, Table 5)",
        question="What do l2 normalisation and the temperature of NT-Xent do?",
        paper_says="Without normalisation and a proper temperature the contrastive accuracy is higher and the "
        "representation worse.",
        cells=tables.table5,
        figures=(
            Bars("test_top_1", _TEST, "top_1", "temperature", "l2 norm"),
            Bars("contrast_acc", "Contrastive accuracy (%)", "contrast_acc", "temperature", "l2 norm"),
            Bars("contrast_entropy", "Entropy of the candidates (nats)", "contrast_entropy", "temperature", "l2 norm"),
        ),
        findings=(findings.low_temperature_is_better, findings.norm_is_better, findings.accuracy_without_norm_misleads),
        measures=("top_1", "knn_top_1", "contrast_acc", "contrast_entropy"),
    ),
    Study(
        name="figure9",
        title="Batch size and length of training (SimCLR, Figure 9 and Appendix B.1)",
        question="How much does contrastive learning gain from large batches, and for how long?",
        paper_says="With few epochs larger batches are clearly better; with more epochs the gap closes. Square-root "
        "scaling of the learning rate helps small batches and short trainings.",
        cells=tables.figure9,
        figures=(Lines("test_top_1", _TEST, "top_1", "epochs", "batch", panels="scaling"),),
        findings=(
            findings.larger_batches_are_better,
            findings.the_batch_gap_closes,
            findings.sqrt_scaling_helps,
        ),
        measures=("top_1", "knn_top_1", "contrast_acc"),
        compared=None,
    ),
    Study(
        name="table6",
        title="Width of the network (SimCLR, Table 6 and Figure 1)",
        question="How good do representations get with the size of the network, and how far are they from labels?",
        paper_says="Top-1 of ResNet-50 rises from 69.3 to 76.5 at four times the width, where it matches a ResNet-50 "
        "that was trained with labels.",
        cells=result_tables.table6,
        figures=(
            Scatter("figure1", "Test top-1 against parameters (Figure 1)", "parameters", "top_1", "method", "width"),
            Bars("test_top_5", "Test top-5 (%)", "top_5", "width", "method"),
        ),
        findings=(result_findings.wider_is_better, result_findings.labels_are_matched),
        measures=("parameters", "top_1", "top_5", "knn_top_1", "contrast_acc"),
        # Table 6 is of 1,000 epochs.
        flags={PAPER: {"train_epochs": 1000.0}},
    ),
    Study(
        name="table7",
        title="Few labels (SimCLR, Table 7)",
        question="What does a network learn from 1% and 10% of the labels, with and without pretraining on all images?",
        paper_says="Fine-tuned on 1% of the labels, ResNet-50 reaches a top-5 of 75.5, and 48.4 without pretraining; "
        "four times as wide 85.8.",
        cells=result_tables.table7,
        figures=tuple(
            Bars(f"{metric}_{amount}pct", f"Test {title} with {amount}% of the labels", f"{metric}_{amount}pct", *AXES)
            for metric, title in (("top_1", "top-1"), ("top_5", "top-5"))
            for amount in (1, 10)
        ),
        findings=(
            result_findings.pretraining_helps,
            result_findings.few_labels_gain_most,
            result_findings.wider_needs_fewer_labels,
        ),
        measures=("top_1_1pct", "top_5_1pct", "top_1_10pct", "top_5_10pct"),
        compared="top_5_1pct",
        # Its networks are Table 6's. Of 1% of a thousand images each class of `shapes` has one.
        flags={PAPER: {"train_epochs": 1000.0}, TINY: {"train_split": "train[:1000]"}},
    ),
    Study(
        name="table8",
        title="Transfer to other data sets (SimCLR, Table 8)",
        question="How good is a network on other data sets, linearly and fine-tuned, against pretraining with labels?",
        paper_says="Fine-tuned, SimCLR is significantly better than the network that was pretrained with labels on 5 "
        "of 12 data sets, and significantly worse on 2.",
        cells=result_tables.table8,
        figures=(
            Bars("linear", "Linear evaluation (%)", "transfer_linear", "data set", "start"),
            Bars("finetuned", "Fine-tuned (%)", "transfer_finetuned", "data set", "start"),
        ),
        findings=(result_findings.transfer_matches_labels, result_findings.transfer_beats_random),
        measures=("transfer_linear", "transfer_finetuned"),
        compared="transfer_finetuned",
        # The paper's networks are the widest of Table 6.
        flags={PAPER: {"train_epochs": 1000.0, "width_multiplier": 4.0}},
        tables=transfer_tables,
    ),
)
STUDIES = {study.name: study for study in _STUDIES}


def find_study(name: str) -> Study:
    """A study by name.

    Raises:
        InputError: an unknown one, with the list of the known ones.
    """
    require_choice("study", name, STUDIES)
    return STUDIES[name]
