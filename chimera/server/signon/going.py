"""Somebody on the way to a provider and back, as his own browser remembers it.

All that has to be known again when he comes back follows from one random token in a cookie: state, nonce and the
verifier of PKCE (RFC 7636) are digests of it, each by its own word. So nothing is kept here for people who never come
back, and who comes back with another browser's state is not the one who left.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Self

_FORM = re.compile(r"[A-Za-z0-9_-]{43}")
_NEXT_MAX = 500


@dataclass(frozen=True)
class Going:
    """One login that has begun. ``to``: the page that was asked for, checked again when it is used."""

    token: str
    to: str = ""

    @classmethod
    def begin(cls, to: str) -> Self:
        """A new one."""
        return cls(secrets.token_urlsafe(32), to if len(to) <= _NEXT_MAX else "")

    @classmethod
    def read(cls, cookie: str) -> Self | None:
        """What :attr:`cookie` was written as; None for anything else."""
        token, _, rest = cookie.partition(".")
        try:
            to = base64.urlsafe_b64decode(rest.encode("ascii")).decode()
        except ValueError:
            return None
        found = cls(token, to)
        return found if _FORM.fullmatch(token) and len(to) <= _NEXT_MAX and found.cookie == cookie else None

    @property
    def cookie(self) -> str:
        """What the browser keeps."""
        return f"{self.token}.{base64.urlsafe_b64encode(self.to.encode()).decode()}"

    @property
    def state(self) -> str:
        """What comes back with the answer."""
        return self._follows("state")

    @property
    def nonce(self) -> str:
        """What the ID token has to hold."""
        return self._follows("nonce")

    @property
    def verifier(self) -> str:
        """What the code is redeemed with."""
        return self._follows("verifier")

    @property
    def challenge(self) -> str:
        """What the provider knows the verifier by: S256."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    def is_it(self, state: str) -> bool:
        """Whether an answer with that state is to this login."""
        return hmac.compare_digest(state.encode(), self.state.encode())

    def _follows(self, word: str) -> str:
        return _text(hmac.digest(self.token.encode(), word.encode(), "sha256"))


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
