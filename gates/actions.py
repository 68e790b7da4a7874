"""The action registry: what can run, and how the server finds out the truth about it.

A definition is a function with metadata. Its first parameter is a *resource*, found by the
type of its annotation: the composition root gives the server a read-only one (for facts,
preconditions, read-back) and the executor a writing one (for execute and reconcile). A flow
imports definitions to name them; it has no resource and cannot run them.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Generic, Literal, ParamSpec, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError, create_model

from gates.core.batches import END, base_of
from gates.core.errors import InvalidArguments, InvalidInput, UnknownAction
from gates.core.messages import Proposal
from gates.core.model import Action, Effect

Json = dict[str, JsonValue]
P = ParamSpec("P")
ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)
ResultT = TypeVar("ResultT")


class Reconciled(BaseModel):
    """What the real system says about an attempt whose end nobody reported."""

    model_config = ConfigDict(frozen=True)
    state: Literal["done", "absent", "unclear"]
    result: Json | None = None
    note: str = ""


@dataclass(frozen=True)
class Executed(Generic[ArgumentsT, ResultT]):
    """What an action did, for its `undo`. `result` is None where nobody knows how it ended."""

    arguments: ArgumentsT
    result: ResultT | None
    idempotency_key: str


@dataclass(frozen=True)
class Undo:
    """How something is taken back: by an action that goes through the gate like any other."""

    action: "ActionDefinition[Any, Any]"
    arguments: BaseModel


@dataclass(frozen=True)
class ActionDefinition(Generic[ArgumentsT, ResultT]):
    """One entry of the registry. Everything but `execute` only reads. `changes_nothing`: what it
    did does not stand anywhere; `summary`: what stands done, in words; `counterparty`: who is on
    the other side (a supplier's id, an account), empty where nobody is; `effect`: whether it only
    looks, changes something or goes out to an address that its arguments name (also to read there);
    `destinations`: values of its arguments that say where it goes, whatever they look like;
    `half_done`: what stands half done around it in the real system, in words, one for each object,
    read where an agent goes in circles.
    """

    name: str
    title: str
    arguments: type[ArgumentsT]
    resource: type
    execute: Callable[..., ResultT]
    result_type: TypeAdapter[ResultT]
    subject: Callable[[ArgumentsT], list[str]]
    amount: Callable[[ArgumentsT], tuple[Decimal, str] | None]
    facts: Callable[[Any, ArgumentsT], Json]
    precondition: Callable[[Any, ArgumentsT], Json]
    reconcile: Callable[..., Reconciled] | None = None
    verify: Callable[[Any, ArgumentsT, Json], list[str]] | None = None
    undo: Callable[[Executed[ArgumentsT, ResultT]], Undo | str] | None = None
    summary: Callable[[ArgumentsT, ResultT], str] | None = None
    changes_nothing: bool = False
    counterparty: Callable[[ArgumentsT], str] = lambda _: ""
    effect: Effect = "write"
    destinations: Callable[[ArgumentsT], list[str]] = lambda _: []
    half_done: Callable[[Any, ArgumentsT], list[str]] = lambda _resource, _arguments: []

    def parse(self, arguments: object) -> ArgumentsT:
        """Raises InvalidArguments naming each field, its value and what was expected; its detail
        `fields` has the words by the argument's name.
        """
        try:
            return self.arguments.model_validate(arguments)
        except ValidationError as error:
            fields = {str(one["loc"][0]): one["msg"] for one in error.errors() if one["loc"]}
            raise InvalidArguments(f"{self.name}: {describe(error)}", fields=fields) from error

    def dump_result(self, result: ResultT) -> Json:
        """As JSON; what is no object goes under the key `value`."""
        told = self.result_type.dump_python(result, mode="json")
        return told if isinstance(told, dict) else {"value": told}

    def load_result(self, told: Json) -> ResultT:
        try:
            return self.result_type.validate_python(told)
        except ValidationError:
            if told.keys() != {"value"}:
                raise
            return self.result_type.validate_python(told["value"])


def describe(error: ValidationError) -> str:
    """One sentence for all that pydantic found: field, value, cure."""
    parts = [
        f"{'.'.join(str(step) for step in item['loc']) or 'arguments'}"
        f" = {str(item['input'])[:80]!r}: {item['msg']}"
        for item in error.errors()
    ]
    return "; ".join(parts) + "."


def action(
    name: str,
    *,
    title: str = "",
    subject: Callable[[Any], list[str]] = lambda _: [],
    amount: Callable[[Any], tuple[Decimal, str] | None] = lambda _: None,
    facts: Callable[[Any, Any], Json] = lambda _resource, _arguments: {},
    precondition: Callable[[Any, Any], Json] = lambda _resource, _arguments: {},
    reconcile: Callable[..., Reconciled] | None = None,
    verify: Callable[[Any, Any, Json], list[str]] | None = None,
    undo: Callable[[Executed[Any, Any]], Undo | str] | None = None,
    summary: Callable[[Any, Any], str] | None = None,
    changes_nothing: bool = False,
    counterparty: Callable[[Any], str] = lambda _: "",
    effect: Effect = "write",
    destinations: Callable[[Any], list[str]] = lambda _: [],
    half_done: Callable[[Any, Any], list[str]] = lambda _resource, _arguments: [],
) -> Callable[[Callable[..., ResultT]], ActionDefinition[Any, ResultT]]:
    """Make `f(resource, arguments, *, idempotency_key)` an action of the registry.

    `undo` says how it is taken back once it was executed: an `Undo`, or a sentence why not.
    Raises InvalidInput where the function's signature is not of that form.
    """

    def define(function: Callable[..., ResultT]) -> ActionDefinition[Any, ResultT]:
        resource, arguments, result = _signature(name, function)
        return ActionDefinition(
            name=name,
            title=title or name,
            arguments=arguments,
            resource=resource,
            execute=function,
            result_type=TypeAdapter(result),
            subject=subject,
            amount=amount,
            facts=facts,
            precondition=precondition,
            reconcile=reconcile,
            verify=verify,
            undo=undo,
            summary=summary,
            changes_nothing=changes_nothing,
            counterparty=counterparty,
            effect=effect,
            destinations=destinations,
            half_done=half_done,
        )

    return define


def _signature(name: str, function: Callable[..., Any]) -> tuple[type, type[BaseModel], Any]:
    parameters = list(inspect.signature(function).parameters.values())
    hints = get_type_hints(function)
    form = "f(resource: R, arguments: Model, *, idempotency_key: str) -> Result"
    if len(parameters) != 3 or parameters[2].name != "idempotency_key":  # noqa: PLR2004 - the form
        raise InvalidInput(f"Action {name!r}: the function is not of the form {form}.")
    resource, arguments = hints.get(parameters[0].name), hints.get(parameters[1].name)
    if not isinstance(arguments, type) or not issubclass(arguments, BaseModel):
        raise InvalidInput(f"Action {name!r}: the second parameter wants a pydantic model: {form}.")
    if not isinstance(resource, type):
        raise InvalidInput(f"Action {name!r}: the first parameter wants a class: {form}.")
    return resource, arguments, hints.get("return", Any)


@dataclass(frozen=True)
class Registry:
    """Actions by name, and the resources that this process may use for them."""

    definitions: Mapping[str, ActionDefinition[Any, Any]] = field(default_factory=dict)
    resources: Mapping[type, Callable[[], Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        definitions: Iterable[ActionDefinition[Any, Any]],
        resources: Mapping[type, Callable[[], Any]] | None = None,
    ) -> "Registry":
        """Raises InvalidInput where two actions share a name."""
        table: dict[str, ActionDefinition[Any, Any]] = {}
        for definition in definitions:
            if definition.name in table:
                raise InvalidInput(f"Two actions are named {definition.name!r}: rename one.")
            table[definition.name] = definition
        return cls(table, resources or {})

    def only(self, patterns: str) -> "Registry":
        """The actions whose names fit one of `patterns`: names with `*`, parted by commas.

        Raises InvalidInput where a pattern fits none.
        """
        wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
        for pattern in wanted or [patterns]:
            if not any(fnmatchcase(name, pattern) for name in self.definitions):
                known = ", ".join(sorted(self.definitions)) or "none"
                raise InvalidInput(f"{pattern!r} fits no action (known: {known}).")
        kept = {
            name: definition
            for name, definition in self.definitions.items()
            if any(fnmatchcase(name, pattern) for pattern in wanted)
        }
        return Registry(kept, self.resources)

    def find(self, name: str) -> ActionDefinition[Any, Any]:
        """Raises UnknownAction, naming those that there are."""
        if self.is_batch(name):
            return batch_of(self.definitions[base_of(name)])
        if name not in self.definitions:
            known = ", ".join(sorted(self.definitions)) or "none"
            raise UnknownAction(f"Action {name!r} is not in the registry (known: {known}).")
        return self.definitions[name]

    def is_batch(self, name: str) -> bool:
        """Whether it asks about many of one of these actions."""
        return name not in self.definitions and base_of(name) in self.definitions

    def action(self, proposal: Proposal) -> Action:
        """The action as it would run.

        Raises UnknownAction, InvalidArguments, or InvalidInput where a flow calls an action of the
        registry its own function.
        """
        if proposal.in_process:
            self._refuse_borrowed(proposal.name)
            return Action(
                name=proposal.name,
                title=proposal.title,
                subject=proposal.subject,
                arguments=proposal.arguments,
            )
        return self.named(proposal.name, proposal.arguments)

    def _refuse_borrowed(self, name: str) -> None:
        """A flow's own function must not pass for an action of the registry, on a card neither:
        no name that differs only in spelling, no letters that only look alike.
        """
        mine = name.removesuffix(END)
        if _skeleton(mine) in {_skeleton(one) for one in self.definitions}:
            raise InvalidInput(
                f"name = {name!r} is an action of the registry, whose facts the "
                "server reads itself: propose it without in_process, or rename the function."
            )
        if not name.isascii() or not name.isprintable():
            raise InvalidInput(f"name = {name!r}: name a function in plain ASCII letters.")

    def named(self, name: str, given: Json) -> Action:
        """An action of the registry. Raises UnknownAction or InvalidArguments."""
        definition = self.find(name)
        arguments = definition.parse(given)
        return Action(
            name=definition.name,
            title=definition.title,
            subject=tuple(definition.subject(arguments)),
            arguments=arguments.model_dump(mode="json"),
        )

    def resource(self, definition: ActionDefinition[Any, Any]) -> Any:
        """The resource that `definition` works with in this process."""
        factory = self.resources.get(definition.resource)
        if factory is None:
            raise InvalidInput(
                f"No {definition.resource.__name__} is wired in this process, "
                f"which {definition.name!r} needs: see integrations/wiring.py."
            )
        return factory()


def batch_of(definition: ActionDefinition[Any, Any]) -> ActionDefinition[Any, Any]:
    """Many of one action as something to ask about: it has nothing to execute itself, its lines
    run each through a gate of its own.
    """

    def execute(_resource: Any, _arguments: Any, *, idempotency_key: str) -> None:
        raise InvalidInput(f"{definition.name}{END} ({idempotency_key}) runs line by line.")

    one: type[BaseModel] = definition.arguments
    return ActionDefinition(
        name=f"{definition.name}{END}",
        title=f"{definition.title}, a batch",
        arguments=_lines_of(one),
        resource=definition.resource,
        execute=execute,
        result_type=TypeAdapter(Any),
        subject=lambda _: [],
        amount=lambda _: None,
        facts=lambda _resource, _arguments: {},
        precondition=lambda _resource, _arguments: {},
        changes_nothing=True,
    )


@cache
def _lines_of(arguments: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {"lines": (tuple[arguments, ...], ...)}  # type: ignore[valid-type]
    config = ConfigDict(frozen=True, extra="forbid")
    return create_model(f"{arguments.__name__}Batch", __config__=config, **fields)


def _skeleton(name: str) -> str:
    """What is left of a name to a reader in a hurry."""
    return "".join(filter(str.isalnum, name.casefold()))
