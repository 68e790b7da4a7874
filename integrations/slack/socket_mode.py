"""Socket Mode: a connection that Slack's clicks come down, kept up from the start onwards.

slack-sdk's client on websocket-client reads it; when to connect is said here, since its own way
back looks once in ten seconds, and never whether its pings are answered.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import threading
import time
from contextlib import suppress

from slack_bolt import App
from slack_bolt.adapter.socket_mode.internals import run_bolt_app, send_response
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.websocket_client import SocketModeClient
from websocket import WebSocketApp, setdefaulttimeout

from gates.core.errors import GatesError, RetryLater
from integrations.slack.settings import SlackSettings
from integrations.slack.transport import ACK_THREADS, asking

log = logging.getLogger(__name__)

PING = 10.0  # seconds between pings
TIMEOUT = 5  # seconds for a new address, and for the connection to it
FIRST_WAIT, LONGEST_WAIT = 0.2, 3.0  # between tries; somebody may want to click
TURN = 0.05  # seconds until the reader turns to a new connection
GOODBYE = 2.0
HELLO, DISCONNECT = "hello", "disconnect"  # what Slack says first, and when it takes one back


def _kind(message: str) -> str:
    return str(json.loads(message).get("type")) if message.startswith("{") else ""


class _Client(SocketModeClient):
    """Reads and answers; connects when it is told to, and not by itself."""

    def enqueue_message(self, message: str) -> None:
        if _kind(message) != DISCONNECT:
            super().enqueue_message(message)

    def issue_new_wss_url(self) -> str:
        """Without the SDK's sleep of half a minute."""
        return str(self.web_client.apps_connections_open(app_token=self.app_token)["url"])


class SocketMode:
    """`start` returns at once: a Slack that is away is waited for in the background."""

    def __init__(self, app: App, settings: SlackSettings, *, ping: float = PING) -> None:
        setdefaulttimeout(TIMEOUT)  # else it waits minutes for an address that does not answer
        self._app = app
        self._ping = ping
        self._stop = threading.Event()
        self._news = threading.Event()  # a connection stands, or has ended, or we stop
        self._left = threading.Event()
        self._standing: WebSocketApp | None = None
        self._opened = 0.0
        self._client = _Client(
            settings.app_token.get_secret_value(),
            web_client=WebClient(base_url=settings.base_url, timeout=TIMEOUT, retry_handlers=[]),
            auto_reconnect_enabled=False,
            ping_interval=ping,
            concurrency=ACK_THREADS,
            on_message_listeners=[self._on_message],
            on_close_listeners=[self._on_close],
        )
        self._client.current_session_runner.interval_seconds = TURN
        self._client.socket_mode_request_listeners.append(self._on_request)
        self._thread = threading.Thread(target=self._run, name="slack-socket", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._client.current_session is not None:
            self._client.current_session.keep_running = False
        self._left.clear()
        if self._cut():  # the reader would notice a plain close only seconds later
            self._left.wait(GOODBYE)
        self._client.closed = True
        self._client.message_queue.put(None)  # its reader looks up once a second only
        self._client.close()

    # -- what the client tells -------------------------------------------------------------

    def _on_request(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        start = time.time()
        send_response(client, request, run_bolt_app(self._app, request), start)

    def _on_message(self, session: WebSocketApp, message: str) -> None:
        """An open connection may still be turned away: it stands once Slack has said hello."""
        kind = _kind(message)
        if kind == HELLO:
            self._opened, self._standing = time.time(), session
            self._news.set()
        elif kind == DISCONNECT:
            session.keep_running = False

    def _on_close(self, session: WebSocketApp) -> None:
        if self._standing is session:
            self._standing = None
        if self._client.current_session is session:
            self._client.current_session = None  # its address is good for one connection
        self._left.set()
        self._news.set()

    # -- keeping it up ---------------------------------------------------------------------

    def _run(self) -> None:
        wait = FIRST_WAIT
        while not self._stop.is_set():
            if self._standing is not None:
                wait = FIRST_WAIT
                self._news.wait(self._ping / 2)
                self._news.clear()
                self._cut_if_silent()
            else:
                asked = self._connect()
                if self._standing is None:
                    # Not all servers at the same moment.
                    self._stop.wait(max(asked, wait * random.uniform(0.7, 1)))  # noqa: S311 - no secret
                    wait = min(wait * 2, LONGEST_WAIT)

    def _connect(self) -> float:
        """Try once; the seconds for which Slack wants to be left alone."""
        self._news.clear()
        try:
            with asking("apps.connections.open"):
                self._client.connect_to_new_endpoint(force=True)
        except SlackApiError as error:
            log.error(  # noqa: TRY400 - the reason is the whole story
                "Slack refuses GATES_SLACK_APP_TOKEN (%s): see `gates slack check`",
                error.response.get("error"),
            )
            return LONGEST_WAIT
        except GatesError as error:
            log.warning("%s; trying again", error)
            return error.seconds if isinstance(error, RetryLater) else 0.0
        self._news.wait(TIMEOUT)
        return 0.0

    def _cut_if_silent(self) -> None:
        """A connection that died without a word would swallow clicks for a quarter of an hour."""
        session = self._standing
        if session is None:
            return
        if time.time() - max(session.last_pong_tm, self._opened) > 2 * self._ping:
            log.warning("Slack has not answered a ping for %g s: connecting anew", 2 * self._ping)
            session.keep_running = False
            self._cut()

    def _cut(self) -> bool:
        """End the connection under the session; whether there was one."""
        session = self._client.current_session
        inner = session.sock.sock if session is not None and session.sock is not None else None
        if inner is not None:
            with suppress(OSError):
                inner.shutdown(socket.SHUT_RDWR)
                return True
        return False
