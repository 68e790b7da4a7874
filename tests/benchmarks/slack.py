"""Slack: how soon a click is acknowledged under load, and how a burst of requests comes out.

The gates server is a process of its own; Slack is the sandbox, in this one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

from integrations.slack.blocks import APPROVE
from integrations.slack.digest import WALK
from integrations.slack.transport import PATH
from tests.benchmarks.figures import Fact, Report, Row, say
from tests.benchmarks.houses import House, folder, gates_server
from tests.benchmarks.proposing import flow, question
from tests.support.slack_server import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, Delivery, SlackSandbox
from tests.support.slack_server.workspace import Channel, Limits, User

A_SECOND = 50
SECONDS = int(os.environ.get("GATES_BENCH_SECONDS", "60"))
CARDS = 40
WITHIN = 500.0  # ms, for the 99th of a hundred clicks
BURST = 500
FASTER = 4  # so many times as fast as Slack is the sandbox, for cards one by one
TEAM = "T0DEMO"


def clicks() -> Report:
    report = Report(
        f"Slack: {A_SECOND} clicks a second for {SECONDS} s, until each is acknowledged",
        upper=0.99,
    )
    for mode in ("http", "socket"):
        with house(mode, Limits(post_interval=0.0), digest_after=0, pace=0) as (
            slack,
            server,
            all_,
        ):
            channel, people = all_
            runs = [uuid4().hex for _ in range(CARDS)]
            propose(server, runs)
            slack.wait_for(lambda c=channel: len(slack.messages(c)) >= CARDS, "the cards", 120)
            if mode == "socket":
                slack.wait_connected()
            say(f"{mode}: clicking")
            done = clicked(slack, channel, people)
        taken = [one.seconds * 1000 for one in done if one.acked]
        report.rows.append(Row(mode, taken))
        report.facts.append(
            Fact(f"p99 over {mode}", report.rows[-1].quantile(0.99), "ms", most=WITHIN)
        )
        report.facts.append(
            Fact(f"Not acknowledged over {mode}", len(done) - len(taken), "", most=0)
        )
    report.notes.append(
        f"Two people take turns in clicking Approve on {CARDS} cards: the first click on each "
        "decides, and whoever has not is told so. SQLite; the sandbox clicks from its own process "
        "and limits no method here."
    )
    return report


def clicked(slack: SlackSandbox, channel: Channel, people: list[User]) -> list[Delivery]:
    cards = slack.messages(channel)
    began = time.monotonic()

    def click(number: int) -> Delivery:
        turn, place = divmod(number, len(cards))
        person, card = people[turn % len(people)], cards[place]
        payload = slack.click_payload(person, card, APPROVE, version=0)
        time.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
        return slack.deliver(payload)

    with ThreadPoolExecutor(32) as threads:
        return list(threads.map(click, range(A_SECOND * SECONDS)))


def burst() -> Report:
    report = Report(f"Slack: {BURST} requests in a burst, until the channel shows all of them")
    alone(report)
    together(report)
    return report


def alone(report: Report) -> None:
    """A card each, at a Slack that takes more posts a second than the real one."""
    pace = 1.0 / FASTER
    with house("http", Limits(post_interval=pace), digest_after=0, pace=pace) as (
        slack,
        server,
        all_,
    ):
        slack.space.limits.per_minute.clear()
        slack.space.limits.per_minute["chat.postMessage"] = 100_000
        channel, _ = all_
        runs = [uuid4().hex for _ in range(BURST)]
        began = time.monotonic()
        ids = propose(server, runs)
        proposed = time.monotonic() - began
        slack.wait_for(lambda: len(slack.messages(channel)) >= BURST, "all cards", 300)
        spent = time.monotonic() - began
        cards = sorted(slack.messages(channel), key=lambda one: float(one.ts))
        shown = [one.metadata["event_payload"]["request_id"] for one in cards if one.metadata]
    report.facts += [
        Fact("Proposed", BURST / proposed, "requests a second"),
        Fact("A card each, of what the rate allows", 100 * BURST * pace / spent, "%", least=80),
        Fact("Cards that are there twice", len(shown) - len(set(shown)), "", most=0),
        Fact(
            "Cards out of order", sum(a != b for a, b in zip(shown, ids, strict=True)), "", most=0
        ),
        Fact("Calls that Slack refused for their pace", slack.space.refused, "", most=5),
    ]
    report.notes.append(
        f"A card each: at a Slack {FASTER} times as fast as the real one, which takes one post a "
        f"second in a channel and so {BURST // 60} minutes for {BURST}."
    )


def together(report: Report) -> None:
    """As a digest, at Slack's own rates."""
    with house("http", Limits()) as (slack, server, all_):
        channel, _ = all_
        began = time.monotonic()
        propose(server, [uuid4().hex for _ in range(BURST)])
        slack.wait_for(lambda: counted(slack, channel) >= BURST, "the digest", 120)
        spent = time.monotonic() - began
        posts = len(slack.messages(channel))
    report.facts += [
        Fact("As cards and one digest, at Slack's own pace", spent, "s", most=60),
        Fact("Messages", posts, "", most=25),
        Fact("Requests that the channel counts", counted(slack, channel), ""),
    ]


def counted(slack: SlackSandbox, channel: Channel) -> int:
    """Cards, and what the digests say that they are about."""
    found = 0
    for message in slack.messages(channel):
        told = re.search(r"([0-9,]+) requests? came in", message.text)
        found += int(told[1].replace(",", "")) if told else 1
        assert bool(told) == message.has_button(WALK)
    return found


def propose(server: House, runs: list[str]) -> list[str]:
    """One after the other, so that their order is known."""
    with flow(server) as client:
        return [client.propose(question(run)).view.request.id for run in runs]


@contextmanager
def house(
    mode: str, limits: Limits, **more: float
) -> Iterator[tuple[SlackSandbox, House, tuple[Channel, list[User]]]]:
    """A gates server that knows the sandbox for Slack, with Dana and Mika in a channel."""
    if not limits.post_interval:
        limits.per_minute.clear()
        limits.per_minute.default_factory = lambda: 1_000_000
    with folder() as home, SlackSandbox(limits=limits, team_id=TEAM) as slack:
        people = [
            slack.add_user(one, f"{one}.x@example.com", id=f"U0{one.upper()}")
            for one in ("dana", "mika")
        ]
        channel = slack.add_channel("approvals", *people)
        settings = {
            "BOT_TOKEN": BOT_TOKEN,
            "APP_TOKEN": APP_TOKEN,
            "SIGNING_SECRET": SIGNING_SECRET,
            "API_BASE_URL": slack.base_url,
            "CHANNEL": channel.id,
            "TEAM_IDS": TEAM,
            "MODE": mode,
        } | {name.upper(): str(value) for name, value in more.items()}
        environment = {f"GATES_SLACK_{name}": value for name, value in settings.items()}
        with gates_server(home, **environment) as server:
            if mode == "http":
                slack.app_url = server.url + PATH
            yield slack, server, (channel, people)
