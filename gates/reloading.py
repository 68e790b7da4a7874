"""Rules that change while the server runs: from its files, or because another server, or an
approval, has brought others into force.

Rules, each with what it protects from:
1. What is broken is never taken: the old rules go on, and it is said where people look, once. Nor
   is what was seen in one look only (half a file may be a policy with half the rules).
2. What is in force stands in the store, with its texts; every server follows it (two servers that
   judge by different rules).
3. A server speaks up for its files when they change, and when it starts. It never does so because
   others have changed theirs (two servers that put each other's rules out of force).
4. Policy and directory are swapped together, as one value: a request in flight keeps the judgement
   that it has, and its claim asks whether that still holds.
5. The first rules of a store are taken as they are. After that the section `command:` that is in
   force says whether people are asked first, about itself too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gates.core.asked import Person
from gates.core.errors import GatesError, InvalidInput
from gates.core.people import Cover
from gates.core.policy.command import wants_approval
from gates.core.versions import Pair, Texts
from gates.four_eyes import FourEyes
from gates.ports import Directory, RuleFiles, Rules
from gates.service import Gates
from gates.store import versions
from gates.store.repository import Unit
from gates.ticking import Ticking

log = logging.getLogger(__name__)

FILES, READING, FOLLOWING = "policy files", "reading", "policy in force"  # kinds of trouble
ACTOR = "reload"


@dataclass
class Living:
    """A Directory that can be replaced: for those who keep one for as long as the server runs."""

    now: Directory

    def person(self, person_id: str) -> Person:
        return self.now.person(person_id)

    def by_slack(self, team_id: str, user_id: str) -> Person:
        return self.now.by_slack(team_id, user_id)

    def by_email(self, email: str) -> Person:
        return self.now.by_email(email)

    def members(self, groups: Sequence[str], now: datetime | None = None) -> Sequence[Person]:
        return self.now.members(groups, now)

    @property
    def cover(self) -> Cover:
        return self.now.cover


@dataclass
class Reloading(Ticking):
    """`every`: seconds between looks at the files and at the store."""

    gates: Gates
    files: RuleFiles
    living: Living
    eyes: FourEyes
    every: float = 1.0
    _raw: str = ""  # names the files' letters as they were looked at last
    _glimpsed: str = ""  # of a change that was seen once, and may still be being written
    _local: tuple[Pair, Texts] | None = None  # what the files say, while it is not in force
    _seq: int = 0

    def begin(self, texts: Texts, loaded: Rules) -> None:
        """The server starts with these files: they come into force, or what is goes on."""
        self._raw = texts.raw
        self._offer(texts, loaded, starts=True)
        self._follow()

    def tick(self) -> None:
        try:
            self.look()
        except Exception:
            log.exception("reload: the store did not answer; trying again")

    def look(self) -> None:
        """Once at the store, once at the files."""
        self._follow()
        try:
            texts = self.files.texts()
        except GatesError as error:
            self._trouble(READING, error.message, error.message)
            return
        self.gates.troubles.pop(READING, None)
        if texts.raw not in (self._raw, self._glimpsed):
            self._glimpsed = texts.raw
        elif texts.raw != self._raw:
            self._changed(texts)
        elif self._local is not None:
            self._ask(*self._local, again=False)
        self._follow()

    def _changed(self, texts: Texts) -> None:
        try:
            loaded = self.files.load(texts)
        except GatesError as error:
            self._raw = texts.raw
            self._trouble(FILES, texts.raw, error.message)
            return
        self.gates.troubles.pop(FILES, None)
        self._offer(texts, loaded)
        self._raw = texts.raw

    # -- what the files say -----------------------------------------------------------------

    def _offer(self, texts: Texts, loaded: Rules, *, starts: bool = False) -> None:
        pair = Pair(loaded.policy.digest, loaded.people)
        ask = False
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            versions.lock(session)
            now = versions.in_force(session)
            versions.keep(session, pair, texts, unit.now)
            if now is not None and not pair.same(now):
                ask = self._wants(unit, now, pair, loaded)
            if ask and starts and versions.was_in_force(session, pair):
                self._trouble_now("the files are an earlier version than the one in force")
                return
            if now is None or not (ask or pair.same(now)):
                by = "the first start" if now is None else "the files"
                versions.put_in_force(session, pair, by, unit.now)
                unit.log(ACTOR, "rules.in_force", pair.policy, people=pair.people, by=by)
            if not ask:
                self.eyes.withdraw_rules(unit, "", "the files have changed again")
        self._local = (pair, texts) if ask else None
        if ask:
            self._ask(pair, texts, again=not starts)

    def _wants(self, unit: Unit, now: Pair, pair: Pair, loaded: Rules) -> bool:
        """By the section that is in force in the store, whatever this server goes by yet.

        Where this release cannot read what is in force there is nobody to ask by it: the files
        are taken, and the log says that nobody was asked, and why.
        """
        texts = versions.texts_of(unit.session, now)
        try:
            before = self.files.load(texts).policy.command if texts else None
        except GatesError as error:  # an older release took what this one does not
            log.warning("reload: what was in force cannot be read any more: %s", error)
            unit.log(ACTOR, "rules.not_asked", now.policy, why=error.message)
            before = None
        if before is None:
            return False
        return wants_approval(
            before,
            loaded.policy.command,
            policy=now.policy != pair.policy,
            directory=now.people != pair.people,
        )

    def _ask(self, pair: Pair, texts: Texts, *, again: bool) -> None:
        """People are asked, in a transaction of its own: once, however often this is called."""
        self._follow()
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            versions.lock(session)
            if pair.same(versions.in_force(session)):
                self._local = None
                self.gates.troubles.pop(FILES, None)
                return
            try:
                asked = self.eyes.rules_wanted(unit, pair, texts, again=again)
            except GatesError as error:
                self._trouble_now(f"the files differ, and nobody can agree: {error.message}")
                return
            if again:
                self.eyes.withdraw_rules(unit, asked, "the files have changed again")
        self._trouble_now(f"the files differ from what is in force; request {asked[:8]} asks")

    # -- what is in force -------------------------------------------------------------------

    def _follow(self) -> None:
        """Go by what is in force in the store."""
        with self.gates.database.read() as session:
            pair = versions.in_force(session)
            if pair is None or pair.seq == self._seq:
                return
            texts = versions.texts_of(session, pair)
        try:
            loaded = self.files.load(_there(texts, pair))
        except GatesError as error:
            self.gates.troubles[FOLLOWING] = error.message
            log.error("reload: what is in force cannot be taken here: %s", error)  # noqa: TRY400 - made for people
            return
        self.gates.troubles.pop(FOLLOWING, None)
        self.living.now = loaded.directory
        self.gates.asking = replace(
            self.gates.asking, policy=loaded.policy, directory=loaded.directory
        )
        self._seq = pair.seq
        log.info("policy %s is in force", pair.policy[:12])

    # -- trouble ----------------------------------------------------------------------------

    def _trouble_now(self, words: str) -> None:
        self.gates.troubles[FILES] = words

    def _trouble(self, kind: str, subject: str, words: str) -> None:
        """For health and pages; once, whichever server sees it first, in the log."""
        if self.gates.troubles.get(kind) == words:
            return
        self.gates.troubles[kind] = words
        log.error("reload: the old rules go on: %s", words)
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            if not versions.logged(session, "rules.refused", subject):
                unit.log(ACTOR, "rules.refused", subject[:64], why=words)


def _there(texts: Texts | None, pair: Pair) -> Texts:
    if texts is None:
        raise InvalidInput(f"Policy {pair.policy[:12]} is in force and not in the store.")
    return texts
