"""Adapters to mount and auth objects to pass: what a `requests` session needs for GraceDB."""

from ._version import __version__
from .adapter import GraceDBAdapter
from .auth import GraceDBAuth, NoAuth
from .basic import BasicAuth, NetrcAuth
from .compat import Session
from .connection import ConnectionAdapter
from .credential import AuthAdapter, InsecureTransportError
from .errors import ErrorAdapter
from .file import FileAdapter
from .form import FormData
from .redirect import RedirectAdapter
from .retry import GraceDBRetry, RetryAdapter
from .scitoken import SciTokenAuth
from .timeout import TimeoutAdapter
from .user_agent import UserAgentAdapter

__all__ = (
    "AuthAdapter",
    "BasicAuth",
    "ConnectionAdapter",
    "ErrorAdapter",
    "FileAdapter",
    "FormData",
    "GraceDBAdapter",
    "GraceDBAuth",
    "GraceDBRetry",
    "InsecureTransportError",
    "NetrcAuth",
    "NoAuth",
    "RedirectAdapter",
    "RetryAdapter",
    "SciTokenAuth",
    "Session",
    "TimeoutAdapter",
    "UserAgentAdapter",
    "__version__",
)
