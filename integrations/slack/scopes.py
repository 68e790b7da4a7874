"""What the app may do in Slack, and which method needs it: the manifest asks for exactly this."""

from __future__ import annotations

# scope -> what would not work without it
SCOPES = {
    "chat:write": "cards, and a word to one person",
    "im:write": "a direct message to somebody who is not in the channel",
    "channels:history": "finding a card again whose reply got lost, in public channels",
    "groups:history": "the same in private channels",
    "im:history": "the same in direct messages",
    "channels:read": "looking whether the app and the approvers are in a public channel",
    "groups:read": "the same of a private channel",
    "users:read": "looking at each decision whether the account is live, and no guest",
    "users:read.email": "seeing that an account's e-mail names nobody else; finding people by it",
    "usergroups:read": "who is in a user group that the people file names",
    "commands": "the command /gates",
}
# method -> the scopes of which it needs one (all of them, for all kinds of places)
METHODS: dict[str, tuple[str, ...]] = {
    "auth.test": (),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": ("channels:history", "groups:history", "im:history"),
    "conversations.info": ("channels:read", "groups:read"),
    "conversations.members": ("channels:read", "groups:read"),
    "conversations.open": ("im:write",),
    "conversations.replies": ("channels:history", "groups:history", "im:history"),
    "usergroups.users.list": ("usergroups:read",),
    "users.info": ("users:read", "users:read.email"),
    "users.lookupByEmail": ("users:read.email",),
    "views.open": (),
    "views.publish": (),
    "views.update": (),
    "apps.connections.open": (),  # the app token's: connections:write
}
BY_MANIFEST = ("commands",)  # no method needs it: Slack calls us
