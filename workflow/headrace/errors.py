"""The two ways in which Headrace stops on purpose."""

from __future__ import annotations


class InputError(Exception):
    """The user's input is at fault: one line a problem, exit code 2, no traceback.

    `problems` are whole sentences that name the file, the key or the row, and what is allowed.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StageError(Exception):
    """A stage cannot go on for a reason that a person can act on: one line, exit code 1, no traceback."""
