"""``python -m examples`` is the quickstart."""

from __future__ import annotations

import sys

from .quickstart import main

sys.exit(main())
