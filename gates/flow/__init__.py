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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from gates.actions import ActionDefinition
from gates.core.canonical import canonical_json, digest
from gates.core.errors import ActionFailed, MisusedGate
from gates.core.messages import AttemptReport
from gates.core.model import GateReply, Grant, Json, Outcome, Standing
from gates.flow import awaiting, endings, orphans
from gates.flow.functions import Body, shown
from gates.flow.gate import Gate
from gates.flow.places import here
from gates.flow.session import current

__all__ = ["gated", "require_approval"]

P = ParamSpec("P")
R = TypeVar("R")
Subject = Callable[..., str | Sequence[str]] | Sequence[str] | None
Key = Callable[..., str] | str | None

endings.install()
orphans.install()


@dataclass(frozen=True)
class Options:
    """What an author may say of a gate beside its action; `linger` in seconds."""

    key: Key = None
    title: str = ""
    subject: Subject = None
    linger: float | None = None


@dataclass(frozen=True)
class Registered(Generic[R]):
    """An action of the registry, run by its executor."""

    definition: ActionDefinition[Any, R]
    options: Options

    def __call__(self, arguments: object, *, claims: Json | None = None) -> R:
        """`arguments`: the action's model, or a dict of it. In async code: await the call.

        Raises InvalidArguments, Rejected, Expired, Cancelled, Forbidden, ActionFailed.
        """
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
        return cast("R", _go(gate, None, lambda reply: definition.load_result(reply.result or {})))


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
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def gated(action: Callable[P, R], /) -> Callable[P, R]: ...


def gated(
    action: ActionDefinition[Any, Any] | Callable[..., Any] | str,
    /,
    *,
    key: Key = None,
    title: str = "",
    subject: Subject = None,
    linger: float | None = None,
) -> Any:
    """Put a gate before an action of the registry, or before a function of the flow's own file.

    `key` names the gate within the run (by default the action's name and its ordinal): give one
    in loops; `key` and `subject` may be functions of the arguments. A function's body runs in
    the flow's process with the approved arguments, and shows as a Prefect task; its caller may
    add `claims=`. It raises ActionFailed where it failed and left nothing behind; after any
    other exception people are asked what became of it.
    """
    options = Options(key, title, subject, linger)
    if isinstance(action, ActionDefinition):
        if title or subject is not None:
            raise MisusedGate(
                f"{action.name}: title and subject belong to the action's definition."
            )
        return Registered(action, options)
    if isinstance(action, str):
        return lambda function: _wrapped(action, function, options)
    return _wrapped(action.__name__, action, options)


def require_approval(
    question: str, *, key: str | None = None, claims: Json | None = None, **arguments: Any
) -> Outcome:
    """Ask people, with nothing behind it; `arguments` are shown to them. In async code: await it.

    Returns who agreed; raises Rejected, Expired, Cancelled, Forbidden.
    """
    canonical_json(arguments)
    options = Options(title=question)
    gate = _gate(
        question[:200], arguments, claims, options, key=key, in_process=True, question=True
    )
    nothing = _Run(lambda _approved: None, lambda _value: {}, is_async=False, shown=False)
    return cast("Outcome", _go(gate, nothing, lambda reply: reply.view.outcome))


# -- from a call to its gate ------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """An in-process body: `start` takes the approved arguments; `shown` as a Prefect task."""

    start: Callable[[Json], Any]
    dump: Callable[[Any], Json]
    is_async: bool
    shown: bool = True


def _wrapped(name: str, function: Callable[..., Any], options: Options) -> Callable[..., Any]:
    body = Body(name, function)
    is_async = inspect.iscoroutinefunction(function)

    def start(approved: Json) -> Any:
        bound = body.load(approved)
        return function(*bound.args, **bound.kwargs)

    @functools.wraps(function)
    def call(*args: Any, claims: Json | None = None, **kwargs: Any) -> Any:
        bound = body.bind(args, kwargs)
        gate = _gate(
            name,
            body.dump(bound),
            claims,
            options,
            key=_text(options.key, *bound.args, **bound.kwargs),
            subject=_subject(options.subject, bound),
            in_process=True,
        )
        return _go(
            gate,
            _Run(start, body.dump_result, is_async),
            lambda reply: body.load_result(reply.result or {}),
        )

    return call


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
        title=options.title,
        subject=subject,
        linger=session.linger if options.linger is None else options.linger,
    )


def _go(gate: Gate, run: _Run | None, result: Callable[[GateReply], Any]) -> Any:
    if awaiting.in_loop() or (run is not None and run.is_async):
        words = shown(gate.name, gate.arguments)
        return awaiting.Call(lambda: _asynchronously(gate, run, result), words)
    return _synchronously(gate, run, result)


def _synchronously(gate: Gate, run: _Run | None, result: Callable[[GateReply], Any]) -> Any:
    reply = gate.begin()
    while reply.standing is Standing.CLAIMED:
        grant, started = _started(gate, run, reply)
        try:
            with gate.holding(grant):
                told = _succeeded(run, grant, started())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            told = _troubled(gate, grant, error)
        except BaseException:
            gate.leave()
            raise
        reply = gate.report(told, grant.attempt_id)
    return result(reply)


async def _asynchronously(gate: Gate, run: _Run | None, result: Callable[[GateReply], Any]) -> Any:
    try:
        reply = await awaiting.in_thread(gate.begin)
        while reply.standing is Standing.CLAIMED:
            grant, started = _started(gate, run, reply)
            try:
                with gate.holding(grant):
                    if run is not None and run.is_async:
                        value = await started()
                    else:
                        value = await awaiting.in_thread(started)
                    told = _succeeded(run, grant, value)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                told = _troubled(gate, grant, error)
            except BaseException:
                gate.leave()
                raise
            reply = await awaiting.in_thread(functools.partial(gate.report, told, grant.attempt_id))
    except BaseException:
        gate.abandoned.set()
        raise
    return result(reply)


def _started(gate: Gate, run: _Run | None, reply: GateReply) -> tuple[Grant, Callable[[], Any]]:
    """What is to be run: with the approved copy of the arguments, not with the flow's own."""
    assert run is not None  # noqa: S101 - the server hands grants to bodies alone
    assert reply.grant is not None  # noqa: S101 - CLAIMED comes with its grant
    approved = reply.view.request.action.arguments
    if run.is_async:

        async def body() -> Any:
            return await run.start(approved)

        return reply.grant, gate.place.as_task(gate.name, body)

    def plain() -> Any:
        return run.start(approved)

    return reply.grant, gate.place.as_task(gate.name, plain) if run.shown else plain


def _succeeded(run: _Run | None, grant: Grant, value: Any) -> AttemptReport:
    assert run is not None  # noqa: S101 - it has just run
    return AttemptReport(state="succeeded", fence=grant.fence, result=run.dump(value))


def _troubled(gate: Gate, grant: Grant, error: Exception) -> AttemptReport:
    """Only ActionFailed says that nothing was left behind."""
    if isinstance(error, ActionFailed):
        return AttemptReport(
            state="failed",
            fence=grant.fence,
            error=str(error)[:20_000],
            error_class=error.error_class[:200],
        )
    gate.place.log().exception("%s: nobody knows whether it took effect", gate.name)
    return AttemptReport(
        state="in_doubt",
        fence=grant.fence,
        error=f"{type(error).__name__}: {error}"[:20_000],
        error_class=type(error).__name__[:200],
    )


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
