"""Writes the frozen stores beside this file: what a release leaves to the next ones.

Run it with the code of that release, whose schema is at the revision in the file's name:

    git worktree add ../old COMMIT
    PYTHONPATH=../old python tests/support/stores/make.py store_0001.json

Rows as JSON, so that one file serves SQLite and PostgreSQL. Never made again with newer code:
that would be another store.
"""

import hashlib
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from gates.cards import Cards, Notice
from gates.core.messages import AttemptReport
from gates.outbox import Outbox
from gates.store.database import Database
from tests.support.world import World


class Story:
    """One store in the making. Each request has a run of its own, `run-LABEL`."""

    def __init__(self, database: Database) -> None:
        self.database, self.world, self.ids = database, World(database), {}

    def ask(self, label: str, amount: str, **more: object) -> str:
        self.world.run = f"run-{label}"
        self.ids[label] = self.world.propose(amount, **more).view.request.id
        return self.ids[label]

    def claim(self, label: str, amount: str) -> None:
        self.world.run = f"run-{label}"
        self.world.gates.claim(self.world.flow, self.ids[label], self.world.proposal(amount))

    def tell(self) -> None:
        self.ended()
        self.under_way()
        self.asked()
        self.around()

    def ended(self) -> None:
        world = self.world
        self.ask("done", "500.00")
        world.perform(world.lease())
        world.decide(self.ask("approved-done", "5005.00"), "dana")
        self.claim("approved-done", "5005.00")
        world.perform(world.lease())
        self.ask("failed", "502.00")
        world.till.broken = "the drawer is stuck"
        world.perform(world.lease())
        world.till.broken = ""
        world.decide(self.ask("rejected", "5003.00"), "dana", "reject", "not ours")
        world.gates.withdraw(self.ask("withdrawn", "5004.00"), "admin", "sent twice")
        self.ask("expired", "5006.00")
        world.clock.advance(hours=2)
        world.gates.expire()

    def under_way(self) -> None:
        world = self.world
        self.ask("unclear", "506.00")
        world.work.lease(world.executor, uuid4().hex, ["till.pay"], 1)
        own = {"name": "note", "in_process": True, "arguments": {"text": "own"}}
        self.ask("own", "0", **own, attempt_id="own-attempt", lease_seconds=1)
        world.clock.advance(seconds=20)
        world.work.lapse()  # the first is in doubt now, and people are asked about the second
        world.clock.advance(seconds=20)
        job = world.lease()
        told = AttemptReport(state="unclear", fence=job.grant.fence, error="cannot tell")
        world.work.report(world.executor, job.grant.attempt_id, told)
        self.ask("lapsed", "501.00")
        world.work.lease(world.executor, uuid4().hex, ["till.pay"], 1)
        world.clock.advance(seconds=2)
        world.work.lapse()
        self.ask("executing", "503.00")
        world.lease()
        self.ask("queued", "505.00")

    def asked(self) -> None:
        world = self.world
        world.decide(self.ask("one-of-two", "20000.00"), "dana")
        world.gates.suspending(world.flow, self.ask("asleep", "5000.00"))
        world.decide(self.ask("approved", "5001.00"), "dana")
        world.gates.suspending(world.flow, self.ask("approved-asleep", "5002.00"))
        world.decide(self.ids["approved-asleep"], "mika")

    def around(self) -> None:
        world, asked = self.world, self.ids["one-of-two"]
        world.access.create_key("admin", "admin")
        world.access.revoke_key(world.key("flow", "left-agent").key_id)
        world.access.redeem_link(world.access.create_link("dana"))
        world.access.create_link("mika")
        cards = Cards(self.database, world.clock)
        cards.issue(asked, "slack", 2, {"blocks": []})
        cards.shown("slack", Notice(asked, "C1", "17.1", 2))
        cards.settle_click(cards.record_click("slack", {"user": "U1"}), "approved")
        cards.record_click("slack", {"user": "U9"})
        outbox = Outbox(self.database, {"cards": lambda _id: True}, world.clock)
        for _ in range(3):
            outbox.work("cards")


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gates.sqlite"
        database = Database(f"sqlite:///{file}")
        database.migrate()
        story = Story(database)
        story.tell()
        database.close()
        connection = sqlite3.connect(file)
        connection.row_factory = sqlite3.Row
        made = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
        )
        schema = hashlib.sha256("\n".join(row["sql"] for row in made).encode()).hexdigest()
        names = [
            row["name"]
            for row in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
                " AND name NOT IN ('alembic_version', 'sqlite_sequence') ORDER BY name"
            )
        ]
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        tables = {
            name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]  # noqa: S608
            for name in names
        }
        connection.close()
    held = {"revision": revision, "schema": schema, "requests": story.ids, "tables": tables}
    out.write_text(json.dumps(held, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(__file__).with_name(sys.argv[1]))
