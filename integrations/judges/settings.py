"""Settings of the LLM judge: none of them set, none is heard."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from gates.core.errors import InvalidInput
from gates.settings import PREFIX, read_secret


class JudgeSettings(BaseSettings):
    """`url`: of an API that speaks OpenAI's chat completions, up to and with `/v1`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX + "JUDGE_", extra="ignore")

    url: str = ""
    key_file: Path | None = None
    model: str = ""

    def key(self) -> str:
        """Empty where none is set. Raises InvalidInput where the file cannot be read."""
        return read_secret(self.key_file, "GATES_JUDGE_KEY_FILE") if self.key_file else ""

    def wanted(self) -> bool:
        """Raises InvalidInput where only half of it is set."""
        if bool(self.url) != bool(self.model):
            raise InvalidInput("Set both GATES_JUDGE_URL and GATES_JUDGE_MODEL, or neither.")
        return bool(self.url)
