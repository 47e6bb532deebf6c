"""Puts an Authorizer in front of endpoints, and hands them the caller's name.

Annotations are not postponed in this file: FastAPI reads those of a callable object as they stand.
"""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .auth import Authorizer, Caller, Role

_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token of this server's tokens file.")
_CALLER = "multi_region.caller"
UNKNOWN = Caller("http", None)
"""Whom the audit log names when nobody was asked for a token."""


class Guard:
    """Lets a request pass whose token has the role."""

    def __init__(self, authorizer: Authorizer, role: Role) -> None:
        self._authorizer = authorizer
        self._role = role

    def admit(self, request: Request) -> None:
        """Remember the caller. Called before the body is read. Raises ForbiddenError."""
        request.scope[_CALLER] = self._authorizer.admit(request.headers.get("authorization"), self._role)

    async def __call__(
        self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
    ) -> None:
        """Shows the token in the OpenAPI document; the request was admitted before."""


def caller_of(request: Request) -> Caller:
    """Who asks; ``UNKNOWN`` where no token was asked for."""
    caller = request.scope.get(_CALLER)
    return caller if isinstance(caller, Caller) else UNKNOWN


async def _actor(request: Request) -> str:
    return caller_of(request).name


Actor = Annotated[str, Depends(_actor)]
"""The caller's name, for the audit log."""
