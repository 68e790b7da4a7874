"""Whom a question about a loop goes to where nobody whom its level names could answer."""

import pytest
from sqlmodel import select

from gates.core.errors import InvalidInput, InvalidPolicy
from gates.core.model import ApprovalRequest, GateReply, Purpose, Standing
from gates.store.tables import LogRow
from tests.integration.test_repeats import LEVELS, allow, failing, looks, names
from tests.support.world import PEOPLE, POLICY, World

ADMINS = PEOPLE.replace("clerks: Clerks", "clerks: Clerks, admins: Admins") + (
    "  - {id: ada, name: Ada Berg, email: ada@example.com, groups: [admins]}\n"
)
ALONE = "{ask: {who: [treasury]}}"
CONTROLLERS = ["Dana Okafor", "Mika Lindqvist"]


def leave(world: World, *away: str, people: str = PEOPLE, loops: str = LEVELS) -> None:
    """These are out of office from now on, under this section `loops`."""
    kept = [line for line in POLICY.splitlines() if not line.startswith("loops:")]
    absent = [f"  - {{person: {one}, from: 2026-11-19, until: 2026-11-24}}\n" for one in away]
    out = "".join(["out_of_office:\n", *absent]) if absent else ""
    world.rule("\n".join([*kept, f"loops: {loops}"]), people + out)


def fail_thrice(world: World) -> GateReply:
    world.till.broken = "overpays line 17"
    return [failing(world, f"try-{number}") for number in (1, 2, 3)][-1]


def why(request: ApprovalRequest) -> str:
    return " ".join(one.text for one in request.judgement.reasons if one.rule == "loop.nobody")


def test_a_level_whose_people_are_away_is_asked_of_the_one_above(world: World) -> None:
    """Its question names who is missing; how many tries may be allowed is still the level's own."""
    leave(world, "dana", "mika")
    reply = fail_thrice(world)
    asked = reply.view.request
    assert (reply.standing, asked.evidence["level"]) == (Standing.WAITING, 1)
    assert names(asked) == ["Tess Laurent"]
    assert "Rule 'loops, level 1': 1 of controllers have to agree, but only 0 could" in why(asked)
    assert "Dana Okafor is out of office until 2026-11-25" in why(asked)
    assert why(asked).endswith("Others are asked instead.")
    assert asked.evidence["allow_more"] == 2
    world.decide(asked.id, "tess")
    assert world.propose(key="try-3").standing is Standing.EXECUTING


def test_a_level_whose_only_person_the_agent_acts_for_is_asked_of_others(world: World) -> None:
    """Nobody answers for their own agent; what comes back stays on its level."""
    world.flow = world.key("flow", "invoice-agent", "tess")
    leave(world)
    first = fail_thrice(world).view.request
    assert (names(first), why(first)) == (CONTROLLERS, "")
    world.decide(first.id, "dana", "send_back", "withdraw the draft, then pay")
    second = failing(world, "try-4").view.request
    assert (second.evidence["level"], names(second)) == (2, CONTROLLERS)
    assert "the agent acts for Tess Laurent" in why(second)
    with pytest.raises(InvalidInput, match="on level 2 nobody allows more than 1"):
        allow(world, second.id, "dana", more=2)


@pytest.mark.parametrize(
    ("people", "loops", "away", "asked"),
    [
        (ADMINS, ALONE, ["tess"], ["Ada Berg"]),
        (PEOPLE, ALONE, ["tess"], CONTROLLERS),
        (
            ADMINS,
            "{ask: {who: [treasury]}, levels: [{ask: {who: [admins]}}]}",
            ["tess"],
            ["Ada Berg"],
        ),
    ],
    ids=["people in command", "who is asked by default", "the level above"],
)
def test_who_is_asked_in_their_place(
    world: World, people: str, loops: str, away: list[str], asked: list[str]
) -> None:
    """The first of these who could answer."""
    leave(world, *away, people=people, loops=loops)
    request = fail_thrice(world).view.request
    assert (names(request), bool(why(request))) == (asked, True)


def test_a_failure_about_which_nobody_can_be_asked_is_told_all_the_same(world: World) -> None:
    """The report counts, the gate fails and says what to do; whoever is back is asked at the next
    failure, with all of them.
    """
    leave(world, "dana", "mika", "tess")
    reply = fail_thrice(world)
    assert (reply.standing, reply.view.request.round) == (Standing.FAILED, 1)
    assert reply.failure is not None
    assert reply.failure.error.startswith("overpays line 17 (Nobody can be asked whether it may go")
    assert "let somebody decide for who is missing" in reply.failure.error
    with world.database.read() as session:
        kinds = session.exec(select(LogRow.kind).order_by(LogRow.seq)).all()  # type: ignore[arg-type]
    assert kinds[-2:] == ["attempt.failed", "alarm.nobody_asked"]
    leave(world)
    world.run = f"another{world.run[7:]}"
    fourth = failing(world, "try-4")
    assert (fourth.standing, fourth.view.request.evidence["count"]) == (Standing.WAITING, 4)


def test_a_circle_is_put_to_whoever_can_answer(world: World) -> None:
    """Before the call runs once more; and where nobody can it does not run."""
    looks(world, "5", "5", "5")
    leave(world, "dana", "mika", "tess")
    with pytest.raises(InvalidPolicy, match=r"only 0 could.*Dana Okafor is out of office"):
        looks(world, "5")
    leave(world, "dana", "mika")
    assert looks(world, "5") == [Standing.WAITING]
    (asked,) = world.gates.waiting()
    assert asked.request.purpose is Purpose.LOOP
    assert (names(asked.request), bool(why(asked.request))) == (["Tess Laurent"], True)


def test_beside_who_must_agree_anyhow_stand_others_where_a_level_has_nobody(world: World) -> None:
    """A level whose people are away is not left out in silence."""
    leave(world)
    world.till.broken = "overpays line 17"
    for number in range(2):
        first = world.propose("5000.00", key=f"try-{number}").view.request
        world.decide(first.id, "dana", "reject", "no")
    pushed = world.propose("5000.00", key="try-2").view.request
    assert pushed.purpose is Purpose.LOOP
    world.decide(pushed.id, "dana", "send_back", "leave it")
    leave(world, "tess")
    again = world.propose("5000.00", key="try-2", call=2).view.request
    assert (again.evidence["level"], names(again)) == (2, CONTROLLERS)
    assert "Tess Laurent is out of office" in why(again)
