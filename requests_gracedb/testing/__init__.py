"""A GraceDB for tests: a local server that behaves as GraceDB does, and then forgets everything.

The server runs in a process of its own, over TLS, on a loopback port that the system chooses. Like
GraceDB, it is Django REST framework under gunicorn. It needs an extra:
``pip install 'requests-gracedb[testing]'``. With pytest, ask for the fixture ``gracedb_session`` or
``gracedb_server``. By hand, ``python -m requests_gracedb.testing`` starts one.

Nothing else in `requests_gracedb` imports this package.

What is true of GraceDB is true of this server, as far as public sources tell: bad tokens are
ignored, not rejected; the slash at the end of a URL matters; the number of search results is
cached; a file has versions. Some things are only partly known:

- Anonymous requests are answered with 403; there is one report of 401.
- It is known that a request needs a User-Agent, but not the text of the refusal. The same goes for
  the other texts, except those that the published clients look for.
- The shape of ``user-info``, and how the second version of the API searches by JSON.
- Which of two events with the same ``content_id`` is found by it: here, the first.
- The ``warnings`` of an event are known from the answer to an upload; here, they are in every
  description of it.
- Whether the URL of a superevent's file ends in a slash: here, it does not.
- What an anonymous user sees of a public superevent: here, everything.
- Event files are read only for what a few pipelines put into them; unreadable ones are accepted.
"""

from importlib.util import find_spec

for _name in ("certifi", "cryptography", "django", "gunicorn", "rest_framework", "trustme"):
    if find_spec(_name) is None:
        raise ImportError(
            f"requests_gracedb.testing needs {_name}: pip install 'requests-gracedb[testing]'",
            name=_name,
        )

from .server import Fault, GraceDBServer  # noqa: E402

__all__ = ["Fault", "GraceDBServer"]
