"""A marked block of lines in a file that belongs to somebody else: put in, and taken out again."""

from __future__ import annotations

from typing import NamedTuple


class Marks(NamedTuple):
    """The lines around a block, without indentation."""

    begin: str
    end: str


def without(text: str, marks: Marks) -> str:
    """``text`` without the block, however it is indented."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.strip() == marks.begin:
            inside = True
        elif line.strip() == marks.end:
            inside = False
        elif not inside:
            kept.append(line)
    return "".join(kept)


def appended(text: str, marks: Marks, lines: list[str]) -> str:
    """``text`` with the block, in its present form, as the last thing in it."""
    rest = without(text, marks)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return rest + "".join(f"{line}\n" for line in (marks.begin, *lines, marks.end))
