"""Show which credential a request gets: ``python -m requests_gracedb --help``."""

import sys

from .help import main

if __name__ == "__main__":
    sys.exit(main())
