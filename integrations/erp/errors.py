"""What the ERP can answer, told apart by what it left behind.

GatesError
└── ErpError
    ├── ErpRefused           the ERP rolled its transaction back: nothing was left behind
    │   ├── TrytonUserError      a rule of the ERP says no
    │   │   └── TrytonAccessDenied   this ERP user may not do that
    │   ├── TrytonWarning        the ERP wants a person to confirm; `key` names the warning
    │   └── TrytonConcurrency    somebody else wrote the same record
    ├── TrytonLoginFailed    user or password are not the ERP's
    ├── TrytonUnavailable    no answer; `may_have_applied` tells whether the request
    │                        could have reached the books
    └── TrytonFault          an answer that is none of these: the effect is in doubt
"""

from __future__ import annotations

from gates.core.errors import GatesError


class ErpError(GatesError):
    code = "erp_error"
    http_status = 502


class ErpRefused(ErpError):
    code = "erp_refused"


class TrytonUserError(ErpRefused):
    code = "erp_user_error"


class TrytonAccessDenied(TrytonUserError):
    code = "erp_access_denied"


class TrytonWarning(ErpRefused):
    code = "erp_warning"

    @property
    def key(self) -> str:
        """What the ERP wants to be told to confirm this very warning."""
        return str(self.details.get("key", ""))


class TrytonConcurrency(ErpRefused):
    code = "erp_concurrency"


class TrytonLoginFailed(ErpError):
    code = "erp_login_failed"


class TrytonUnavailable(ErpError):
    code = "erp_unavailable"
    http_status = 503

    @property
    def may_have_applied(self) -> bool:
        return bool(self.details.get("may_have_applied", True))


class TrytonFault(ErpError):
    code = "erp_fault"
