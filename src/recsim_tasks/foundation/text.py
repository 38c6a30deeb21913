"""Text of others, made safe to show in one line and to use as a folder's name."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Control characters, surrogates, and the line and paragraph separators of Unicode.
UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,119}")
WITH_DIGEST = re.compile(r".*-[0-9a-f]{12}")
READABLE = 100


def one_line(text: object) -> str:
    r"""`text` in one line; control characters are escaped, such as `\x1b`, so that no terminal obeys them."""
    return "".join(_escaped(character) if _is_unshown(character) else character for character in str(text))


def is_one_line(text: str) -> bool:
    """Whether `one_line` leaves `text` as it is."""
    return not any(map(_is_unshown, text))


def folder_name(text: str) -> str:
    """A folder's name for `text`; two texts never share one, not even on a case-insensitive file system.

    Lower-case letters, digits and `_.-` are kept. If anything else is replaced, a digest follows.
    """
    if PLAIN_NAME.fullmatch(text) and not WITH_DIGEST.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:READABLE].lstrip(".-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{readable or 'x'}-{digest}"


def _is_unshown(character: str) -> bool:
    return character in DIRECTIONS or unicodedata.category(character) in UNSHOWN


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
