"""`gates standing`: approve beforehand, within limits; see and end what was approved so."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from gates.actions import describe
from gates.core.errors import InvalidInput
from gates.core.model import Money
from gates.core.standing import Limits, StandingApproval, covers, number_of
from integrations.shell import AsJson, as_person, out
from integrations.terminal import plain, told

app = typer.Typer(help="What people approve beforehand, within limits.", no_args_is_help=True)
_SPAN = re.compile(r"([0-9]{1,4})([hd])")
Many = list[str] | None


@app.command()
def give(
    rule: Annotated[list[str], typer.Option(help="A rule that it lifts; may be repeated.")],
    on: Annotated[list[str], typer.Option(help="An action, with `*`; may be repeated.")],
    ends: Annotated[str, typer.Option("--for", help="How long: 12h, 30d.")],
    reason: Annotated[str, typer.Option(help="Why; it is in the log.", prompt=True)],
    counterparty: Annotated[Many, typer.Option(help="Only with this one; may be repeated.")] = None,
    agent: Annotated[Many, typer.Option(help="Only for this agent; may be repeated.")] = None,
    uses: Annotated[int, typer.Option(help="How often at most.", min=0)] = 0,
    each: Annotated[str, typer.Option(help="How much at most each time: 500.00.")] = "",
    total: Annotated[str, typer.Option(help="How much at most in all: 2000.00.")] = "",
    currency: Annotated[str, typer.Option(help="Of these amounts.")] = "EUR",
    as_json: AsJson = False,
) -> None:
    """Approve beforehand what a rule would ask, as the person who is logged in."""
    with told(), as_person() as client:
        limits = _limits(
            rules=tuple(rule),
            on=tuple(on),
            ends_at=_end(ends),
            counterparties=tuple(counterparty or ()),
            agents=tuple(agent or ()),
            uses=uses,
            each=_money("each", each, currency),
            total=_money("total", total, currency),
        )
        made = client.give_standing(limits.model_dump(mode="json"), reason)
        if as_json:
            sys.stdout.write(json.dumps(made) + "\n")
            return
        out.print(f"Given: {made['id']}. `gates standing revoke {made['id']}` ends it.")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """All standing approvals, the newest first."""
    with told(), as_person() as client:
        found = client.standing()
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
            return
        for one in found:
            lines = [f"{one['id']} by {one['name']}: {one['reason']}"]
            lines += [f"    {line}" for line in (*covers(_read(one)), one["over"]) if line]
            for line in lines:
                out.print(plain(line), markup=False, highlight=False, soft_wrap=True)
        if not found:
            out.print("Nobody has approved anything beforehand.")


@app.command()
def revoke(standing: Annotated[str, typer.Argument(help="Such as S-12.")]) -> None:
    """End a standing approval; what was not yet begun asks people."""
    with told(), as_person() as client:
        client.revoke_standing(f"S-{number_of(standing)}")
        out.print(f"{standing} is revoked.", markup=False, highlight=False)


def _limits(**values: Any) -> Limits:
    try:
        return Limits(**values)
    except ValidationError as error:
        raise InvalidInput(describe(error)) from error


def _read(one: dict[str, Any]) -> StandingApproval:
    known = {name: value for name, value in one.items() if name not in ("id", "over")}
    return StandingApproval(number=number_of(one["id"]), **known)


def _end(span: str) -> datetime:
    found = _SPAN.fullmatch(span)
    if found is None:
        raise InvalidInput(f"--for {span!r} is not a time: write 12h or 30d.")
    hours = int(found[1]) * (24 if found[2] == "d" else 1)
    return datetime.now(UTC) + timedelta(hours=hours)


def _money(name: str, text: str, currency: str) -> Money | None:
    if not text:
        return None
    try:
        return Money.of(Decimal(text), currency)
    except InvalidOperation:
        raise InvalidInput(f"--{name} {text!r} is not an amount: write 500.00.") from None
