"""The process that holds credentials: pulls approved work, does what the grant says, reports.

It listens on no port and takes orders from nobody but the server: a job counts only with a grant
that the server's key has signed, for this process, this attempt and exactly this work. Right
before it acts it looks whether the real system is still as it was approved. What can go wrong:
- the grant does not verify: nothing is done, and that is reported;
- the system has changed: nothing is done, and the server asks people again;
- the action raises ActionFailed: nothing was left behind, and that is reported;
- it raises anything else: nobody knows, so the attempt is reported as in doubt and later a
  `reconcile` job asks the real system;
- this process dies: its lease lapses, with the same consequence.
A lease is renewed while the action runs, so that a slow call is not taken for a dead one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from gates.actions import ActionDefinition, Registry
from gates.client import GatesClient
from gates.core.drift import differences
from gates.core.errors import ActionFailed, GatesError, InvalidGrant, Unavailable
from gates.core.messages import AttemptReport
from gates.core.model import Action, Job, Json
from gates.grants.held import Held, holding
from gates.grants.token import state_digest
from gates.grants.trusted_keys import TrustedKeys

log = logging.getLogger(__name__)

WAIT = 3.0  # seconds of one long poll: as late may a stop be noticed
RETRY = 1.0
PAUSES = (0.5, 2.0)  # seconds before a state that could not be read is read again


@dataclass
class Executor:
    """`lease`: seconds for which this process may be silent before it is taken for dead. `keys`:
    those that may sign grants; by default the server is asked for them.
    """

    client: GatesClient
    registry: Registry
    lease: int = 60
    keys: TrustedKeys | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        url = f"{self.client.base_url}/v1/grant-keys"
        self._audiences: set[str] = set()  # this process's keys: an old one may be replaced
        self._trusted = self.keys or TrustedKeys(self.client.grant_keys, url)

    def stop(self) -> None:
        """Finish the job at hand, then end."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped."""
        names = sorted(self.registry.definitions)
        log.info("waiting for work: %s", ", ".join(names))
        while not self._stop.is_set():
            try:
                self.step(wait_seconds=WAIT)
            except InvalidGrant as error:
                log.warning("%s", error)  # somebody else has taken over: nothing to be done
            except Unavailable as error:
                log.warning("%s", error)
                self._stop.wait(RETRY)
            except GatesError:
                log.exception("the gates server refuses this executor; trying again")
                self._stop.wait(RETRY)

    def step(self, *, wait_seconds: float) -> bool:
        """One job, if there is one within `wait_seconds`."""
        names = sorted(self.registry.definitions)
        attempt_id = uuid4().hex
        job = self.client.lease(
            attempt_id, names, lease_seconds=self.lease, wait_seconds=wait_seconds
        )
        if job is None:
            return False
        log.info("%s %s (%s)", job.kind, job.action.name, job.grant.request_id[:8])
        self._audiences.add(f"key:{self.client.key_id}")
        held = Held(job.grant)
        with self._renewing(held), holding(held):
            report = self._perform(job, attempt_id, held)
        log.info("%s: %s %s", job.action.name, report.state, report.error)
        self.client.report(attempt_id, report)
        return True

    def _perform(self, job: Job, attempt_id: str, held: Held) -> AttemptReport:
        fence = job.grant.fence
        refused = self._refused(job, attempt_id, held)
        if refused is not None:
            return refused
        try:
            definition = self.registry.find(job.action.name)
            resource = self.registry.resource(definition)
            if job.kind == "reconcile":
                return _reconcile(definition, resource, job)
            # Reading the state may take longer than the grant counts: it is looked at again.
            untouched = drift(definition, resource, job) or self._refused(job, attempt_id, held)
            return untouched or _execute(definition, resource, job)
        except ActionFailed as error:
            return AttemptReport(
                state="failed", fence=fence, error=str(error), error_class=error.error_class
            )
        except Exception as error:
            log.exception("%s: how it ended is not known", job.action.name)
            state = "unclear" if job.kind == "reconcile" else "in_doubt"
            return AttemptReport(
                state=state,
                fence=fence,
                error=f"{type(error).__name__}: {error}",
                error_class=type(error).__name__,
            )

    def _refused(self, job: Job, attempt_id: str, held: Held) -> AttemptReport | None:
        """What to report where the grant does not hold, or cannot be verified; nothing is done."""
        try:
            self._verify(job, attempt_id, held)
        except GatesError as error:
            log.error("%s: not done: %s", job.action.name, error)  # noqa: TRY400 - no bug of ours
            return AttemptReport(
                state="failed", fence=job.grant.fence, error=str(error), error_class="InvalidGrant"
            )
        return None

    def _verify(self, job: Job, attempt_id: str, held: Held) -> None:
        """Raises InvalidGrant unless every word of the job is signed, for this very attempt, whose
        id was made here a moment ago: an old job that somebody kept names another.
        """
        claims = self._trusted.verify(
            held.grant.token, self.clock(), fingerprint=job.action.fingerprint
        )
        if claims.audience not in self._audiences:
            own = ", ".join(sorted(self._audiences))
            raise InvalidGrant(f"The grant is for {claims.audience[:60]!r}, and this is {own}.")
        for name, signed, told in (
            ("attempt_id", claims.attempt_id, attempt_id),
            ("attempt_id", claims.attempt_id, job.grant.attempt_id),
            ("action", claims.action, job.action.name),
            ("kind", claims.use, job.kind),
            ("idempotency_key", claims.idempotency_key, job.idempotency_key),
            ("precondition", claims.precondition, state_digest(job.precondition)),
            ("fence", claims.fence, job.grant.fence),
        ):
            if signed != told:
                words = f"{name} = {str(told)[:40]!r} in the job"
                raise InvalidGrant(f"{words}, and {str(signed)[:40]!r} in its grant.")

    @contextmanager
    def _renewing(self, held: Held) -> Iterator[None]:
        done, grant = threading.Event(), held.grant

        def renew() -> None:
            while not done.wait(self.lease / 3):
                try:
                    renewed = self.client.renew(grant.attempt_id, grant.fence, self.lease)
                    self._audiences.add(f"key:{self.client.key_id}")
                    held.grant = renewed
                except GatesError as error:
                    log.warning("lease not renewed: %s", error)

        thread = threading.Thread(target=renew, name="renew", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=5)


def drift(definition: ActionDefinition[Any, Any], resource: Any, job: Job) -> AttemptReport | None:
    """What has changed since the approval, if anything has; a state that cannot be read has."""
    state = None
    try:
        state = _state(definition, resource, job)
        changed = differences(job.precondition, state)
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing was done: say so
        changed = [f"the state could not be read again: {type(error).__name__}: {error}"]
    if not changed:
        return None
    return AttemptReport(
        state="drifted", fence=job.grant.fence, error="; ".join(changed), precondition=state
    )


def _state(definition: ActionDefinition[Any, Any], resource: Any, job: Job) -> Json:
    """Now, in the real system. One that stumbles gets a moment before people are bothered."""
    arguments = definition.parse(job.action.arguments)
    for pause in PAUSES:
        try:
            return definition.precondition(resource, arguments)
        except Exception as error:  # noqa: BLE001 - looked at once more, then raised
            log.warning("%s: its state cannot be read: %s; again", definition.name, error)
            time.sleep(pause)
    return definition.precondition(resource, arguments)


def _execute(definition: ActionDefinition[Any, Any], resource: Any, job: Job) -> AttemptReport:
    arguments = definition.parse(job.action.arguments)
    result = definition.execute(resource, arguments, idempotency_key=job.idempotency_key)
    told = definition.dump_result(result)
    return AttemptReport(
        state="succeeded",
        fence=job.grant.fence,
        result=told,
        differences=_read_back(definition, resource, job.action, told),
    )


def _reconcile(definition: ActionDefinition[Any, Any], resource: Any, job: Job) -> AttemptReport:
    fence = job.grant.fence
    if definition.reconcile is None:
        words = f"{definition.name} has no way to find out how an attempt ended"
        return AttemptReport(state="unclear", fence=fence, error=words)
    arguments = definition.parse(job.action.arguments)
    found = definition.reconcile(resource, arguments, idempotency_key=job.idempotency_key)
    if found.state == "done":
        differences = _read_back(definition, resource, job.action, found.result or {})
        return AttemptReport(
            state="succeeded", fence=fence, result=found.result or {}, differences=differences
        )
    return AttemptReport(state=found.state, fence=fence, error=found.note)


def _read_back(
    definition: ActionDefinition[Any, Any], resource: Any, action: Action, result: Any
) -> tuple[str, ...]:
    """What was booked against what was approved. Trouble in reading is itself a difference."""
    if definition.verify is None:
        return ()
    try:
        return tuple(definition.verify(resource, definition.parse(action.arguments), result))
    except Exception as error:  # noqa: BLE001 - the effect has landed; say that it was not checked
        return (f"could not be read back: {type(error).__name__}: {error}",)
