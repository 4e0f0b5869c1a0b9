"""An adapter shows what it is set to."""

from __future__ import annotations

from requests.adapters import HTTPAdapter


class DescribedAdapter(HTTPAdapter):
    """What the adapters of this package have in common: a notebook shows their settings.

    Parameters
    ----------
    **kwargs
        See `requests.adapters.HTTPAdapter`.
    """

    def __repr__(self) -> str:
        settings = dict(vars(self))  # There are none yet in a traceback of what went wrong.
        if "max_retries" in settings:
            settings["retries"] = self.max_retries.total
        shown = [f" {name}={settings[name]!r}" for name in _SHOWN if name in settings]
        return f"<{type(self).__name__}{''.join(shown)}>"


_SHOWN = "timeout", "idle_timeout", "retries", "user_agent"
