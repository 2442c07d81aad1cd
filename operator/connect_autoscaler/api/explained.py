"""Enumerated words that users meet in status, each with the sentence that documentation gives it."""

from enum import StrEnum
from typing import Self


class Explained(StrEnum):
    """A word, and what it means or what to do about it: ``NAME = "Word", "Sentence."``."""

    explain: str

    def __new__(cls, value: str, explain: str) -> Self:
        """Attach the explanation to the member."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.explain = explain
        return member
