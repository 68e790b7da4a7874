"""Finds an agent that runs in circles.

`Detector` watches one run step by step. `look` counts one transaction's failures over runs, from
the store. `replay` runs the detector over what was recorded.
"""

from gates.core.loops.answers import answered
from gates.core.loops.circles import Circle, Kind, Side
from gates.core.loops.detector import Detector
from gates.core.loops.failing import (
    CUT,
    Allowance,
    Call,
    Finding,
    Tried,
    allowed,
    differences,
    look,
)
from gates.core.loops.levels import (
    Guidance,
    barred,
    climbed,
    counts_tries,
    guidance,
    level_of,
    level_reasons,
    why_up,
)
from gates.core.loops.replay import Episode, Replayed, replay, replay_run
from gates.core.loops.similar import Likeness, Liking
from gates.core.loops.steps import End, Step, digest_of
from gates.core.loops.telling import HALF_DONE, reported, rows, spent, tried
from gates.core.loops.thresholds import Budget, Limits, Thresholds
from gates.core.loops.volatile import failure_signature, steady, without

__all__ = [
    "CUT",
    "HALF_DONE",
    "Allowance",
    "Budget",
    "Call",
    "Circle",
    "Detector",
    "End",
    "Episode",
    "Finding",
    "Guidance",
    "Kind",
    "Likeness",
    "Liking",
    "Limits",
    "Replayed",
    "Side",
    "Step",
    "Thresholds",
    "Tried",
    "allowed",
    "answered",
    "barred",
    "climbed",
    "counts_tries",
    "differences",
    "digest_of",
    "failure_signature",
    "guidance",
    "level_of",
    "level_reasons",
    "look",
    "replay",
    "replay_run",
    "reported",
    "rows",
    "spent",
    "steady",
    "tried",
    "why_up",
    "without",
]
