"""A function of the flow's own file as an action: arguments to JSON and back, results too.

What runs is the approved copy that comes back from the server, so everything goes through JSON
by the parameters' annotations, on the first pass as on every later one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic_core import PydanticSerializationError

from gates.actions import describe
from gates.core.canonical import canonical_json
from gates.core.errors import InvalidArguments, MisusedGate, NotCanonical
from gates.core.model import Json

RESERVED = ("claims",)
TEXT = "json"  # a result without a canonical form (floats) is recorded as text under this key
UNREADABLE = "unreadable"  # a result that is no JSON at all


@dataclass(frozen=True)
class Body:
    """The function behind an in-process gate. Raises MisusedGate where it cannot be one."""

    name: str
    function: Callable[..., Any]

    def __post_init__(self) -> None:
        for parameter in self.signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise MisusedGate(
                    f"{self.name}: *{parameter.name} cannot be shown to people or approved: "
                    "name each parameter."
                )
            if parameter.name in RESERVED:
                raise MisusedGate(
                    f"{self.name}: the parameter {parameter.name!r} belongs to the gate (what the "
                    "agent says of itself): rename it."
                )

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        try:
            return get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise MisusedGate(
                f"{self.name}: an annotation cannot be resolved ({error}): import the type at the "
                "top of the module."
            ) from error

    @cached_property
    def parameters(self) -> Mapping[str, TypeAdapter[Any]]:
        return {
            name: self._adapter(self.hints.get(name, Any), name)
            for name in self.signature.parameters
        }

    @cached_property
    def result(self) -> TypeAdapter[Any]:
        return self._adapter(self.hints.get("return", Any), "return")

    def _adapter(self, hint: Any, what: str) -> TypeAdapter[Any]:
        try:
            return TypeAdapter(hint)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation) as error:
            raise MisusedGate(
                f"{self.name}: {what} is a {hint!r}, which has no JSON form: use a pydantic "
                "model, a dataclass or plain values."
            ) from error

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """Raises InvalidArguments where they do not fit the signature."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{self.name}: {error}.") from error
        bound.apply_defaults()
        return bound

    def dump(self, bound: inspect.BoundArguments) -> Json:
        """Raises InvalidArguments, or NotCanonical naming the value (floats, for one)."""
        told: Json = {}
        for name, value in bound.arguments.items():
            adapter = self.parameters[name]
            try:
                told[name] = adapter.dump_python(adapter.validate_python(value), mode="json")
            except ValidationError as error:
                raise InvalidArguments(f"{self.name}: {name}: {describe(error)}") from error
            except PydanticSerializationError as error:
                raise InvalidArguments(
                    f"{self.name}: {name} = {str(value)[:80]!r} has no JSON form ({error})."
                ) from error
        canonical_json(told)
        return told

    def load(self, approved: Json) -> inspect.BoundArguments:
        """The approved arguments, as the function takes them."""
        bound = self.signature.bind_partial()
        for name, adapter in self.parameters.items():
            if name in approved:
                bound.arguments[name] = adapter.validate_json(orjson.dumps(approved[name]))
        return bound

    def dump_result(self, value: Any) -> Json:
        """Never raises: what was done has to be recorded, whatever it returned. Infinity and NaN,
        which JSON lacks, become null, as pydantic writes them.
        """
        try:
            text = self.result.dump_json(value, warnings=False)
        except (PydanticSerializationError, ValueError) as error:
            return {UNREADABLE: f"{type(value).__name__}: {error}"[:500]}
        told = orjson.loads(text)
        try:
            canonical_json(told)
        except NotCanonical:
            return {TEXT: text.decode()}
        return {"value": told}

    def load_result(self, told: Json) -> Any:
        """Raises MisusedGate where the function returned what cannot be recorded."""
        if UNREADABLE in told:
            raise MisusedGate(
                f"{self.name} was done, but what it returned cannot be recorded "
                f"({told[UNREADABLE]}): return JSON, a pydantic model, or nothing."
            )
        if TEXT in told:
            return self.result.validate_json(str(told[TEXT]))
        return self.result.validate_json(orjson.dumps(told.get("value")))


def shown(name: str, arguments: Mapping[str, Any]) -> str:
    """One call for people: `notes.send(to='ops', text='...')`."""
    parts = ", ".join(f"{key}={_short(value)}" for key, value in arguments.items())
    return f"{name}({parts})"


def _short(value: Any, limit: int = 40) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
