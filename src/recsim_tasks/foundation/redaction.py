"""Redaction of secrets: credentials in URIs, tokens and passwords of the settings."""

from __future__ import annotations

import re

REDACTED = "***"
# User information ends at the authority's last `@` (RFC 3986, section 3.2.1). SQLAlchemy also takes passwords
# with a slash. The bounds keep the time linear for any text.
USERINFO = re.compile(r"(?<=://)(?:[^\s/?#]{0,1000}|[^\s/:@]{1,100}:(?!\d+/)[^\s@]{0,300})@")
# Parameters of presigned URLs and of database URIs.
PARAMETER = re.compile(
    r"(?i)(?<=[?&;])((?:x-amz-|x-goog-)?(?:access[_-]?key(?:[_-]?id)?|api[_-]?key|credential|passw(?:or)?d|pwd"
    r"|secret|security-token|sig|signature|token))=[^&;\s'\"]+"
)
# A shorter secret would match ordinary text by chance.
SHORTEST_SECRET = 8
LONGEST_LINE = 300
_secrets: set[str] = set()


def redact_from_now_on(secret: str) -> None:
    """Make `redacted` replace this value for the rest of this process."""
    if len(secret) >= SHORTEST_SECRET:
        _secrets.add(secret)


def redacted(text: str) -> str:
    """`text` without credentials in URIs and without the secrets that this process knows."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return PARAMETER.sub(rf"\1={REDACTED}", USERINFO.sub(f"{REDACTED}@", text))


def first_line(error: Exception) -> str:
    """The first line of an error, cut and without secrets, for a log line or another error's text."""
    lines = redacted(str(error)).splitlines()  # before cutting: half a credential would not be recognised
    return lines[0][:LONGEST_LINE].rstrip(".") if lines else type(error).__name__
