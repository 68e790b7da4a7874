"""A small company on the real service, the real store and real bolt, against the sandbox.

`Office` is what the composition root builds, as far as Slack is concerned: gates server,
outbox, notifier and desk on a SQLite file, over one of the two transports.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from fastapi import FastAPI

from gates.actions import Registry
from gates.announcing import Announcing
from gates.asking import Asking
from gates.cards import Cards
from gates.core.messages import Proposal
from gates.core.model import GateReply, Requester, RequestView, RunRef
from gates.core.people import load_people
from gates.core.policy import load_policy
from gates.outbox import Outbox
from gates.ports import Shown
from gates.service import CARDS, Gates, KeyHolder, utc_now
from gates.store.database import Database
from integrations.slack.app import SlackDesk
from integrations.slack.groups import SlackDirectory
from integrations.slack.notifier import SlackNotifier
from integrations.slack.settings import SlackSettings
from integrations.slack.transport import PATH, web_client
from tests.support.empty import empty_sqlite
from tests.support.prefect import until
from tests.support.slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    SIGNING_SECRET,
    Channel,
    Limits,
    Message,
    SlackSandbox,
    User,
)
from tests.support.world import Clock

MANIFEST = Path(__file__).parents[2] / "integrations" / "slack" / "manifest.yaml"
TEAM = "T0SANDBOX"
PEOPLE = f"""
version: 1
groups: {{ap: pays, others: do something else}}
people:
  - {{id: amara, name: Amara Obi, slack: {TEAM}/U0AMARA, groups: [ap]}}
  - {{id: bruno, name: Bruno Paz, slack: {TEAM}/U0BRUNO, groups: [ap]}}
  - {{id: dana, name: Dana Ito, slack: {TEAM}/U0DANA, groups: [ap]}}
  - {{id: chen, name: Chen Wu, slack: {TEAM}/U0CHEN, groups: [others]}}
  - {{id: gus, name: Gus Tee, slack: {TEAM}/U0GUS, groups: [ap]}}
"""
POLICY = """
version: 1
defaults: {{tier: {tier}, ask: {{who: [ap], quorum: {quorum}, deadline: 4h{more}}}}}
rules:
  - name: everything
    on: erp.payment.submit
    when: "true"
    verdict: require_approval
    because: "It pays"
"""


@dataclass
class Office:
    """One company: `people` are their Slack accounts; `dana` is whom the agent acts for."""

    slack: SlackSandbox
    settings: SlackSettings
    database: Database
    gates: Gates
    cards: Cards
    directory: SlackDirectory
    notifier: SlackNotifier
    outbox: Outbox
    channel: Channel
    people: dict[str, User]
    clock: Clock = field(default_factory=Clock)

    def ask(self, key: str = "pay", **changes: Any) -> RequestView:
        """Propose an action that needs people, and return the request."""
        return self.propose(key, **changes).view

    def propose(self, key: str = "pay", **changes: Any) -> GateReply:
        caller = KeyHolder("k1", "flow", Requester(agent="invoice-agent", on_behalf_of="dana"))
        proposal = {
            "name": "erp.payment.submit",
            "title": "Pay Acme 505.75 EUR",
            "arguments": {"supplier": "Acme", "amount": "505.75"},
            "claims": {"confidence": "0.4"},
            "run": RunRef(run_id="run-1", root_run_id="run-1"),
            "key": key,
            "attempt_id": f"attempt-{key}",
            "in_process": True,
        }
        reply = self.gates.propose(caller, Proposal.model_validate(proposal | changes))
        self.outbox.ring()
        return reply

    def card(self) -> Message:
        """Wait for the newest card in the channel."""
        return self.slack.wait_message(self.channel)

    def wait_settled(self, seconds: float = 60.0) -> None:
        """Wait until every click has been worked on, and who clicked has been answered."""
        until(lambda: not self.cards.clicks_unprocessed(), seconds)

    def wait_decided(self, request_id: str, seconds: float = 10.0) -> RequestView:
        """Wait until the card has lost its buttons: the outcome has reached everybody."""

        def decided() -> bool:
            cards = self.slack.messages(self.channel)
            return bool(cards) and not any(card.has_button("gates_approve") for card in cards)

        self.slack.wait_for(decided, "the outcome on the card", seconds)
        return self.gates.view(request_id)

    def deliver(self) -> None:
        """Do here what is due, where the outbox is at rest."""
        while any(self.outbox.work(kind) == 0 for kind in ("cards", "slack")):
            pass

    def show(self, view: RequestView, place: str = "") -> Shown:
        return self.notifier.show(view.request.id, place or self.channel.id)

    def desk(self) -> SlackDesk:
        return SlackDesk(self.settings, self.gates, self.cards, self.directory)


def manifest_scopes() -> frozenset[str]:
    """Return exactly what an installation from our manifest may do."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    return frozenset(manifest["oauth_config"]["scopes"]["bot"])


@contextmanager
def office(
    folder: Path,
    *,
    mode: str = "socket",
    quorum: int = 1,
    tier: str = "ambiguous",
    more: str = "",
    limits: Limits | None = None,
    people_file: str = PEOPLE,
    match_email: bool = False,
    policy_file: str = POLICY,
    clock: Callable[[], datetime] = utc_now,
    store: Database | None = None,
    **changes: Any,
) -> Iterator[Office]:
    """Open the company without its desk: cards are sent, clicks not yet taken. `changes` of the
    Slack settings; `clock` is the gates server's, `store` another one than a new SQLite file.
    """
    chosen = limits or Limits(post_interval=0.0)
    with SlackSandbox(limits=chosen, team_id=TEAM, bot_scopes=manifest_scopes()) as slack:
        people = {
            name: slack.add_user(name, f"{name}@example.com", id=f"U0{name.upper()}")
            for name in ("amara", "bruno", "dana", "chen")
        }
        people["gus"] = slack.add_user("gus", id="U0GUS", is_restricted=True)
        people["zoe"] = slack.add_user("zoe", id="U0ZOE")
        channel = slack.add_channel("approvals", *people.values())
        settings = SlackSettings.model_validate(
            {
                "bot_token": BOT_TOKEN,
                "app_token": APP_TOKEN,
                "signing_secret": SIGNING_SECRET,
                "api_base_url": slack.base_url,
                "channel": channel.id,
                "mode": mode,
                "team_ids": [TEAM],
                "pace": 0,
                "match_email": match_email,
            }
            | changes
        )
        database = store or Database(empty_sqlite(folder / "gates.db"))
        known = load_people(people_file, "people.yaml")
        rules = policy_file.format(quorum=quorum, tier=tier, more=more)
        policy = load_policy(rules, "policy.yaml", known)
        directory = SlackDirectory(
            known, web_client(settings), settings.team_ids, match_email=match_email
        )
        asking = Asking(Registry(), policy, directory)
        gates = Gates(database, asking, "http://gates.test", clock=clock)
        cards = Cards(database, clock=clock)
        notifier = SlackNotifier(settings, gates, cards, directory)
        announcing = Announcing(gates, [notifier])
        kinds = {CARDS: announcing}
        outbox = Outbox(database, kinds, clock, deliveries=announcing.deliveries)
        database.wished = outbox.ring
        gates.woken = lambda _gate: outbox.ring()
        outbox.start()
        try:
            yield Office(
                slack,
                settings,
                database,
                gates,
                cards,
                directory,
                notifier,
                outbox,
                channel,
                people,
            )
        finally:
            outbox.stop()
            database.close()


@contextmanager
def open_desk(company: Office) -> Iterator[SlackDesk]:
    """Take clicks over the company's transport; returns once Slack can reach us."""
    desk = company.desk()
    if desk.router is None:
        desk.start()
        try:
            company.slack.wait_connected()
            yield desk
        finally:
            desk.stop()
        return
    app = FastAPI()
    app.include_router(desk.router)
    with serving(app) as address:
        company.slack.app_url = address + PATH
        desk.start()
        try:
            yield desk
        finally:
            desk.stop()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free loopback port, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        if not started.wait(60):
            raise TimeoutError("the server did not start")
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
