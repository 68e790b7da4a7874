"""Runs that need help: ended with questions open, crashed with something unfinished, or dead
although the engine takes them for running.

What is true of a run comes from three sides, and none alone is believed: the engine says in
which state it is; our rows say what happened to its requests; and the flow itself is heard of
when it calls. A run that is silent while something waits for it is taken for dead and started
again. It may be alive after all, busy with something that is no gate. Then two processes are at
work on one run, and gates keep them apart: a grant has one holder, a lapsed lease is a question
and no second try, and both get the same answers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gates.core.errors import Unavailable
from gates.ports import RunKeeper, RunSeen
from gates.service import Gates
from gates.store import runs
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit
from gates.store.runs import Followed
from gates.ticking import Ticking
from gates.withdrawing import WATCH, left_by_its_run

log = logging.getLogger(__name__)

PAGE = 200  # runs that are looked at at once
CALM = timedelta(seconds=12)  # a process that outlived its worker calls at least so often
MOST_STARTS = 25  # of one run, before a person has to see what it dies of


@dataclass
class Watch(Ticking):
    """`every`: seconds between looks, each at a page of the runs that have not ended. `silence`:
    after so long without a word a run that something waits for is taken for dead.
    """

    gates: Gates
    keeper: RunKeeper
    every: float = 5.0
    silence: timedelta = timedelta(seconds=60)
    _after: str = ""
    _strangers: set[str] = field(default_factory=set)

    def tick(self) -> None:
        try:
            self.look()
        except Unavailable as error:
            log.warning("watch: %s", error)
        except Exception:
            log.exception("watch: trying again")

    def look(self) -> int:
        """Look at one page of runs; at how many. Raises Unavailable."""
        heard, self.gates.heard = self.gates.heard, {}
        if heard:
            with self.gates.database.write() as session:
                runs.heard_of(Unit(session, self.gates.clock()), heard)
        with self.gates.database.read() as session:
            page = runs.followed(Unit(session, self.gates.clock()), self._after, PAGE)
        self._after = page[-1].root_run_id if len(page) == PAGE else ""
        seen = self.keeper.look([run.root_run_id for run in page])
        for run in page:
            try:
                self._help(run, seen.get(run.root_run_id))
            except Unavailable:
                raise
            except Exception:  # one that cannot be helped must not hold up the others
                log.exception("watch: run %s", run.root_run_id)
        return len(page)

    def _help(self, run: Followed, seen: RunSeen | None) -> None:
        if seen is None:
            return
        if seen.over:
            self._over(run, seen)
        elif seen.state == "CRASHED" and seen.restarts:
            quiet = max(seen.at, self._last_heard(run)) + CALM <= self.gates.clock()
            if quiet and (run.open or self._waits(run)) and seen.starts < MOST_STARTS:
                words = "Something waits here for a run that crashed: it starts again."
                done = self.keeper.start_again(run.root_run_id, words)
                self._note(run, "run.started_again", done=done)
        elif seen.state == "RUNNING" and seen.restarts and self._waits(run):
            silent = self.gates.clock() - max(seen.at, self._last_heard(run))
            if silent > self.silence:
                words = f"No word from its process for {silent.total_seconds():.0f} seconds."
                done = self.keeper.call_dead(run.root_run_id, words)
                self._note(run, "run.taken_for_dead", done=done)

    def _over(self, run: Followed, seen: RunSeen) -> None:
        """Twice, where the engine does not know the run: it may just be another engine."""
        if seen.state or run.root_run_id in self._strangers:
            self._strangers.discard(run.root_run_id)
            self.end(run.root_run_id, seen.over)
        elif self.gates.clock() - self._last_heard(run) > self.silence:
            self._strangers.add(run.root_run_id)

    @staticmethod
    def _last_heard(run: Followed) -> datetime:
        return run.seen_at or run.opened_at

    def _waits(self, run: Followed) -> bool:
        """Whether something is under way for the run, or has happened that it has not heard of."""
        unheard = run.news_at is not None and run.news_at > self._last_heard(run)
        return run.under_way or run.unused or unheard

    def _note(self, run: Followed, kind: str, *, done: bool) -> None:
        if done:
            with self.gates.database.write() as session:
                unit = Unit(session, self.gates.clock())
                unit.log(WATCH, kind, run.root_run_id)
                runs.ringing(unit, run.root_run_id)

    def end(self, root_run_id: str, words: str) -> list[str]:
        """Withdraw what a run has left behind: what is open, approvals that nobody has used, and
        work that no executor has begun. Their ids.
        """
        ended: list[Aggregate] = []
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            for request_id in runs.left_behind(unit, root_run_id):
                one = unit.load(request_id, lock=True)
                one.row.asleep, one.row.collected = False, True
                if left_by_its_run(self.gates, unit, one, words):
                    ended.append(one)
                else:
                    unit.touch(one)
            runs.ended(unit, root_run_id)
            ids = [one.request.id for one in ended]
            unit.log(WATCH, "run.ended", root_run_id, why=words, withdrawn=ids)
        for one in ended:
            self.gates.woken(one.row.gate_id)
        return ids
