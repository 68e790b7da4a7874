"""The composition root: the only module that knows everybody.

What is left out is left out plainly: without GATES_SLACK_BOT_TOKEN there is no Slack, without
GATES_PREFECT_API_URL nobody wakes runs, without GATES_ERP_URL the ERP's actions are unknown.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from gates.access import Access
from gates.actions import Registry
from gates.announcing import Announcing
from gates.asking import Asking
from gates.cards import Cards
from gates.client import GatesClient
from gates.core.errors import InvalidInput
from gates.core.people import People, load_people
from gates.core.policy import Policy, load_policy
from gates.executor import Executor
from gates.grants.keyring import KeyRing
from gates.grants.trusted_keys import TrustedKeys
from gates.outbox import Handler, Outbox
from gates.passes import Passes
from gates.ports import Directory, Notifier, RunWaker
from gates.service import CARDS, RING, TELL, Gates, utc_now
from gates.settings import (
    ClientSettings,
    ErpSettings,
    ExecutorSettings,
    ServerSettings,
    read_secret,
)
from gates.store.bells import Bells
from gates.store.database import Database
from gates.timers import Timers
from gates.wall_clock import WallClock
from gates.watching import Watch
from gates.web.app import create_app, refuse_unsafe
from gates.web.waiters import Waiters
from gates.work import Work
from integrations.erp.actions import ACTIONS, Erp
from integrations.erp.rpc import TrytonRpc
from integrations.erp.tryton import TrytonErp
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.keeper import PrefectRunKeeper
from integrations.prefect_runs.states import PrefectRunStates
from integrations.prefect_runs.waker import PrefectRuns
from integrations.slack.app import SlackDesk
from integrations.slack.groups import SlackDirectory
from integrations.slack.notifier import SlackNotifier
from integrations.slack.settings import SlackSettings
from integrations.slack.transport import web_client


def read_policy(settings: ServerSettings) -> tuple[Policy, People]:
    """Raises InvalidPolicy with file, line, column, the offending text and the cure."""
    people = load_people(_text(settings.people, "GATES_PEOPLE"), str(settings.people))
    policy = load_policy(_text(settings.policy, "GATES_POLICY"), str(settings.policy), people)
    return policy, people


def erp_registry(settings: ErpSettings) -> Registry:
    """The ERP's actions, with an ERP that may do what `settings.user` may."""
    if not settings.url:
        return Registry()
    read_secret(settings.password_file, "GATES_ERP_PASSWORD_FILE")  # found out now, not at night
    assert settings.password_file is not None  # noqa: S101 - the line above
    erp = TrytonErp(
        TrytonRpc.from_password_file(
            settings.url, settings.database, settings.user, settings.password_file
        )
    )
    return Registry.of(ACTIONS, {Erp: lambda: erp})


def erp_rights(settings: ErpSettings) -> list[str]:
    """What `settings.user` may change in the ERP. Raises what a login raises."""
    read_secret(settings.password_file, "GATES_ERP_PASSWORD_FILE")
    assert settings.password_file is not None  # noqa: S101 - the line above
    rpc = TrytonRpc.from_password_file(
        settings.url, settings.database, settings.user, settings.password_file
    )
    try:
        models = ["account.invoice", "account.payment", "party.party"]
        rights = rpc.call("model.ir.model.access.get_access", models)
    finally:
        rpc.close()
    return sorted(model for model, may in rights.items() if may["write"] or may["create"])


def executor(
    settings: ClientSettings, erp: ErpSettings, mine: ExecutorSettings | None = None
) -> Executor:
    """The process that holds a writing user of the ERP, for the actions that it is to do."""
    registry = erp_registry(erp)
    if not registry.definitions:
        raise InvalidInput("GATES_ERP_URL is not set: an executor needs a system to act on.")
    registry = registry.only((mine or ExecutorSettings()).actions)
    client = GatesClient(
        settings.url, key=settings.key(), patience=settings.patience, fresh_key=settings.key
    )
    keys = TrustedKeys.pinned(settings.grant_keys) if settings.grant_keys else None
    return Executor(client, registry, lease=settings.lease, keys=keys)


@dataclass
class Server:
    """A whole gates server, not yet listening."""

    app: FastAPI
    gates: Gates
    access: Access
    database: Database


def server(
    settings: ServerSettings,
    registry: Registry | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> Server:
    """Everything that one server process is made of. Raises InvalidInput or InvalidPolicy."""
    refuse_unsafe(settings.host, settings.address)
    policy, people = read_policy(settings)
    database = Database(settings.database_url)
    database.reach()
    database.migrate()
    waiters = Waiters()
    slack = SlackSettings.from_environment(os.environ)
    directory = directory_of(people, slack)
    clocks = (WallClock(lambda: policy),)
    asking = Asking(registry or erp_registry(ErpSettings()), policy, directory, clocks)
    folder = settings.signing_keys or Path(os.environ.get("GATES_HOME", ".gates")) / "signing-keys"
    ring = KeyRing(database, settings.address, folder, clock)
    gates = Gates(database, asking, settings.address, woken=waiters.ring, keys=ring, clock=clock)
    ring.signer()  # a key that cannot be read or made is found out now, not at the first claim
    work, access = Work(gates), Access(database, directory, clock)
    cards = Cards(database, clock=clock)
    work.settle = work.settle.__class__(seconds=settings.settle)
    desk = SlackDesk(slack, gates, cards, directory) if slack else None
    notifiers: list[Notifier] = []
    if slack is not None:
        ui = slack.prefect_ui_url or settings.prefect_ui_url
        notifiers.append(SlackNotifier(slack, gates, cards, directory, prefect_ui_url=ui))
    runs: RunWaker | None = None
    prefect: PrefectApi | None = None
    if settings.prefect_api_url:
        prefect = PrefectApi(settings.prefect_api_url, settings.prefect_auth())
        runs, gates.runs = PrefectRuns(prefect), PrefectRunStates(prefect)
    announcing = Announcing(gates, notifiers)
    handled = handlers(gates, announcing, runs)
    outbox = Outbox(database, handled, clock, deliveries=announcing.deliveries)
    database.wished = outbox.ring
    timers = Timers(gates, work, Passes(gates))
    parts: list[Any] = [outbox, timers, *([desk] if desk else [])]
    if prefect is not None:
        silence = timedelta(seconds=settings.silence)
        parts.append(Watch(gates, PrefectRunKeeper(prefect), settings.watch, silence))
    if not database.is_sqlite:  # there may be other servers, and they can be heard
        bells = Bells(database, waiters.heard, waiters.heard_nothing)
        waiters.beyond = bells.tell
        parts.append(bells)
    started, stopped = _both(parts)
    app = create_app(
        gates,
        work,
        access,
        waiters,
        routers=[desk.router] if desk and desk.router else [],
        started=started,
        stopped=stopped,
    )
    return Server(app, gates, access, database)


def directory_of(people: People, slack: SlackSettings | None) -> Directory:
    """The people file, and Slack beside it where groups take their members from there.

    Raises InvalidInput where nobody could ask Slack.
    """
    wanted = [group for group, slack_group in people.groups.items() if slack_group]
    if slack is None and wanted:
        raise InvalidInput(
            f"The people file's group {wanted[0]!r} has its members from Slack, which is not set "
            "up: set GATES_SLACK_BOT_TOKEN, or list the members."
        )
    if slack is None:
        return people
    return SlackDirectory(people, web_client(slack), slack.team_ids, match_email=slack.match_email)


def handlers(gates: Gates, announcing: Announcing, runs: RunWaker | None) -> dict[str, Handler]:
    """What the outbox does for each kind of wish."""

    def tell(request_id: str) -> bool:
        if runs is not None:
            runs.tell(gates.view(request_id))
        return True

    def ring(request_id: str) -> bool:
        bell = gates.doorbell(request_id)
        if runs is None or bell is None:
            return True
        return runs.ring(bell.run, bell.pauses)

    return {CARDS: announcing, TELL: tell, RING: ring}


def first_admin_key(access: Access, path: Path) -> str:
    """The admin key in `path`, made if the file is not there; readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(access.create_key("admin", "admin"))
        draft.rename(path)
    return path.read_text().strip()


def _both(parts: list[Any]) -> tuple[Callable[[], None], Callable[[], None]]:
    def started() -> None:
        for part in parts:
            part.start()

    def stopped() -> None:
        for part in reversed(parts):
            part.stop()

    return started, stopped


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise InvalidInput(f"{name} = {str(path)!r} cannot be read: {error.strerror}.") from error
