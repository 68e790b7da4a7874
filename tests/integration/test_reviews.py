"""A sample of what ran by itself is looked at afterwards, on both stores and through the inbox."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Barrier, Thread

import httpx
import pytest
from click.testing import Result
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select
from typer.testing import CliRunner

from gates.client import GatesClient
from gates.core.errors import (
    AlreadyDecided,
    GatesError,
    InvalidInput,
    NotEntitled,
    ReasonNeeded,
    SelfApproval,
)
from gates.core.model import RequestView, Standing
from gates.reviews import Reviews, Word
from gates.store.database import Database
from gates.store.tables import LogRow, OutboxRow
from gates.web.app import create_app
from gates.web.waiters import Waiters
from integrations.cli import app as command_line
from integrations.prefect_runs.telling import markdown
from tests.support.browser import free_socket, serving
from tests.support.empty import empty_sqlite
from tests.support.world import POLICY, World

RULES = (
    POLICY
    + """
  - name: usual
    on: till.pay
    when: amount.minor >= 100000 && amount.minor < 1000000
    verdict: review_later
    sample: 100%
    tier: routine
    ask: {who: [controllers, clerks]}
    because: "{amount} is usual"
"""
)
USUAL = "5000.00"


def sampled(world: World, share: str = "100%") -> Reviews:
    world.rule(RULES.replace("100%", share))
    return Reviews(world.gates)


def say(reviews: Reviews, one: str, person: str, word: Word, reason: str = "") -> RequestView:
    return reviews.say(
        one, person_id=person, word=word, reason=reason, channel="test", assurance="session"
    )


def test_it_runs_at_once_and_is_looked_at_afterwards(world: World) -> None:
    """Nothing waits; whoever may look finds it, says a word, and it is off the list."""
    reviews = sampled(world)
    reply = world.propose(USUAL)
    assert reply.standing is Standing.EXECUTING
    one = reply.view.request.id
    assert [view.request.id for view in reviews.mine("dana")] == [one]
    assert reviews.mine("sam") == reviews.mine("tess") == []
    said = say(reviews, one, "dana", "wrong", "this supplier is closed")
    assert (said.review, said.outcome) == ("done", reply.view.outcome)
    assert reviews.wanted() == []
    assert [one.reason for one in reviews.done()[0].reviews] == ["this supplier is closed"]
    assert world.gates.view(one).reviews == said.reviews
    job = world.lease()
    assert job is not None
    assert world.perform(job).standing is Standing.SUCCEEDED


def test_a_flow_is_not_told_that_it_is_looked_at(world: World) -> None:
    """Neither before nor after: it could try keys until it is not."""
    reviews = sampled(world)
    reply = world.propose(USUAL)
    say(reviews, reply.view.request.id, "mika", "fine")
    again = world.propose(USUAL)
    assert (reply.view.review, again.view.review, again.view.reviews) == ("", "", ())


def test_each_person_counts_once_and_says_why(world: World) -> None:
    """Refusals: no reason, whom the agent acts for, strangers, a second word, and what was not
    drawn; the same word once more changes nothing.
    """
    reviews = sampled(world)
    one = world.propose(USUAL).view.request.id
    with pytest.raises(ReasonNeeded, match="what is wrong"):
        say(reviews, one, "dana", "wrong", " ")
    with pytest.raises(SelfApproval):
        say(reviews, one, "sam", "fine")
    with pytest.raises(NotEntitled, match=r"look at this \(controllers, clerks\)"):
        say(reviews, one, "tess", "fine")
    say(reviews, one, "dana", "fine")
    assert len(say(reviews, one, "dana", "fine").reviews) == 1
    with pytest.raises(AlreadyDecided):
        say(reviews, one, "dana", "wrong", "on second thought")
    assert len(say(reviews, one, "mika", "wrong", "no order").reviews) == 2
    small = world.propose("5.00", key="small").view.request.id
    with pytest.raises(InvalidInput, match="none of those to look at"):
        say(reviews, small, "dana", "fine")
    with world.database.read() as session:
        kinds = [row.kind for row in session.exec(select(LogRow)).all()]
    assert kinds.count("event.reviewed") == 2
    assert kinds.count("review.refused") == 5


def test_two_at_once_count_once_each(world: World) -> None:
    """The same person from two windows, and another one: two reviews."""
    reviews = sampled(world)
    one = world.propose(USUAL).view.request.id
    barrier, refused = Barrier(3), list[GatesError]()

    def click(person: str, word: Word) -> None:
        barrier.wait()
        try:
            say(reviews, one, person, word, "so")
        except GatesError as error:
            refused.append(error)

    clicks = [("dana", "fine"), ("dana", "wrong"), ("mika", "fine")]
    threads = [Thread(target=click, args=one) for one in clicks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.gates.view(one).reviews) == 2
    assert [type(error) for error in refused] == [AlreadyDecided]


def test_the_share_is_kept_whatever_keys_a_flow_chooses(world: World) -> None:
    """The server's own dice fall when a round is opened; a repeat does not throw them again."""
    reviews = sampled(world, "25%")
    world.gates.dice, same = dice(), dice()
    for number in range(60):
        same_again = number % 3 == 0
        amount = USUAL if same_again else f"{5000 + number}.00"
        world.propose(amount, key="same" if same_again else f"k{number}")
    thrown = [same.randrange(1000) < 250 for _ in range(41)]
    assert len(reviews.wanted()) == sum(thrown)
    assert 0 < sum(thrown) < 41


def dice() -> Random:
    return Random(7)  # noqa: S311 - to be foreseen is the point here


def test_a_draw_is_never_undone(world: World) -> None:
    """Nobody with the database's password takes something out of the sample, or puts it in."""
    sampled(world)
    one = world.propose(USUAL).view.request.id
    small = world.propose("5.00", key="small").view.request.id
    for change, which in (("NULL", one), ("'wanted'", small), ("'done'", small)):
        query = text(f"UPDATE request SET review = {change} WHERE id = :id")  # noqa: S608 - ours
        with (
            pytest.raises(DBAPIError, match="drawn when it is opened"),
            world.database.write() as session,
        ):
            session.connection().execute(query, {"id": which})


def test_what_was_said_is_shown_on_the_run(world: World) -> None:
    """The artifact is told again, with the person, the word, the kind and the reason."""
    reviews = sampled(world)
    one = world.propose(USUAL).view.request.id
    view = reviews.say(
        one,
        person_id="dana",
        word="wrong",
        reason="no order",
        category="paperwork",
        channel="test",
        assurance="session",
    )
    assert "| Looked at by Dana Okafor | `wrong (paperwork): no order` |" in markdown(view)
    with world.database.read() as session:
        wishes = session.exec(select(OutboxRow.kind, OutboxRow.request_id)).all()
    assert ("tell", one) in [tuple(row) for row in wishes]


# -- over HTTP ----------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[World, str]]:
    database = Database(empty_sqlite(tmp_path / "gates.sqlite"))
    world = World(database)
    sampled(world)
    app = create_app(world.gates, world.work, world.access, Waiters())
    with serving(app, free_socket()) as url:
        yield world, url
    database.close()


def test_the_inbox_has_a_section_and_a_form(house: tuple[World, str]) -> None:
    """Listed under `To look at`; a word without a reason comes back; then it is gone."""
    world, url = house
    one = world.propose(USUAL).view.request.id
    with httpx.Client(base_url=url, follow_redirects=True) as client:
        client.post(f"/login/{world.access.create_link('dana')}")
        home = client.get("/").text
        assert "To look at" in home
        assert "Nothing waits for you" in home
        page = client.get(f"/requests/{one}").text
        assert "Was this right?" in page
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        form = {"csrf": csrf, "word": "wrong", "reason": "", "category": "dates"}
        assert "reason is empty" in client.post(f"/requests/{one}/review", data=form).text
        done = client.post(f"/requests/{one}/review", data=form | {"reason": "too <early>"}).text
        assert "Looked at afterwards" in done
        assert "too &lt;early&gt;" in done
        assert "wrong (dates)" in done
        assert "To look at" not in client.get("/").text
        form |= {"csrf": "stolen"}
        assert client.post(f"/requests/{one}/review", data=form).status_code == 403


def test_people_and_admins_read_reviews_and_flows_do_not(house: tuple[World, str]) -> None:
    """`GET /v1/reviews` is what quality work reads; a flow's key is refused."""
    world, url = house
    one = world.propose(USUAL).view.request.id
    token = world.access.redeem_link(world.access.create_link("dana"))
    with GatesClient(url, session=token) as client:
        assert [view.request.id for view in client.reviews()] == [one]
        client.review(one[:8], "wrong", "no order", "paperwork")
    with GatesClient(url, key=world.access.create_key("admin", "quality")) as client:
        (view,) = client.reviews("done")
        assert (view.reviews[0].verdict, view.reviews[0].category) == ("wrong", "paperwork")
    flow = world.access.create_key("flow", "invoice-agent", "sam")
    with GatesClient(url, key=flow) as client, pytest.raises(NotEntitled):
        client.reviews()


def test_the_command_line_lists_and_says(house: tuple[World, str], tmp_path: Path) -> None:
    """`gates reviews`, `fine`, `wrong`, and what has been said as JSON."""
    world, url = house
    one = world.propose(USUAL).view.request.id
    home = tmp_path / "home"
    home.mkdir()
    (home / "url").write_text(url)

    def run(*words: str) -> Result:
        env = {"GATES_HOME": str(home), "COLUMNS": "200", "GATES_URL": ""}
        return CliRunner().invoke(command_line, list(words), env=env)

    assert run("login", world.access.create_link("mika")).exit_code == 0
    assert one[:8] in run("reviews").stdout
    refused = run("reviews", "wrong", one, "--reason", " ")
    assert (refused.exit_code, "say what is wrong" in refused.stderr) == (1, True)
    assert "was wrong" in run("reviews", "wrong", one, "--reason", "no order").stdout
    assert "nothing to look at" in run("reviews").stdout
    (told,) = json.loads(run("reviews", "--done", "--json").stdout)
    assert told["reviews"][0]["reason"] == "no order"
    assert "Mika Lindqvist: wrong" in run("show", one).stdout
