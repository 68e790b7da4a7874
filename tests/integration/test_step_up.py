"""Codes of authenticator apps: at the service on both stores, on the page, at the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pyotp
import pytest
from click.testing import Result
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select
from typer.testing import CliRunner

from gates.core.errors import AssuranceTooLow, GatesError, InvalidInput, WrongCode
from gates.core.model import OutcomeKind
from gates.health import findings
from gates.step_up import StepUp
from gates.store.database import Database
from gates.store.tables import LogRow
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app
from integrations.wiring import first_admin_key
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.world import POLICY, Clock, World

FORM = r'name="(csrf|revision)" value="([^"]*)"'
SURE = POLICY.replace("rules:", "assurance: {ambiguous: step_up}\nrules:", 1)
ASKED = "5000.00"


def code(secret: str, clock: Clock, steps: int = 0) -> str:
    """What the app shows, `steps` from now."""
    return pyotp.TOTP(secret).at(clock() + timedelta(seconds=30 * steps))


def entered(world: World, person: str = "dana") -> str:
    """A session's token."""
    return world.access.redeem_link(world.access.create_link(person))


@pytest.fixture
def steps(world: World) -> StepUp:
    return StepUp(world.database, world.clock)


def enrolled(steps: StepUp, clock: Clock, person: str = "dana") -> str:
    secret = steps.enrol(person).text
    steps.confirm(person, code(secret, clock))
    clock.advance(seconds=60)
    return secret


def kinds(world: World) -> list[str]:
    with world.database.read() as session:
        return [one.kind for one in session.exec(select(LogRow).order_by(LogRow.seq)).all()]


def test_an_authenticator_counts_once_it_is_confirmed(world: World, steps: StepUp) -> None:
    """A secret that was only shown vouches for nobody, and can be shown anew."""
    steps.enrol("dana")
    second = steps.enrol("dana")
    assert (
        second.uri == f"otpauth://totp/prefect-gates:dana?secret={second.text}&issuer=prefect-gates"
    )
    token = entered(world)
    with pytest.raises(InvalidInput, match="not there: set one up on your page"):
        steps.step_up(token, code(second.text, world.clock))
    with pytest.raises(WrongCode):
        steps.confirm("dana", "000 000")
    assert not steps.enrolled("dana")
    steps.confirm("dana", code(second.text, world.clock))
    assert steps.enrolled("dana")
    with pytest.raises(InvalidInput, match="gates person reset-totp dana"):
        steps.enrol("dana")
    with pytest.raises(InvalidInput, match="confirmed already"):
        steps.confirm("dana", code(second.text, world.clock))


def test_a_code_vouches_for_its_session_alone_and_for_ten_minutes(
    world: World, steps: StepUp
) -> None:
    """Another session of the same person stays as it was."""
    secret = enrolled(steps, world.clock)
    one, other = entered(world), entered(world)
    steps.step_up(one, code(secret, world.clock))
    assert world.access.session(one).stepped_up
    assert not world.access.session(other).stepped_up
    world.clock.advance(minutes=9, seconds=59)
    assert world.access.session(one).stepped_up
    world.clock.advance(seconds=1)
    assert not world.access.session(one).stepped_up


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_a_clock_may_be_off_by_one_step(world: World, steps: StepUp, off: int) -> None:
    """Thirty seconds before or after, and no more."""
    secret, token = enrolled(steps, world.clock), entered(world)
    world.clock.advance(minutes=5)
    with pytest.raises(WrongCode):
        steps.step_up(token, code(secret, world.clock, 2 * off or 2))
    steps.step_up(token, code(secret, world.clock, off))


def test_a_code_is_taken_once_and_none_before_it(world: World, steps: StepUp) -> None:
    """Neither again, nor the one of the step before."""
    secret, token = enrolled(steps, world.clock), entered(world)
    now, before = code(secret, world.clock), code(secret, world.clock, -1)
    steps.step_up(token, now)
    for used in (now, before):
        with pytest.raises(WrongCode, match="was used before"):
            steps.step_up(token, used)
    with pytest.raises(DBAPIError, match="a code is taken once"), world.database.write() as session:
        session.connection().execute(text("UPDATE authenticator SET last_step = 0"))


def test_of_many_at_once_one_takes_the_code(world: World, steps: StepUp) -> None:
    """Two windows, one code: the row is locked."""
    secret = enrolled(steps, world.clock)
    tokens, shown = [entered(world) for _ in range(6)], code(secret, world.clock)

    def tried(token: str) -> bool:
        try:
            steps.step_up(token, shown)
        except WrongCode:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(tried, tokens)) == 1


def test_after_five_wrong_codes_one_waits_and_longer_each_time(world: World, steps: StepUp) -> None:
    """The right one is not taken either while one waits, whatever session it comes with."""
    secret, token = enrolled(steps, world.clock), entered(world)
    for _ in range(5):
        with pytest.raises(WrongCode, match="wrong, or was used"):
            steps.step_up(token, "abcdef")
    with pytest.raises(WrongCode, match="Too many wrong codes: wait 2 min"):
        steps.step_up(entered(world), code(secret, world.clock))
    world.clock.advance(minutes=1)
    with pytest.raises(WrongCode, match="wrong, or was used"):
        steps.step_up(token, "123")
    world.clock.advance(minutes=1)
    with pytest.raises(WrongCode, match="Too many wrong codes"):
        steps.step_up(token, code(secret, world.clock))
    world.clock.advance(minutes=1)
    steps.step_up(token, code(secret, world.clock))
    assert kinds(world).count("authenticator.refused") == 6


def test_a_reset_ends_what_rested_on_it(world: World, steps: StepUp) -> None:
    """The session is an ordinary one again; the person may set up another."""
    secret, token = enrolled(steps, world.clock), entered(world)
    steps.step_up(token, code(secret, world.clock))
    assert steps.reset("dana", "admin")
    assert not world.access.session(token).stepped_up
    assert not steps.reset("dana", "admin")
    assert kinds(world)[-1] == "authenticator.reset"
    assert enrolled(steps, world.clock) != secret


def test_less_than_the_policy_wants_is_refused_and_logged(world: World) -> None:
    """An approval with a session alone is not recorded; a rejection is."""
    world.rule(SURE)
    request_id = world.propose(ASKED).view.request.id
    for given in ("session", "slack", "who knows"):
        with pytest.raises(AssuranceTooLow, match="Dana Okafor, this approval wants a code"):
            world.decide(request_id, "dana", assurance=given)
    assert kinds(world).count("decision.refused") == 3
    assert world.gates.view(request_id).decisions == ()
    assert world.decide(request_id, "dana", "reject", assurance="slack").outcome.kind is (
        OutcomeKind.REJECTED
    )


def test_who_could_not_approve_is_told_by_the_doctor(world: World, steps: StepUp) -> None:
    """Asked for a code, and without an app that makes one."""
    world.rule(SURE)
    enrolled(steps, world.clock)
    world.propose(ASKED)
    (found,) = [one for one in findings(world.gates) if one.check == "people"]
    assert found.text.endswith("not set up: Mika Lindqvist")


# -- the page -------------------------------------------------------------------------------


@dataclass
class House:
    """A server, and somebody's terminal beside it."""

    world: World
    url: str
    home: Path

    @contextmanager
    def browser(self, person: str = "dana") -> Iterator[httpx.Client]:
        with httpx.Client(base_url=self.url) as client:
            link = self.world.access.create_link(person)
            assert client.post(f"/login/{link}").status_code == 303
            yield client

    def run(self, *words: str) -> Result:
        env = {"GATES_HOME": str(self.home), "COLUMNS": "200", "GATES_URL": ""}
        return CliRunner().invoke(app, list(words), env=env)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    world, bound = World(database), free_socket()
    world.rule(SURE)
    world.gates.base_url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    home = tmp_path / "home"
    first_admin_key(world.access, home / "admin.key")
    with serving(create_app(world.gates, world.work, world.access, Waiters()), bound) as url:
        (home / "url").write_text(url)
        yield House(world, url, home)
    database.close()


def fields(page: str) -> dict[str, str]:
    return dict(re.findall(FORM, page))


def set_up(house: House, client: httpx.Client) -> str:
    """Through the page: the secret."""
    me = client.get("/people/me").text
    shown = client.post("/people/me/totp", data=fields(me)).text
    found = re.search(r"<code>((?:[A-Z2-7]{4} ?)+)</code>", shown)
    assert found is not None
    assert "<svg" in shown
    secret = found[1].replace(" ", "")
    data = fields(me) | {"code": code(secret, house.world.clock)}
    assert client.post("/people/me/totp/confirm", data=data).status_code == 303
    house.world.clock.advance(seconds=60)
    return secret


def test_one_form_takes_code_and_decision(house: House) -> None:
    """The page leads to the set-up, then asks for the code; with it the decision is sure."""
    request_id = house.world.propose(ASKED).view.request.id
    with house.browser() as client:
        page = client.get(f"/requests/{request_id}").text
        assert '<a href="/people/me">set one up</a>' in page
        assert "Approving wants a code of an authenticator app" in page
        secret = set_up(house, client)
        page = client.get(f"/requests/{request_id}").text
        assert "Confirm with your code" in page
        where, data = f"/requests/{request_id}/decision", fields(page) | {"decision": "approve"}
        without = client.post(where, data=data)
        assert (without.status_code, "wants a code" in without.text) == (403, True)
        wrong = client.post(where, data=data | {"code": "1234567", "reason": "it is ours"})
        assert (wrong.status_code, "it is ours" in wrong.text) == (403, True)
        right = code(secret, house.world.clock)
        done = client.post(where, data=data | {"code": f"{right[:3]} {right[3:]}"})
        assert done.status_code == 303
    [recorded] = house.world.gates.view(request_id).decisions
    assert (recorded.channel, recorded.assurance) == ("inbox", "step_up")


def test_for_ten_minutes_no_further_code_is_asked_for(house: House) -> None:
    """A second request is decided without; after that the code is wanted again."""
    with house.browser() as client:
        secret = set_up(house, client)
        for number, (wait, sent) in enumerate([(0, True), (9, False), (2, True)]):
            house.world.clock.advance(minutes=wait)
            house.world.run = f"run-{number}"
            request_id = house.world.propose(ASKED).view.request.id
            page = client.get(f"/requests/{request_id}").text
            assert ("Confirm with your code" in page) is sent
            data = fields(page) | {"decision": "approve"}
            if sent:
                data["code"] = code(secret, house.world.clock)
            assert client.post(f"/requests/{request_id}/decision", data=data).status_code == 303


def test_a_secret_is_shown_once_and_only_with_the_forms_token(house: House) -> None:
    """Neither on the next look at the page, nor to who guesses the form."""
    with house.browser() as client:
        assert client.post("/people/me/totp", data={"csrf": "x"}).status_code == 403
        me = client.get("/people/me").text
        shown = client.post("/people/me/totp", data=fields(me)).text
        assert "shown once" in shown
        assert "shown once" not in client.get("/people/me").text
        data = fields(me) | {"code": "000000x"}
        wrong = client.post("/people/me/totp/confirm", data=data)
        assert (wrong.status_code, "This code is wrong" in wrong.text) == (403, True)
        assert "shown once" not in wrong.text
        assert "The code that it shows now" in wrong.text
    assert httpx.get(f"{house.url}/people/me").status_code == 401


# -- the command line -----------------------------------------------------------------------


def test_approve_with_a_code_and_reset_at_the_command_line(house: House) -> None:
    """Without one the sentence says how; an admin forgets an authenticator that is lost."""
    request_id = house.world.propose(ASKED).view.request.id
    with house.browser() as client:
        secret = set_up(house, client)
    house.run("login", house.run("login-link", "dana").stdout.strip())
    without = house.run("approve", request_id[:8])
    assert without.exit_code == 1
    assert "assurance_too_low: " in without.stderr
    assert "`gates approve ID --code CODE`" in without.stderr
    wrong = house.run("approve", request_id[:8], "--code", "12")
    assert (wrong.exit_code, "wrong_code" in wrong.stderr) == (1, True)
    shown = code(secret, house.world.clock)
    done = house.run("approve", request_id[:8], "--code", shown)
    assert "approved by Dana Okafor" in done.stdout, done.stderr
    assert house.run("person", "reset-totp", "dana").exit_code == 0
    again = house.run("person", "reset-totp", "dana")
    assert (again.exit_code, "nothing to reset" in again.stderr) == (3, True)


def test_a_flow_cannot_reset_anything(house: House) -> None:
    """Only an admin's key may; and no answer of the server holds a secret."""
    key = house.world.access.create_key("flow", "agent")
    answer = httpx.delete(
        f"{house.url}/v1/admin/people/dana/totp", headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 403
    assert issubclass(WrongCode, GatesError)
