"""What flow authors use.

    receipt = gated(submit_payment)(payment, claims=claims)     # an action of the registry
    @gated("notes.send")                                        # or a function of the flow's file
    outcome = require_approval("Close the books of May?")       # or a question with nothing behind

The call returns once the action was allowed, has run and its result is recorded; on every later
pass of the run it returns that result at once. In async code the same calls are awaited.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from gates.actions import ActionDefinition
from gates.core.canonical import canonical_json, digest
from gates.core.errors import InvalidInput, MisusedGate
from gates.core.gate_keys import undo_key
from gates.core.model import GateReply, Json, Outcome, Standing, Step
from gates.flow import awaiting, endings, orphans
from gates.flow.asks import Ask
from gates.flow.batches import batch
from gates.flow.bodies import Run, perform, perform_async
from gates.flow.functions import Body, shown
from gates.flow.gate import Gate
from gates.flow.places import here
from gates.flow.retries import retriable
from gates.flow.session import current
from gates.flow.together import together

__all__ = ["Ask", "batch", "gated", "require_approval", "retriable", "together", "undo"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Subject = Callable[..., str | Sequence[str]] | Sequence[str] | None
Key = Callable[..., str] | str | None

endings.install()
orphans.install()


@dataclass(frozen=True)
class Options:
    """What an author may say of a gate beside its action; `linger` in seconds; `changes_nothing`:
    the function only looks.
    """

    key: Key = None
    title: str = ""
    subject: Subject = None
    linger: float | None = None
    changes_nothing: bool = False


@dataclass(frozen=True)
class Registered(Generic[R]):
    """An action of the registry, run by its executor."""

    definition: ActionDefinition[Any, R]
    options: Options

    def __call__(self, arguments: object, *, claims: Json | None = None) -> R:
        """`arguments`: the action's model, or a dict of it. In async code: await `ask(...)`.

        Raises InvalidArguments, Rejected, Expired, Cancelled, Forbidden, ActionFailed.
        """
        return cast("R", self._call(arguments, claims).go())

    def ask(self, arguments: object, *, claims: Json | None = None) -> Ask[R]:
        """The same call, for `together`, or to be awaited. Raises InvalidArguments."""
        return self._call(arguments, claims).ask()

    def _call(self, arguments: object, claims: Json | None) -> _Call[R]:
        definition = self.definition
        current().definitions[definition.name] = definition
        parsed = definition.parse(arguments)
        gate = _gate(
            definition.name,
            parsed.model_dump(mode="json"),
            claims,
            self.options,
            key=_text(self.options.key, parsed),
        )
        return _Call(gate, None, lambda reply: definition.load_result(reply.result or {}))


class Gated(Generic[P, R]):
    """A function of the flow's own file behind a gate: call it as before.

    A caller may add `claims=`, what the agent says of itself.
    """

    def __init__(self, name: str, function: Callable[P, Any], options: Options) -> None:
        functools.update_wrapper(self, function)
        self._name, self._function, self._options = name, function, options
        self._body = Body(name, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Raises what stops the flow: Rejected, Expired, Cancelled, Forbidden, ActionFailed."""
        return cast("R", self._call(args, kwargs).go())

    @overload
    def ask(
        self: Gated[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Ask[T]: ...
    @overload
    def ask(self, *args: P.args, **kwargs: P.kwargs) -> Ask[R]: ...

    def ask(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The same call, for `together`, or to be awaited."""
        return self._call(args, kwargs).ask()

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call[Any]:
        claims = kwargs.pop("claims", None)
        body, function, options = self._body, self._function, self._options
        bound = body.bind(args, kwargs)

        def start(approved: Json) -> Any:
            loaded = body.load(approved)
            return function(*loaded.args, **loaded.kwargs)

        gate = _gate(
            self._name,
            body.dump(bound),
            claims,
            options,
            key=_text(options.key, *bound.args, **bound.kwargs),
            subject=_subject(options.subject, bound),
            in_process=True,
        )
        run = Run(start, body.dump_result, inspect.iscoroutinefunction(function))
        return _Call(gate, run, lambda reply: body.load_result(reply.result or {}))


@overload
def gated(
    action: ActionDefinition[Any, R], /, *, key: Key = None, linger: float | None = None
) -> Registered[R]: ...
@overload
def gated(
    action: str,
    /,
    *,
    key: Key = None,
    title: str = "",
    subject: Subject = None,
    linger: float | None = None,
    changes_nothing: bool = False,
) -> Callable[[Callable[P, R]], Gated[P, R]]: ...
@overload
def gated(action: Callable[P, R], /) -> Gated[P, R]: ...


def gated(
    action: ActionDefinition[Any, Any] | Callable[..., Any] | str,
    /,
    *,
    key: Key = None,
    title: str = "",
    subject: Subject = None,
    linger: float | None = None,
    changes_nothing: bool = False,
) -> Any:
    """Put a gate before an action of the registry, or before a function of the flow's own file.

    `key` names the gate within the run (by default the action's name and its ordinal): give one
    in loops; `key` and `subject` may be functions of the arguments. A function's body runs in
    the flow's process with the approved arguments, and shows as a Prefect task; its caller may
    add `claims=`. It raises ActionFailed where it failed and left nothing behind; after any
    other exception people are asked what became of it. With `changes_nothing` it may run again
    with the same arguments; any other is put to people before a run does the very same twice.
    """
    options = Options(key, title, subject, linger, changes_nothing)
    if isinstance(action, ActionDefinition):
        if title or subject is not None or changes_nothing:
            raise MisusedGate(
                f"{action.name}: title, subject and changes_nothing belong to its definition."
            )
        return Registered(action, options)
    if isinstance(action, str):
        return lambda function: Gated(action, function, options)
    return Gated(action.__name__, action, options)


class Question:
    """`require_approval`: ask people, with nothing behind it."""

    def __call__(
        self, question: str, *, key: str | None = None, claims: Json | None = None, **arguments: Any
    ) -> Outcome:
        """`arguments` are shown to people. In async code: await it.

        Returns who agreed; raises Rejected, Expired, Cancelled, Forbidden.
        """
        return cast("Outcome", _question(question, key, claims, arguments).go())

    def ask(
        self, question: str, *, key: str | None = None, claims: Json | None = None, **arguments: Any
    ) -> Ask[Outcome]:
        """The same question, for `together`, or to be awaited."""
        return _question(question, key, claims, arguments).ask()


require_approval = Question()


def undo(step: Step, *, claims: Json | None = None) -> Json:
    """Take back what a run has done: the action that `step.undo` names goes through a gate of its
    own, `undo-` and the step's key. `step` is one of `GateStopped.done`. In async code: await it.

    Returns what that action answered, as JSON. Raises InvalidInput where there is no way back,
    and what `gated` raises.
    """
    if step.undo is None:
        raise InvalidInput(f"{step.summary} cannot be taken back. {step.cannot_undo}".strip())
    gate = _gate(
        step.undo.name,
        dict(step.undo.arguments),
        claims,
        Options(),
        key=undo_key(step.gate_key),
    )
    call: _Call[Json] = _Call(gate, None, lambda reply: reply.result or {})
    return cast("Json", call.go())


# -- from a call to its gate ------------------------------------------------------------------


def _question(
    question: str, key: str | None, claims: Json | None, arguments: Json
) -> _Call[Outcome]:
    canonical_json(arguments)
    options = Options(title=question)
    gate = _gate(
        question[:200], arguments, claims, options, key=key, in_process=True, question=True
    )
    nothing = Run(lambda _approved: None, lambda _value: {}, is_async=False, shown=False)
    return _Call(gate, nothing, lambda reply: cast("Outcome", reply.view.outcome))


def _gate(
    name: str,
    arguments: Json,
    claims: Json | None,
    options: Options,
    *,
    key: str | None,
    subject: tuple[str, ...] = (),
    in_process: bool = False,
    question: bool = False,
) -> Gate:
    session = current()
    place = here(session)
    awaiting.guard(place.anchor)
    words = f"{shown(name, arguments)} at {_caller()}"
    ticket = place.passing.keys.take(name, key, digest([name, arguments]), words, place.scope)
    return Gate(
        place=place,
        ticket=ticket,
        name=name,
        arguments=arguments,
        claims=claims or {},
        in_process=in_process,
        question=question,
        changes_nothing=options.changes_nothing,
        title=options.title,
        subject=subject,
        linger=session.linger if options.linger is None else options.linger,
    )


@dataclass(frozen=True)
class _Call(Generic[R]):
    """A gate, the body behind it, and what its reply is for the author."""

    gate: Gate
    run: Run | None
    result: Callable[[GateReply], R]

    def go(self) -> Any:
        """At once; in async code what is to be awaited."""
        if awaiting.in_loop() or (self.run is not None and self.run.is_async):
            return self.later()
        return self._synchronously()

    def later(self) -> awaiting.Call:
        words = shown(self.gate.name, self.gate.arguments)
        return awaiting.Call(self._asynchronously, words)

    def ask(self) -> Ask[R]:
        words = shown(self.gate.name, self.gate.arguments)
        return Ask(self.gate, self.run, self.result, self.later, words)

    def _synchronously(self) -> R:
        reply = self.gate.begin()
        while reply.standing is Standing.CLAIMED and reply.grant is not None:
            told = perform(self.gate, self.run, reply)
            reply = self.gate.report(told, reply.grant.attempt_id)
        return self.result(reply)

    async def _asynchronously(self) -> R:
        gate = self.gate
        try:
            reply = await awaiting.in_thread(gate.begin)
            while reply.standing is Standing.CLAIMED and reply.grant is not None:
                told = await perform_async(gate, self.run, reply)
                attempt = reply.grant.attempt_id
                reply = await awaiting.in_thread(functools.partial(gate.report, told, attempt))
        except BaseException:
            gate.abandoned.set()
            raise
        return self.result(reply)


def _text(key: Key, *args: Any, **kwargs: Any) -> str | None:
    return key(*args, **kwargs) if callable(key) else key


def _subject(subject: Subject, bound: inspect.BoundArguments) -> tuple[str, ...]:
    found = subject(*bound.args, **bound.kwargs) if callable(subject) else subject
    return (found,) if isinstance(found, str) else tuple(found or ())


def _caller() -> str:
    """The author's line: the first frame outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to a caller's line
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("gates."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
