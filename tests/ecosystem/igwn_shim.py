"""A pytest plug-in by which igwn-auth-utils finds tokens as `SciTokenAuth.discover` does."""

from __future__ import annotations

from typing import Any

from igwn_auth_utils import scitokens as igwn_scitokens
from igwn_auth_utils.error import IgwnAuthError
from scitokens import SciToken

from requests_gracedb import SciTokenAuth
from requests_gracedb.credential import Origin
from requests_gracedb.scitoken import discovery_places


def find_token(
    audience: str, scope: str, skip_errors: bool = True, warn: bool = False, **kwargs: Any
) -> SciToken:
    url = f"https://{audience}/"
    auth = SciTokenAuth.discover(url=url)
    if auth is None:
        raise IgwnAuthError("could not find a valid SciToken")
    serialized = auth.authorization(Origin.of(url)).removeprefix("Bearer ")
    return SciToken.deserialize(serialized, audience=audience, **kwargs)


def condor_places() -> list[str]:
    return [str(place) for place in discovery_places() if str(place).endswith(".use")]


igwn_scitokens.find_token = find_token
igwn_scitokens._find_condor_creds_token_paths = condor_places
