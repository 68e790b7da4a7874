"""`gates grant`: the keys that sign grants, what a grant says, and the proxy that wants one."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from gates.client import GatesClient
from gates.core.errors import InvalidInput
from gates.core.model import Action
from gates.grants.token import Claims, read_keys
from gates.grants.trusted_keys import TrustedKeys
from gates.settings import ClientSettings, read_secret
from integrations.shell import AsJson, address, as_admin, home, out
from integrations.terminal import listening, told

app = typer.Typer(help="Signed grants: keys, checking one, a proxy.", no_args_is_help=True)


@app.command()
def keys(as_json: AsJson = False) -> None:
    """The public keys whose grants count; as JSON a JWK set for GATES_GRANT_KEYS."""
    with told(), GatesClient(address(), patience=5) as anybody:
        published = anybody.grant_keys()
        if as_json:
            sys.stdout.write(json.dumps(published) + "\n")
            return
        if not (home() / "admin.key").exists():
            for kid in read_keys(published, anybody.base_url):
                _say(kid)
            return
        with as_admin() as admin:
            for key in admin.signing_keys():
                _say(f"{key['kid']}  {key['server']}  {_life(key)}")


@app.command()
def rotate(
    in_seconds: Annotated[
        int, typer.Option(help="Publish it now, sign with it only then: for pinned keys.")
    ] = 0,
) -> None:
    """Sign with a new key at this server; what was signed before counts until it has run out."""
    with told(), as_admin() as admin:
        kid = admin.rotate_grant_key(in_seconds)
        when = f"in {in_seconds} seconds" if in_seconds else "from now on"
        _say(f"{kid} signs {when}.")


@app.command()
def retire(kid: str) -> None:
    """Refuse whatever this key has signed, from now on: for a key that was stolen."""
    with told(), as_admin() as admin:
        admin.retire_grant_key(kid)
        _say(f"{kid} is retired: nothing that it signed counts any more.")


@app.command()
def verify(
    token: Annotated[str, typer.Argument(help="The grant; - reads it from standard input.")],
    keys: Annotated[Path | None, typer.Option(help="A JWK set; else the server is asked.")] = None,
    action_file: Annotated[
        Path | None, typer.Option(help="JSON with name, subject and arguments, to compare.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say who approved what until when. Exit code 1 where the grant does not count."""
    with told():
        text = sys.stdin.read().strip() if token == "-" else token  # noqa: S105 - a dash
        fingerprint = _action(action_file).fingerprint if action_file else None
        if keys is not None:
            claims = TrustedKeys.pinned(keys).verify(text, _now(), fingerprint=fingerprint)
        else:
            with GatesClient(address(), patience=5) as anybody:
                asked = TrustedKeys(anybody.grant_keys, anybody.base_url)
                claims = asked.verify(text, _now(), fingerprint=fingerprint)
        if as_json:
            sys.stdout.write(claims.model_dump_json() + "\n")
            return
        for name, value in _told(claims):
            _say(f"{name:>11}  {value}")


@app.command()
def proxy(
    upstream: Annotated[str, typer.Option(help="Address of the API, http(s)://...")],
    rules: Annotated[Path, typer.Option(help="YAML: which request means which action.")],
    host: str = "127.0.0.1",
    port: int = 4281,
    authorization_file: Annotated[
        Path | None, typer.Option(help="What the API is sent as Authorization.")
    ] = None,
) -> None:
    """Stand before an HTTP API: no grant, no write. GATES_API_KEY_FILE is an executor's key."""
    import uvicorn  # noqa: PLC0415 - only this command serves

    from integrations.grant_proxy.app import GrantProxy  # noqa: PLC0415 - likewise
    from integrations.grant_proxy.rules import load_rules  # noqa: PLC0415

    with told():
        if not upstream.startswith(("http://", "https://")):
            raise InvalidInput(f"--upstream {upstream!r}: write http://HOST:PORT or https://HOST.")
        settings = ClientSettings()
        client = GatesClient(address(), key=settings.key(), patience=5, fresh_key=settings.key)
        pinned = settings.grant_keys
        made = GrantProxy(
            upstream=upstream,
            rules=load_rules(_text(rules), str(rules)),
            client=client,
            keys=TrustedKeys.pinned(pinned)
            if pinned
            else TrustedKeys(client.grant_keys, client.base_url),
            authorization=read_secret(authorization_file, "--authorization-file")
            if authorization_file
            else "",
        )
        _say(f"{host}:{port} stands before {upstream}")
        with listening(host, port, "Give another --port."):
            uvicorn.run(made.application(), host=host, port=port, log_level="info", ws="none")


def _life(key: dict[str, Any]) -> str:
    if key["retired_at"]:
        return f"retired {key['retired_at']}"
    if key["superseded_at"]:
        counts = "still counts" if key["published"] else "has run out"
        return f"signs from {key['signs_from']} to {key['superseded_at']}, {counts}"
    return f"signs from {key['signs_from']}"


def _told(claims: Claims) -> list[tuple[str, str]]:
    return [
        ("action", claims.action),
        ("approved by", ", ".join(claims.by)),
        ("until", f"{claims.expires:%Y-%m-%d %H:%M:%S} UTC"),
        ("for", claims.audience),
        ("to", claims.use),
        ("request", claims.request_id),
        ("attempt", claims.attempt_id),
        ("fingerprint", claims.fingerprint),
        ("policy", claims.policy_digest),
        ("issued by", claims.issuer),
    ]


def _action(path: Path) -> Action:
    try:
        return Action.model_validate_json(_text(path))
    except ValidationError as error:
        fields = "; ".join(f"{one['loc']}: {one['msg']}" for one in error.errors())
        raise InvalidInput(f"{path} is not an action: {fields}.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.") from error


def _say(words: str) -> None:
    out.print(words, markup=False, highlight=False, soft_wrap=True)


def _now() -> datetime:
    return datetime.now(UTC)
