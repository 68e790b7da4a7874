"""What people send with the forms of the inbox, and how it is read.

Rules:
1. Every field is text and none is required: what is missing or off is told in our own words.
2. A form counts for the log-in that it was made for, and for no other.
3. A decision names the revision that its reader saw.
"""

import hmac

from fastapi import Request
from pydantic import BaseModel

from gates.core.errors import InvalidInput, Refused
from gates.core.loops import answered
from gates.core.model import DecisionKind, LoopAnswer
from gates.web import changing
from gates.web.ports import Session

LONGEST_REASON = 2_000  # characters; the field of the form and the server agree on it
LONGEST_CATEGORY = 100
BY_BUTTON = (
    DecisionKind.APPROVE,
    DecisionKind.REJECT,
    DecisionKind.SEND_BACK,
    DecisionKind.ESCALATE,
    DecisionKind.SKIP,
)
TYPED = (*BY_BUTTON, "review", "question", "answer")  # what a refused form's words belong to


class DecisionForm(BaseModel):
    decision: str = ""
    reason: str = ""
    revision: str = ""
    csrf: str = ""
    code: str = ""
    more: str = ""
    label: str = ""
    freeze: str = ""


class ReasonForm(BaseModel):
    reason: str = ""
    csrf: str = ""


class ReviewForm(ReasonForm):
    word: str = ""
    category: str = ""


async def sent(request: Request) -> dict[str, str]:
    """The fields of a form whose names depend on the request."""
    return {name: text for name, text in (await request.form()).items() if isinstance(text, str)}


async def typed(request: Request) -> str:
    """What the person wrote into the form that was refused; it is parsed already."""
    forms = ("/decision", "/change", "/review", "/question", "/answer")
    if request.method != "POST" or not request.url.path.endswith(forms):
        return ""
    fields = await sent(request)
    changed = {name: text for name, text in fields.items() if name.startswith(changing.PREFIX)}
    written = [f"{name}: {text}" for name, text in changed.items()]
    return "\n".join(filter(None, [fields.get("reason", ""), *written]))


def check(session: Session, csrf: str) -> None:
    if not hmac.compare_digest(session.csrf.encode(), csrf.encode()):
        raise Refused("This form was made for another log-in: look at the page again and resend.")


def kind(decision: str) -> DecisionKind:
    if decision not in BY_BUTTON:
        known = " or ".join(kind.value for kind in BY_BUTTON)
        raise InvalidInput(f"decision = {decision[:40]!r} is not {known}: use a button.")
    return DecisionKind(decision)


def reason(written: str) -> str:
    if len(written) > LONGEST_REASON:
        raise InvalidInput(
            f"reason has {len(written)} characters: shorten it to {LONGEST_REASON:,}."
        )
    return written.replace("\r\n", "\n")


def loop(form: DecisionForm) -> LoopAnswer | None:
    """What the form says of a loop; None where it says nothing."""
    return answered(form.more, form.label, freeze=bool(form.freeze))


def revision(seen: str) -> int:
    """A decision without the revision that was seen is not taken from a page."""
    if not seen.isascii() or not seen.isdigit() or len(seen) > 9:  # noqa: PLR2004
        raise InvalidInput("The form does not say which version you saw: load the page again.")
    return int(seen)
