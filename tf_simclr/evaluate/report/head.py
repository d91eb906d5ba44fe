"""The head of a report: which network, which images, and how to get the same report again."""

from __future__ import annotations

from tf_simclr.escape import as_text
from tf_simclr.evaluate.measures.twins import count_line, pair_lines
from tf_simclr.evaluate.report.subject import SplitFacts, Subject

FINGERPRINT_DIGITS = 12


def head_facts(subject: Subject) -> dict[str, str]:
    """What a person must know to read the figures, by name, in order; what is not known is left out."""
    places = list(dict.fromkeys(split.location for split in subject.splits if split.location))
    facts = {
        "network": subject.network,
        "step": subject.step,
        "digest of the values": subject.digest,
        "data set": subject.dataset + (f" in {', '.join(places)}" if places else ""),
        **{split.role: _split(split) for split in subject.splits},
        "classes": len(subject.class_names) or None,
        "images": f"{_counts(subject)}, of {subject.image_size} pixels{_crop(subject.eval_crop)}",
        "copies": _copies(subject),
        "date": subject.date or None,
        "tf_simclr": subject.version or None,
    }
    return {name: as_text(str(fact)) for name, fact in facts.items() if fact is not None}


def twin_lines(subject: Subject) -> list[str]:
    """What is known of copies across the splits: the counts, and some pairs by name."""
    assert subject.twins is not None
    return [str(_copies(subject)), *pair_lines(subject.twins["pairs"])]


def _split(split: SplitFacts) -> str:
    fingerprint = f", fingerprint {split.fingerprint[:FINGERPRINT_DIGITS]}" if split.fingerprint else ""
    return f"{split.images} images of {split.name}{fingerprint}"


def _counts(subject: Subject) -> str:
    if not subject.class_names:
        return f"{subject.test_pictures} without labels"
    return f"{subject.train_pictures} for training, {subject.test_pictures} for testing"


def _crop(eval_crop: float | None) -> str:
    if eval_crop is None:
        return ""
    return ", each whole" if eval_crop == 1 else f", the central {100 * eval_crop:.4g}% of the shorter side"


def _copies(subject: Subject) -> str | None:
    found = subject.twins
    if found is None:
        return None
    return count_line(found, subject.test_pictures)
