"""What a `requests` session needs for GraceDB, as adapters to mount and auth objects to pass."""

__version__ = "2.0.0"

from .adapter import GraceDBAdapter
from .auth import AuthAdapter, GraceDBAuth, NetrcAuth, NoAuth
from .compat import Session
from .credential import InsecureTransportError
from .errors import ErrorAdapter
from .file import FileAdapter
from .form import FormData
from .pool import PoolAdapter
from .retry import GraceDBRetry, RetryAdapter
from .scitoken import SciTokenAuth
from .timeout import TimeoutAdapter
from .user_agent import UserAgentAdapter

__all__ = (
    "AuthAdapter",
    "ErrorAdapter",
    "FileAdapter",
    "FormData",
    "GraceDBAdapter",
    "GraceDBAuth",
    "GraceDBRetry",
    "InsecureTransportError",
    "NetrcAuth",
    "NoAuth",
    "PoolAdapter",
    "RetryAdapter",
    "SciTokenAuth",
    "Session",
    "TimeoutAdapter",
    "UserAgentAdapter",
    "__version__",
)
