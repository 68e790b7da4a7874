"""Slack as one thing with a start and a stop, for the composition root."""

from __future__ import annotations

from fastapi import APIRouter

from gates.cards import Cards
from gates.ports import Directory
from gates.replays import Replays
from gates.service import Gates
from integrations.slack.identity import Identity
from integrations.slack.interactions import Interactions
from integrations.slack.settings import SlackSettings
from integrations.slack.slash import Commands
from integrations.slack.socket_mode import SocketMode
from integrations.slack.transport import WINDOW, bolt_app, http_router, web_client
from integrations.slack.walking import Walking


class SlackDesk:
    """Takes clicks over the chosen transport and turns them into decisions.

    `router` is None in socket mode; in http mode the gates server includes it. `start` returns
    at once: a Slack that is away is waited for in the background.
    """

    def __init__(
        self, settings: SlackSettings, gates: Gates, cards: Cards, directory: Directory
    ) -> None:
        client = web_client(settings)
        identity = Identity(directory, client, settings.team_ids, match_email=settings.match_email)
        self._interactions = Interactions(gates, cards, identity, client, transport=settings.mode)
        self._walking = Walking(gates, cards, identity, client, transport=settings.mode)
        app = bolt_app(settings)
        self._interactions.register(app)
        self._walking.register(app)
        self._commands = Commands(gates, cards, identity)
        self._commands.register(app)
        self._socket = SocketMode(app, settings) if settings.mode == "socket" else None
        self.router: APIRouter | None = None
        if settings.mode == "http":
            replays = Replays(gates.database, "slack", WINDOW, gates.clock)
            self.router = http_router(app, replays.first)

    def start(self) -> None:
        """Finish the clicks of an earlier process, then take new ones."""
        self._interactions.catch_up()
        self._walking.catch_up()
        if self._socket is not None:
            self._socket.start()

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.stop()
        self._interactions.stop()
        self._walking.stop()
        self._commands.stop()
