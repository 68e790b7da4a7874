"""When somebody is reminded of what they have not decided, and with which words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from gates.core.model import RequestView
from gates.core.wording import unless_objected
from gates.web.words import question
from integrations.slack.digest import Block, context, row, walk_button
from integrations.slack.text import escape

NAMED = 10


def quiet(hours: str) -> tuple[int, int] | None:
    """`22-7`: from ten in the evening to seven; nothing where it is empty."""
    first, dash, last = hours.partition("-")
    return (int(first), int(last)) if dash and first != last else None


def moment(
    opened: datetime,
    deadline: datetime,
    lead: timedelta,
    zone: ZoneInfo,
    hours: tuple[int, int] | None,
) -> datetime | None:
    """`lead` before the deadline, but not in the quiet hours: then after them if that is in time,
    else before them. None where there is no such moment.
    """
    return awake(deadline - min(lead, (deadline - opened) / 2), opened, deadline, zone, hours)


def awake(
    at: datetime,
    opened: datetime,
    deadline: datetime,
    zone: ZoneInfo,
    hours: tuple[int, int] | None,
) -> datetime | None:
    """`at`, or when they are awake, as in `moment`."""
    if hours is None:
        return at
    night = _night(at, zone, hours)
    if night is None:
        return at
    begins, ends = night
    if ends < deadline:
        return ends
    return begins - timedelta(minutes=1) if begins - timedelta(minutes=1) > opened else None


def _night(
    at: datetime, zone: ZoneInfo, hours: tuple[int, int]
) -> tuple[datetime, datetime] | None:
    """The quiet hours around a moment, if it falls into them."""
    local = at.astimezone(zone)
    for back in (0, 1):
        day = local.date() - timedelta(days=back)
        begins = datetime.combine(day, time(hours[0]), zone)
        after = day + timedelta(days=1 if hours[1] <= hours[0] else 0)
        ends = datetime.combine(after, time(hours[1]), zone)
        if begins <= local < ends:
            return begins, ends
    return None


def reminder(views: Sequence[RequestView]) -> tuple[str, list[Block]]:
    """Text and blocks about what somebody has not decided and soon expires."""
    ends = "runs" if all(unless_objected(one.request) for one in views) else "expires"
    what = (
        f"This {ends} soon"
        if len(views) == 1
        else f"{len(views):,} requests {ends.removesuffix('s')} soon"
    )
    words = f"{what}, and you are asked: {question(views[0])}"
    blocks: list[Block] = [context(f"*{escape(words)}*")]
    for view in views[:NAMED]:
        blocks += row(view)
    if len(views) > NAMED:
        blocks.append(context(f"… and {len(views) - NAMED:,} more"))
    first = views[0].request.id
    blocks.append({"type": "actions", "elements": [walk_button("Look", first)]})
    return escape(words), blocks
