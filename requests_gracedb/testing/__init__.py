"""A GraceDB for tests: a server on this machine that behaves as GraceDB does, and forgets it all.

The server runs in a process of its own, on a loopback port that the system chooses, over TLS. It is
Django REST framework under gunicorn, as GraceDB is, and needs the extra: ``pip install
'requests-gracedb[testing]'``. With pytest, ask for the fixture ``gracedb_session`` or
``gracedb_server``. By hand, ``python -m requests_gracedb.testing`` starts one.

Nothing else in `requests_gracedb` imports this package.

What is true of GraceDB is true of this server, as far as it can be known from public sources:
tokens that are not good are ignored, not rejected; the slash at the end of a URL matters; the
number of search results is cached; a file has versions. Some of it is known only by halves:

- Anonymous requests are answered with 403; there is one report of 401.
- That a request needs a User-Agent is known, the text of the refusal is not. The same goes for the
  other texts, but for those that the published clients look for.
- The shape of ``user-info``, and how the second version of the API searches by JSON.
- Which of two events with the same ``content_id`` is found by it: here, the first.
- ``warnings`` of an event, known from the answer to an upload, are in every description of it here.
- Whether the URL of a file of a superevent ends in a slash: not here.
- What an anonymous user sees of a public superevent: everything here.
- Event files are read for what a few pipelines put into them; one that cannot be read is accepted.
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
