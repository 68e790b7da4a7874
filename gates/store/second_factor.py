"""The rows of people's authenticators. Nothing but gates/step_up.py reads them."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field

from gates.store.tables import Row, UtcDateTime


class AuthenticatorRow(Row, table=True):
    """`secret` is shared with the person's app, so that it is kept as it is; `confirmed_at`: since
    when its codes count; `last_step`: the last code's, which is never taken again; `wrong`: codes
    in a row that did not fit, until `waits_until`.
    """

    __tablename__ = "authenticator"
    person: str = Field(primary_key=True)
    secret: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    confirmed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_step: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    wrong: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    waits_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
