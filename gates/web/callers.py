"""Who calls /v1, as the header `Authorization` says: people send `Session`, processes `Bearer`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Header

from gates.access import Access, Session
from gates.core.errors import NotAuthenticated
from gates.service import KeyHolder

Authorization = Annotated[str, Header()]


@dataclass(frozen=True)
class Callers:
    """What endpoints depend on. All raise NotAuthenticated; those that want an admin's key refuse
    any other.
    """

    access: Access

    def key_holder(self, authorization: Authorization = "") -> KeyHolder:
        kind, _, secret = authorization.partition(" ")
        if kind != "Bearer":
            raise NotAuthenticated("Send `Authorization: Bearer <API key>` (GATES_API_KEY).")
        return self.access.key_holder(secret)

    def admin(self, authorization: Authorization = "") -> KeyHolder:
        holder = self.key_holder(authorization)
        holder.refuse_unless("admin")
        return holder

    def person(self, authorization: Authorization = "") -> Session:
        kind, _, secret = authorization.partition(" ")
        if kind != "Session":
            raise NotAuthenticated("This is for people: log in with `gates login LINK`.")
        return self.access.session(secret)

    def person_or_admin(self, authorization: Authorization = "") -> Session | KeyHolder:
        """A person, or an admin's process: flows are not told what people are."""
        if authorization.startswith("Bearer "):
            return self.admin(authorization)
        return self.person(authorization)
