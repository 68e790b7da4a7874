"""The command `gates`. Exit codes: 0 done, 1 refused or failed, 2 used wrongly, 3 nothing found."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gates.client import GatesClient
from gates.core.errors import GatesError, InvalidInput, NotAuthenticated, NotFound
from gates.core.model import DecisionKind
from gates.settings import ClientSettings, ErpSettings, ServerSettings
from integrations.terminal import print_details, print_requests, title, waits_for

app = typer.Typer(
    name="gates",
    help="Approval gates for agentic processes, on Prefect.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys = typer.Typer(help="Keys of processes.", no_args_is_help=True)
policies = typer.Typer(help="The rules.", no_args_is_help=True)
demos = typer.Typer(help="The whole house on this machine.", no_args_is_help=True)
app.add_typer(keys, name="key")
app.add_typer(policies, name="policy")
app.add_typer(demos, name="demo")
out, err = Console(), Console(stderr=True)
AsJson = Annotated[bool, typer.Option("--json", help="For scripts: one JSON document.")]


def home() -> Path:
    """The folder with this user's session, and on a server's machine its admin key."""
    return Path(os.environ.get("GATES_HOME", ".gates"))


@contextmanager
def told() -> Iterator[None]:
    """Errors made for people end as one sentence and an exit code, never as a traceback."""
    try:
        yield
    except GatesError as error:
        err.print(f"[red]{error.code}[/]: ", end="")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(3 if isinstance(error, NotFound) else 1) from None


def address() -> str:
    """Where the server is: GATES_URL, else what a server on this machine left in the home."""
    given, file = os.environ.get("GATES_URL"), home() / "url"
    if given:
        return given
    return file.read_text().strip() if file.exists() else ClientSettings().url


def as_person() -> GatesClient:
    file = home() / "session"
    if not file.exists():
        raise NotAuthenticated(
            "You are not logged in: get a link from an admin, `gates login LINK`."
        )
    return GatesClient(address(), session=file.read_text().strip(), patience=5)


def as_admin() -> GatesClient:
    file = home() / "admin.key"
    if not file.exists():
        raise NotAuthenticated(f"{file} is not there: this is for the server's own machine.")
    return GatesClient(address(), key=file.read_text().strip(), patience=5)


# -- people ---------------------------------------------------------------------------------


@app.command()
def login(
    link: Annotated[str, typer.Argument(help="The one-time link, or its last part.")],
) -> None:
    """Log in with a one-time link; the session is kept in $GATES_HOME/session."""
    with told(), GatesClient(address(), patience=5) as client:
        who = client.log_in(link.rstrip("/").rsplit("/", 1)[-1])
        home().mkdir(parents=True, exist_ok=True)
        file = home() / "session"
        file.touch(mode=0o600)
        file.write_text(str(who["token"]))
        out.print(f"You are {who['name']}.")


@app.command("list")
def list_(settled: bool = False, as_json: AsJson = False) -> None:
    """What waits for a decision (or, with --settled, what was decided)."""
    with told(), as_person() as client:
        views = client.requests("settled" if settled else "waiting")
        if as_json:
            sys.stdout.write("[" + ",".join(view.model_dump_json() for view in views) + "]\n")
            return
        if not views:
            out.print("Nothing waits for a decision.")
            return
        if settled:
            print_requests(out, views)
            return
        me = client.me()
        mine = [view for view in views if waits_for(view, me["person"])]
        print_requests(out, mine, heading=f"Waits for you, {me['name']}")
        others = [view for view in views if view not in mine]
        print_requests(out, others, heading="Waits for others")
        if mine:
            out.print('Decide with `gates approve ID` or `gates reject ID --reason "..."`.')


@app.command()
def show(request: str, as_json: AsJson = False) -> None:
    """One request: what would run, why it is asked, who has decided."""
    with told(), as_person() as client:
        view = client.view(request)
        if as_json:
            sys.stdout.write(view.model_dump_json() + "\n")
            return
        print_details(out, view)


@app.command()
def approve(request: str, reason: str = "", as_json: AsJson = False) -> None:
    """Approve a request, as the person who is logged in."""
    decide(request, DecisionKind.APPROVE, reason, as_json=as_json)


@app.command()
def reject(
    request: str,
    reason: Annotated[str, typer.Option(help="Why; the requester is told.", prompt=True)],
    as_json: AsJson = False,
) -> None:
    """Reject a request, as the person who is logged in."""
    decide(request, DecisionKind.REJECT, reason, as_json=as_json)


def decide(request: str, kind: DecisionKind, reason: str, *, as_json: bool) -> None:
    with told(), as_person() as client:
        view = client.decide(request, kind, reason)
        if as_json:
            sys.stdout.write(view.model_dump_json() + "\n")
        elif view.outcome is None and view.request.requirement is not None:
            missing = view.request.requirement.quorum - len(view.decisions)
            out.print(f"Recorded. {missing} more must agree.")
        else:
            out.print(f"{title(view)}: {view.outcome}", markup=False, highlight=False)


# -- admins ---------------------------------------------------------------------------------


@app.command("login-link")
def login_link(person: str) -> None:
    """Print a one-time link with which a person can log in."""
    with told(), as_admin() as client:
        print(client.login_link(person))  # noqa: T201 - one line, for scripts too


@keys.command("create")
def key_create(scope: str, agent: str, on_behalf_of: str = "") -> None:
    """Make a key for a process: SCOPE is flow, executor or admin. It is shown once."""
    with told(), as_admin() as client:
        print(client.create_key(scope, agent, on_behalf_of or None))  # noqa: T201 - likewise


@keys.command("list")
def key_list(as_json: AsJson = False) -> None:
    """All keys, without their secrets."""
    with told(), as_admin() as client:
        found = client.keys()
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
            return
        for key in found:
            acts_for = f" for {key['on_behalf_of']}" if key["on_behalf_of"] else ""
            ended = f"  revoked {key['revoked_at']}" if key["revoked_at"] else ""
            words = f"{key['id']}  {key['scope']:8}  {key['agent']}{acts_for}{ended}"
            out.print(words, markup=False, highlight=False)


@keys.command("revoke")
def key_revoke(key_id: str) -> None:
    """Refuse a key from now on."""
    with told(), as_admin() as client:
        client.revoke_key(key_id)
        out.print(f"Key {key_id} is revoked.", markup=False, highlight=False)


@app.command()
def withdraw(request: str, reason: str) -> None:
    """Take a question back, as an admin; its run ends."""
    with told(), as_admin() as client:
        view = client.withdraw(request, reason)
        out.print(f"{title(view)}: {view.outcome}", markup=False, highlight=False)


@policies.command("check")
def policy_check(policy: Path | None = None, people: Path | None = None) -> None:
    """Check the policy and the people; every mistake with file, line and column."""
    from integrations.wiring import read_policy  # noqa: PLC0415 - Slack, ERP and all

    with told():
        settings = ServerSettings()
        changes = {"policy": policy or settings.policy, "people": people or settings.people}
        rules, directory = read_policy(settings.model_copy(update=changes))
        out.print(f"{len(rules.rules)} rules are in order; policy {rules.digest[:12]}.")
        del directory


# -- processes ------------------------------------------------------------------------------


@app.command()
def server() -> None:
    """Serve: API, inbox, deadlines, deliveries. Settings come from GATES_*."""
    import uvicorn  # noqa: PLC0415 - only this command serves

    from integrations import wiring  # noqa: PLC0415

    log_to_stderr()
    with told():
        settings = ServerSettings()
        made = wiring.server(settings)
        wiring.first_admin_key(made.access, home() / "admin.key")
        (home() / "url").write_text(settings.address)
        logging.getLogger(__name__).info("serving at %s", settings.address)
        try:
            uvicorn.run(
                made.app,
                host=settings.host,
                port=settings.port,
                log_level="warning",
                timeout_graceful_shutdown=3,
            )
        except SystemExit as error:
            raise InvalidInput(
                f"Cannot listen on {settings.host}:{settings.port}: is another process there? "
                "Set GATES_PORT."
            ) from error


@app.command()
def executor() -> None:
    """Do approved work with this process's own credentials. Settings come from GATES_*."""
    import signal  # noqa: PLC0415

    from integrations import wiring  # noqa: PLC0415

    log_to_stderr()
    with told():
        worker = wiring.executor(ClientSettings(), ErpSettings())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()


# -- the demo -------------------------------------------------------------------------------


@demos.command("up")
def demo_up() -> None:
    """Start everything, run the invoices, say what waits."""
    demo(auto=False)


@demos.command("auto")
def demo_auto() -> None:
    """The same, with named people of the demo deciding; ends well only if the books do."""
    demo(auto=True)


@demos.command("down")
def demo_down() -> None:
    """Stop what the demo started."""
    from integrations.demo import stack  # noqa: PLC0415 - the whole house

    with told():
        stopped = stack.down(home())
        out.print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


def demo(*, auto: bool) -> None:
    from integrations.demo.show import show as see  # noqa: PLC0415 - the whole house
    from integrations.demo.stack import down  # noqa: PLC0415

    with told():
        try:
            see(home(), out, auto=auto)
        except KeyboardInterrupt:
            down(home())
            err.print("Stopped: nothing is left running. `make demo` starts afresh.")
            raise typer.Exit(1) from None
        if auto:
            down(home())


def log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
