"""The tokens that the server accepts, and others that it does not."""

from __future__ import annotations

import time

import scitokens
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

READ_SCOPE = "gracedb.read"


class TokenIssuer:
    """An issuer of bearer tokens.

    Attributes
    ----------
    issuer : str
        Who signs the tokens: their claim ``iss``. The public key is available there.
    audiences : list of str
        Whom they are for by default.
    key : cryptography.hazmat.primitives.asymmetric.rsa.RSAPrivateKey
        What they are signed with.
    """

    issuer: str
    audiences: list[str]

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self) -> str:
        """What the signatures are verified with, in PEM."""
        public_key = self.key.public_key()
        pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode("ascii")

    def scitoken(
        self,
        *,
        scope: str = READ_SCOPE,
        lifetime: float = 3600,
        subject: str = "albert.einstein@ligo.org",
        audience: str | list[str] | None = None,
        issuer: str | None = None,
    ) -> scitokens.SciToken:
        """Make a token that holds the private key, and is not serialized yet.

        Parameters
        ----------
        scope : str
            What it allows, separated by spaces. GraceDB has one scope for reading and writing.
        lifetime : float
            How many seconds it is valid for; negative for a token that has expired.
            ``SciToken.serialize`` uses its own argument instead.
        subject : str
            Whose token it is.
        audience : str or list of str, optional
            Whom it is for; this server by default.
        issuer : str, optional
            An issuer other than the one that the server trusts.

        Returns
        -------
        scitokens.SciToken
        """
        token = scitokens.SciToken(key=self.key)
        token.update_claims({
            "ver": "scitoken:2.0",
            "iss": issuer or self.issuer,
            "sub": subject,
            "aud": self.audiences if audience is None else audience,
            "scope": scope,
            "exp": int(time.time() + lifetime),
        })
        return token

    def token(
        self,
        *,
        scope: str = READ_SCOPE,
        lifetime: float = 3600,
        subject: str = "albert.einstein@ligo.org",
        audience: str | list[str] | None = None,
        issuer: str | None = None,
    ) -> str:
        """Make a signed token; the parameters are those of `scitoken`.

        Returns
        -------
        str
        """
        token = self.scitoken(scope=scope, subject=subject, audience=audience, issuer=issuer)
        return str(token.serialize(lifetime=lifetime), "ascii")
