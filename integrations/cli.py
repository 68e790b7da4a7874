"""The command `gates`. Exit codes: 0 done, 1 refused or failed, 2 used wrongly, 3 nothing found."""

import gc
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import typer

from gates.client import GatesClient
from gates.core.errors import AssuranceTooLow, InvalidInput, ReasonNeeded
from gates.core.model import MOST_MORE, DecisionKind, LoopAnswer, LoopLabel, Purpose, RequestView
from gates.core.quorum import missing
from gates.core.timeline import in_time
from gates.core.wording import approvers, asks, ended, unless_objected
from gates.settings import ClientSettings, ErpSettings, ServerSettings
from integrations.commanding.commands import register as register_commanding
from integrations.commanding.policies import register as register_policies
from integrations.grant_proxy.commands import app as grants
from integrations.hardened.commands import app as hardened
from integrations.loops.commands import commands as loops
from integrations.operating import cli as commands
from integrations.operating.deliveries import app as outbox
from integrations.people.commands import app as people
from integrations.policies.backtesting import register as with_backtest
from integrations.policies.commands import app as policies
from integrations.policies.commands import policy_of
from integrations.reviewing.commands import app as reviews
from integrations.shell import AsJson, address, as_admin, as_person, err, home, out
from integrations.slack.commands import app as slack
from integrations.standing.commands import app as standing
from integrations.terminal import (
    changed,
    listening,
    plain,
    print_details,
    print_requests,
    spelled,
    title,
    told,
    waits_for,
    write_requests,
)

app = typer.Typer(
    name="gates",
    help="Approval gates for agentic processes, on Prefect.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys = typer.Typer(help="Keys of processes.", no_args_is_help=True)
demos = typer.Typer(help="The whole house on this machine.", no_args_is_help=True)
app.add_typer(keys, name="key")
with_backtest(policies)
app.add_typer(policies, name="policy")
app.add_typer(demos, name="demo")
app.add_typer(grants, name="grant")
app.add_typer(outbox, name="outbox")
app.add_typer(people, name="person")
app.add_typer(hardened, name="hardened")
app.add_typer(slack, name="slack")
app.add_typer(reviews, name="reviews")
app.add_typer(standing, name="standing")
app.add_typer(loops(policy_of), name="loops")


Label = Annotated[
    LoopLabel | None, typer.Option(help="Of a loop: what it was, for the detector's record.")
]


ABOUT_LOOPS = (
    "What goes in circles takes other answers, too: `gates approve ID --more 2`, "
    '`gates send-back ID --guidance "..."`, `gates skip ID --reason "..."`.'
)


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
            write_requests(views)
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
        if any(view.request.purpose is Purpose.LOOP for view in mine):
            out.print(ABOUT_LOOPS)


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
def approve(
    request: str,
    reason: str = "",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Approve with changes: NAME=VALUE, once an argument."),
    ] = None,
    refuse: Annotated[
        list[str] | None,
        typer.Option(help="Of a batch, a line that is not to run: NUMBER=REASON, once a line."),
    ] = None,
    code: Annotated[str, typer.Option(help="What your authenticator app shows.")] = "",
    more: Annotated[
        int | None,
        typer.Option(help="Of a loop: how many more tries.", min=1, max=MOST_MORE),
    ] = None,
    label: Label = None,
    as_json: AsJson = False,
) -> None:
    """Approve a request, as the person who is logged in; with --set, something else instead, and
    with --refuse, a batch without some of its lines.
    """
    no = lines_refused(refuse or [])
    said = Said(no, code, LoopAnswer(more=more, label=label) if more or label else None)
    decide(request, DecisionKind.APPROVE, reason, change or [], said, as_json=as_json)


@app.command()
def reject(
    request: str,
    reason: Annotated[str, typer.Option(help="Why; the requester is told.", prompt=True)],
    label: Label = None,
    freeze_agent: Annotated[
        bool, typer.Option("--freeze-agent", help="Of a loop: nothing of the agent starts then.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Reject a request, as the person who is logged in."""
    loop = LoopAnswer(label=label, freeze=freeze_agent) if label or freeze_agent else None
    decide(request, DecisionKind.REJECT, reason, said=Said(loop=loop), as_json=as_json)


@app.command()
def skip(
    request: str,
    reason: Annotated[str, typer.Option(help="Why the run can do without it.", prompt=True)],
    label: Label = None,
    as_json: AsJson = False,
) -> None:
    """Leave a step out that goes in circles, as the person who is logged in; its run may go on."""
    decide(request, DecisionKind.SKIP, reason, said=labelled(label), as_json=as_json)


@app.command("send-back")
def send_back(
    request: str,
    guidance: Annotated[
        str, typer.Option(help="What to do instead; the agent reads it.", prompt=True)
    ],
    label: Label = None,
    as_json: AsJson = False,
) -> None:
    """Send a request back to its agent with guidance, as the person who is logged in."""
    decide(request, DecisionKind.SEND_BACK, guidance, said=labelled(label), as_json=as_json)


@app.command()
def escalate(
    request: str,
    reason: Annotated[
        str, typer.Option(help="What you cannot decide; those who then can read it.", prompt=True)
    ],
    as_json: AsJson = False,
) -> None:
    """Ask more people, those whom the policy names for it, as the person who is logged in."""
    decide(request, DecisionKind.ESCALATE, reason, as_json=as_json)


@app.command("ask-info")
def ask_info(
    request: str,
    question: Annotated[
        str, typer.Option(help="What you want to know before you decide.", prompt=True)
    ],
    as_json: AsJson = False,
) -> None:
    """Ask for information first; the clock of the deadline stands still until it is answered."""
    with told(), as_person() as client:
        informed(client.ask_info(request, question), as_json=as_json)


@app.command("answer-info")
def answer_info(
    request: str,
    text: Annotated[str, typer.Option(help="The answer; everybody who is asked reads it.")],
    admin: Annotated[bool, typer.Option("--admin", help="With an admin's key.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer what somebody wants to know before they decide; the clock goes on."""
    with told(), as_admin() if admin else as_person() as client:
        informed(client.answer_info(request, text), as_json=as_json)


def informed(view: RequestView, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(view.model_dump_json() + "\n")
        return
    words = f"Recorded. {in_time(view, spelled)}".strip()
    out.print(plain(words), markup=False, highlight=False)


def lines_refused(words: Sequence[str]) -> dict[str, str]:
    with told():
        found = dict[str, str]()
        for word in words:
            number, equals, why = word.partition("=")
            if not equals:
                raise InvalidInput(f'--refuse {word!r}: write NUMBER=REASON, as in 3="paid twice".')
            found[number.strip()] = why.strip()
        return found


class Said(NamedTuple):
    """What else comes with an answer: lines left out, a code, and what it says of a loop."""

    refused: Mapping[str, str] | None = None
    code: str = ""
    loop: LoopAnswer | None = None


def labelled(label: LoopLabel | None) -> Said:
    return Said(loop=LoopAnswer(label=label) if label else None)


def decide(
    request: str,
    kind: DecisionKind,
    reason: str,
    change: Sequence[str] = (),
    said: Said | None = None,
    *,
    as_json: bool,
) -> None:
    said = said or Said()
    with told(), as_person() as client:
        changes = None
        if change:
            kind = DecisionKind.APPROVE_WITH_CHANGES
            changes = changed(client.view(request).request.action.arguments, change)
        while True:
            try:
                view = client.decide(request, kind, reason, changes, *said)
                break
            except (ReasonNeeded, AssuranceTooLow) as error:
                again = isinstance(error, AssuranceTooLow)
                if not sys.stdin.isatty() or (said.code if again else reason):
                    raise
                if again:
                    said = said._replace(
                        code=typer.prompt(
                            "This approval wants a code of your authenticator. Which?"
                        )
                    )
                else:
                    reason = typer.prompt("This approval counts only with a reason. Why?")
        if as_json:
            sys.stdout.write(view.model_dump_json() + "\n")
        elif view.outcome is None and view.request.requirement is not None:
            which = f" as round {view.request.round}, {view.request.id[:8]}" if changes else ""
            agreed, needed = approvers(view), view.request.requirement
            still = f"{missing(needed, agreed)} more must agree: {asks(needed, agreed)}"
            if unless_objected(view.request):
                still += ", or nobody objects in time"
            out.print(plain(f"Recorded{which}. {still}."), markup=False, highlight=False)
        else:
            out.print(plain(f"{title(view)}: {ended(view)}"), markup=False, highlight=False)


# -- admins ---------------------------------------------------------------------------------


@app.command("login-link")
def login_link(person: str) -> None:
    """Print a one-time link with which a person can log in."""
    with told(), as_admin() as client:
        print(client.login_link(person))  # noqa: T201 - one line, for scripts too


@keys.command("create")
def key_create(
    scope: str,
    agent: str,
    on_behalf_of: str = "",
    actions: Annotated[
        list[str] | None,
        typer.Option(help="An action that the executor may take, with `*`; may be repeated."),
    ] = None,
) -> None:
    """Make a key for a process: SCOPE is flow, executor or admin. It is shown once."""
    with told(), as_admin() as client:
        made = client.create_key(scope, agent, on_behalf_of or None, actions or ())
        print(made)  # noqa: T201 - likewise


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
            if key["expires_at"] and not ended:
                ended = f"  replaced, ends {key['expires_at']}"
            takes = ", ".join(key["actions"]) if key["scope"] == "executor" else ""
            only = f"  takes {'all actions' if takes == '*' else takes}" if takes else ""
            words = f"{key['id']}  {key['scope']:8}  {key['agent']}{acts_for}{only}{ended}"
            out.print(words, markup=False, highlight=False, soft_wrap=True)


@keys.command("rotate")
def key_rotate(
    key_id: str,
    overlap: Annotated[
        int, typer.Option(help="Hours for which the old one still works.", min=0, max=720)
    ] = 24,
) -> None:
    """Print another key for the same holder; the old one ends after the overlap."""
    with told(), as_admin() as client:
        print(client.rotate_key(key_id, overlap * 3600))  # noqa: T201 - likewise


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
        # What was imported stays; to look through it for garbage every 700 objects is a twentieth
        # of a routine action.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        with listening(settings.host, settings.port, "Set GATES_PORT."):
            uvicorn.run(
                made.app,
                host=settings.host,
                port=settings.port,
                log_level="warning",
                proxy_headers=False,  # anybody on this machine could choose the address in the log
                ws="none",
                timeout_graceful_shutdown=3,
            )


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


commands.register(app)
register_commanding(app)
register_policies(policies)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
