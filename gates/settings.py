"""Settings from the environment (`GATES_...`), each with the meaning that a reader needs.

A process reads only what it needs: the server its database, a flow its key.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gates.core.errors import InvalidInput

PREFIX = "GATES_"


class ClientSettings(BaseSettings):
    """What a flow, an executor or the command line needs to reach the server.

    `api_key` or `api_key_file` (preferred: environments leak). `linger`: seconds that a run
    waits in its process before it suspends, so that a quick answer costs no restart. `lease`:
    seconds for which a process that runs an action may be silent before it is taken for dead.
    `grant_keys`: a JWK set; an executor or a proxy goes by these keys and asks no server for any.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    url: str = "http://127.0.0.1:4280"
    api_key: str = ""
    api_key_file: Path | None = None
    linger: float = Field(default=20.0, ge=0)
    patience: float = Field(default=300.0, ge=0)
    lease: int = Field(default=30, ge=1, le=3600)
    grant_keys: Path | None = None

    def key(self) -> str:
        """Raises InvalidInput where neither setting gives a key."""
        if self.api_key:
            return self.api_key
        return read_secret(self.api_key_file, "GATES_API_KEY_FILE")


class ServerSettings(BaseSettings):
    """`base_url`: the server's address as people's browsers and flows see it.
    `policy`: a file, a folder with several, or files and folders parted by commas.
    `settle`: seconds after which a call that was cut off can no longer land in the real system.
    `signing_keys`: folder with this server's private keys; the default is in GATES_HOME.
    `policy_shadow`: a policy that is judged beside the active one, and never acts.
    `watch`: seconds between two looks at how runs are; `silence`: seconds without a word from a
    run that something waits for until it is taken for dead.
    `prefect_auth_file`: holds "user:password", where Prefect's API wants it.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=4280, ge=0, le=65535)
    base_url: str = ""
    database_url: str = "sqlite:///gates.sqlite"
    policy: Path = Path("policies/erp.yaml")
    policy_shadow: Path | None = None
    people: Path = Path("policies/people.yaml")
    settle: float = Field(default=30.0, ge=0)
    signing_keys: Path | None = None
    prefect_api_url: str = ""
    prefect_auth_file: Path | None = None
    prefect_ui_url: str = ""
    watch: float = Field(default=5.0, gt=0)
    silence: float = Field(default=60.0, ge=45)

    def prefect_auth(self) -> str:
        """Empty where none is set. Raises InvalidInput where the file cannot be read."""
        if self.prefect_auth_file is None:
            return ""
        return read_secret(self.prefect_auth_file, "GATES_PREFECT_AUTH_FILE")

    @property
    def address(self) -> str:
        return (self.base_url or f"http://{self.host}:{self.port}").rstrip("/")


class ExecutorSettings(BaseSettings):
    """`actions`: which of the registry's actions this executor takes, as names with `*`, parted by
    commas. One executor for each set of rights, so that no process holds more than one of them.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX + "EXECUTOR_", extra="ignore")

    actions: str = "*"


class ErpSettings(BaseSettings):
    """The reference ERP as this process may use it: a read-only user for the server, a writing
    one for the executor, none for flows.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX + "ERP_", extra="ignore")

    url: str = ""
    database: str = "northwind"
    user: str = ""
    password_file: Path | None = None


def read_secret(path: Path | None, name: str) -> str:
    """The content of a secret's file. Raises InvalidInput: not set, not there, or empty."""
    if path is None:
        raise InvalidInput(f"{name} is not set: name a file that holds the secret.")
    try:
        secret = path.read_text().strip()
    except OSError as error:
        raise InvalidInput(f"{name} = {str(path)!r} cannot be read: {error.strerror}.") from error
    if not secret:
        raise InvalidInput(f"{name} = {str(path)!r} is empty: write the secret into it.")
    return secret
