"""Tables of labels: a CSV file with a row for each image, in place of class folders."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import os
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from tf_simclr.config.paths import table_path
from tf_simclr.data.scan import count, some
from tf_simclr.errors import InputError
from tf_simclr.escape import as_text

_DELIMITERS = (",", ";", "\t")
_PATHS = frozenset({"path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"})
_LABELS = frozenset({"label", "labels", "class", "class_name", "classname", "category", "target"})
_SPLITS = frozenset({"split", "set", "subset", "partition"})


class Row(NamedTuple):
    """One image of a table.

    Attributes:
        path: as the scan of the folder has it, relative to the folder.
        label: name of the class.
        split: name of the split; "" in a table without that column.
    """

    path: str
    label: str
    split: str


@dataclasses.dataclass(frozen=True)
class LabelsFile:
    """What a table says.

    Attributes:
        rows: one for each image, by ascending path.
        splits: names of the splits, sorted; none in a table without that column.
        notes: lines that a person should see.
    """

    rows: tuple[Row, ...]
    splits: tuple[str, ...]
    notes: tuple[str, ...]


class _Line(NamedTuple):
    """A line of the table as it stands there."""

    number: int
    cells: list[str]


def read_labels(path: str, folder: str, files: Collection[str]) -> LabelsFile:
    """Reads a table of labels and holds it against the files of a folder.

    The table has a row for each image: its path, its label, and perhaps its split. Paths are relative to the folder, or
    absolute and below it. A first row that names the columns is a header; then the columns may stand in any order, and
    others beside them are left out. Without one the columns are path, label and, where there is a third, split. The
    delimiter is a comma, a semicolon or a tab; the encoding UTF-8, or UTF-16 with its mark.

    Args:
        path: of the table, resolved as in `table_path`.
        folder: absolute path that the paths are relative to.
        files: relative paths of all files below the folder.

    Raises:
        InputError: there is no such table, or it is damaged; a row without a label; an image that is not there, lies
            outside of the folder, or has two labels or splits.
    """
    lines, header = _lines(path, folder, files)
    columns, notes = _columns(path, lines, header)
    rows: dict[str, tuple[Row, int]] = {}
    missing: list[str] = []
    repeated = 0
    for number, cells in lines:
        row = _row(path, folder, files, number, [cells[column] for column in columns])
        if row.path not in files:
            missing.append(f"{as_text(row.path)!r} in line {number}")
        elif row.path not in rows:
            rows[row.path] = row, number
        elif rows[row.path][0] == row:
            repeated += 1
        else:
            _raise_conflict(path, rows[row.path], row, number)
    if missing:
        hint = "" if header else ". A header must name its columns path and label"
        raise InputError(
            f"`labels` must name files below --data_dir. Received: labels={path!r}, where {count(missing, 'row')} of "
            f"{len(lines)} name none: {some(missing, 3)}{hint}. Correct the paths, or remove the rows"
        )
    if repeated:
        notes += (f"{count(range(repeated), 'row')} of {path} stand there twice, and are taken once",)
    taken = sorted((row for row, _ in rows.values()), key=lambda row: os.fsencode(row.path))
    splits = tuple(sorted({row.split for row in taken})) if len(columns) > 2 else ()
    return LabelsFile(tuple(taken), splits, notes)


# ---- From bytes to cells ----


def _lines(path: str, folder: str, files: Collection[str]) -> tuple[list[_Line], list[str] | None]:
    """The lines that are not empty, without the header, and the header."""
    text = _text(_existing(path, folder))
    tables = [table for delimiter in _DELIMITERS if (table := _table(text, delimiter)) is not None]
    if not tables:
        raise InputError(
            "`labels` must be a table with the columns path and label, divided by a comma, a semicolon or a tab, and "
            f"as many cells in every row. Received: labels={path!r}, which is not. Save it as CSV"
        )
    # A path may hold a comma: what counts is under which delimiter the rows name files.
    best = tables[0] if len(tables) == 1 else max(tables, key=lambda table: _files_named(table, folder, files))
    header = [cell.strip().casefold() for cell in best[0].cells]
    if _PATHS & set(header) and _LABELS & set(header):
        if len(best) == 1:
            raise InputError(
                f"`labels` must have a row for each image. Received: labels={path!r}, without any. Add them"
            )
        return best[1:], header
    return best, None


def _existing(path: str, folder: str) -> str:
    place = table_path(path, folder)
    if os.path.isfile(place):
        return place
    raise InputError(
        f"`labels` must name a CSV file. Received: labels={path!r}, where there is none, neither there nor in "
        f"{as_text(folder)}. Check the path"
    )


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(f"`labels` cannot be read: {error.strerror}. Received: labels={path!r}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode()
    # Names of files may be any bytes, and so may a table of them: it is read as Python reads those names.
    return os.fsdecode(content.removeprefix(codecs.BOM_UTF8))


def _table(text: str, delimiter: str) -> list[_Line] | None:
    """The table under a delimiter; None where its rows differ in their number of cells, or have one only."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [_Line(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error:
        return None
    widths = {len(line.cells) for line in lines}
    return lines if len(widths) == 1 and widths.pop() >= 2 else None


def _columns(path: str, lines: Sequence[_Line], header: list[str] | None) -> tuple[list[int], tuple[str, ...]]:
    """The numbers of the columns path, label and perhaps split, and notes."""
    width = len(lines[0].cells)
    if header is None:
        if width > 3:
            raise InputError(
                f"`labels` must say which of its columns are path and label. Received: labels={path!r}, with {width} "
                "columns and no header. Add a first row that names them, as in path,label"
            )
        return list(range(width)), ()
    found = [[place for place, name in enumerate(header) if name in known] for known in (_PATHS, _LABELS, _SPLITS)]
    twice = [header[place] for places in found if len(places) > 1 for place in places]
    if twice:
        raise InputError(
            f"`labels` must have one column for paths, one for labels and at most one for splits. Received: "
            f"labels={path!r}, with {', '.join(twice)}. Rename the others"
        )
    chosen = [places[0] for places in found if places]
    extra = [name or "(no name)" for place, name in enumerate(header) if place not in chosen]
    return chosen, (f"ignored columns of {path}: {some(map(as_text, extra))}",) if extra else ()


# ---- From cells to rows ----


def _row(path: str, folder: str, files: Collection[str], number: int, cells: Sequence[str]) -> Row:
    image = cells[0] if cells[0] in files else cells[0].strip()  # a name may end in a space
    label, *rest = (cell.strip() for cell in cells[1:])
    split = rest[0] if rest else ""
    for what, cell in (("path", image), ("label", label), ("split", rest[0] if rest else "none needed")):
        if not cell:
            raise InputError(
                f"`labels` must have no empty cell. Received: labels={path!r}, whose line {number} has no {what}. Fill "
                "it in, or remove the row"
            )
    relative = _relative(files, folder, image)
    if relative.startswith("/") or relative.split("/")[0] == "..":
        raise InputError(
            f"`labels` must name files below --data_dir. Received: labels={path!r}, whose line {number} names "
            f"{as_text(image)!r}, outside of {as_text(folder)}. Pass the folder that holds them all"
        )
    return Row(relative, as_text(label), as_text(split))


def _relative(files: Collection[str], folder: str, image: str) -> str:
    """The path relative to the folder; one that is written with backslashes is read where there is no such file."""
    normal = os.path.normpath(image)
    if normal.startswith(folder.rstrip("/") + "/"):
        normal = os.path.relpath(normal, folder)
    if normal not in files and "\\" in image:
        return os.path.normpath(image.replace("\\", "/"))
    return normal


def _files_named(table: Sequence[_Line], folder: str, files: Collection[str]) -> int:
    return sum(_relative(files, folder, cell.strip()) in files for line in table for cell in line.cells)


def _raise_conflict(path: str, first: tuple[Row, int], second: Row, number: int) -> None:
    row, line = first
    what, one, other = ("labels", row.label, second.label)
    if one == other:
        what, one, other = ("splits", row.split, second.split)
    raise InputError(
        f"`labels` must give each image one of its {what}. Received: labels={path!r}, where {as_text(second.path)!r} "
        f"is {one!r} in line {line} and {other!r} in line {number}. Remove one of them"
    )


def class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The names of the classes in the order of their numbers: sorted, and as numbers where all are."""
    names = sorted(set(labels))
    return tuple(sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else names)
