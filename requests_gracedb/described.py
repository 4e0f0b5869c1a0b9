"""Adapters that show their settings."""

from __future__ import annotations

from requests.adapters import HTTPAdapter


class DescribedAdapter(HTTPAdapter):
    """The base of the adapters of this package: a notebook shows their settings.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.
    """

    def __repr__(self) -> str:
        settings = dict(vars(self))  # There may be none yet in a traceback.
        if "max_retries" in settings:
            # requests makes a rule of a number, unless it is set later.
            settings["retries"] = getattr(self.max_retries, "total", self.max_retries)
        shown = [f" {name}={settings[name]!r}" for name in _SHOWN if name in settings]
        return f"<{type(self).__name__}{''.join(shown)}>"


_SHOWN = "timeout", "idle_timeout", "retries", "user_agent"
