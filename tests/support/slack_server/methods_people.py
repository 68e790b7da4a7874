"""User groups, with Slack's rules and error names."""

from __future__ import annotations

from tests.support.slack_server.refusing import SlackError
from tests.support.slack_server.workspace import Json, Workspace


def usergroups_users_list(space: Workspace, args: Json) -> Json:
    """Deactivated people are not listed; a group that was disabled has nobody to list."""
    group = space.user_groups.get(str(args.get("usergroup", "")))
    if group is None or (not group.enabled and str(args.get("include_disabled")) != "true"):
        raise SlackError("no_such_subteam")
    live = (user for user in group.members if user in space.users)
    return {"users": [user for user in live if not space.users[user].deleted]}
