"""Who is asked, and who may answer, as people come and go; on both stores."""

import pytest

from gates.core.errors import InvalidPolicy, NotEntitled, SelfApproval
from gates.core.model import OutcomeKind, Standing
from tests.support.world import PEOPLE, POLICY, World

TWO = "20000.00"
ONE_OF_EACH = "2000000.00"
LETS = "delegations:\n  - {from: dana, to: TAKER, until: 2026-11-24}\n"
AWAY = "out_of_office:\n  - {person: dana, from: 2026-11-19, until: 2026-11-24}\n"
AGENT_OF_MIKA = ("flow", "invoice-agent", "mika")
ROLES = POLICY.replace(
    "ask: {who: [controllers], quorum: 2, deadline: 1h}",
    "ask: {who: [controllers, clerks], roles: [controller, treasurer], deadline: 1h}",
)
WITH_ROLES = PEOPLE.replace(
    "people:\n", "roles: {controller: Signs, treasurer: Pays}\npeople:\n"
).replace("name: Dana Okafor,", "name: Dana Okafor, roles: [controller, treasurer],")


def people(extra: str, taker: str = "tess") -> str:
    return PEOPLE + extra.replace("TAKER", taker)


def test_who_is_away_is_not_asked_and_the_delegate_is(world: World) -> None:
    """Tess decides for Dana: both are recorded, and named wherever the outcome is."""
    world.rule(people=people(AWAY + LETS))
    view = world.propose(TWO).view
    asked = view.request.requirement
    assert asked is not None
    assert asked.people == {"tess": "Tess Laurent for Dana Okafor", "mika": "Mika Lindqvist"}
    with pytest.raises(NotEntitled, match=r"asked here \(Tess Laurent for Dana Okafor, Mika"):
        world.decide(view.request.id, "dana")
    world.decide(view.request.id, "tess")
    view = world.decide(view.request.id, "mika")
    assert view.decisions[0].stands_for == {"dana": "Dana Okafor"}
    assert view.outcome.by == ("Tess Laurent for Dana Okafor", "Mika Lindqvist")
    assert world.propose(TWO).standing is Standing.EXECUTING


def test_a_delegate_never_adds_a_vote_to_who_is_there(world: World) -> None:
    """Dana is there, and has delegated all the same: she and Tess are one of two."""
    world.rule(people=people(LETS))
    request_id = world.propose(TWO).view.request.id
    world.decide(request_id, "tess")
    assert world.decide(request_id, "dana").outcome is None
    assert world.decide(request_id, "mika").outcome.kind is OutcomeKind.APPROVED


def test_one_who_is_asked_for_two_counts_once(world: World) -> None:
    """Both controllers let Tess decide: that is one person, and the question says so at once."""
    both = AWAY + LETS + "  - {from: mika, to: tess}\n"
    world.rule(people=people(both).replace(AWAY, AWAY + AWAY[15:].replace("dana", "mika")))
    with pytest.raises(
        InvalidPolicy, match="Rule 'large': 2 of controllers have to agree, but onl"
    ):
        world.propose(TWO)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (AWAY, "Dana Okafor is out of office until 2026-11-25 00:00 UTC and nobody there decides"),
        (AWAY + LETS.replace("TAKER", "sam"), r"for them \(the agent acts for Sam Rivera\)"),
        (
            AWAY + AWAY[15:].replace("dana", "tess") + LETS,
            r"for them \(Tess Laurent is out of office, too\)",
        ),
    ],
)
def test_a_question_that_nobody_could_answer_is_no_question(
    world: World, extra: str, words: str
) -> None:
    """The error names the rule, the group, who is missing and why."""
    world.rule(people=people(extra))
    with pytest.raises(InvalidPolicy, match=words) as caught:
        world.propose(TWO)
    assert "Rule 'large': 2 of controllers have to agree, but only 1 could (Mika Lindqvist)" in str(
        caught.value
    )


def test_whom_the_agent_acts_for_decides_nothing_in_any_seat(world: World) -> None:
    """Neither as a delegate, nor through one: the delegate gets nothing from that delegation."""
    world.flow = world.key(*AGENT_OF_MIKA)
    world.rule(
        people=PEOPLE + "delegations:\n  - {from: mika, to: tess}\n  - {from: dana, to: mika}\n"
    )
    asked = world.propose("5000.00").view.request
    assert asked.requirement is not None
    assert asked.requirement.people == {"dana": "Dana Okafor"}
    with pytest.raises(SelfApproval):
        world.decide(asked.id, "mika")
    with pytest.raises(NotEntitled):
        world.decide(asked.id, "tess")


def test_a_delegation_that_has_ended_or_was_taken_back_counts_no_more(world: World) -> None:
    """Who was asked for somebody is told that they no longer are; what was given in time holds."""
    world.rule(people=people(LETS))
    request_id = world.propose(TWO).view.request.id
    world.rule()
    with pytest.raises(
        NotEntitled, match=r"Tess Laurent, you were asked, but .* nor lets Dana Okaf"
    ):
        world.decide(request_id, "tess")
    world.rule(people=people(LETS))
    world.decide(request_id, "tess")
    world.decide(request_id, "mika")
    world.rule()  # taken back: so is what rested on it
    reply = world.propose(TWO)
    assert (reply.standing, reply.view.request.round) == (Standing.WAITING, 2)
    assert "Tess Laurent may no longer approve this" in reply.view.request.before[0]


def test_an_approval_outlives_the_delegation_that_it_was_given_under(world: World) -> None:
    """It was right when it was given: an end that was foreseen takes nothing back."""
    world.rule(people=people(LETS.replace("until: 2026-11-24", "until: '2026-11-20T09:30'")))
    request_id = world.propose(TWO).view.request.id
    world.decide(request_id, "tess")
    world.decide(request_id, "mika")
    world.clock.advance(minutes=45)
    assert world.propose(TWO).standing is Standing.EXECUTING


def test_a_delegate_fills_the_place_of_a_group(world: World) -> None:
    """Sam's colleague Mika for Tess of the treasury, and Dana: one of each."""
    world.rule(
        people=PEOPLE + "delegations:\n  - {from: tess, to: mika}\n" + AWAY.replace("dana", "tess")
    )
    for order in (("mika", "dana"), ("dana", "mika")):
        world.run = f"run-{order[0]}"
        request_id = world.propose(ONE_OF_EACH).view.request.id
        assert world.decide(request_id, order[0]).outcome is None
        assert world.decide(request_id, order[1]).outcome.kind is OutcomeKind.APPROVED


def test_the_one_on_call_is_asked_and_stays_asked(world: World) -> None:
    """Whose turn it is when the question is put; the end of the turn takes no right away."""
    turns = "on_call:\n  desk: {rota: [dana, tess], starts: 2026-11-13T09:00, every: 7d}\n"
    policy = POLICY.replace(
        "ask: {who: [controllers], quorum: 1, deadline: 1h}}\nloops",
        "ask: {who: [desk], quorum: 1, deadline: 2h}}\nloops",
    )
    world.rule(policy, PEOPLE.replace("clerks: Clerks}", "clerks: Clerks, desk: On call}") + turns)
    asked = world.propose("5000.00").view.request
    assert asked.requirement is not None
    assert list(asked.requirement.people) == ["tess"]
    world.clock.advance(minutes=30)
    assert world.decide(asked.id, "tess").outcome.kind is OutcomeKind.APPROVED
    assert world.propose("5000.00").standing is Standing.EXECUTING
    world.clock.advance(days=7)
    world.run = "next-week"
    later = world.propose("5000.00").view.request.requirement
    assert later is not None
    assert list(later.people) == ["dana"]


def test_somebody_in_each_role_must_agree(world: World) -> None:
    """Dana has both roles and stands for one; who loses the role has not agreed in it."""
    two = WITH_ROLES.replace("name: Sam Rivera,", "name: Sam Rivera, roles: [treasurer],")
    two = two.replace("name: Mika Lindqvist,", "name: Mika Lindqvist, roles: [treasurer],")
    world.rule(ROLES, two)
    request_id = world.propose(TWO).view.request.id
    assert world.decide(request_id, "dana").outcome is None
    assert world.decide(request_id, "mika").outcome.kind is OutcomeKind.APPROVED
    world.rule(ROLES, two.replace("name: Mika Lindqvist, roles: [treasurer],", "name: Mika,"))
    with pytest.raises(InvalidPolicy, match="role treasurer has nobody who does not stand for"):
        world.propose(TWO)  # the next round: Sam is whom the agent acts for


def test_an_approval_that_a_new_policy_finds_too_unsure_is_asked_for_anew(world: World) -> None:
    """It was enough when it was given, and is no longer when it is to be used."""
    request_id = world.propose("5000.00").view.request.id
    world.decide(request_id, "dana")
    world.rule(POLICY.replace("rules:", "assurance: {ambiguous: step_up}\nrules:", 1))
    reply = world.propose("5000.00")
    assert (reply.standing, reply.view.request.round) == (Standing.WAITING, 2)
    assert world.decide(reply.view.request.id, "dana", assurance="step_up").outcome is not None
    world.rule(POLICY.replace("rules:", "assurance: {routine: step_up}\nrules:", 1))
    assert world.propose("5000.00").standing is Standing.EXECUTING


def test_who_changes_it_for_somebody_else_agrees_in_their_place(world: World) -> None:
    """Tess for Dana; in the next round, too, where more must agree."""
    world.rule(people=people(LETS))
    request_id = world.propose("5000.00").view.request.id
    changes = {"payee": "acme", "amount": TWO}
    view = world.decide(request_id, "tess", "approve_with_changes", "so", changes)
    assert view.request.round == 2
    assert [one.who for one in view.decisions] == ["Tess Laurent for Dana Okafor"]
    assert world.decide(view.request.id, "mika").outcome.kind is OutcomeKind.APPROVED
