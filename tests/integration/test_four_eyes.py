"""Rules that change while servers run, and what needs four eyes; on both databases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from sqlmodel import col, select

from gates.core.errors import (
    Conflict,
    GatesError,
    InvalidInput,
    NotEntitled,
    NotFound,
    RequestClosed,
    SelfApproval,
)
from gates.core.freezes import Scope
from gates.core.model import OutcomeKind, RequestView, Standing
from gates.core.people import load_people
from gates.core.policy import load_policy
from gates.core.versions import Texts, people_digest
from gates.four_eyes import DIRECTORY, POLICY, THAW, FourEyes
from gates.health import findings
from gates.orders import Orders
from gates.outbox import Outbox
from gates.ports import Rules
from gates.reloading import FILES, READING, Living, Reloading
from gates.service import Gates
from gates.store import versions
from gates.store.database import Database
from gates.store.tables import LogRow
from gates.store.versions import PolicyVersionRow
from gates.versioned import find, newest
from gates.web.rendering import request_page
from gates.web.words import choice
from tests.support import world as small
from tests.support.world import World

PEOPLE = small.PEOPLE.replace("clerks: Clerks}", "clerks: Clerks, admins: Admins}").replace(
    "groups: [treasury]", "groups: [treasury, admins]"
)
PEOPLE = PEOPLE.replace("groups: [controllers]", "groups: [controllers, admins]")
ASK = "ask: {who: [admins], quorum: 2, deadline: 1h}"
EYES = f"command: {{who: [admins], {ASK}, needs: [policy, thaw, directory]}}\nrules:"
PLAIN = small.POLICY
FOUR = PLAIN.replace("rules:", EYES)
STRICTER = "amount.minor < 10000"


def stricter(policy: str) -> str:
    return policy.replace("amount.minor < 100000", STRICTER)


@dataclass
class Files:
    """What stands in the files of one server. Implements the port RuleFiles."""

    policy: str = FOUR
    people: str = PEOPLE
    trouble: str = ""

    def texts(self) -> Texts:
        if self.trouble:
            raise InvalidInput(self.trouble)
        return Texts((("policy.yaml", self.policy),), ("people.yaml", self.people))

    def load(self, texts: Texts) -> Rules:
        name, text = texts.people
        people = load_people(text, name)
        ((name, text),) = texts.policy
        return Rules(load_policy(text, name, people), people, people_digest(*texts.people))


@dataclass
class Server:
    """One of the servers over a store: its files and how it follows them."""

    world: World
    files: Files
    gates: Gates = field(init=False)

    def __post_init__(self) -> None:
        rules = self.files.load(self.files.texts())
        asking = replace(self.world.gates.asking, policy=rules.policy, directory=rules.directory)
        self.gates = Gates(
            self.world.database,
            asking,
            "http://127.0.0.1",
            clock=self.world.clock,
            keys=self.world.gates.ring,
            orders=Orders(lambda: float(next(self.ticks))),
        )
        self.ticks = iter(range(10**9))  # nothing is remembered: each look is a second later
        self.living = Living(rules.directory)
        self.eyes = FourEyes(self.gates)
        self.reloading = Reloading(self.gates, self.files, self.living, self.eyes)
        self.reloading.begin(self.files.texts(), rules)

    def look(self) -> None:
        """As long as it takes to see a change: what was seen once may still be being written."""
        self.reloading.look()
        self.reloading.look()

    @property
    def policy(self) -> str:
        return self.gates.asking.policy.digest

    def asked(self, action: str) -> list[RequestView]:
        return [one for one in self.gates.waiting() if one.request.action.name == action]

    def decide(self, request_id: str, *people: str, kind: str = "approve") -> None:
        self.world.gates = self.gates
        for person in people:
            self.world.decide(request_id, person, kind)

    def outbox(self) -> None:
        """Do what the outbox has for the server itself."""
        outbox = Outbox(self.world.database, {"apply": self.eyes.apply}, self.world.clock)
        while not outbox.work("apply"):
            pass


def digest(policy: str) -> str:
    return Files(policy).load(Files(policy).texts()).policy.digest


def kinds(world: World, *wanted: str) -> list[str]:
    with world.database.read() as session:
        found = session.exec(select(LogRow.kind).order_by(col(LogRow.seq))).all()
    return [kind for kind in found if kind in wanted]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def server(world: World) -> Server:
    """One that wants four eyes."""
    return Server(world, Files())


@pytest.fixture
def free(world: World) -> Server:
    """One that takes its files as they come."""
    return Server(world, Files(PLAIN))


# -- hot reload -----------------------------------------------------------------------------


def test_a_changed_policy_is_taken_without_a_restart(free: Server) -> None:
    """And what it judges from now on, it judges by the new one."""
    before = free.policy
    free.files.policy = stricter(PLAIN)
    free.look()
    assert free.policy == digest(stricter(PLAIN)) != before
    free.world.gates = free.gates
    assert free.world.propose("500.00").standing is Standing.WAITING
    assert kinds(free.world, "rules.in_force") == ["rules.in_force"] * 2


def test_after_an_upgrade_that_cannot_read_the_old_rules_the_log_says_that_nobody_was_asked(
    server: Server,
) -> None:
    """What was in force names who is asked; where it cannot be read there is nobody."""
    with server.world.database.write() as session:
        row = session.get_one(PolicyVersionRow, digest(FOUR))
        row.files = row.files.replace("amount.minor", "loop.minor")
    server.files.policy = stricter(FOUR)
    server.look()
    assert server.policy == digest(stricter(FOUR))
    assert kinds(server.world, "rules.not_asked") == ["rules.not_asked"]


def test_a_request_in_flight_keeps_its_judgement(free: Server) -> None:
    """It was asked under the old policy, and its digest leads to that text."""
    free.world.gates = free.gates
    asked = free.world.propose("5000.00").view.request
    free.files.policy = stricter(PLAIN)
    free.look()
    kept = free.gates.view(asked.id).request
    assert kept.judgement == asked.judgement
    assert find(free.gates, kept.judgement.policy_digest[:12]).files == (("policy.yaml", PLAIN),)
    free.decide(asked.id, "dana")
    assert free.world.propose("5000.00").standing is Standing.EXECUTING, "it still suffices"


@pytest.mark.parametrize(
    ("policy", "people"),
    [
        (PLAIN.replace("tier: high", "tier: highest"), PEOPLE),
        ("rules: [", PEOPLE),
        (PLAIN, PEOPLE.replace("mika", "dana")),
        (PLAIN.replace("[treasury]", "[nobody]"), PEOPLE),
        ("", PEOPLE),
    ],
)
def test_a_broken_file_is_never_taken(free: Server, policy: str, people: str) -> None:
    """The old rules go on; it is said once in the log, and in health until it is mended."""
    before, directory = free.policy, free.gates.asking.directory
    free.files.policy, free.files.people = policy, people
    for _ in range(3):
        free.look()
    assert (free.policy, free.gates.asking.directory) == (before, directory)
    assert kinds(free.world, "rules.refused") == ["rules.refused"]
    assert any("the old rules go on" in one.text for one in findings(free.gates))
    free.files.policy, free.files.people = stricter(PLAIN), PEOPLE
    free.look()
    assert free.policy == digest(stricter(PLAIN))
    assert free.gates.troubles == {}


def test_a_broken_file_is_told_once_whichever_server_sees_it(free: Server) -> None:
    """Two servers read the same broken text."""
    second = Server(free.world, Files(PLAIN))
    for one in (free, second):
        one.files.policy = "rules: ["
        one.look()
        assert FILES in one.gates.troubles
    assert kinds(free.world, "rules.refused") == ["rules.refused"]


def test_an_unreadable_file_changes_nothing(free: Server) -> None:
    """It is being written, or was deleted: the next look may find it."""
    before = free.policy
    free.files.trouble = "GATES_POLICY = 'policy.yaml' cannot be read: No such file."
    free.look()
    assert free.policy == before
    assert "cannot be read" in free.gates.troubles[READING]
    free.files.trouble = ""
    free.look()
    assert free.gates.troubles == {}


def test_half_a_file_is_not_taken(free: Server) -> None:
    """It may be a policy, with half the rules: only what two looks have seen counts."""
    before = free.policy
    free.files.policy = PLAIN[: PLAIN.index("  - name: never")]
    assert digest(free.files.policy) != before
    free.reloading.look()
    free.files.policy = stricter(PLAIN)
    free.reloading.look()
    assert free.policy == before
    free.reloading.look()
    assert free.policy == digest(stricter(PLAIN))
    assert kinds(free.world, "rules.in_force") == ["rules.in_force"] * 2


def test_other_servers_follow_and_do_not_pull_back(free: Server) -> None:
    """Their own files may be older: only a file that changes speaks."""
    second = Server(free.world, Files(PLAIN))
    free.files.policy = stricter(PLAIN)
    free.look()
    for _ in range(2):
        second.look()
        free.look()
    assert second.policy == free.policy == digest(stricter(PLAIN))
    second.files.policy = stricter(PLAIN)
    second.look()
    assert kinds(free.world, "rules.in_force") == ["rules.in_force"] * 2


def test_people_change_with_the_file_for_everybody_who_asks_for_them(free: Server) -> None:
    """Those who keep a directory for as long as the server runs ask the new one."""
    free.files.people = PEOPLE.replace("Tess Laurent", "Tess Laurent-Roy")
    free.look()
    assert free.living.person("tess").name == "Tess Laurent-Roy"
    assert free.living.by_email("tess@example.com").name == "Tess Laurent-Roy"
    assert free.living.by_slack("T1", "U1").id == "dana"
    assert [one.id for one in free.living.members(["treasury"])] == ["tess"]


def test_comments_and_layout_are_no_change(server: Server) -> None:
    """Nobody is asked about them."""
    server.files.policy = f"# reviewed\n{FOUR}\n"
    server.files.people = f"# reviewed\n{PEOPLE}\n"
    server.look()
    assert server.gates.waiting() == []


def test_every_version_can_be_read_back(free: Server) -> None:
    """By its digest or the beginning of it; when it came into force, and through whom."""
    first = free.policy
    free.files.policy = stricter(PLAIN)
    free.look()
    found = find(free.gates, first[:6])
    assert (found.digest, found.by, found.activated_at) == (
        first,
        "the first start",
        free.world.clock(),
    )
    assert {one.digest for one in newest(free.gates, 10)} == {first, free.policy}
    with pytest.raises(NotFound, match="'12' names no policy"):
        find(free.gates, "12")


# -- four eyes: rules -----------------------------------------------------------------------


def test_the_first_policy_is_taken_as_it_is(server: Server) -> None:
    """There is nobody to agree to it."""
    assert server.policy == digest(FOUR)
    assert server.gates.waiting() == []


def test_a_change_of_the_policy_is_asked_and_taken_once_agreed(server: Server) -> None:
    """With the difference before the eyes of two people, applied by the server, on all servers."""
    second = Server(server.world, Files())
    server.files.policy = stricter(FOUR)
    for _ in range(3):
        server.look()
        second.look()
    (view,) = server.asked(POLICY)
    assert f'+    when: action.name == "note" || {STRICTER}' in str(
        view.request.evidence["difference"]
    )
    assert (server.policy, second.policy) == (digest(FOUR), digest(FOUR))
    offered = choice(view, "dana")
    assert (offered.may_change, offered.send_back) == (False, "")
    assert not request_page(view, [], "dana", server.world.clock()).in_process
    server.decide(view.request.id, "dana")
    server.outbox()
    server.look()
    assert server.policy == digest(FOUR), "one pair of eyes is not enough"
    server.decide(view.request.id, "tess")
    server.outbox()
    server.outbox()
    server.look()
    second.look()
    assert server.policy == second.policy == digest(stricter(FOUR))
    assert server.gates.view(view.request.id).execution is not None
    assert kinds(server.world, "rules.in_force") == ["rules.in_force"] * 2
    assert find(server.gates, server.policy).by == "Dana Okafor, Tess Laurent"
    assert server.gates.troubles == {}


def test_a_change_of_the_directory_is_asked_too(server: Server) -> None:
    """Nobody adds themselves to a group unseen."""
    server.files.people = PEOPLE.replace("groups: [clerks]", "groups: [clerks, controllers]")
    server.look()
    (view,) = server.asked(DIRECTORY)
    assert "controllers]" in str(view.request.evidence["difference"])
    assert [one.id for one in server.living.members(["clerks"])] == ["sam"]
    server.decide(view.request.id, "dana", "mika")
    server.outbox()
    server.look()
    assert "sam" in {one.id for one in server.living.members(["controllers"])}


def test_nobody_writes_themselves_out_of_the_section(world: World) -> None:
    """A change of `command:` is judged by the one in force, whatever it needs else."""
    thaws = FOUR.replace("[policy, thaw, directory]", "[thaw]")
    server = Server(world, Files(thaws))
    server.files.policy = PLAIN
    server.look()
    assert server.asked(POLICY)
    assert server.policy == digest(thaws)
    server.files.policy = stricter(thaws)  # another rule: `policy` is not among its needs
    server.look()
    assert server.policy == digest(stricter(thaws))
    assert server.asked(POLICY) == [], "the files have changed again"


def test_a_rejected_change_is_not_asked_again_until_the_files_change(server: Server) -> None:
    """The old rules go on, and health says that the files differ."""
    server.files.policy = stricter(FOUR)
    server.look()
    server.decide(server.asked(POLICY)[0].request.id, "dana", kind="reject")
    for _ in range(3):
        server.look()
    assert server.asked(POLICY) == []
    assert "differ from what is in force" in server.gates.troubles[FILES]
    server.files.policy = FOUR
    server.look()
    assert server.gates.troubles == {}
    server.files.policy = stricter(FOUR)
    server.look()
    assert [one.request.round for one in server.asked(POLICY)] == [2]


def test_a_change_that_is_taken_back_is_not_asked_any_more(server: Server) -> None:
    """Somebody has mended the file before anybody has decided."""
    server.files.policy = stricter(FOUR)
    server.look()
    (view,) = server.asked(POLICY)
    server.files.policy = FOUR
    server.look()
    outcome = server.gates.view(view.request.id).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.CANCELLED
    with pytest.raises(RequestClosed):
        server.decide(view.request.id, "dana")


def test_a_change_that_nobody_decided_is_asked_again(server: Server) -> None:
    """The files still differ."""
    server.files.policy = stricter(FOUR)
    server.look()
    server.world.clock.advance(hours=2)
    server.gates.expire()
    server.look()
    assert [one.request.round for one in server.asked(POLICY)] == [2]


def test_of_two_changes_that_were_agreed_to_none_is_lost(server: Server) -> None:
    """The second was shown as a change of something else: it is asked anew."""
    second = Server(server.world, Files())
    server.files.policy = stricter(FOUR)
    server.look()
    (view,) = server.asked(POLICY)
    with server.world.database.write() as session:  # another way in, between question and answer
        now = versions.in_force(session)
        assert now is not None
        versions.put_in_force(session, now, "a restore", server.world.clock())
    server.decide(view.request.id, "dana", "tess")
    server.outbox()
    outcome = server.gates.view(view.request.id).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.VOIDED
    server.look()
    second.look()
    assert [one.request.round for one in server.asked(POLICY)] == [2]
    assert server.policy == second.policy == digest(FOUR)


def test_a_restart_keeps_what_is_in_force(server: Server) -> None:
    """Changed while no server ran: it is asked; an older version on a machine's disk is not."""
    fresh = Server(server.world, Files(stricter(FOUR)))
    assert fresh.policy == digest(FOUR)
    (view,) = fresh.asked(POLICY)
    fresh.decide(view.request.id, "dana", "tess")
    fresh.outbox()
    stale = Server(server.world, Files(FOUR))
    assert stale.policy == digest(stricter(FOUR))
    assert stale.asked(POLICY) == []
    assert "an earlier version" in stale.gates.troubles[FILES]


@dataclass
class Dies(Exception):
    """The process ends here."""


def test_a_crash_between_approval_and_application_loses_and_doubles_nothing(
    server: Server,
) -> None:
    """At any of its statements: the next delivery does it once."""
    server.files.policy = stricter(FOUR)
    server.look()
    (view,) = server.asked(POLICY)
    server.decide(view.request.id, "dana", "tess")
    crashed = 0
    for line in range(1, 40):
        lives = _applied_until(server, view.request.id, line)
        crashed += not lives
        if lives:
            break
        assert server.gates.view(view.request.id).execution is None
    assert crashed > 3
    server.eyes.apply(view.request.id)
    server.look()
    assert server.policy == digest(stricter(FOUR))
    assert kinds(server.world, "rules.in_force", "command.applied") == [
        *["rules.in_force"] * 2,
        "command.applied",
    ]


def _applied_until(server: Server, request_id: str, statement: int) -> bool:
    """Whether it got through, where the process dies at its Nth statement."""
    from sqlalchemy import event  # noqa: PLC0415 - this helper's alone

    left = [statement]

    def dies(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Dies

    engine = server.world.database.engine
    event.listen(engine, "before_cursor_execute", dies)
    try:
        server.eyes.apply(request_id)
    except Dies:
        return False
    finally:
        event.remove(engine, "before_cursor_execute", dies)
    return True


# -- four eyes: thaws -----------------------------------------------------------------------


def test_a_thaw_is_asked_and_done_once_agreed(server: Server) -> None:
    """Who asks for it is not among those who agree; what waited goes on."""
    commanding = server.eyes.commanding
    made = commanding.freeze(commanding.person("dana"), Scope(everything=True), "odd amounts")
    with pytest.raises(NotEntitled, match="somebody else in command"):
        server.eyes.thaw("dana", made.id, "never mind")
    _, request_id = server.eyes.thaw("tess", made.id, "looked into")
    (view,) = server.asked(THAW)
    assert view.request.id == request_id
    assert view.request.requirement is not None
    assert set(view.request.requirement.people) == {"dana", "mika"}
    with pytest.raises(Conflict, match="has been put to people already"):
        server.eyes.thaw("mika", made.id, "me too")
    with pytest.raises(SelfApproval):
        server.decide(request_id, "tess")
    server.decide(request_id, "dana", "mika")
    assert commanding.in_force().freezes
    server.outbox()
    assert commanding.in_force().freezes == ()
    server.outbox()
    assert kinds(server.world, "freeze.thawed", "command.applied") == [
        "freeze.thawed",
        "command.applied",
    ]


def test_a_rejected_thaw_leaves_the_freeze(server: Server) -> None:
    """And can be asked again."""
    commanding = server.eyes.commanding
    made = commanding.freeze(commanding.person("dana"), Scope(everything=True), "odd amounts")
    _, first = server.eyes.thaw("tess", made.id, "looked into")
    server.decide(first, "mika", kind="reject")
    server.outbox()
    assert len(commanding.in_force().freezes) == 1
    assert server.eyes.thaw("tess", made.id, "now really")[1] != first


def test_an_approval_of_who_has_left_thaws_nothing(server: Server) -> None:
    """Between the last answer and the deed the directory has changed."""
    commanding = server.eyes.commanding
    made = commanding.freeze(commanding.person("dana"), Scope(everything=True), "odd amounts")
    _, request_id = server.eyes.thaw("tess", made.id, "looked into")
    server.decide(request_id, "dana", "mika")
    left = load_people(PEOPLE.replace("[controllers, admins]", "[controllers]"), "people.yaml")
    server.gates.asking = replace(server.gates.asking, directory=left)
    server.eyes.apply(request_id)
    assert len(commanding.in_force().freezes) == 1
    outcome = server.gates.view(request_id).outcome
    assert outcome is not None
    assert "may no longer approve this" in outcome.reason


def test_nobody_gets_into_the_server_s_own_matters_through_a_flow(server: Server) -> None:
    """Neither by the run's name, nor by the action's, nor by other arguments."""
    world = server.world
    world.gates = server.gates
    with pytest.raises(InvalidInput, match="is the server's own"):
        world.propose(name=THAW, in_process=True, arguments={"freeze": "x"})
    world.run = "script-gates-thaw-x"
    with pytest.raises(InvalidInput, match="are the server's own"):
        world.propose("500.00")
    commanding = server.eyes.commanding
    made = commanding.freeze(commanding.person("dana"), Scope(agent="a"), "odd amounts")
    _, request_id = server.eyes.thaw("tess", made.id, "looked into")
    with pytest.raises(InvalidInput, match="approve or reject"):
        world.gates.decide(
            request_id,
            person_id="mika",
            kind=small.DecisionKind.APPROVE_WITH_CHANGES,
            channel="test",
            assurance="session",
            changes={"freeze": "other", "covers": "x", "reason": "y"},
        )


def test_eyes_that_can_never_meet_are_refused_at_load() -> None:
    """One could agree alone to what they have written; needs without anybody to ask."""
    for wrong, words in (
        (FOUR.replace(ASK, ASK.replace("quorum: 2", "quorum: 1")), "could agree to it alone"),
        (FOUR.replace(f"{ASK}, ", ""), "nobody to ask: add an `ask`"),
        (FOUR.replace("thaw,", "thaws,"), "unknown need 'thaws': did you mean 'thaw'"),
        (FOUR.replace("{who: [admins], ask", "{who: [amins], ask"), "There is no group 'amins'"),
    ):
        with pytest.raises(GatesError, match=words):
            Files(wrong).load(Files(wrong).texts())
