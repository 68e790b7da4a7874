"""An agent that tries again whatever happens, and follows what people advise.

Real agents' habit; stopping it in time is the gate's business. Put your own agent in the place of
`heed`: what people write is data to it, and what it then proposes goes through gates like anything
else.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefect import get_run_logger
from pydantic import BaseModel, TypeAdapter, ValidationError

from gates import ActionFailed, GatesError, SentBack, Skipped, gated
from gates.actions import ActionDefinition, describe
from gates.core.errors import InvalidInput

MOST_ROUNDS = 20
A = TypeVar("A", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


def insist(
    action: ActionDefinition[A, R], wanted: Sequence[A], heed: Callable[[A, str], A], *, key: str
) -> list[R]:
    """Goes round what is left, until it is done or people skip it; the receipts.

    `heed`: what is proposed next, given what was proposed and people's guidance.
    """
    left = {f"{key}-{number}": one for number, one in enumerate(wanted, 1)}
    done: list[R] = []
    for number in range(1, MOST_ROUNDS + 1):
        for gate, one in list(left.items()):
            try:
                done.append(gated(action, key=gate)(one))
                del left[gate]
            except ActionFailed as error:
                if number == MOST_ROUNDS:
                    raise
                get_run_logger().warning("%s, try %d failed (%s).", gate, number, error)
            except SentBack as back:
                left[gate] = heed(one, back.guidance)
            except Skipped as left_out:
                get_run_logger().warning("%s", left_out)
                del left[gate]
    return done


def read_all(kind: type[A], document: str) -> list[A]:
    """The one in the file, or the list. Raises InvalidInput naming the file and the field."""
    form: TypeAdapter[Any] = TypeAdapter(list[kind])  # type: ignore[valid-type]
    try:
        text = Path(document).read_text().strip()
        return list(form.validate_json(text if text.startswith("[") else f"[{text}]"))
    except OSError as error:
        raise InvalidInput(f"{document} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise InvalidInput(f"{document}: {describe(error)}") from error


def by_hand(usage: str, work: Callable[[str], Iterable[str]]) -> int:
    """Run a flow here, without a deployment: `work` takes the document and answers lines to print.
    Exit code 1 where a gate or the file stops it, 2 where none is named.
    """
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and one document
        sys.stderr.write(f"Usage: python -m flows.{usage}\n")
        return 2
    try:
        lines = list(work(sys.argv[1]))
    except GatesError as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0
