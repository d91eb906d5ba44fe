"""Small changes of a file: by Cosmic Ray's operators, and by one that cuts a keyword argument out of a call."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass

CUT_ARGUMENT = "cut keyword argument"
# Of Cosmic Ray's operators those whose mutants can be wrong without being absurd: x * y -> x << y fails at once.
OPERATORS = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "Mod_Mul", "Pow_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("FloorDiv_Div", "BitAnd_BitOr", "BitOr_BitAnd")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Eq_NotEq", "NotEq_Eq")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "Gt_LtE", "Is_IsNot", "IsNot_Is")),
    *("ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not"),
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer"),
    *("RemoveDecorator", "ZeroIterationForLoop"),
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: relative to the checkout.
        operator: what was changed.
        number: which of the operator's places in the file, from 0.
        line: of the first change, from 1.
        source: the whole file, changed.
    """

    file: str
    operator: str
    number: int
    line: int
    source: str

    @property
    def name(self) -> str:
        """Tells it from all others."""
        return f"{self.file}:{self.line} {self.operator} #{self.number}"


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines, but none of annotations and of texts for people."""
    hidden = _hidden_lines(source)
    found: dict[str, Mutant] = {}
    for operator, number, changed in (*_by_cosmic_ray(source), *_without_arguments(source)):
        before, after = source.splitlines(), changed.splitlines()
        line, column = _first_change(before, after)
        if not any(first <= (line, column) < last for first, last in hidden) and _compiles(changed):
            found.setdefault(changed, Mutant(file, operator, number, line, changed))
    return sorted(found.values(), key=lambda mutant: (mutant.line, mutant.operator, mutant.number))


def _first_change(before: list[str], after: list[str]) -> tuple[int, int]:
    """The line, from 1, and the column, from 0, from which on two texts differ."""
    for line, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old != new:
            same = (column for column, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1])
            return line, next(same, min(len(old), len(new)))
    return min(len(before), len(after)), 0


def _by_cosmic_ray(source: str) -> Iterator[tuple[str, int, str]]:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    for name in OPERATORS:
        operator, number = get_operator(f"core/{name}")(), 0
        while (changed := mutate_code(source, operator, number)) is not None:
            yield name, number, changed
            number += 1


def _without_arguments(source: str) -> Iterator[tuple[str, int, str]]:
    """The source without one keyword argument of one call; decorators keep theirs."""
    tree = ast.parse(source)
    decorators = {
        id(decorator) for node in ast.walk(tree) for decorator in getattr(node, "decorator_list", ()) if decorator
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in decorators]
    number = 0
    for call in calls:
        for keyword in call.keywords:
            if keyword.arg is None:
                continue
            start = _offset(source, keyword.lineno, keyword.col_offset)
            end = _offset(source, keyword.end_lineno or 0, keyword.end_col_offset or 0)
            rest = source[end:].lstrip()
            end = source.index(",", end) + 1 if rest.startswith(",") else end
            yield CUT_ARGUMENT, number, source[:start] + source[end:]
            number += 1


def _offset(source: str, line: int, column: int) -> int:
    lines = source.splitlines(keepends=True)
    return sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())


def _hidden_lines(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The ranges ((line, column), (line, column)) of annotations, formatted texts and whole `raise` statements."""
    hidden: list[ast.AST | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            hidden.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            hidden.append(node.annotation)
        elif isinstance(node, ast.JoinedStr | ast.Raise):
            hidden.append(node)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))  # type: ignore[attr-defined]
        for node in hidden
        if node is not None
    ]


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def sampled(mutants: list[Mutant], share: float, seed: int) -> list[Mutant]:
    """A random sample of the mutants of one file: this share of them, and at least three where there are so many."""
    count = min(len(mutants), max(3, round(share * len(mutants))))
    return random.Random(f"{seed} {mutants[0].file}").sample(mutants, count) if mutants else []
