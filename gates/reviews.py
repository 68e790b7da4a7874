"""What people say of a sample of the actions that ran by themselves; each word one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gates.core import reviewing
from gates.core.errors import GatesError, RetryLater, Unavailable
from gates.core.model import Json, RequestView, Review
from gates.recording import TELL, Recording
from gates.store.repository import Unit

log = logging.getLogger(__name__)

Word = Literal["fine", "wrong"]


@dataclass(frozen=True)
class Reviews:
    gates: Recording

    def say(
        self,
        request_id: str,
        *,
        person_id: str,
        word: Word,
        reason: str = "",
        category: str = "",
        channel: str,
        assurance: str,
        verified_by: Json | None = None,
    ) -> RequestView:
        """One person's word; the same word once more changes nothing.

        Raises NotFound, UnknownPerson, and what `core.reviewing.review` raises.
        """
        gates = self.gates
        person = gates.asking.directory.person(person_id)
        with gates.database.read() as session:
            seen = Unit(session, gates.clock()).load(request_id).request
        entitled = person.id in gates.asking.lookers(seen)
        refusal: GatesError | None = None
        with gates.database.write() as session:
            unit = Unit(session, gates.clock())
            current = unit.load(request_id, lock=True)
            given = Review(
                person=person.id,
                name=person.name,
                verdict=word,
                reason=reason.strip(),
                category=category.strip(),
                at=unit.now,
                channel=channel,
                assurance=assurance,
                verified_by=verified_by or {},
            )
            if _same(reviewing.said(current.events), given):
                return current.view(gates.base_url)
            try:
                events = reviewing.review(
                    current.request,
                    current.events,
                    current.outcome,
                    given,
                    wanted=current.row.review is not None,
                    entitled=entitled,
                )
            except GatesError as error:
                refusal = error
                unit.log(person.id, "review.refused", request_id, code=error.code, channel=channel)
            else:
                current.row.review = "done"
                gates.record(unit, current, events, actor=person.id)
                unit.wish(request_id, TELL)
            view = current.view(gates.base_url)
        if refusal is not None:
            raise refusal
        return view

    def wanted(self, limit: int = 200) -> list[RequestView]:
        """What nobody has looked at yet, the newest first."""
        return self._list(wanted=True, limit=limit)

    def done(self, limit: int = 200) -> list[RequestView]:
        """What people have looked at, with what they said."""
        return self._list(wanted=False, limit=limit)

    def mine(self, person_id: str, limit: int = 200) -> list[RequestView]:
        """What is left for this person; nothing while nobody can say who they are."""
        return [one for one in self.wanted(limit) if self.may(one, person_id)]

    def may(self, view: RequestView, person_id: str) -> bool:
        """Whether this person may still say something of it."""
        if not view.review or any(one.person == person_id for one in view.reviews):
            return False
        try:
            return person_id in self.gates.asking.lookers(view.request)
        except (RetryLater, Unavailable) as error:
            log.warning("who may look at a sample cannot be told now: %s", error)
            return False

    def _list(self, *, wanted: bool, limit: int) -> list[RequestView]:
        with self.gates.database.read() as session:
            unit = Unit(session, self.gates.clock())
            found = unit.looked_at(wanted=wanted, limit=limit)
            return [one.view(self.gates.base_url) for one in found]


def _same(before: Sequence[Review], given: Review) -> bool:
    return any(
        (one.person, one.verdict, one.category) == (given.person, given.verdict, given.category)
        and given.reason in ("", one.reason)
        for one in before
    )
