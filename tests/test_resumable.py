"""Tasks are done in order, kept, not done again, and one that fails does not keep the others from being done."""

from __future__ import annotations

import dataclasses

import pytest

from tf_simclr.errors import InputError, StoppedError, UnwritableError
from tf_simclr.resumable import Task, run_tasks, short_digest


class Shelf:
    """Tasks that square a number, and what is kept of them."""

    def __init__(self):
        self.kept, self.done, self.said = {}, [], []

    def task(self, number):
        return Task(
            f"square of {number}",
            read=lambda: self.kept.get(number),
            run=lambda: self.square(number),
            keep=lambda found: self.kept.update({number: found}),
            describe=lambda found: [f"is {found}", "and no other"],
            work=float(number),
        )

    def square(self, number):
        self.done.append(number)
        if number < 0:
            raise InputError("`number` must be >= 0")
        return number * number

    def run(self, numbers, stop=lambda: False):
        return run_tasks([self.task(number) for number in numbers], say=self.said.append, stop=stop)


def test_what_is_kept_is_not_done_again_and_the_order_is_that_of_the_tasks():
    shelf = Shelf()
    assert shelf.run([3, 1]) == ([9, 1], [])
    assert shelf.run([1, 2, 3, 0]) == ([1, 4, 9, 0], [])
    assert shelf.done == [3, 1, 2, 0]
    assert "2 of 4 results are kept from an earlier call" in shelf.said
    assert shelf.said[:3] == ["[1/2] square of 3", "    is 9", "    and no other"]
    # What an earlier call has kept says nothing of the speed of this one.
    assert "[3/4] square of 2" in shelf.said and "[4/4] square of 0; less than a minute left" in shelf.said


def test_a_task_that_fails_is_a_line_and_is_tried_again_the_next_time():
    shelf = Shelf()
    for _ in range(2):
        assert shelf.run([2, -1, 3]) == ([4, 9], ["square of -1: `number` must be >= 0"])
    assert shelf.done == [2, -1, 3, -1]
    assert "error: square of -1: `number` must be >= 0; going on with the others" in shelf.said


def test_a_full_disk_ends_it_at_once():
    shelf = Shelf()
    shelf.kept = {1: 1}
    full = dataclasses.replace(shelf.task(2), run=lambda: (_ for _ in ()).throw(UnwritableError("the disk is full")))
    with pytest.raises(UnwritableError):
        run_tasks([shelf.task(1), full, shelf.task(3)], say=shelf.said.append, stop=lambda: False)
    assert shelf.done == []


def test_who_asks_to_stop_waits_for_the_task_and_loses_nothing():
    shelf = Shelf()
    with pytest.raises(StoppedError):
        shelf.run([1, 2, 3], stop=lambda: len(shelf.done) == 2)
    assert shelf.kept == {1: 1, 2: 4}
    assert shelf.run([1, 2, 3]) == ([1, 4, 9], []) and shelf.done == [1, 2, 3]


def test_another_error_is_no_task_that_failed():
    broken = Task("broken", read=lambda: None, run=lambda: 1 / 0, keep=print, describe=list)
    with pytest.raises(ZeroDivisionError):
        run_tasks([broken], say=print, stop=lambda: False)


def test_a_digest_changes_with_the_values_and_not_with_their_order():
    assert short_digest({"a": 1, "b": [2]}) == short_digest({"b": [2], "a": 1}) != short_digest({"a": 1, "b": [3]})
    assert len(short_digest([])) == 12
