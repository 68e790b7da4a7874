"""Keys, links and sessions: only digests are stored, links open once, everything ends."""

import threading
from datetime import timedelta

import pytest
from sqlmodel import SQLModel, select

from gates.core.errors import (
    GatesError,
    InvalidInput,
    NotAuthenticated,
    NotEntitled,
    UnknownPerson,
)
from gates.core.messages import AttemptReport
from gates.core.model import Standing
from gates.grants.redeeming import Redeeming
from gates.store.tables import KeyRow, LoginLinkRow, LogRow, SessionRow
from tests.support.world import World


def stored(world: World, *tables: type[SQLModel]) -> str:
    """Everything that these tables hold, as text."""
    with world.database.read() as session:
        return " ".join(
            str(row.model_dump()) for table in tables for row in session.exec(select(table)).all()
        )


def test_no_link_looks_like_an_option(world: World) -> None:
    """`gates login TOKEN`: base64 begins with a dash once in 64 times."""
    tokens = {world.access.create_link("dana") for _ in range(200)}
    assert len(tokens) == 200
    assert {token[0] for token in tokens} <= set("0123456789abcdef")


def test_secrets_are_not_in_the_database(world: World) -> None:
    """Neither a key, nor a link, nor a session can be read out of the store or its log."""
    key = world.access.create_key("flow", "agent")
    link = world.access.create_link("dana")
    token = world.access.redeem_link(world.access.create_link("dana"))
    everything = stored(world, KeyRow, LoginLinkRow, SessionRow, LogRow)
    for secret in (key, key.split("_", 2)[2], link, token):
        assert len(secret) >= 40
        assert secret not in everything


def test_a_key_names_its_requester(world: World) -> None:
    """What the key says counts, whatever the process says."""
    holder = world.access.key_holder(world.access.create_key("flow", "agent", "sam"))
    assert (holder.scope, holder.requester.agent, holder.requester.on_behalf_of) == (
        "flow",
        "agent",
        "sam",
    )


def test_wrong_keys_open_nothing(world: World) -> None:
    """Unknown, cut off, changed, empty or odd keys are refused alike, without saying why."""
    key = world.access.create_key("flow", "agent")
    other = world.access.create_key("flow", "agent")
    mixed = "_".join([*key.split("_")[:2], other.split("_", 2)[2]])
    wrong = ["", "gk", "gk_", "gk__", key[:-1], key + "x", mixed, key.upper(), "gk_\N{SNOWMAN}_x"]
    words = set()
    for one in wrong:
        with pytest.raises(NotAuthenticated) as refusal:
            world.access.key_holder(one)
        words.add(refusal.value.message)
    assert len(words) == 1
    assert world.access.key_holder(key).requester.agent == "agent"


def test_a_revoked_key_opens_nothing(world: World) -> None:
    """At once, and for good; the log keeps who and when."""
    key = world.access.create_key("flow", "agent")
    key_id = world.access.key_holder(key).key_id
    world.access.revoke_key(key_id)
    with pytest.raises(NotAuthenticated):
        world.access.key_holder(key)
    world.access.revoke_key(key_id)
    assert stored(world, LogRow).count("key.revoked") == 1
    with pytest.raises(InvalidInput, match="no key 'nothing'"):
        world.access.revoke_key("nothing")


@pytest.mark.parametrize("agent", ["", "x" * 201, "two\nlines", "nul\x00"])
def test_a_key_needs_a_name_that_can_be_shown(world: World, agent: str) -> None:
    """A key that could not name its requester is refused when it is made, not when it is used."""
    with pytest.raises(InvalidInput, match="agent = "):
        world.access.create_key("flow", agent)


def test_a_key_is_for_a_scope_and_a_person_that_exist(world: World) -> None:
    """Typing errors are found where they are made."""
    with pytest.raises(InvalidInput, match="scope = 'root'"):
        world.access.create_key("root", "agent")
    with pytest.raises(UnknownPerson, match="nobody"):
        world.access.create_key("flow", "agent", "nobody")


def test_a_link_opens_one_session(world: World) -> None:
    """The second use is refused, and so is a link that never was."""
    link = world.access.create_link("dana")
    token = world.access.redeem_link(link)
    assert world.access.session(token).person_id == "dana"
    for used in (link, "made-up", ""):
        with pytest.raises(NotAuthenticated, match="ask for a new one"):
            world.access.redeem_link(used)


def test_two_who_open_a_link_at_once(world: World) -> None:
    """One of six gets in."""
    link, barrier = world.access.create_link("dana"), threading.Barrier(6)
    tokens: list[str] = []
    refusals: list[GatesError] = []

    def redeem() -> None:
        barrier.wait()
        try:
            tokens.append(world.access.redeem_link(link))
        except GatesError as error:
            refusals.append(error)

    threads = [threading.Thread(target=redeem) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(tokens), len(refusals)) == (1, 5)
    assert world.access.session(tokens[0]).name == "Dana Okafor"


def test_links_and_sessions_expire(world: World) -> None:
    """A link lives half an hour, a session twelve hours, to the second."""
    early, late = world.access.create_link("dana"), world.access.create_link("dana")
    world.clock.advance(minutes=29, seconds=59)
    token = world.access.redeem_link(early)
    world.clock.advance(seconds=1)
    with pytest.raises(NotAuthenticated):
        world.access.redeem_link(late)
    world.clock.advance(hours=11, minutes=59, seconds=58)
    assert world.access.session(token).person_id == "dana"
    world.clock.advance(seconds=1)
    with pytest.raises(NotAuthenticated):
        world.access.session(token)


def test_a_session_that_was_ended_stays_ended(world: World) -> None:
    """Logging out ends this session and no other; doing it twice is no error."""
    first = world.access.redeem_link(world.access.create_link("dana"))
    second = world.access.redeem_link(world.access.create_link("dana"))
    world.access.end_session(first)
    world.access.end_session(first)
    world.access.end_session("made-up")
    with pytest.raises(NotAuthenticated):
        world.access.session(first)
    assert world.access.session(second).person_id == "dana"
    assert stored(world, LogRow).count("session.ended") == 1


def test_sessions_have_different_csrf_tokens(world: World) -> None:
    """One session's form does not fit into another's."""
    tokens = [world.access.redeem_link(world.access.create_link("dana")) for _ in range(2)]
    assert len({world.access.session(token).csrf for token in tokens}) == 2


def test_nobody_logs_in_as_somebody_unknown(world: World) -> None:
    """A link is for a person of the directory."""
    with pytest.raises(UnknownPerson, match="nobody"):
        world.access.create_link("nobody")


def test_who_has_left_is_logged_out(world: World) -> None:
    """A session of a person whom the directory no longer knows opens nothing."""
    token = world.access.redeem_link(world.access.create_link("dana"))
    others = [person for person in world.directory.all if person.id != "dana"]
    world.access.directory = type(world.directory)(others, world.directory.groups)
    with pytest.raises(UnknownPerson):
        world.access.session(token)


BILLS = ("erp.pay_bill", "erp.post_*")


def test_an_executors_key_is_for_some_actions(world: World) -> None:
    """Jobs of others it neither gets, nor renews, nor reports; the refusal names key and cure."""
    other = world.key("executor", "biller", actions=BILLS)
    world.propose("500.00")
    words = (
        rf"Key {other.key_id} \(biller\) is for erp.pay_bill, erp.post_\* and not for 'till.pay'"
    )
    with pytest.raises(NotEntitled, match=words):
        world.lease(other)
    assert world.work.lease(other, "attempt-1", ["erp.pay_bill", "erp.post_bill"], 60) is None
    wide = world.key("executor", "biller")
    job = world.lease(wide)
    assert job is not None
    told = AttemptReport(state="succeeded", fence=job.grant.fence, result={})
    for call in (
        lambda: world.work.report(other, job.grant.attempt_id, told),
        lambda: world.work.renew(other, job.grant.attempt_id, job.grant.fence, 60),
        lambda: world.work.lease(other, job.grant.attempt_id, ["erp.pay_bill"], 60),
    ):
        with pytest.raises(NotEntitled, match="--actions"):
            call()
    assert world.work.report(wide, job.grant.attempt_id, told).standing is Standing.SUCCEEDED


def test_a_grant_is_redeemed_only_with_a_key_for_its_action(world: World) -> None:
    """A proxy's key is an executor's key; a refused try does not use the grant up."""
    name = {"name": "note", "in_process": True, "arguments": {"n": "1"}, "key": "note"}
    reply = world.propose(**name)
    assert reply.grant is not None
    narrow = world.key("executor", "crm-proxy", actions=["crm.*"])
    with pytest.raises(NotEntitled, match="not for 'note'"):
        Redeeming(world.gates).redeem(narrow, reply.grant.token)
    right = world.key("executor", "crm-proxy", actions=["crm.*", "note"])
    assert Redeeming(world.gates).redeem(right, reply.grant.token).action.name == "note"


def test_the_actions_of_a_key_outlive_its_rotation(world: World) -> None:
    """And stand in the list of keys; one that names none is for all."""
    old = world.key("executor", "biller", actions=BILLS)
    new = world.access.key_holder(world.access.rotate_key(old.key_id, timedelta(0)))
    assert new.actions == BILLS
    keys = world.access.keys()
    listed = {one.id: one.actions for one in keys}
    assert (listed[old.key_id], listed[new.key_id]) == (BILLS, BILLS)
    assert listed[world.executor.key_id] == ("*",)


@pytest.mark.parametrize(
    ("scope", "actions", "words"),
    [
        ("flow", ["till.pay"], "only an executor's key"),
        ("executor", [], "1 to 50"),
        ("executor", ["till.*"] * 51, "1 to 50"),
        ("executor", ["till.pay, till.burn"], "'till.pay, till.burn': one name for each"),
        ("executor", [""], "one name for each"),
    ],
)
def test_patterns_that_mean_nothing_are_refused(
    world: World, scope: str, actions: list[str], words: str
) -> None:
    """Instead of a key that opens other doors than its maker thinks."""
    with pytest.raises(InvalidInput, match=words):
        world.access.create_key(scope, "agent", actions=actions)
