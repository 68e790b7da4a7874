"""The composition root: the only module that knows everybody.

What is left out is left out plainly: without GATES_SLACK_BOT_TOKEN there is no Slack, without
GATES_PREFECT_API_URL nobody wakes runs, without GATES_ERP_URL the ERP's actions are unknown.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from gates.access import Access
from gates.actions import Registry
from gates.announcing import Announcing
from gates.asking import Asking
from gates.cards import Cards
from gates.circling import RunOf
from gates.circumstances import Exposure, History
from gates.client import GatesClient
from gates.commanding import STOP, Commanding
from gates.core.errors import InvalidInput
from gates.core.people import People, load_people
from gates.core.policy import Policy, load_policies
from gates.core.versions import Texts, people_digest
from gates.executor import Executor
from gates.four_eyes import FourEyes
from gates.grants.keyring import KeyRing
from gates.grants.trusted_keys import TrustedKeys
from gates.originating import OriginOf
from gates.outbox import Handler, Outbox
from gates.panel import Panel
from gates.passes import Passes
from gates.ports import Circumstances, Directory, Judge, Notifier, Rules, RunStopper, RunWaker
from gates.recording import APPLY
from gates.reloading import Living, Reloading
from gates.service import CARDS, RING, TELL, Gates, utc_now
from gates.settings import (
    ClientSettings,
    ErpSettings,
    ExecutorSettings,
    ServerSettings,
    read_secret,
)
from gates.shadow import Shadow
from gates.standing import Held
from gates.statistics_judge import StatisticsJudge
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
from integrations.judges.llm import LlmJudge
from integrations.judges.settings import JudgeSettings
from integrations.policies.files import policy_texts, text_of
from integrations.prefect_runs.api import PrefectApi
from integrations.prefect_runs.keeper import PrefectRunKeeper
from integrations.prefect_runs.requests import PrefectRunRequests
from integrations.prefect_runs.states import PrefectRunStates
from integrations.prefect_runs.stopper import PrefectRunStopper
from integrations.prefect_runs.waker import PrefectRuns
from integrations.slack.app import SlackDesk
from integrations.slack.groups import SlackDirectory
from integrations.slack.notifier import SlackNotifier
from integrations.slack.settings import SlackSettings
from integrations.slack.transport import web_client


def read_policy(settings: ServerSettings) -> tuple[Policy, People]:
    """Raises InvalidPolicy with file, line, column, the offending text and the cure."""
    return policy_of(texts_of(settings))


def texts_of(settings: ServerSettings) -> Texts:
    """Raises InvalidInput for a file that cannot be read."""
    people = (str(settings.people), text_of(settings.people, "GATES_PEOPLE"))
    return Texts(tuple(policy_texts(settings.policy, settings.people)), people)


def policy_of(texts: Texts) -> tuple[Policy, People]:
    """Raises InvalidPolicy."""
    name, text = texts.people
    people = load_people(text, name)
    return load_policies(list(texts.policy), people), people


@dataclass(frozen=True)
class SettingsFiles:
    """Implements the port RuleFiles: the files that the settings name."""

    settings: ServerSettings
    slack: SlackSettings | None

    def texts(self) -> Texts:
        return texts_of(self.settings)

    def load(self, texts: Texts) -> Rules:
        policy, people = policy_of(texts)
        return Rules(policy, directory_of(people, self.slack), people_digest(*texts.people))


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
    slack = SlackSettings.from_environment(os.environ)
    files = SettingsFiles(settings, slack)
    texts = files.texts()
    rules = files.load(texts)
    database = Database(settings.database_url)
    database.reach()
    database.migrate()
    waiters = Waiters()
    directory = Living(rules.directory)
    prefect = prefect_of(settings)
    asking = Asking(registry or erp_registry(ErpSettings()), rules.policy, rules.directory)
    asking = knowing(asking, database, prefect, lambda: gates.asking.policy)
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
    if prefect is not None:
        runs, gates.runs = PrefectRuns(prefect), PrefectRunStates(prefect)
    announcing = Announcing(gates, notifiers)
    handled = handlers(gates, announcing, runs)
    eyes = FourEyes(gates)
    reloading = Reloading(gates, files, directory, eyes)
    reloading.begin(texts, rules)
    handled |= in_command(eyes, prefect)
    outbox = Outbox(database, handled, clock, deliveries=announcing.deliveries)
    database.wished = outbox.ring
    timers = Timers(gates, work, Passes(gates))
    parts: list[Any] = [outbox, timers, reloading, *([desk] if desk else [])]
    parts += shadow_of(settings, gates, load_people(texts.people[1], texts.people[0]))
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


def in_command(eyes: FourEyes, prefect: PrefectApi | None) -> dict[str, Handler]:
    """What the outbox does of what people in command have ordered or agreed to."""
    stopper = PrefectRunStopper(prefect) if prefect else None
    return {APPLY: eyes.apply, STOP: stopping(eyes.commanding, stopper)}


def prefect_of(settings: ServerSettings) -> PrefectApi | None:
    if not settings.prefect_api_url:
        return None
    return PrefectApi(settings.prefect_api_url, settings.prefect_auth())


def knowing(
    asking: Asking, database: Database, prefect: PrefectApi | None, policy: Callable[[], Policy]
) -> Asking:
    """The same, that knows what runs were asked to do, what the store remembers, what was approved
    beforehand, and hears judges.
    """
    judges: list[Judge] = [StatisticsJudge(database)]
    settings = JudgeSettings()
    if settings.wanted():
        judges.append(LlmJudge(settings))
    origin = OriginOf(PrefectRunRequests(prefect) if prefect else None)
    sources: list[Circumstances] = [
        *(origin, WallClock(policy), History(database), Exposure(database, policy)),
        RunOf(database, policy),
    ]
    return replace(
        asking,
        circumstances=tuple(sources),
        standing=Held(database),
        judges=Panel(judges),
    )


def shadow_of(settings: ServerSettings, gates: Gates, people: People) -> list[Shadow]:
    """The policy that looks on, if there is one. Raises InvalidInput or InvalidPolicy."""
    path = settings.policy_shadow
    if path is None:
        return []
    texts = policy_texts(path, settings.people, "GATES_POLICY_SHADOW")
    policy = load_policies(texts, people)
    shadow = Shadow(gates.database, policy, str(path), gates.clock)
    gates.opened, gates.shadow = shadow.see, policy.digest
    return [shadow]


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


def stopping(commanding: Commanding, stopper: RunStopper | None) -> Handler:
    """Tells the engine of runs that people have stopped."""

    def stop(root_run_id: str) -> bool:
        words = commanding.why_stopped(root_run_id)
        return stopper is None or not words or stopper.stop(root_run_id, words)

    return stop


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
