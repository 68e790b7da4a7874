"""How the ERP's answers are told on: as a failure that left nothing, or as what differs."""

from typing import NoReturn

from gates.core.errors import ActionFailed
from integrations.erp.errors import ErpError, ErpRefused, TrytonUnavailable, TrytonWarning


def failed(error: ErpError, what: str) -> NoReturn:
    """Raise ActionFailed where `error` proves that the call left nothing; else `error` itself."""
    if isinstance(error, ErpRefused) or (
        isinstance(error, TrytonUnavailable) and not error.may_have_applied
    ):
        raise ActionFailed(f"{what}: {error.message}", error_class=error_class(error)) from error
    raise error


def error_class(error: ErpError) -> str:
    """A stable name for the kind of failure; warnings of the ERP are told apart by their own."""
    if isinstance(error, TrytonWarning):
        return f"{error.code}.{error.key.rpartition('.')[2]}"
    return error.code


def differences(checks: tuple[tuple[str, object, object], ...]) -> list[str]:
    return [
        f"{name}: the ERP has {_say(booked)}, approved was {_say(approved)}"
        for name, booked, approved in checks
        if booked != approved
    ]


def _say(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_say(item) for item in value) + "]"
    return str(value)
