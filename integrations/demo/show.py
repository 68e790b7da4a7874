"""The demo as one sees it: invoices run through, some wait for people, people decide.

`auto` lets named people of the demo decide and then holds the ERP's own books against what
was approved: the books are the proof, not the flow's word.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gates.client import GatesClient
from gates.core.errors import GatesError
from gates.core.model import DecisionKind, Purpose, RequestView
from integrations.demo.runs import Run, Runs, rests
from integrations.demo.stack import DEPLOYMENT, Stack, down, up
from integrations.demo.trouble import SAMPLES, TROUBLED
from integrations.erp.books import BookEntry, books
from integrations.erp.tryton import TrytonErp
from integrations.invoices.model import Invoice
from integrations.invoices.ubl import read_invoice
from integrations.terminal import print_requests

FIRST = ("acme-steel-routine", "bolt-brothers-routine", "carla-consulting-routine")
LATER = ("acme-steel-large", "bolt-brothers-number-seen-before", TROUBLED.stem)
LOGGED_IN = "dana"
SECONDS = 180.0


class BooksDiffer(GatesError):
    """The ERP's books show something else than what people approved."""

    code = "books_differ"


def show(home: Path, console: Console, *, auto: bool) -> None:
    """Start everything, run the invoices, and say what waits; with `auto`, see it through."""
    stack = up(home, lambda words: console.print(f"[dim]·[/] {words}"))
    runs = Runs(stack.prefect_api)
    try:
        ran = _run(runs, FIRST, console) + _run(runs, LATER, console)
        if auto:
            _decide(stack, console)
            runs.follow(ran, lambda run: run.ended, _teller(console), SECONDS)
            check_books(stack, console)
            return
        _say_what_waits(stack, console)
    except GatesError:
        if auto:
            down(home)
        raise
    finally:
        runs.close()


def _run(runs: Runs, names: Sequence[str], console: Console) -> list[Run]:
    console.print(f"[dim]·[/] {len(names)} invoices: {', '.join(names)}")
    started = runs.start(DEPLOYMENT, [SAMPLES / f"{name}.xml" for name in names])
    return runs.follow(started, rests, _teller(console), SECONDS)


def _teller(console: Console) -> Callable[[Run], None]:
    def tell(run: Run) -> None:
        if rests(run):
            mark = "[green]✓[/]" if run.state == "COMPLETED" else "[yellow]■[/]"
            console.print(f"  {mark} {run.name}: ", end="")
            words = f"{run.state_name}. {run.message}".strip()
            console.print(words, markup=False, highlight=False, soft_wrap=True)

    return tell


# -- for a person ---------------------------------------------------------------------------


def _say_what_waits(stack: Stack, console: Console) -> None:
    with stack.admin() as admin:
        waiting = admin.requests()
        links = {person: admin.login_link(person) for person in (LOGGED_IN, "ines")}
        here = admin.login_link(LOGGED_IN)
    with GatesClient(stack.gates_url, patience=10) as client:
        session = client.log_in(here.rsplit("/", 1)[1])
    _private(stack.home / "session", str(session["token"]))
    console.print("\n[bold]What waits for people[/]")
    print_requests(console, waiting)
    console.print()
    command = _command()
    lines = [
        ("Inbox, as Dana Okafor", links[LOGGED_IN]),
        ("Inbox, as Ines Duarte", links["ines"]),
        ("Prefect UI", stack.prefect_url),
        ("On the command line", f"{command} list"),
        ("  (you are Dana Okafor)", f"{command} approve {_first_id(waiting)}"),
        ("", f'{command} reject {_first_id(waiting)} --reason "..."'),
        ("As a card in Slack", f"{command} slack preview {_first_id(waiting)}"),
        ("To be somebody else", f"{command} login $({command} login-link ines)"),
        ("Logs", str(stack.home / "logs")),
        ("To stop it all", "make down"),
    ]
    console.print("A large bill asks twice: before it is entered, and before it is paid.\n")
    for name, text in lines:
        console.print(f"[bold]{name:24}[/] ", end="")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if os.environ.get("GATES_SLACK_BOT_TOKEN"):
        console.print("The same requests are in Slack.")


def _first_id(waiting: Sequence[RequestView]) -> str:
    mine = [one for one in waiting if _asks(one, LOGGED_IN)]
    return mine[0].request.id[:8] if mine else "ID"


def _asks(view: RequestView, person: str) -> bool:
    return view.request.requirement is not None and person in view.request.requirement.people


def _command() -> str:
    script = Path(sys.executable).with_name("gates")
    try:
        return str(script.relative_to(Path.cwd()))
    except ValueError:
        return str(script)


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


# -- by itself ------------------------------------------------------------------------------


def _answer(view: RequestView) -> tuple[str, DecisionKind, str]:
    """What the demo's people say: who, what and why."""
    if view.request.purpose is Purpose.LOOP:
        return "priya", DecisionKind.REJECT, "A stray draft payment blocks the bill: tidy up first."
    if view.request.facts.get("duplicate_number"):
        return "ines", DecisionKind.REJECT, "We have this number already, with another total."
    return "dana", DecisionKind.APPROVE, "Ordered and delivered; the account is theirs."


def _decide(stack: Stack, console: Console) -> None:
    """Until nothing waits and no run is left that could ask: decisions lead to new questions."""
    console.print("[dim]·[/] now people of the demo decide, by themselves")
    with _people(stack) as people, stack.admin() as admin:
        runs = Runs(stack.prefect_api)
        decided: set[str] = set()
        try:
            while True:
                waiting = [one for one in admin.requests() if one.request.id not in decided]
                for view in waiting:
                    person, kind, reason = _answer(view)
                    people[person].decide(view.request.id, kind, reason)
                    decided.add(view.request.id)
                    name = (
                        view.request.requirement.people[person] if view.request.requirement else ""
                    )
                    what = f"{view.request.action.title}, {view.request.amount}"
                    console.print(f"  {name}: {kind.value} ({what}): {reason}", highlight=False)
                if not waiting and _nothing_left(admin, runs):
                    return
        finally:
            runs.close()


def _nothing_left(admin: GatesClient, runs: Runs) -> bool:
    asked = admin.requests("settled")
    ids = {view.request.run.run_id for view in asked}
    states = [runs.read(Run(one, "", "")) for one in ids]
    if not all(run.ended for run in states):
        runs.pause()
        return False
    return not admin.requests()


@contextmanager
def _people(stack: Stack) -> Iterator[dict[str, GatesClient]]:
    people: dict[str, GatesClient] = {}
    try:
        with stack.admin() as admin:
            for person in ("dana", "ines", "priya"):
                client = GatesClient(stack.gates_url, patience=10)
                token = client.log_in(admin.login_link(person).rsplit("/", 1)[1])["token"]
                client.close()
                people[person] = GatesClient(stack.gates_url, session=str(token), patience=10)
        yield people
    finally:
        for client in people.values():
            client.close()


def check_books(stack: Stack, console: Console) -> None:
    """Raises BooksDiffer where the ERP shows anything but what was approved, once."""
    erp = TrytonErp(stack.company.connect(stack.erp_url, "reader"))
    try:
        entries = books(erp)
    finally:
        erp.close()
    wrong = list(_differences(entries))
    table = Table("Supplier", "Number", "Total", "State", "Paid", title="The ERP's own books")
    for entry in entries:
        table.add_row(entry.supplier, entry.number, str(entry.total), entry.state, str(entry.paid))
    console.print(table)
    if wrong:
        raise BooksDiffer("The books are not as approved: " + "; ".join(wrong) + ".")
    console.print("[green]The books show what was approved, once, and nothing of the rest.[/]")


def _differences(entries: Sequence[BookEntry]) -> Iterator[str]:
    approved = [read_invoice(SAMPLES / f"{name}.xml") for name in (*FIRST, "acme-steel-large")]
    for invoice in approved:
        found = [entry for entry in entries if _same(entry, invoice)]
        paid = [payment for entry in found for payment in entry.payments]
        amounts = [payment.amount for payment in paid if payment.state == "succeeded"]
        if len(found) != 1 or found[0].state != "paid" or amounts != [invoice.totals.payable]:
            yield f"{invoice.number}: {len(found)} bill(s), paid {amounts}"
    troubled = read_invoice(TROUBLED)
    for entry in entries:
        if any(_same(entry, invoice) for invoice in approved):
            continue
        if not _same(entry, troubled) or entry.paid != Decimal():
            yield f"{entry.number}: nobody approved {entry.total} ({entry.state})"


def _same(entry: BookEntry, invoice: Invoice) -> bool:
    return entry.number == invoice.number and entry.total == invoice.totals.payable
