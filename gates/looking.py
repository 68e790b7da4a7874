"""One call as its action's definition sees it: its amount, its nature, and the world it is for.

A flow's own function has no definition, and nothing is known of it but what it is given.
"""

from __future__ import annotations

from typing import Any

from gates.actions import ActionDefinition, Registry
from gates.core.drift import UNREADABLE
from gates.core.errors import UnknownAction
from gates.core.model import Action, ApprovalRequest, Json, Money

Definition = ActionDefinition[Any, Any]


def look(
    registry: Registry, definition: Definition | None, action: Action
) -> tuple[Json, Json, str]:
    """Facts, precondition, and what went wrong: an unreadable world asks people."""
    if definition is None:
        return {}, {}, ""
    try:
        arguments = definition.parse(action.arguments)
        resource = registry.resource(definition)
        facts = definition.facts(resource, arguments)
        return facts, definition.precondition(resource, arguments), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, fail closed and say it
        trouble = f"{type(error).__name__}: {error}"
        return {}, {UNREADABLE: trouble}, f"The facts could not be read ({trouble})."


def look_again(registry: Registry, request: ApprovalRequest) -> tuple[Json, Json, str]:
    """As `look`; an action that the registry has lost is a world that cannot be read."""
    try:
        definition = None if request.in_process else registry.find(request.action.name)
    except UnknownAction as error:
        return {}, {UNREADABLE: error.message}, error.message
    return look(registry, definition, request.action)


def definition_of(registry: Registry, request: ApprovalRequest) -> Definition | None:
    """None for a flow's own function, and for what the registry has lost."""
    known = not request.in_process and request.action.name in registry.definitions
    return registry.find(request.action.name) if known else None


def amount_of(definition: Definition | None, action: Action) -> Money | None:
    if definition is None:
        return None
    amount = definition.amount(definition.parse(action.arguments))
    return Money.of(*amount) if amount else None


def counterparty_of(definition: Definition | None, action: Action) -> str:
    return definition.counterparty(definition.parse(action.arguments)) if definition else ""


def nature_of(definition: Definition | None, action: Action) -> dict[str, Any]:
    """What the definition says of the call by itself; without one it counts as a write."""
    if definition is None:
        return {}
    goes_to = tuple(definition.destinations(definition.parse(action.arguments)))
    return {"effect": definition.effect, "destinations": goes_to}
