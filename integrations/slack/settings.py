import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from gates.core.errors import InvalidInput
from gates.core.model import Tier
from gates.settings import read_secret

PREFIX = "GATES_SLACK_"
CHANNEL = r"^[CGD][A-Z0-9]{2,}$"
SECRETS = ("bot_token", "app_token", "signing_secret")


class SlackSettings(BaseModel):
    """Everything that reaches Slack is a setting: addresses and tokens alike.

    `channel` is an id (`C...`), since names change hands. `team_ids` are the workspaces whose
    members may decide. `match_email`: who is not in the people file with this account may be found
    by the account's e-mail; only for workspaces whose members cannot change theirs. `mode`:
    `socket` needs the app token and no public address; `http` needs the signing secret and a
    public address. A card links to a flow run only below `prefect_ui_url`, because the run's own
    address is told by the flow.

    `channels`: others than `channel` for some tiers, as `high=C0123,expert=C0456`. `pace`: seconds
    between two posts to one channel. More than `digest_after` first cards within `digest_window`
    seconds become one message (0: never). `remind`: minutes before the deadline (0: never), not in
    the `quiet_hours` of whoever is reminded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bot_token: SecretStr
    app_token: SecretStr = SecretStr("")
    signing_secret: SecretStr = SecretStr("")
    api_base_url: str = Field(default="https://slack.com/api/", pattern=r"^https?://\S+$")
    channel: str = Field(pattern=CHANNEL)
    mode: Literal["socket", "http"] = "socket"
    team_ids: frozenset[str] = Field(min_length=1)
    match_email: bool = False
    prefect_ui_url: str = ""
    channels: dict[Tier, str] = Field(default_factory=dict)
    pace: float = Field(default=1.0, ge=0)
    digest_after: int = Field(default=10, ge=0)
    digest_window: float = Field(default=60.0, gt=0)
    remind: int = Field(default=60, ge=0)
    quiet_hours: str = Field(default="22-7", pattern=r"^([01]?\d|2[0-3])-([01]?\d|2[0-3])$|^$")

    @field_validator("channels", mode="before")
    @classmethod
    def _read_channels(cls, given: object) -> object:
        """`high=C0123,expert=C0456`, as an environment variable says it."""
        if not isinstance(given, str):
            return given
        pairs = [one.partition("=") for one in given.split(",") if one.strip()]
        return {tier.strip(): channel.strip() for tier, _, channel in pairs}

    @field_validator("channels")
    @classmethod
    def _are_channels(cls, channels: dict[Tier, str]) -> dict[Tier, str]:
        for tier, channel in channels.items():
            if not re.fullmatch(CHANNEL, channel):
                raise ValueError(f"{tier.value}={channel} is no channel's id: write high=C0123ABCD")
        return channels

    @model_validator(mode="after")
    def _tokens_fit_the_transport(self) -> Self:
        if not self.bot_token.get_secret_value().startswith("xoxb-"):
            raise ValueError("bot_token must be the bot token, which starts with xoxb-")
        if self.mode == "socket" and not self.app_token.get_secret_value().startswith("xapp-"):
            raise ValueError("app_token must be an app-level token (xapp-) in socket mode")
        if self.mode == "http" and not self.signing_secret.get_secret_value().strip():
            raise ValueError("signing_secret must be set in http mode")
        return self

    @property
    def base_url(self) -> str:
        """The API's address with the slash that slack-sdk joins method names to."""
        return self.api_base_url.rstrip("/") + "/"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """Read GATES_SLACK_*; None without GATES_SLACK_BOT_TOKEN(_FILE): Slack is then left out.

        Each secret may be in a file instead, named by the variable with _FILE.
        GATES_SLACK_TEAM_IDS separates by commas. Raises InvalidInput naming the variable.
        """
        given = {
            name: environment[PREFIX + name.upper()].strip()
            for name in cls.model_fields
            if environment.get(PREFIX + name.upper(), "").strip()
        }
        given |= _kept(environment, given)
        if "bot_token" not in given:
            return None
        teams = [team.strip() for team in given.pop("team_ids", "").split(",")]
        try:
            return cls.model_validate(given | {"team_ids": [team for team in teams if team]})
        except ValidationError as error:
            raise InvalidInput(_sentence(error)) from None


def _kept(environment: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The secrets that are in files: environments leak."""
    found = {}
    for name in SECRETS:
        variable = f"{PREFIX}{name.upper()}_FILE"
        path = environment.get(variable, "").strip()
        if path and name in given:
            other = variable.removesuffix("_FILE")
            raise InvalidInput(f"{variable} and {other} are both set: keep one of them.")
        if path:
            found[name] = read_secret(Path(path), variable)
    return found


def _sentence(error: ValidationError) -> str:
    """Name the variable and the fault; never its value, which may be a token."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = "_".join(str(part) for part in first["loc"])
    name = PREFIX + where.upper() if where else "The GATES_SLACK_ settings"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}; see docs/set-up-slack.md"
