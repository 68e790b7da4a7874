"""The process that holds credentials: pulls approved work, does what the grant says, reports.

It listens on no port and takes orders from nobody but the server. What can go wrong:
- the action raises ActionFailed: nothing was left behind, and that is reported;
- it raises anything else: nobody knows, so the attempt is reported as in doubt and later a
  `reconcile` job asks the real system;
- this process dies: its lease lapses, with the same consequence.
A lease is renewed while the action runs, so that a slow call is not taken for a dead one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from gates.actions import ActionDefinition, Registry
from gates.client import GatesClient
from gates.core.errors import ActionFailed, GatesError, InvalidGrant, Unavailable
from gates.core.messages import AttemptReport
from gates.core.model import Action, Job

log = logging.getLogger(__name__)

WAIT = 3.0  # seconds of one long poll: as late may a stop be noticed
RETRY = 1.0


@dataclass
class Executor:
    """`lease`: seconds for which this process may be silent before it is taken for dead."""

    client: GatesClient
    registry: Registry
    lease: int = 60
    _stop: threading.Event = field(default_factory=threading.Event)

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
        with self._renewing(job):
            report = self._perform(job)
        log.info("%s: %s %s", job.action.name, report.state, report.error)
        self.client.report(attempt_id, report)
        return True

    def _perform(self, job: Job) -> AttemptReport:
        fence = job.grant.fence
        if job.action.fingerprint != job.grant.fingerprint:
            words = "the grant is for something else than the job says"
            return AttemptReport(
                state="failed", fence=fence, error=words, error_class="InvalidGrant"
            )
        try:
            definition = self.registry.find(job.action.name)
            resource = self.registry.resource(definition)
            if job.kind == "reconcile":
                return _reconcile(definition, resource, job)
            return _execute(definition, resource, job)
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

    @contextmanager
    def _renewing(self, job: Job) -> Iterator[None]:
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease / 3):
                try:
                    self.client.renew(job.grant.attempt_id, job.grant.fence, self.lease)
                except GatesError as error:
                    log.warning("lease not renewed: %s", error)

        thread = threading.Thread(target=renew, name="renew", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(timeout=5)


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
