"""What all words of the core are: frozen values."""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """Frozen, and strict about unknown fields: a typing error is found where it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
