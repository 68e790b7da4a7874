"""Signed grants over the store: handed out, redeemed once, rotated, retired, on both databases."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select, text

from gates.core.errors import InvalidGrant, InvalidInput, NotEntitled
from gates.core.messages import AttemptReport
from gates.core.model import ExecutionState, Job, Purpose, Standing
from gates.grants.keyring import PUBLISHED, KeyRing
from gates.grants.redeeming import Redeeming
from gates.grants.token import Claims, read_keys, sign, state_digest, verify
from gates.service import Gates
from gates.store.database import Database
from gates.store.tables import LogRow
from gates.work import Work
from tests.support.world import World

NOTE: dict[str, Any] = {"name": "note", "in_process": True, "arguments": {"n": "1"}, "key": "note"}


def leased(world: World) -> Job:
    job = world.lease()
    assert job is not None
    return job


def known(world: World, ring: KeyRing | None = None) -> Any:
    published = (ring or world.gates.ring).published()
    return read_keys({"keys": [dict(key.jwk) for key in published]}, "test")


def claims(world: World, token: str) -> Claims:
    return verify(token, known(world), world.clock())


def kinds(world: World, *wanted: str) -> list[str]:
    with world.database.read() as session:
        found = session.exec(select(LogRow.kind).order_by(col(LogRow.seq))).all()
    return [kind for kind in found if kind in wanted]


def in_flow(world: World, **changes: Any) -> Any:
    """The grant of a flow's own function."""
    grant = world.propose(**NOTE | changes).grant
    assert grant is not None
    return grant


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    barrier, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def one(index: int) -> None:
        barrier.wait()
        try:
            answers[index] = calls[index]()
        except Exception as error:  # noqa: BLE001 - judged by the test
            answers[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# -- handing out --------------------------------------------------------------------------------


def test_a_lease_comes_with_a_grant_that_says_all_of_the_job(world: World) -> None:
    """For this executor's key, this attempt, this very action and the state that was approved."""
    asked = world.propose("5000.00")
    world.decide(asked.view.request.id, "dana")
    world.propose("5000.00")
    job = leased(world)
    told = claims(world, job.grant.token)
    assert told.audience == f"key:{world.executor.key_id}"
    assert (told.request_id, told.attempt_id) == (asked.view.request.id, job.grant.attempt_id)
    assert (told.action, told.use, told.fence) == ("till.pay", "execute", 1)
    assert told.fingerprint == job.action.fingerprint
    assert told.idempotency_key == job.idempotency_key
    assert told.precondition == state_digest(job.precondition) == state_digest({"account": "NL01"})
    assert told.by == ("Dana Okafor",)
    assert told.expires_at == int(job.grant.lease_until.timestamp()) + 5


def test_a_grant_in_a_flow_is_for_its_run(world: World) -> None:
    """What the policy allowed says so in place of a person's name."""
    told = claims(world, in_flow(world).token)
    assert (told.audience, told.by) == (f"run:{world.run}", ("policy",))


def test_a_renewal_makes_the_grant_out_anew(world: World) -> None:
    """The same attempt, a later end: the older token runs out by itself."""
    world.propose("500.00")
    job = leased(world)
    world.clock.advance(seconds=50)
    fresh = world.work.renew(world.executor, job.grant.attempt_id, job.grant.fence, 60)
    before, after = claims(world, job.grant.token), claims(world, fresh.token)
    assert after.expires_at == before.expires_at + 50
    assert after.model_copy(update={"expires_at": before.expires_at}) == before


def test_a_lost_reply_brings_the_same_token_again(world: World) -> None:
    """Ed25519 signs the same words the same way: nothing new is handed out."""
    world.propose("500.00")
    first = world.work.lease(world.executor, "attempt-one", ["till.pay"], 60)
    again = world.work.lease(world.executor, "attempt-one", ["till.pay"], 60)
    assert first is not None
    assert again is not None
    assert first.grant.token == again.grant.token != ""


def test_tokens_are_stored_nowhere(world: World) -> None:
    """Not in a row, not in the log: whoever reads the store cannot use a grant."""
    token = in_flow(world).token
    world.propose("500.00")
    tokens = [token, leased(world).grant.token]
    with world.database.read() as session:
        for table in ("attempt", "execution", "request", "log", "event", "outbox"):
            rows = str(session.exec(text(f"SELECT * FROM {table}")).all())  # type: ignore[call-overload] # noqa: S608
            assert [one for one in tokens if one.rsplit(".", 1)[1] in rows] == []
    assert repr(world.propose(**NOTE)).count(token) == 0


# -- redeeming ----------------------------------------------------------------------------------


def test_a_grant_is_redeemed_once(world: World) -> None:
    """The answer is the approved copy; the second time is refused, and both are in the log."""
    redeeming, grant = Redeeming(world.gates), in_flow(world)
    redeemed = redeeming.redeem(world.executor, grant.token, "POST /notes")
    assert redeemed.action.arguments == {"n": "1"}
    assert (redeemed.attempt_id, redeemed.by) == (grant.attempt_id, ("policy",))
    world.clock.advance(seconds=1)
    with pytest.raises(InvalidGrant, match=r"was redeemed at .* counts once"):
        redeeming.redeem(world.executor, grant.token)
    renewed = world.work.renew(world.flow, grant.attempt_id, grant.fence, 60)
    with pytest.raises(InvalidGrant, match="counts once"):
        redeeming.redeem(world.executor, renewed.token)
    told = ("grant.redeemed", "grant.replayed")
    assert kinds(world, *told) == ["grant.redeemed", *["grant.replayed"] * 2]


def test_two_that_redeem_at_once_get_it_once(world: World) -> None:
    """The request's lock decides; the store itself would refuse a second mark."""
    redeeming = Redeeming(world.gates)
    for number in range(4):
        token = in_flow(world, key=f"note-{number}", arguments={"n": str(number)}).token
        answers = at_once(*[lambda t=token: redeeming.redeem(world.executor, t)] * 2)
        refused = [one for one in answers if isinstance(one, InvalidGrant)]
        assert len(refused) == 1, answers
    with (
        pytest.raises(DBAPIError, match="redeemed once"),
        world.database.engine.begin() as connection,
    ):
        connection.execute(text("UPDATE attempt SET redeemed_at = NULL"))


def test_only_an_executors_key_redeems(world: World) -> None:
    """Not the flow that holds the grant: it could use it up in another's place."""
    token = in_flow(world).token
    for holder in (world.flow, world.key("admin", "admin")):
        with pytest.raises(NotEntitled):
            Redeeming(world.gates).redeem(holder, token)


def test_a_grant_is_not_redeemed_after_its_attempt(world: World) -> None:
    """Nor after its lease, nor under an old fence, nor when the round is void."""
    redeeming = Redeeming(world.gates)
    grant = in_flow(world)
    world.work.report(
        world.flow, grant.attempt_id, AttemptReport(state="succeeded", fence=1, result={})
    )
    with pytest.raises(InvalidGrant, match="no longer holds"):
        redeeming.redeem(world.executor, grant.token)
    slow = in_flow(world, key="slow", arguments={"n": "slow"})
    world.clock.advance(seconds=30)  # the lease is over, the token is not yet
    with pytest.raises(InvalidGrant, match="has run out"):
        redeeming.redeem(world.executor, slow.token)
    world.clock.advance(seconds=60)
    with pytest.raises(InvalidGrant, match="expired"):
        redeeming.redeem(world.executor, slow.token)
    assert kinds(world, "grant.refused") == ["grant.refused"] * 3


def test_a_question_to_the_system_is_no_permission(world: World) -> None:
    """The grant of a reconciliation does not go through a proxy."""
    world.propose("500.00")
    leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.clock.advance(seconds=11)
    job = leased(world)
    assert (job.kind, claims(world, job.grant.token).use) == ("reconcile", "reconcile")
    with pytest.raises(InvalidGrant, match="finding out"):
        Redeeming(world.gates).redeem(world.executor, job.grant.token)


def test_a_redeemed_call_cannot_be_called_a_failure(world: World) -> None:
    """An agent that used its grant and says that nothing happened gets no second one: people are
    asked what became of the first.
    """
    grant = in_flow(world)
    Redeeming(world.gates).redeem(world.executor, grant.token)
    lie = AttemptReport(state="failed", fence=grant.fence, error="no", error_class="Lie")
    reply = world.work.report(world.flow, grant.attempt_id, lie)
    assert (reply.standing, reply.grant) == (Standing.WAITING, None)
    assert reply.view.request.purpose is Purpose.IN_DOUBT
    assert "a proxy let its call through" in reply.view.request.judgement.reasons[0].text


def test_redeeming_and_failing_at_once_gives_no_second_grant(world: World) -> None:
    """Whichever comes first, what was let through is never simply tried again."""
    redeeming = Redeeming(world.gates)
    for number in range(6):
        grant = in_flow(world, key=f"note-{number}", arguments={"n": str(number)})
        lie = AttemptReport(state="failed", fence=grant.fence, error="no", error_class=f"L{number}")
        answers = at_once(
            lambda g=grant: redeeming.redeem(world.executor, g.token),
            lambda g=grant, told=lie: world.work.report(world.flow, g.attempt_id, told),
        )
        redeemed = not isinstance(answers[0], InvalidGrant)
        doubted = answers[1].view.request.purpose is Purpose.IN_DOUBT
        assert redeemed is doubted, answers


def test_a_forged_grant_is_refused_and_logged(world: World) -> None:
    """Signed by somebody else in the name of a key that counts."""
    grant, (kid, _) = in_flow(world), world.gates.ring.signer()
    token = sign(claims(world, grant.token), kid, Ed25519PrivateKey.generate())
    with pytest.raises(InvalidGrant, match="signature does not fit"):
        Redeeming(world.gates).redeem(world.executor, token)
    assert kinds(world, "grant.refused") == ["grant.refused"]


# -- the life of keys ---------------------------------------------------------------------------


def test_what_was_handed_out_before_a_rotation_still_counts(world: World) -> None:
    """Until it has run out; the new key signs at once, and the old one is forgotten in the end."""
    ring, old = world.gates.ring, in_flow(world)
    first = ring.signer()[0]
    second = ring.rotate("ops")
    assert ring.signer()[0] == second != first
    assert [key.kid for key in ring.published()] == [first, second]
    new = in_flow(world, key="second", arguments={"n": "2"})
    assert Redeeming(world.gates).redeem(world.executor, old.token)
    assert Redeeming(world.gates).redeem(world.executor, new.token)
    world.clock.advance(seconds=PUBLISHED.total_seconds())
    assert [key.kid for key in ring.published()] == [second]
    assert kinds(world, "grant_key.registered") == ["grant_key.registered"] * 2


def test_a_rotation_can_be_announced(world: World) -> None:
    """The new key is published first, so that pinned files can follow, and signs later."""
    ring = world.gates.ring
    first = ring.signer()[0]
    second = ring.rotate("ops", timedelta(hours=1))
    assert [key.kid for key in ring.published()] == [first, second]
    assert ring.signer()[0] == first
    world.clock.advance(hours=1)
    assert ring.signer()[0] == second


def test_a_retired_key_is_refused_at_once(world: World) -> None:
    """Also what it signed before; another key signs what is handed out from now on."""
    ring, grant = world.gates.ring, in_flow(world)
    first = ring.signer()[0]
    ring.retire(first, "ops")
    with pytest.raises(InvalidGrant, match="none of the known keys"):
        Redeeming(world.gates).redeem(world.executor, grant.token)
    fresh = world.work.renew(world.flow, grant.attempt_id, grant.fence, 60)
    assert Redeeming(world.gates).redeem(world.executor, fresh.token)
    assert kinds(world, "grant_key.retired") == ["grant_key.retired"]
    with (
        pytest.raises(DBAPIError, match="stays retired"),
        world.database.engine.begin() as connection,
    ):
        connection.execute(text("UPDATE signing_key SET retired_at = NULL"))


def test_each_server_publishes_the_keys_of_all(world: World, tmp_path: Path) -> None:
    """A grant of one is verified with what another publishes, and redeemed there."""
    other = KeyRing(world.database, "http://other", tmp_path / "keys", world.clock)
    gates = Gates(world.database, world.gates.asking, "http://other", clock=world.clock, keys=other)
    kid = other.signer()[0]
    assert set(known(world)) == set(known(world, other)) == {kid, world.gates.ring.signer()[0]}
    world.propose("500.00")
    job = Work(gates).lease(world.executor, "attempt-one", ["till.pay"], 60)
    assert job is not None
    assert claims(world, job.grant.token).issuer == "http://other"
    world.gates.ring.retire(kid, "ops")  # at a server that does not have it
    other._read_at = float("-inf")  # a second later
    assert other.signer()[0] != kid
    assert [file.stem for file in (tmp_path / "keys").glob("*.pem")] == [other.signer()[0]]


def test_private_keys_outlive_their_server_in_files_of_its_user_alone(
    database: Database, tmp_path: Path
) -> None:
    """The same key signs after a restart; a file that others may read is refused."""
    folder = tmp_path / "keys"
    kid = KeyRing(database, "http://one", folder).signer()[0]
    assert KeyRing(database, "http://one", folder).signer()[0] == kid
    file = folder / f"{kid}.pem"
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert [one.name for one in folder.iterdir()] == [file.name]
    file.chmod(0o640)
    with pytest.raises(InvalidInput, match="read by others"):
        KeyRing(database, "http://one", folder)
    file.chmod(0o600)
    file.rename(folder / "other.pem")
    with pytest.raises(InvalidInput, match="not the Ed25519 key that its name says"):
        KeyRing(database, "http://one", folder)
    (folder / "other.pem").write_text("no key")
    (folder / "other.pem").chmod(0o600)
    with pytest.raises(InvalidInput, match="not a private key"):
        KeyRing(database, "http://one", folder)


def test_a_rotated_keys_private_half_is_gone(database: Database, tmp_path: Path) -> None:
    """Who steals the folder later cannot sign what was signed before."""
    ring = KeyRing(database, "http://one", tmp_path / "keys")
    first = ring.signer()[0]
    second = ring.rotate("ops")
    assert [file.stem for file in (tmp_path / "keys").glob("*.pem")] == [second]
    assert first in [key.kid for key in ring.published()]


# -- drift between lease and execution ----------------------------------------------------------


def drifted(world: World, job: Job, words: str = "account: NL01 -> NL66") -> Any:
    told = AttemptReport(
        state="drifted", fence=job.grant.fence, error=words, precondition={"account": "NL66"}
    )
    return world.work.report(world.executor, job.grant.attempt_id, told)


def test_a_change_that_the_server_sees_too_voids_the_round(world: World) -> None:
    """The next round asks with the difference; the attempt ended without effect or doubt."""
    asked = world.propose("5000.00")
    world.decide(asked.view.request.id, "dana")
    world.propose("5000.00")
    job = leased(world)
    world.till.accounts["acme"] = "NL66"
    reply = drifted(world, job)
    assert (reply.standing, reply.view.request.round) == (Standing.WAITING, 2)
    assert reply.view.request.precondition == {"account": "NL66"}
    before = world.gates.view(asked.view.request.id)
    assert "account: NL01 -> NL66" in str(before.outcome)
    assert before.execution is not None
    assert before.execution.state is ExecutionState.FAILED
    assert drifted(world, job).view.request.id == reply.view.request.id  # said twice
    assert world.lease() is None
    world.decide(reply.view.request.id, "mika")
    assert world.propose("5000.00").standing is Standing.EXECUTING
    assert world.perform(leased(world)).standing is Standing.SUCCEEDED


def test_a_routine_action_whose_world_changed_is_judged_anew(world: World) -> None:
    """What the policy allows in the new world too is claimed again, and nobody is troubled."""
    world.propose("500.00")
    job = leased(world)
    world.till.accounts["acme"] = "NL66"
    assert drifted(world, job).standing is Standing.CLAIMABLE
    assert world.propose("500.00").standing is Standing.EXECUTING
    assert leased(world).precondition == {"account": "NL66"}


def test_a_change_that_only_the_executor_sees_is_tried_again_and_then_asked(world: World) -> None:
    """Twice the work is queued again; the third time people decide."""
    world.propose("500.00")
    for _ in range(2):
        reply = drifted(world, leased(world))
        assert (reply.standing, reply.view.request.round) == (Standing.EXECUTING, 1)
    reply = drifted(world, leased(world))
    assert (reply.standing, reply.view.request.round) == (Standing.WAITING, 2)
    assert reply.view.request.evidence["executor_read"] == {"account": "NL66"}
    assert "NL01 -> NL66" in reply.view.request.judgement.reasons[0].text
    assert world.lease() is None


def test_a_drift_under_an_old_fence_is_refused(world: World) -> None:
    """Whoever slept through its lease voids nothing."""
    world.propose("500.00")
    job = leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.till.accounts["acme"] = "NL66"
    with pytest.raises(InvalidGrant):
        drifted(world, job)
    assert kinds(world, "report.refused") == ["report.refused"]


def test_only_who_was_to_execute_speaks_of_drift(world: World) -> None:
    """Neither a flow's own function nor a reconciliation has a state to compare with."""
    grant = in_flow(world)
    with pytest.raises(InvalidInput, match="drifted"):
        world.work.report(
            world.flow, grant.attempt_id, AttemptReport(state="drifted", fence=1, error="x")
        )
    world.propose("500.00")
    leased(world)
    world.clock.advance(seconds=61)
    world.work.lapse()
    world.clock.advance(seconds=11)
    with pytest.raises(InvalidInput, match="drifted"):
        drifted(world, leased(world))
