"""What time has done to a question and what it does next, in one line."""

from datetime import datetime, timedelta

import pytest

from gates.core import lifecycle
from gates.core.asked import Climb, Inquiry, Limit
from gates.core.model import RequestView, Verdict
from gates.core.timeline import in_time
from tests.support.rounds import DEADLINE, OPENED, request

HOUR = timedelta(hours=1)
CHANGES = {
    "reminders": (OPENED + 2 * HOUR,),
    "ladder": (
        Climb(at=OPENED + 3 * HOUR, step="widen", people={"lee": "Lee"}),
        Climb(at=OPENED + 4 * HOUR, step="page", people={"kim": "Kim", "pat": "Pat"}),
    ),
    "limits": (Limit(seconds=int((DEADLINE - OPENED).total_seconds())),),
}


def told(hour: float, verdict: Verdict = Verdict.REQUIRE_APPROVAL, **changes: object) -> str:
    plain = request(1)
    assert plain.requirement is not None
    requirement = plain.requirement.model_copy(update=CHANGES | changes)
    judgement = plain.judgement.model_copy(update={"verdict": verdict})
    one = plain.model_copy(update={"requirement": requirement, "judgement": judgement})
    now, events = OPENED, []
    while now <= OPENED + hour * HOUR:
        events += lifecycle.expire(one, events, now)
        now += HOUR / 2
    outcome = lifecycle.outcome(one, events)
    view = RequestView.model_construct(request=lifecycle.widened(one, events), outcome=outcome)
    return in_time(view, spell)


def spell(at: datetime) -> str:
    return f"hour {(at - OPENED) / HOUR:g}"


END = (DEADLINE - OPENED) / HOUR
THEN = "So far: reminder 1 of 1 given, Lee is asked as well, Kim, Pat are asked as well and told"


@pytest.mark.parametrize(
    ("hour", "words"),
    [
        (0, "Next, hour 2: whoever has not decided is reminded."),
        (2, "So far: reminder 1 of 1 given. Next, hour 3: Lee is asked as well."),
        (4, f"{THEN} directly."),
        (END, ""),
    ],
)
def test_it_tells_what_has_been_and_what_comes(hour, words):
    """In its order; nothing more once only the deadline is left, or an answer there."""
    assert told(hour) == words


def test_it_tells_that_a_question_stays_open():
    """And how often it has."""
    line = told(END, keep_open=True)
    assert line.startswith(f"{THEN} directly, kept open 1 time. ")
    assert line.endswith(f"Next, hour {2 * END:g}: it stays open.")


def test_it_tells_that_the_clock_stands_still():
    """Until the answer, or the latest moment; then what was left comes next."""
    inquiry = Inquiry(
        person="dana", name="Dana", question="what for?", at=OPENED, until=OPENED + 5 * HOUR
    )
    assert told(0, inquiries=(inquiry,)).startswith(
        "Dana waits for information: the clock stands still until there is an answer, at the "
        "latest until hour 5. Next, "
    )
    heard = inquiry.model_copy(update={"open": False, "answered_at": OPENED + HOUR})
    assert told(0, inquiries=(heard,)).startswith("So far: information given 1 time. Next, ")


def test_a_question_with_a_deadline_alone_has_no_such_line():
    """That is told wherever it is shown."""
    assert told(1, ladder=(), reminders=()) == ""
