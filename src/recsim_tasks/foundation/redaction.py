"""Keep secrets out of what people and programs read: credentials in URIs, tokens and passwords of the settings."""

from __future__ import annotations

import re

REDACTED = "***"
# User information ends at the authority's last `@` (RFC 3986, section 3.2.1). SQLAlchemy takes a password with a slash as well.
# The bounds keep the time linear in a text of any content.
USERINFO = re.compile(r"(?<=://)(?:[^\s/?#]{0,1000}|[^\s/:@]{1,100}:(?!\d+/)[^\s@]{0,300})@")
# What presigned addresses and databases carry as parameters.
PARAMETER = re.compile(
    r"(?i)(?<=[?&;])((?:x-amz-|x-goog-)?(?:access[_-]?key(?:[_-]?id)?|api[_-]?key|credential|passw(?:or)?d|pwd|secret|security-token"
    r"|sig|signature|token))=[^&;\s'\"]+"
)
# A shorter text occurs by chance in what has nothing to do with it.
SHORTEST_SECRET = 8
_secrets: set[str] = set()


def redact_from_now_on(secret: str) -> None:
    """Have `redacted` replace this value, wherever it stands, for as long as this process lives."""
    if len(secret) >= SHORTEST_SECRET:
        _secrets.add(secret)


def redacted(text: str) -> str:
    """`text` without the credentials of any URI in it, and without the secrets that this process knows."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return PARAMETER.sub(rf"\1={REDACTED}", USERINFO.sub(f"{REDACTED}@", text))
