"""How Slack and we reach each other: the Web API and signed HTTP requests. Socket Mode is in
socket_mode.py.

Nothing here knows what a request or a decision is.
"""

from __future__ import annotations

import http.client
import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, Request, Response
from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from gates.core.errors import RetryLater, Unavailable
from integrations.slack.settings import SlackSettings

log = logging.getLogger(__name__)

TIMEOUT = 10  # seconds for one call; the SDK's own 30 would outlive any click
PATH = "/slack/events"
WINDOW = timedelta(minutes=5)  # bolt's, around a request's time stamp
MAX_BODY = 1_000_000  # bytes; Slack's own payloads stay far below
STAMP = re.compile(r"[0-9]{1,12}")
ACK_THREADS = 10
LONGEST_WAIT = 30.0
PASSING = {
    "ratelimited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
}


def web_client(settings: SlackSettings) -> WebClient:
    """Return the client for everything that we send.

    Without retry handlers: the SDK's own would post a card twice when a reply is lost.
    """
    token = settings.bot_token.get_secret_value()
    return WebClient(token, base_url=settings.base_url, timeout=TIMEOUT, retry_handlers=[])


@contextmanager
def asking(method: str) -> Iterator[None]:
    """Turn what passes by itself into RetryLater or Unavailable; refusals go through as they are.

    After Unavailable the call may have been carried out all the same.
    """
    try:
        yield
    except SlackApiError as error:
        status = error.response.status_code
        reason = str(error.response.get("error"))
        if status == http.HTTPStatus.TOO_MANY_REQUESTS or reason == "ratelimited":
            seconds = _seconds(error.response.headers.get("Retry-After"))
            words = f"Slack asks for {seconds:g} s of patience with {method}"
            raise RetryLater(words, seconds=seconds) from error
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or reason in PASSING:
            raise Unavailable(f"Slack does not answer {method} now ({status} {reason})") from error
        raise
    except (SlackClientError, OSError, http.client.HTTPException) as error:
        words = f"Slack cannot be reached for {method} ({type(error).__name__})"
        raise Unavailable(words) from error


def _seconds(header: object) -> float:
    """Read Retry-After; slack-sdk hands headers over as lists at times."""
    value = header[0] if isinstance(header, list) and header else header
    try:
        return max(1.0, float(str(value)))
    except ValueError:
        return LONGEST_WAIT


def bolt_app(settings: SlackSettings) -> App:
    """Return a bolt app that needs no network to take a click.

    Handlers run before the answer goes out, so that what they could not store is not
    acknowledged; and a click does not depend on `auth.test`.
    """
    token = settings.bot_token.get_secret_value()

    def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=token)

    return App(
        name="gates",
        client=WebClient(base_url=settings.base_url, timeout=TIMEOUT, retry_handlers=[]),
        authorize=authorize,
        # Socket Mode has no signatures; a secret that nobody knows refuses forged HTTP requests.
        signing_secret=settings.signing_secret.get_secret_value() or secrets.token_hex(),
        process_before_response=True,
        ssl_check_enabled=False,  # bolt would answer those without a signature
        ignoring_self_events_enabled=False,
    )


def http_router(app: App, first: Callable[[str, str], bool]) -> APIRouter:
    """Return the route for signed requests; bolt verifies signature and time (5 minutes).

    `first` is told time stamp and signature of each true request, and says whether it comes for
    the first time: bolt would take it again and again. A repeat is answered as if it were taken.
    """
    router = APIRouter()

    def once(request: BoltRequest, next_: Callable[[], None]) -> BoltResponse | None:
        stamp = request.headers["x-slack-request-timestamp"][0]
        signature = request.headers["x-slack-signature"][0]
        if first(stamp, signature):
            next_()
            return None
        return BoltResponse(status=200)

    app.use(once)  # after bolt's own middleware: what is forged never comes this far
    limiter = CapacityLimiter(ACK_THREADS)  # its own, so that slow pages do not delay an ack

    @router.post(PATH, include_in_schema=False)
    async def events(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return Response("too large", status_code=413)
        stamp = request.headers.get("x-slack-request-timestamp", "")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return Response("not UTF-8", status_code=400)
        if not STAMP.fullmatch(stamp):  # bolt would answer 500 to what is no number
            return Response("invalid request", status_code=401)
        asked = BoltRequest(body=text, headers=dict(request.headers))
        answer = await anyio.to_thread.run_sync(app.dispatch, asked, limiter=limiter)
        headers = answer.first_headers_without_set_cookie()
        return Response(answer.body, status_code=answer.status, headers=headers)

    return router
