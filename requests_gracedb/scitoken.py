"""Bearer tokens that other programs renew on disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
import time
import warnings
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import lru_cache
from math import inf, isfinite
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from .credential import CredentialAuth, Origin, Secret

if TYPE_CHECKING:
    from scitokens import SciToken

_MAXIMUM_SIZE = 64 * 1024  # bytes
_B64TOKEN = r"[A-Za-z0-9._~+/-]+=*"  # RFC 6750, section 2.1
# A JSON Web Token, a header, another token, or something too long for a file name.
_NO_FILE_NAME = r"eyJ[\w-]+\.|(?i:bearer)\s|^[\w~+=-]{32,}$|[^/]{256}"
_TMP = "/tmp"  # nosec: the specification names this directory
# Audiences that mean any server: those of SciTokens and of WLCG Common JWT Profiles.
_ANY_AUDIENCE = {"ANY", "https://wlcg.cern.ch/jwt/v1/any"}
_MAXIMUM_SHOWN = 200  # characters
_ABSENT = "absent"
_NOT_A_NAME = (
    "this looks like a token, not the name of a file: write the token to a file of your own, or "
    "pass it as bytes"
)
_DEFAULT_LIFETIME = 600  # seconds, the default of scitokens.SciToken.serialize

_logger = logging.getLogger(__name__)

Token: TypeAlias = "str | bytes | os.PathLike[str] | SciToken"


class SciTokenAuth(CredentialAuth):
    """Bearer authentication (RFC 6750) with a SciToken, or any other bearer token.

    The token is read once, when the object is made. With ``auth_reload`` it is read again when it
    is about to expire, and when a server answers 401; if the file holds another token by then, the
    request is repeated. In between, a request costs no I/O. If a reload fails, because the file is
    being rewritten, say, the token stays in use and a warning is logged.

    GraceDB does not reject a token that has expired. It ignores it, and answers as if there were
    none. Such a token is sent nevertheless, and logged as a warning once per token.

    Claims are read without verifying the signature, which is the server's job.

    Its pickle holds the name of the file, not the token; the file is read where the pickle is
    loaded. With `bytes` or a `scitokens.SciToken`, it holds these; a SciToken with a private key
    cannot be pickled.

    Parameters
    ----------
    token : str, os.PathLike, bytes or scitokens.SciToken
        The name of a file that holds one bearer token, with at most white space around it; or the
        token itself, as `bytes` or a `scitokens.SciToken`. A SciToken is sent as it was serialized.
        One with a private key is serialized if it was not (for 600 seconds), and, if
        ``auth_reload`` is set, again before it expires (for as long as before).
    auth_reload : bool, default False
        Whether to read the token again.
    auth_reload_timeout : float, default 300
        How many seconds before the token's ``exp`` to do so.

    Raises
    ------
    OSError
        The file cannot be read, is not a regular file, or could have been written by another user.
    ValueError
        The content is not one bearer token, or ``token`` is a `str` that looks like a token. The
        message does not show it.
    TypeError
        ``token`` is none of these.

    Warns
    -----
    UserWarning
        Other users can read the file.

    Examples
    --------
    >>> auth = SciTokenAuth("bt_u1000", auth_reload=True)
    >>> session.get("https://gracedb.ligo.org/api/events/", auth=auth)
    """

    _warned_of: _Reading | None

    def __init__(
        self, token: Token, auth_reload: bool = False, auth_reload_timeout: float = 300
    ) -> None:
        try:
            source = token_source(token)
        finally:
            del token  # No frame of a traceback shows it.
        self._start(source, source.read(), auth_reload_timeout if auth_reload else None)

    @classmethod
    def discover(
        cls,
        auth_reload: bool = False,
        auth_reload_timeout: float = 300,
        url: str | None = None,
    ) -> SciTokenAuth | None:
        """Look for a token in the places of WLCG Bearer Token Discovery, and in HTCondor's.

        They are ``$BEARER_TOKEN``, which holds the token itself; the file ``$BEARER_TOKEN_FILE``;
        the files ``$_CONDOR_CREDS/*.use``, in the order of their names; and the files
        ``$XDG_RUNTIME_DIR/bt_u$UID`` and ``/tmp/bt_u$UID``. The first token that fits is used. One
        that has expired, or whose audience is a server other than that of ``url``, is passed over.
        So is a file that is missing or unreadable, and one in ``/tmp`` that another user made.

        Parameters
        ----------
        auth_reload : bool, default False
        auth_reload_timeout : float, default 300
            See `SciTokenAuth`.
        url : str, optional
            A URL of the service. Only its origin gets the token. Without it, a token of any
            audience fits, and goes to the origin of each request.

        Returns
        -------
        SciTokenAuth or None
            None if no token fits. With ``auth_reload``, one that has expired is better than none:
            it may be renewed.

        Raises
        ------
        OSError, ValueError
            There is one, but it cannot be used; see `SciTokenAuth`.
        """
        origin = None if url is None else Origin.of(url)
        fitting, expired, _ = discovered(origin)
        found = fitting or (expired if auth_reload else None)
        if found is None:
            return None
        auth = cls.of(*found, auth_reload, auth_reload_timeout)
        auth.only_origin = origin
        return auth

    @classmethod
    def of(
        cls, source: TokenSource, token: Secret, auth_reload: bool, auth_reload_timeout: float
    ) -> SciTokenAuth:
        """Make an auth object from a source and what was read from it.

        Parameters
        ----------
        source : TokenSource
        token : str
        auth_reload : bool
        auth_reload_timeout : float
            See `SciTokenAuth`.

        Returns
        -------
        SciTokenAuth
        """
        auth = cls.__new__(cls)
        auth._start(source, token, auth_reload_timeout if auth_reload else None)
        return auth

    def __repr__(self) -> str:
        if "_reading" not in vars(self):
            return "<SciTokenAuth without a token>"  # in a traceback
        date = _date(self._reading.expiry)
        expiry = "does not expire" if date is None else f"expires {date}"
        return f"<SciTokenAuth {self.place}, {expiry}>"

    def __getstate__(self) -> tuple[TokenSource, float | None, Origin | None]:
        return self._source, self._auth_reload_timeout, self.only_origin

    def __setstate__(self, state: tuple[TokenSource, float | None, Origin | None]) -> None:
        source, auth_reload_timeout, self.only_origin = state
        self._start(source, source.read(), auth_reload_timeout)

    def _compared(self) -> tuple[Any, ...]:
        return self.__getstate__()

    @property
    def place(self) -> str:
        """Where the token comes from."""
        return str(self._source)

    def authorization(self, origin: Origin) -> str:
        """Get the value of the Authorization header."""
        reading, now = self._reading, time.time()
        if now >= reading.reload_at:
            self._reload(reading.authorization)
            reading = self._reading
        if now >= reading.expiry and reading is not self._warned_of:
            self._warned_of = reading
            _logger.warning(
                "%s holds %s. GraceDB ignores it, and treats requests as anonymous: get a new one",
                self._source,
                _age(reading.expiry),
            )
        return reading.authorization

    def renewed(self, rejected: str) -> str | None:
        """Read the token again, unless that has been done since the rejected one was read."""
        if self._auth_reload_timeout is not None and self._source.is_external:
            self._reload(rejected)
        reading = self._reading
        is_better = reading.authorization != rejected and reading.expiry > time.time()
        return reading.authorization if is_better else None

    def problem(self) -> str | None:
        """Tell whether the token has expired, or is for another server."""
        problem = _misfit(self._reading.claims, self.only_origin)
        return None if problem is None else f"the {self._source} has {problem}"

    @property
    def is_found(self) -> bool:
        """Whether the token was found, rather than named by the user."""
        return self._source.is_found

    def is_expired(self) -> bool:
        """Tell whether the token has expired."""
        return self._reading.expiry <= time.time()

    def describe(self) -> dict[str, Any]:
        """Tell the claims of the token, and whether they fit the only origin that gets it."""
        claims = self._reading.claims
        audience = claims.get("aud")
        return {
            "issuer": claims.get("iss"),
            "subject": claims.get("sub"),
            "audience": audience,
            "audience_fits": self.only_origin and _fits(claims, self.only_origin),
            "scope": claims.get("scope"),
            "issued": _date(claims.get("iat")),
            "not_before": _date(claims.get("nbf")),
            "expires": _date(claims.get("exp")),
            "is_expired": self.is_expired(),
        }

    def _start(
        self, source: TokenSource, token: Secret, auth_reload_timeout: float | None
    ) -> None:
        self._source = source
        self._auth_reload_timeout = auth_reload_timeout
        self._readings = 0
        self._lock, self._process = Lock(), os.getpid()
        self._warned_of = None
        self._use(token)
        if source.warning:
            warnings.warn(source.warning, stacklevel=3)

    def _use(self, token: Secret) -> None:
        claims = unverified_claims(token)
        expiry = _expiry(claims)
        timeout = self._auth_reload_timeout
        if timeout is not None and not self._source.is_external:
            # Each reading is a new token, and none lives longer than the first one.
            timeout = min(timeout, (expiry - time.time()) / 2)
        reload_at = inf if timeout is None else expiry - timeout
        # In one assignment: other threads see all of it or none.
        self._reading = _Reading(token, claims, expiry, reload_at)

    def _reload(self, stale: str) -> None:
        """Read the token again, once for all threads that found it stale at the same time."""
        readings = self._readings
        if self._process != os.getpid():
            # The fork may have happened while a thread that does not exist here held the lock.
            self._lock, self._process = Lock(), os.getpid()
        with self._lock:
            if self._reading.authorization != stale or self._readings != readings:
                return
            self._readings += 1
            try:
                token = self._source.read()
            except (OSError, ValueError) as error:
                _logger.warning("%s; the previous token stays in use", error)
                return
            claims = unverified_claims(token)
            if _is_cut_off(token, self._reading.token):
                _logger.warning("%s is half written; the previous token stays in use", self._source)
            elif self.is_found and not _fits(claims, self.only_origin):
                misfit = _misfit(claims, self.only_origin)
                _logger.warning("%s has %s; the previous one stays in use", self._source, misfit)
            elif token != self._reading.token:
                self._use(token)


def discovered(origin: Origin | None) -> tuple[_Found | None, _Found | None, str | None]:
    """Look for a token in the places of discovery; see `SciTokenAuth.discover`.

    Parameters
    ----------
    origin : Origin or None
        Where the token is to go.

    Returns
    -------
    tuple of three
        The first that fits, and the first that would if it had not expired: for each its
        `TokenSource` and the token, or None. The file may hold another token by now. The third is
        what is wrong with the first that was passed over, or None.
    """
    expired = passed_over = None
    for source in discovery_places():
        token = _look_for_token(source)
        if token is None:
            continue
        claims = unverified_claims(token)
        problem = _misfit(claims, origin)
        if problem is None:
            return (source, token), expired, passed_over
        _logger.info("%s is passed over: it has %s", source, problem)
        passed_over = passed_over or f"the {source} had {problem}"
        if expired is None and _fits(claims, origin):
            expired = source, token
    return None, expired, passed_over


def describe_places(origin: Origin | None) -> Iterator[tuple[str, str]]:
    """Tell what there is in each place of discovery.

    Parameters
    ----------
    origin : Origin or None
        Where the token is to go.

    Yields
    ------
    tuple of two str
        A place, and what was found there. No secrets.
    """
    for source in discovery_places():
        missing = source.missing()
        try:
            yield str(source), missing or _description(unverified_claims(source.read()), origin)
        except OSError as error:
            yield str(source), error.strerror or str(error)
        except ValueError as error:
            yield str(source), str(error)


def discovery_places() -> list[TokenSource]:
    """List the places of discovery, whether or not they hold a token.

    Returns
    -------
    list of TokenSource
        In the order of WLCG Bearer Token Discovery; HTCondor's tokens come before the default
        files.
    """
    name = f"bt_u{os.geteuid()}"
    named = os.environ.get("BEARER_TOKEN_FILE")
    credentials = os.environ.get("_CONDOR_CREDS")
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR")
    places = [
        _TokenVariable("BEARER_TOKEN"),
        *([_TokenFile(named)] if named else []),
        *map(_CondorTokenFile, sorted(Path(credentials).glob("*.use")) if credentials else []),
        *([_TokenFile(os.path.join(runtime_directory, name))] if runtime_directory else []),
        _SharedTokenFile(os.path.join(_TMP, name)),
    ]
    for place in places:
        place.is_found = True
    return places


def unverified_claims(token: str) -> dict[str, Any]:
    """Get the claims of a JSON Web Token (RFC 7519) without verifying anything.

    Parameters
    ----------
    token : str
        Any bearer token.

    Returns
    -------
    dict
        Empty if the token is not a JSON Web Token.
    """
    try:
        claims = json.loads(_decoded(token.split(".")[1]))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def token_source(token: Token) -> TokenSource:
    """Get the source of a token that the user names.

    Parameters
    ----------
    token : str, os.PathLike, bytes or scitokens.SciToken
        See `SciTokenAuth`.

    Returns
    -------
    TokenSource
        Not read yet.

    Raises
    ------
    TypeError
        ``token`` is none of these.
    """
    if isinstance(token, bytes):
        return _GivenToken(Secret(token.decode("latin-1")))
    if isinstance(token, (str, os.PathLike)):
        return _TokenFile(token)
    from scitokens import SciToken

    if isinstance(token, SciToken):
        return _SciToken(token)
    kind = type(token).__name__
    del token  # Keep it out of traceback frames.
    raise TypeError(
        "a token must be the name of a file, the token itself as bytes, or a scitokens.SciToken, "
        f"not {kind}"
    )


class TokenSource:
    """Where a token comes from.

    Parameters
    ----------
    where : object
        What tells two sources apart: a path, a variable, a token.
    """

    #: Whether reading it again may give a token that another program has put there.
    is_external = True
    #: Whether it is one of the places of discovery, rather than named by the user.
    is_found = False
    #: Whether discovery goes on if the content is of no use: the user did not put it there.
    is_optional = False
    #: What the user should know, once the source has been read.
    warning = ""

    def __init__(self, where: Any) -> None:
        self._where = where

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenSource):
            return NotImplemented
        return type(self) is type(other) and bool(self._where == other._where)

    __hash__ = None  # type: ignore[assignment]

    def missing(self) -> str | None:
        """Tell why discovery finds nothing there; None if it finds something."""
        return None

    def read(self) -> Secret:
        """Read the token."""
        raise NotImplementedError


class _TokenFile(TokenSource):
    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        self._looks_like_a_token = re.search(_NO_FILE_NAME, name) is not None
        absolute = os.path.abspath(name)
        super().__init__(Secret(absolute) if self._looks_like_a_token else absolute)

    def __str__(self) -> str:
        is_hidden = self._looks_like_a_token and not os.path.exists(self._where)
        return f"token file {'***' if is_hidden else self._where}"

    def missing(self) -> str | None:
        try:
            status = os.stat(self._where)
        except OSError:
            return f"passed over: {_NOT_A_NAME}" if self._looks_like_a_token else _ABSENT
        if not stat.S_ISREG(status.st_mode):
            return "passed over: it is not a regular file"
        return None if os.access(self._where, os.R_OK) else "passed over: it is not readable"

    def read(self) -> Secret:
        descriptor = self._open()
        try:
            self._check(os.fstat(descriptor))
            # One system call reads it all: the file may be rewritten at any time.
            content = Secret(os.read(descriptor, _MAXIMUM_SIZE + 1).decode("latin-1"))
        finally:
            os.close(descriptor)
        return _bearer_token(content, str(self))

    def _open(self) -> int:
        try:
            # This does not wait for the other end of a FIFO.
            return os.open(self._where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            number, problem = error.errno, error.strerror
        except ValueError as error:  # The name contains a NUL.
            number, problem = errno.EINVAL, str(error)
        # Raised outside the except clauses: the exceptions there show what may be a token.
        if self._looks_like_a_token:
            raise ValueError(_NOT_A_NAME)
        raise OSError(
            number,
            f"{self} cannot be read ({problem}): get a token, or name another file",
        )

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"{self} is not a regular file: name one that is")
        if status.st_uid not in (os.geteuid(), 0):
            problem = "belongs to another user, who may have written it: get a token of your own"
        elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            problem = (
                f"is writable by other users: run chmod 600 {self._where}; if you did not write "
                "it, get a new token"
            )
        else:
            if status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
                self.warning = f"{self} is readable by other users: run chmod 600 {self._where}"
            return
        raise PermissionError(errno.EPERM, f"{self} {problem}")


class _CondorTokenFile(_TokenFile):
    """One of several files that HTCondor has written."""

    is_optional = True


class _SharedTokenFile(_TokenFile):
    """A file in a directory where anyone may create one with this name."""

    is_optional = True

    def _open(self) -> int:
        # For a link it matters who made it, not only where it leads.
        if os.path.lexists(self._where) and os.lstat(self._where).st_uid not in (os.geteuid(), 0):
            raise PermissionError(errno.EPERM, f"{self} was made by another user: get your own")
        return super()._open()


class _TokenVariable(TokenSource):
    def __str__(self) -> str:
        return f"environment variable {self._where}"

    def missing(self) -> str | None:
        return None if os.environ.get(self._where) else _ABSENT

    def read(self) -> Secret:
        content = Secret(os.fsencode(os.environ.get(self._where, "")).decode("latin-1"))
        token = _bearer_token(content, str(self))
        if os.path.isabs(token) and os.path.isfile(token):
            raise ValueError(f"the {self} holds the name of a file: put it into {self._where}_FILE")
        return token


class _GivenToken(TokenSource):
    is_external = False

    def __str__(self) -> str:
        return "token given as bytes"

    def read(self) -> Secret:
        return _bearer_token(self._where, str(self))


class _SciToken(TokenSource):
    is_external = False

    def __init__(self, token: SciToken) -> None:
        super().__init__(token)
        self._is_read = False

    def __str__(self) -> str:
        return "SciToken"

    def read(self) -> Secret:
        # scitokens (1.9) has no public name for what a token was serialized to or deserialized
        # from, and serialize() works only with a key.
        token: Any = self._where
        serialized = token._serialized_token and Secret(token._serialized_token)
        if token._key is not None and (self._is_read or serialized is None):
            serialized = self._serialize(_lifetime(serialized))
        if serialized is None:
            raise ValueError("the SciToken was never serialized, and has no private key for that")
        self._is_read = True
        return _bearer_token(serialized, str(self))

    def _serialize(self, lifetime: int) -> Secret:
        try:
            return Secret(self._where.serialize(lifetime=lifetime), "ascii")
        except Exception as error:  # Those of scitokens and PyJWT share no other base.
            raise ValueError(f"the SciToken cannot be serialized: {error}") from error


_Found = tuple[TokenSource, Secret]


class _Reading:
    """What was read last."""

    def __init__(
        self, token: Secret, claims: dict[str, Any], expiry: float, reload_at: float
    ) -> None:
        self.token = token
        self.claims = claims
        self.authorization = Secret(f"Bearer {token}")
        self.expiry = expiry
        self.reload_at = reload_at


def _look_for_token(source: TokenSource) -> Secret | None:
    """Read a token from a place of discovery; None, with a warning, if it is of no use."""
    missing = source.missing()
    if missing is None:
        try:
            return source.read()
        except (OSError, ValueError) as error:
            if not source.is_optional:
                raise
            _logger.warning("%s; it is passed over", getattr(error, "strerror", None) or error)
    elif missing != _ABSENT:
        _logger.warning("%s is %s", source, missing)
    return None


def _bearer_token(content: Secret, name: str) -> Secret:
    # No part of the content may get into a message, or into a chained exception.
    token = Secret(content.strip(" \t\r\n\v\f"))
    if len(content) > _MAXIMUM_SIZE:
        raise ValueError(f"the {name} is over {_MAXIMUM_SIZE} bytes, too long for a bearer token")
    if not token:
        raise ValueError(f"the {name} is empty")
    if not re.fullmatch(_B64TOKEN, token):
        raise ValueError(f"the content of the {name} is not one bearer token (RFC 6750)")
    return token


def _description(claims: dict[str, Any], origin: Origin | None) -> str:
    return _misfit(claims, origin) or _age(_expiry(claims))


def _misfit(claims: dict[str, Any], origin: Origin | None) -> str | None:
    """Tell why a token is of no use there: its audience, or its expiry."""
    if not _fits(claims, origin):
        return f"a token for {json.dumps(claims['aud'])[:_MAXIMUM_SHOWN]}"
    expiry = _expiry(claims)
    return _age(expiry) if expiry <= time.time() else None


def _fits(claims: dict[str, Any], origin: Origin | None) -> bool:
    """Tell whether a token is for a server: one without an audience is for all (RFC 7519)."""
    audience = claims.get("aud")
    if audience is None or origin is None:
        return True
    audiences = audience if isinstance(audience, list) else [audience]
    return any(_is_server(str(each), origin) for each in audiences)


@lru_cache
def _is_server(audience: str, origin: Origin) -> bool:
    if audience in _ANY_AUDIENCE:
        return True
    url = audience if "://" in audience else f"{origin.scheme}://{audience}"
    try:
        server = Origin.of(url)
        # The audience that IGWN's clients ask for names no port, whatever the server's port.
        return server == origin or not urlsplit(url).port and server[:2] == origin[:2]
    except ValueError:
        return False


def _expiry(claims: dict[str, Any]) -> float:
    """Get the time at which a token expires; infinity if it does not say."""
    expiry = claims.get("exp")
    try:
        return float(expiry) if isinstance(expiry, (int, float)) and isfinite(expiry) else inf
    except OverflowError:
        return inf


def _date(seconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _age(expires_at: float) -> str:
    seconds = expires_at - time.time()
    if seconds == inf:
        return "a token that does not expire"
    text = "0 s"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= unit:
            text = f"{abs(seconds) // unit:.0f} {name}"
            break
    return f"a token that expires in {text}" if seconds > 0 else f"a token that expired {text} ago"


def _lifetime(serialized: str | None) -> int:
    claims = unverified_claims(serialized or "")
    try:
        return int(claims["exp"] - claims["iat"])
    except (KeyError, TypeError):
        return _DEFAULT_LIFETIME


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_cut_off(token: str, previous: str) -> bool:
    """Tell whether the end of a token is missing, compared with one that was read whole.

    Signatures with the same key and algorithm, which the header names, have the same length.
    """
    # JSON starts with a brace: what does not, in Base64, is not part of a JSON Web Token.
    if not unverified_claims(previous) or not re.match("e(?:[w-z]|$)", token):
        return False
    header, _, rest = token.partition(".")
    previous_header, _, previous_rest = previous.partition(".")
    signature, previous_signature = rest.partition(".")[2], previous_rest.partition(".")[2]
    complete = len(previous_signature)
    if header != previous_header:
        complete = min(1, complete)
    return not unverified_claims(token) or len(signature) < complete
