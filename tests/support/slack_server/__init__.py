"""A strict Slack on loopback: Web API, Socket Mode, signed interaction requests.

Stands in for the real service, which tests cannot reach. It refuses what Slack refuses (tokens,
scopes, Block Kit, rates, triggers, the 3 s ack), and lets a test play the people who click.
"""

from tests.support.slack_server.blockkit import check_message_blocks, check_view
from tests.support.slack_server.methods_views import ClientRefusalError
from tests.support.slack_server.sandbox import (
    APP_TOKEN,
    BOT_TOKEN,
    SIGNING_SECRET,
    Delivery,
    SlackSandbox,
)
from tests.support.slack_server.workspace import (
    APP_SCOPES,
    BOT_SCOPES,
    Channel,
    Ephemeral,
    Limits,
    Message,
    User,
    UserGroup,
    View,
)

__all__ = [
    "APP_SCOPES",
    "APP_TOKEN",
    "BOT_SCOPES",
    "BOT_TOKEN",
    "SIGNING_SECRET",
    "Channel",
    "ClientRefusalError",
    "Delivery",
    "Ephemeral",
    "Limits",
    "Message",
    "SlackSandbox",
    "User",
    "UserGroup",
    "View",
    "check_message_blocks",
    "check_view",
]
