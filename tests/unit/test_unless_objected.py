"""What every surface says of what runs unless somebody objects."""

from datetime import datetime, timedelta

import pytest

from gates.core.model import DecisionKind, Outcome, OutcomeKind, RequestView, Verdict
from gates.flow.words import waits_for
from gates.web.listing import inbox
from gates.web.rendering import request_page
from gates.web.words import choice, said, status
from integrations.prefect_runs.telling import markdown, standing
from integrations.slack.card import card
from integrations.slack.digest import row
from integrations.slack.late import too_late
from integrations.slack.modals import answer_view
from integrations.slack.reminding import reminder
from integrations.slack.story import story
from integrations.terminal import details
from tests.support.rounds import DEADLINE, OPENED, decision, request, view
from tests.support.slack_server import check_message_blocks

WINDOW = request(verdict=Verdict.VETO_WINDOW, people={"dana": "Dana", "mika": "Mika"})
OPEN = view(WINDOW)
NOW = OPENED + timedelta(hours=1)


def silent() -> RequestView:
    words = "nobody objected within 1d"
    found = Outcome(kind=OutcomeKind.APPROVED, by=("time",), reason=words, at=DEADLINE)
    return OPEN.model_copy(update={"outcome": found})


@pytest.mark.parametrize(
    "told",
    [
        waits_for(OPEN),
        standing(OPEN),
        markdown(OPEN),
        str(card(OPEN, "t").blocks),
        card(OPEN, "t").text,
        str(request_page(OPEN, [], "dana", NOW)),
        str(inbox([OPEN], [], "dana", NOW)),
        str(dict(details(OPEN))),
    ],
)
def test_every_surface_says_that_it_runs_by_itself(told: str) -> None:
    """Nobody takes it for a question that may wait."""
    assert "unless somebody objects" in told
    assert "then it expires" not in told


def test_the_buttons_say_what_they_do() -> None:
    """Objecting and letting it run; what needs no click is not the loud button."""
    words = choice(OPEN, "dana")
    assert (words.approve, words.reject) == ("Let it run now", "Object")
    elements = card(OPEN, "t").blocks[-1]["elements"]
    assert [(one["text"]["text"], one.get("style")) for one in elements if "style" in one] == [
        ("Object", "danger")
    ]
    assert elements[0]["text"]["text"] == "Let it run now"
    assert check_message_blocks(list(card(OPEN, "t").blocks)) == []
    modal = answer_view(DecisionKind.REJECT, OPEN, "t", "C1")
    assert modal["submit"]["text"] == "Object"


def test_the_end_is_told_as_what_it_was() -> None:
    """Nobody is named who said nothing, and an objection is called one."""
    passed = silent()
    assert status(passed).words == "Nobody objected"
    assert "by time" not in str(card(passed, "").blocks)
    assert "Nobody objected: it may run now" in story(passed)[-1]
    assert "Nobody objected" in too_late(passed, None, DEADLINE)
    objected = view(WINDOW, decision("dana", DecisionKind.REJECT, reason="twice"))
    assert status(objected).words == "Objected to"
    assert said(objected, "dana").startswith("Your answer is recorded")


def test_lists_and_reminders_say_when_it_runs() -> None:
    """`expires` would be the opposite of what happens."""
    assert "runs" in str(row(OPEN))
    assert reminder([OPEN])[0].startswith("This runs soon")
    assert reminder([OPEN, OPEN])[0].startswith("2 requests run soon")
    assert reminder([OPEN, view(request())])[0].startswith("2 requests expire soon")
    late: datetime = DEADLINE + timedelta(minutes=1)
    assert "nobody has objected in it" in too_late(OPEN, None, late)
