"""What a rule pays that reads `history` or `exposure`, beside a year of one agent's payments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, text

from gates.circumstances import Exposure, History
from gates.core.model import Action, Money, Requester, RunRef
from gates.core.policy import Question
from gates.store.database import Database
from gates.store.rows import names, new, table
from gates.store.tables import ExecutionRow, RequestRow, RunRow
from tests.benchmarks.figures import Report, Row, say
from tests.benchmarks.houses import folder, postgres_database
from tests.benchmarks.policies import timed
from tests.support.policies import policy

NUMBER = 50_000  # payments in a year
COUNTERPARTIES = 250
DAYS = 365
P95 = 10.0  # ms
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
RULES = """\
  - name: sums
    on: erp.payment.submit
    when: exposure.week.minor > 1 && exposure.day.count > 1 && history.duplicates > 1
    verdict: forbid
    because: x
"""
HEAD = """\
version: 1
defaults: {tier: ambiguous, ask: {who: [ap], deadline: 24h}}
exposure:
  week: {by: [counterparty], window: 7d}
  day: {by: [agent], window: 24h}
rules:
"""


def run() -> Report:
    report = Report(f"History: one question beside {NUMBER:,} payments of one agent", upper=0.95)
    with folder() as home:
        measure(report, f"sqlite:///{home / 'gates.sqlite'}", "SQLite")
    with postgres_database() as url:
        if url is not None:
            measure(report, url, "PostgreSQL")
    return report


def measure(report: Report, url: str, kind: str) -> None:
    say(f"history: {kind}")
    database = Database(url)
    database.migrate()
    fill(database)
    rules = policy(RULES, HEAD)
    asked, run_ = question(), RunRef(run_id="r", root_run_id="r")
    sums, past = Exposure(database, lambda: rules), History(database)
    report.rows += [
        Row(f"exposure, two windows, {kind}", look(lambda: sums.look(asked, run_, NOW)), p95=P95),
        Row(f"history, {kind}", look(lambda: past.look(asked, run_, NOW)), p95=P95),
    ]
    database.close()


def look(call: Any) -> list[float]:
    return timed(call, number=500, warm=20)


def question() -> Question:
    return Question(
        action=Action(name="erp.payment.submit", arguments={"supplier": "S7"}),
        amount=Money(minor=50_000),
        claims={},
        facts={},
        requester=Requester(agent="invoice-agent"),
        counterparty="S7",
        gate="mine",
    )


def fill(database: Database) -> None:
    """All of them approved by the policy, and done."""
    with database.write() as session:
        run_ = new(RunRow, root_run_id="r", key_id="k", opened_at=NOW)
        connection = session.connection()
        connection.execute(insert(table(RunRow)).values(_values(RunRow, run_)))
        for page in pages():
            connection.execute(insert(table(RequestRow)), [one for one, _ in page])
            connection.execute(insert(table(ExecutionRow)), [done for _, done in page])
    with database.write() as session:
        session.connection().execute(text("ANALYZE"))


def pages() -> Iterator[list[tuple[dict[str, Any], dict[str, Any]]]]:
    for start in range(0, NUMBER, 5_000):
        yield [payment(index) for index in range(start, start + 5_000)]


def payment(index: int) -> tuple[dict[str, Any], dict[str, Any]]:
    at = NOW - timedelta(days=DAYS * (NUMBER - index) / NUMBER)
    request = new(
        RequestRow,
        id=f"{index:032x}",
        gate_id=f"{index:032x}",
        round=1,
        root_run_id="r",
        purpose="action",
        action="erp.payment.submit",
        fingerprint=f"{index:064x}",
        asks_people=False,
        opened_at=at,
        body="{}",
        outcome="approved",
        outcome_body="{}",
        settled_at=at,
        agent="invoice-agent",
        counterparty=f"S{index % COUNTERPARTIES}",
        amount_minor=40_000 + index % 20_000,
        currency="EUR",
    )
    done = new(ExecutionRow, request_id=request.id, state="succeeded", queued_at=at)
    return _values(RequestRow, request), _values(ExecutionRow, done)


def _values(kind: Any, row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names(kind)}
