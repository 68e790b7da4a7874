"""What the page of a request says of the look that people take at it afterwards. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gates.core.model import RequestView
from gates.web.values import visible
from gates.web.words import Moment, Tone, moment

WORDS: dict[str, tuple[str, Tone]] = {"fine": ("fine", "good"), "wrong": ("wrong", "bad")}


@dataclass(frozen=True)
class ReviewShown:
    name: str
    words: str
    tone: Tone
    reason: str
    category: str
    at: Moment


@dataclass(frozen=True)
class Look:
    """`may`: whether the reader can still say something."""

    may: bool
    reviews: tuple[ReviewShown, ...]


def look(view: RequestView, now: datetime, *, may: bool) -> Look | None:
    """None where it was not drawn."""
    if not view.review:
        return None
    shown = [
        ReviewShown(
            visible(one.name),
            *WORDS[one.verdict],
            visible(one.reason),
            visible(one.category),
            moment(one.at, now),
        )
        for one in view.reviews
    ]
    return Look(may, tuple(shown))
