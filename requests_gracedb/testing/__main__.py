"""``python -m requests_gracedb.testing``: a GraceDB to try things out on."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

import certifi

from . import GraceDBServer


def main() -> None:
    """Serve until interrupted, and print what a shell needs to use the server."""
    argparse.ArgumentParser(
        prog="python -m requests_gracedb.testing",
        description="Run a GraceDB on this machine until it is interrupted, and print what another "
        "shell needs to use it.",
    ).parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    with GraceDBServer() as server:
        token_file = server.directory / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(server.token(lifetime=86400))
        # With the CAs of before, so that everything else in that shell still trusts its servers.
        before = os.environ.get("REQUESTS_CA_BUNDLE", "")
        others = Path(before if os.path.isfile(before) else certifi.where())
        bundle = server.directory / "ca-bundle.pem"
        bundle.write_bytes(others.read_bytes() + b"\n" + Path(server.ca_bundle).read_bytes())
        print(f"# {server.url}")
        print(f"export REQUESTS_CA_BUNDLE={shlex.quote(str(bundle))}")
        print(f"export SSL_CERT_FILE={shlex.quote(str(bundle))}")
        print(f"export BEARER_TOKEN_FILE={shlex.quote(str(token_file))}", flush=True)
        server.wait()


if __name__ == "__main__":
    main()
