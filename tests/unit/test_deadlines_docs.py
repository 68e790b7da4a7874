"""What docs/deadlines.md shows is loaded, and does what it says."""

import re
from datetime import UTC, datetime

from gates.core.model import RunRef
from gates.core.policy import load_policy
from gates.wall_clock import WallClock
from tests.support.policies import ROOT, demo_people, policy, question

DOCUMENT = (ROOT / "docs" / "deadlines.md").read_text()


def test_the_example_asks_the_controllers_at_night_and_counts_working_time():
    """A payment on a Friday evening: whom it asks, why, and until when."""
    text, *_ = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    read = load_policy(text, "docs", demo_people())
    evening, run = datetime(2026, 11, 27, 18, tzinfo=UTC), RunRef(run_id="r", root_run_id="r")
    asked = question("erp.payment.submit")
    found = dict(WallClock(lambda: read).look(asked, run, evening))
    judgement = read.judge(asked.model_copy(update={"circumstances": found}))
    assert judgement.ask is not None
    assert judgement.ask.who == ("controllers",)
    assert judgement.reasons[0].text == "asked for at 19 o'clock on a fri in Europe/Berlin"
    assert judgement.ask.deadline(evening) == datetime(2026, 11, 30, 13, tzinfo=UTC)


def test_the_ladder_is_one_that_can_be_climbed():
    """The second example stands in a rule as it is shown."""
    _, ladder, _ = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    rule = "  - name: slow\n    on: erp.*\n    verdict: require_approval\n    because: x\n"
    ask = policy(rule + ladder).judge(question()).ask
    assert ask is not None
    assert [one.step for one in ask.ladder] == ["widen", "page", "replace"]


def test_the_reminders_are_taken_as_they_are_shown():
    """The third example, in a rule."""
    *_, reminders = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    rule = "  - name: slow\n    on: erp.*\n    verdict: require_approval\n    because: x\n"
    ask = policy(rule + reminders).judge(question()).ask
    assert ask is not None
    assert ask.remind == (2 * 3600, 4 * 3600)
