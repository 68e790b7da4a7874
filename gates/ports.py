"""What the service needs of the outside, as contracts. Implementations live in integrations/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gates.core.asked import Person
from gates.core.model import Json, RequestView, RunRef, Signal
from gates.core.people import Cover
from gates.core.policy import Policy, Question
from gates.core.policy.judges import JudgeRule
from gates.core.standing import StandingApproval
from gates.core.value import Value
from gates.core.versions import Texts


class Directory(Protocol):
    """Who people are. A lookup that matches nobody or more than one raises UnknownPerson.

    `members`: whoever is in one of the groups; of a group on call, whose turn it is `now`, or all
    who take turns where no moment is given. `cover`: who is away, and who decides for whom.
    """

    def person(self, person_id: str) -> Person: ...
    def by_slack(self, team_id: str, user_id: str) -> Person: ...
    def by_email(self, email: str) -> Person: ...
    def members(self, groups: Sequence[str], now: datetime | None = None) -> Sequence[Person]: ...
    @property
    def cover(self) -> Cover: ...


class Circumstances(Protocol):
    """What the server knows of a question beside the facts of its action: of its past, of its sums,
    of its run. Read before the question is judged, and only where a rule mentions one of `names`.

    `look` returns a mapping for each of its names, or raises: then people are asked.
    """

    names: tuple[str, ...]

    def look(self, question: Question, run: RunRef, now: datetime) -> Mapping[str, Json]: ...


class StandingApprovals(Protocol):
    """What people have approved beforehand: all that cover this question as it stands, the oldest
    first. Whether there is a use left is settled where it is spent.
    """

    def covering(self, question: Question, now: datetime) -> Sequence[StandingApproval]: ...


class Judge(Protocol):
    """A judge beside the policy, which names the actions that it looks at (`told`). May raise, and
    may be slow: both count as `unknown`, which asks.
    """

    name: str

    def judge(self, question: Question, told: JudgeRule) -> Signal: ...


@dataclass(frozen=True)
class Rules:
    """A policy and a directory, ready to be used; `people` names the directory's content."""

    policy: Policy
    directory: Directory
    people: str


class RuleFiles(Protocol):
    """Where rules come from. `texts` raises InvalidInput for a file that cannot be read, `load`
    InvalidPolicy or InvalidInput for what is no good; neither asks another system.
    """

    def texts(self) -> Texts: ...
    def load(self, texts: Texts) -> Rules: ...


class Errand(Value):
    """Something to be brought up to date at a place of a channel: one request, or with an empty
    `request_id` whatever the place shows.
    """

    place: str
    request_id: str = ""


class Shown(Value):
    """`rest`: for so many seconds nothing more may go to this place; `again`: when to come back."""

    rest: float = 0.0
    again: datetime | None = None


class Notifier(Protocol):
    """Shows requests to people on one channel, which has places.

    `errands` says what a request that is new or has changed has to be shown by, and asks nobody.
    `show` makes one place say what is true now; it may be called again. It returns once the
    channel has taken it, and raises RetryLater or Unavailable where it has not.
    """

    channel: str

    def errands(self, view: RequestView) -> Sequence[Errand]: ...
    def show(self, request_id: str, place: str) -> Shown: ...


class RunWaker(Protocol):
    """Touches flow runs from outside.

    `ring` wakes the run's root; it returns True once nothing waits for us there any more (it has
    ended), False: not yet, ring again. It ends no pause but one whose key begins with one of
    `pauses`. `tell` makes the run say what it waits for.
    """

    def ring(self, run: RunRef, pauses: tuple[str, ...]) -> bool: ...
    def tell(self, view: RequestView) -> None: ...


class RunStates(Protocol):
    """What the engine knows of a run, whatever its flow says.

    `ended` returns why the run can no longer use an approval (it was cancelled, has failed, is
    unknown), in words for people, and None while it can, or may be started again. The run and
    its root both count. Raises Unavailable where nobody can tell.
    """

    def ended(self, run: RunRef) -> str | None: ...


class RunStopper(Protocol):
    """Ends runs for people in command.

    `stop` returns True once the run has ended, is being ended, or is unknown; False: not yet, call
    again. Raises Unavailable where the engine is away. `words` say who has stopped it and why.
    """

    def stop(self, root_run_id: str, words: str) -> bool: ...


class RunRequests(Protocol):
    """What a run was asked to do, in the words of whoever started it, and by a source that the run
    cannot write to by its gates. `text` returns "" where nobody can know, and raises Unavailable
    where that may pass. It is the root's request: what a flow hands to its sub-flows is its own.
    """

    def text(self, run: RunRef) -> str: ...


class RunSeen(Value):
    """How the engine says that a run is: `state` in its own word since `at`, empty where it knows
    no such run; `over`: why the run can use no approval any more, empty while it can; `restarts`:
    whether the engine can start it again; `starts`: how often it has been started.
    """

    state: str
    at: datetime
    over: str = ""
    restarts: bool = False
    starts: int = 0


class RunKeeper(Protocol):
    """Looks after runs. Every call raises Unavailable where the engine is away.

    `look` leaves out runs of which the engine knows nothing by their nature. `start_again` acts
    on a crashed run alone, `call_dead` on a running one; they return whether they did.
    """

    def look(self, root_run_ids: Sequence[str]) -> Mapping[str, RunSeen]: ...
    def start_again(self, root_run_id: str, words: str) -> bool: ...
    def call_dead(self, root_run_id: str, words: str) -> bool: ...
