"""The manifest asks for what the code needs, and for nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml
from slack_sdk import WebClient

from gates.core.errors import InvalidInput
from integrations.slack.commands import MANIFEST, manifest_for
from integrations.slack.scopes import BY_MANIFEST, METHODS, SCOPES
from tests.support.slack_server.methods import METHODS as SANDBOX

CODE = Path(__file__).parents[2] / "integrations" / "slack"


def called() -> set[str]:
    """Every Web API method that our code calls."""
    found = set()
    for file in CODE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and "_" in node.attr.strip("_"):
                method = getattr(WebClient, node.attr, None)
                if method is not None and not node.attr.startswith("_"):
                    found.add(node.attr.replace("_", "."))
    return found - {"api.call", "base.url", "retry.handlers"}


def test_every_method_that_is_called_has_its_scopes_listed() -> None:
    """A call that is new here fails until its scope is known, and in the manifest."""
    assert {"users.info", "views.open", "chat.postMessage"} <= called()
    assert called() <= METHODS.keys()


def test_the_manifest_has_all_scopes_and_no_other() -> None:
    """Each is needed by a method, or by something that the manifest itself sets up."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    listed = manifest["oauth_config"]["scopes"]["bot"]
    assert len(listed) == len(set(listed))
    assert set(listed) == SCOPES.keys()
    needed = {scope for scopes in METHODS.values() for scope in scopes}
    assert needed | set(BY_MANIFEST) == SCOPES.keys()


def test_the_sandbox_wants_one_of_these_scopes() -> None:
    """What it refuses without, and what we ask for, is the same."""
    for method, (_, kind, wanted) in SANDBOX.items():
        if method in METHODS and kind == "xoxb" and wanted:
            assert set(METHODS[method]) & wanted, method


def test_the_manifest_for_signed_requests_names_one_address() -> None:
    """Clicks, events and commands go to the server; there is no socket."""
    found = yaml.safe_load(manifest_for("https://gates.example.com/"))
    address = "https://gates.example.com/slack/events"
    settings = found["settings"]
    assert settings["interactivity"]["request_url"] == address
    assert settings["event_subscriptions"]["request_url"] == address
    assert [one["url"] for one in found["features"]["slash_commands"]] == [address]
    assert settings["socket_mode_enabled"] is False
    assert found["oauth_config"] == yaml.safe_load(MANIFEST.read_text())["oauth_config"]
    with pytest.raises(InvalidInput, match="https addresses alone"):
        manifest_for("http://gates.example.com")
