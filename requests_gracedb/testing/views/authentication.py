"""Who makes a request, whether they may, and how often."""

from __future__ import annotations

from typing import Any

import jwt
from django.conf import settings
from rest_framework.authentication import BaseAuthentication, BasicAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.throttling import AnonRateThrottle, SimpleRateThrottle

from ..config import Config, User
from ..state import State
from ..tokens import READ_SCOPE

CONFIG: Config = settings.GRACEDB_CONFIG
STATE: State = settings.GRACEDB_STATE


class TokenAuthentication(BaseAuthentication):
    """Bearer tokens. Without a challenge of its own, whatever is refused is a 403."""

    def authenticate(self, request: Request) -> tuple[User, dict[str, Any]] | None:
        """Find the user of a token; nobody if the token is bad."""
        scheme, _, serialized = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return None
        try:
            claims = jwt.decode(
                serialized, CONFIG.public_key, algorithms=["RS256"], issuer=CONFIG.issuer,
                audience=[*CONFIG.audiences, "ANY"], options={"require": ["aud", "exp", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        user = STATE.users.get(str(claims["sub"]).lower())
        if user is None or READ_SCOPE not in str(claims.get("scope")).split():
            return None
        return _active(user), claims


class PasswordAuthentication(BasicAuthentication):
    """HTTP basic authentication."""

    def authenticate_credentials(
        self, userid: str, password: str, request: Request | None = None
    ) -> tuple[User, None]:
        """Find the user of this name, who must have this password."""
        user = STATE.users.get(userid.lower())
        if user is None or not user.has_password(password):
            raise AuthenticationFailed("Invalid username/password.")
        return _active(user), None


def _active(user: User) -> User:
    if not user.is_active:
        raise AuthenticationFailed("User inactive or deleted.")
    return user


class IsMember(BasePermission):
    """Only for members of the collaborations."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether a member is logged in."""
        return bool(request.user and request.user.is_member)


class IsMemberOrReads(IsMember):
    """For members of the collaborations; parts may be public."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether a member is logged in, or the request only reads."""
        return request.method in SAFE_METHODS or super().has_permission(request, view)


class UserThrottle(SimpleRateThrottle):
    """A limit for each user."""

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        """Get the name to count under; None for no limit."""
        if request.method in SAFE_METHODS or request.user is None:
            return None
        return f"{self.scope}-{request.user.name}"


class CreationThrottle(UserThrottle):
    """A limit on new events and superevents."""

    scope = "creation"


class AnnotationThrottle(UserThrottle):
    """A limit on log entries and the like."""

    scope = "annotation"


class AnonymousThrottle(AnonRateThrottle):
    """A limit on anonymous requests."""

    scope = "anonymous"
