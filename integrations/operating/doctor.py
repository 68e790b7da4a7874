"""`gates doctor`: the usual mistakes, each with its cure. A list of small functions.

What only the server sees (gates/health.py) comes over its API; the rest is looked at from here,
with the environment of whoever asks: run it as the user of the process that you wonder about.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx

from gates.client import GatesClient
from gates.core.errors import GatesError, InvalidInput, Refused, Unavailable
from gates.health import SKEW, Finding, bad, ok, warning
from gates.settings import ClientSettings, ErpSettings, ServerSettings
from integrations import wiring
from integrations.prefect_runs.api import PrefectApi
from integrations.slack.settings import SlackSettings
from integrations.slack.transport import web_client

PREFECT_FROM, PREFECT_BELOW = (3, 8, 8), (4,)
FASTAPI_BELOW = (0, 151)  # newer ones break Prefect 3.8's server
OTHERS = stat.S_IRWXG | stat.S_IRWXO
ONLINE = "READY"


@dataclass(frozen=True)
class Desk:
    """What the checks look at: where the server is, this user's files, the environment."""

    address: str
    home: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def admin_key(self) -> Path:
        return self.home / "admin.key"


def server(desk: Desk) -> Iterator[Finding]:
    """Nothing goes without it."""
    with GatesClient(desk.address, patience=0) as client:
        if client.healthy():
            yield ok("server", f"answers at {desk.address}")
            return
    cure = "start `gates server`, or set GATES_URL to where it is"
    yield bad("server", f"does not answer at {desk.address}", cure)


def server_view(desk: Desk) -> Iterator[Finding]:
    """What the server finds; needs the admin key."""
    if not desk.admin_key.exists():
        cure = "run this on the server's machine, or set GATES_HOME"
        yield warning("server", f"its own view is not known: no {desk.admin_key}", cure)
        return
    with GatesClient(desk.address, key=desk.admin_key.read_text().strip(), patience=0) as client:
        try:
            told = client.health()
        except Refused as error:
            cure = f"delete {desk.admin_key} and restart the server: it makes another"
            yield bad("admin key", f"{desk.admin_key} is refused: {error}", cure)
            return
        except Unavailable:
            return  # told already
    off = abs(datetime.fromisoformat(told["now"]) - datetime.now(UTC))
    if off > SKEW:
        words = f"this machine's is {off.total_seconds():.0f} s off the server's"
        yield bad("clock", words, "run NTP on both machines")
    else:
        yield ok("clock", "this machine's and the server's agree")
    yield from (Finding.model_validate(one) for one in told["findings"])


def process_key(desk: Desk) -> Iterator[Finding]:
    """The key of a flow or an executor, as this environment has it."""
    settings = ClientSettings()
    if not settings.api_key and settings.api_key_file is None:
        return
    try:
        key = settings.key()
    except InvalidInput as error:
        yield bad("key", str(error), "write the key into the file: `gates key create`")
        return
    with GatesClient(desk.address, key=key, patience=0) as client:
        try:
            client.lease("doctor-looks", [], lease_seconds=1, wait_seconds=0)
        except Unavailable:
            return
        except Refused as error:
            if error.code == "not_authenticated":
                yield bad("key", "GATES_API_KEY_FILE is refused", "`gates key create`, new file")
                return
            yield ok("key", str(error).split(";")[0])
        else:
            yield ok("key", "This key is for executor processes")
    if desk.admin_key.exists() and os.access(desk.admin_key, os.R_OK):
        cure = "give server and flows users of their own: `gates hardened --help`"
        yield warning("users", "this user reads the admin key and a process's key", cure)


def secrets(desk: Desk) -> Iterator[Finding]:
    """Files that open doors are for their owners."""
    server, client, erp = ServerSettings(), ClientSettings(), ErpSettings()
    named = [
        desk.admin_key,
        desk.home / "session",
        client.api_key_file,
        server.prefect_auth_file,
        erp.password_file,
    ]
    folder = server.signing_keys or desk.home / "signing-keys"
    named += sorted(folder.glob("*")) if folder.is_dir() else []
    if server.database_url.startswith("sqlite:///"):
        named.append(Path(server.database_url.removeprefix("sqlite:///")))
    there = [one for one in named if one is not None and one.is_file()]
    open_ = [one for one in there if one.stat().st_mode & OTHERS]
    for one in open_:
        yield bad("files", f"{one} can be read by others", f"chmod 600 {one}")
    if there and not open_:
        yield ok("files", f"{len(there)} with secrets, each for its owner alone")


def policy(_desk: Desk) -> Iterator[Finding]:
    """As the server reads them at its next start."""
    settings = ServerSettings()
    try:
        rules, people = wiring.read_policy(settings)
    except GatesError as error:
        yield bad("policy", str(error), "mend it; `gates policy check` looks again")
        return
    yield ok("policy", f"{len(rules.rules)} rules and {len(people.all)} people are in order")


def prefect(_desk: Desk) -> Iterator[Finding]:
    """The engine: there, of a version that is known to work, with somebody who polls."""
    settings = ServerSettings()
    if not settings.prefect_api_url:
        cure = "set GATES_PREFECT_API_URL for the gates server, or nobody wakes runs"
        yield warning("prefect", "GATES_PREFECT_API_URL is not set", cure)
        return
    api = PrefectApi(settings.prefect_api_url, settings.prefect_auth())
    try:
        yield from _prefect(api)
    except Unavailable as error:
        cure = "start `prefect server start`; does GATES_PREFECT_API_URL end in /api?"
        yield bad("prefect", f"{settings.prefect_api_url}: {error}", cure)
    finally:
        api.close()


def _prefect(api: PrefectApi) -> Iterator[Finding]:
    try:
        answer = api.http.get("/admin/version")
    except httpx.TransportError as error:
        raise Unavailable(f"it does not answer ({error})") from error
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        yield bad("prefect", "wants a login", "put it into the file of GATES_PREFECT_AUTH_FILE")
        return
    if not answer.is_success:
        raise Unavailable(f"it answers {answer.status_code}")
    yield from prefect_clock(answer.headers.get("date", ""), datetime.now(UTC))
    told = str(answer.json())
    if PREFECT_FROM <= numbers(told) < PREFECT_BELOW:
        yield ok("prefect", f"answers, version {told}")
    else:
        yield bad("prefect", f"version {told} is not known to work", "install prefect>=3.8.8,<4")
    yield from _pools(api)
    found = api.sent("POST", "/deployments/filter", {"limit": 1}).json()
    if not found:
        cure = "`prefect deploy --all`: runs without a deployment cannot sleep"
        yield warning("deployments", "there are none", cure)


def prefect_clock(told: str, now: datetime) -> Iterator[Finding]:
    """By the Date of Prefect's answer, in whole seconds. Prefect starts and wakes runs by it."""
    try:
        off = abs(parsedate_to_datetime(told) - now)
    except ValueError:
        return  # it does not say
    if off > SKEW:
        words = f"Prefect's server is {off.total_seconds():.0f} s off this machine"
        yield warning("clock", words, "run NTP on both machines")
    else:
        yield ok("clock", "Prefect's server and this machine agree")


def _pools(api: PrefectApi) -> Iterator[Finding]:
    pools = api.sent("POST", "/work_pools/filter", {}).json()
    if not pools:
        cure = "prefect work-pool create gates --type process"
        yield warning("worker", "there is no work pool", cure)
    for pool in pools:
        if pool.get("status") == ONLINE:
            yield ok("worker", f"pool {pool['name']} is polled")
        else:
            cure = f"prefect worker start --pool {pool['name']}"
            yield bad("worker", f"nobody polls pool {pool['name']}: woken runs stay asleep", cure)


def packages(_desk: Desk) -> Iterator[Finding]:
    """Prefect's server starts with a newer FastAPI, and then fails on some calls."""
    try:
        found = version("fastapi")
    except PackageNotFoundError:
        return
    if numbers(found) >= FASTAPI_BELOW:
        cure = "pip install 'fastapi<0.151'"
        yield bad("packages", f"fastapi {found} breaks the server of Prefect 3.8", cure)


def erp(_desk: Desk) -> Iterator[Finding]:
    """The ERP, as the user that this environment names."""
    settings = ErpSettings()
    if not settings.url:
        return
    try:
        rights = wiring.erp_rights(settings)
    except GatesError as error:
        yield bad("erp", str(error), "start the ERP; see GATES_ERP_* in docs/operate.md")
        return
    may = ", ".join(rights) or "nothing"
    if rights:
        cure = "right for an executor; give the gates server a user that only reads"
        yield warning("erp", f"user {settings.user!r} can write: {may}", cure)
    else:
        yield ok("erp", f"answers at {settings.url}; user {settings.user!r} only reads")


def slack(desk: Desk) -> Iterator[Finding]:
    """Only where it is set up: one call of auth.test."""
    try:
        settings = SlackSettings.from_environment(desk.environment)
        if settings is None:
            return
        told: Any = web_client(settings).auth_test()
    except InvalidInput as error:
        yield bad("slack", str(error), "see docs/set-up-slack.md")
    except Exception as error:  # noqa: BLE001 - slack-sdk has many, and its words are for people
        yield bad("slack", f"{type(error).__name__}: {error}"[:200], "run `gates slack check`")
    else:
        if str(told["team_id"]) not in settings.team_ids:
            cure = "add it to GATES_SLACK_TEAM_IDS, or nobody there may decide"
            yield bad("slack", f"the bot's workspace is {told['team_id']}", cure)
        else:
            yield ok("slack", f"the bot is {told.get('user', '?')} of {told['team_id']}")


CHECKS: list[Callable[[Desk], Iterator[Finding]]] = [
    server,
    server_view,
    process_key,
    secrets,
    policy,
    prefect,
    packages,
    erp,
    slack,
]


def examine(desk: Desk) -> list[Finding]:
    """All checks in their order; one that breaks is itself a finding."""
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(desk)
        except Exception as error:  # noqa: BLE001 - the others still have something to say
            words = f"could not be looked at: {type(error).__name__}: {error}"
            found.append(bad(check.__name__, words[:300], "see docs/operate.md"))
    return found


def numbers(told: str) -> tuple[int, ...]:
    """The leading numbers of a version."""
    parts = told.split("+", maxsplit=1)[0].split(".")
    found = []
    for part in parts:
        digits = "".join(sign for sign in part if sign.isdigit())
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)
