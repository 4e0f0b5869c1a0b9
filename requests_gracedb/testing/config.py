"""What the serving process is told by the process that starts it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

# The permissions that a user can have.
UPLOAD = "upload"  # Create and replace events.
SUPEREVENTS = "superevents"  # Create and confirm superevents of every category, not only of Test.
ADVOCATE = "advocate"  # Expose superevents, and sign off as an EM advocate.
OPERATOR = "operator"  # Sign off as an operator of an instrument.
PERMISSIONS = (UPLOAD, SUPEREVENTS, ADVOCATE, OPERATOR)


@dataclass(frozen=True)
class User:
    """An account."""

    name: str
    password: str | None = None
    password_expires: float = 0
    permissions: tuple[str, ...] = (UPLOAD, SUPEREVENTS, ADVOCATE)
    is_member: bool = True
    is_active: bool = True
    is_authenticated: bool = True  # Django asks for it.

    def may(self, permission: str) -> bool:
        """Tell whether the user has a permission."""
        return permission in self.permissions

    def has_password(self, password: str) -> bool:
        """Tell whether this is the password, and it has not expired."""
        return self.password == password and time.time() < self.password_expires


@dataclass(frozen=True)
class Config:
    """The settings of one server."""

    listener: int
    directory: str
    public_key: str
    issuer: str
    audiences: tuple[str, ...]
    names: tuple[str, ...]
    users: tuple[User, ...]
    throttle: str | None
    count_cache: float
    knows_content_id: bool
    takes_voevents: bool

    def dump(self) -> str:
        """Write the settings on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, line: str) -> Config:
        """Read what `dump` has written."""
        fields = json.loads(line)
        users = tuple(User(**user) for user in fields.pop("users"))
        return cls(**fields, users=users)
