"""What is wrong with the characters of a text."""

from __future__ import annotations

import re
from html.entities import html5

# Control characters but tabs, the soft hyphen, U+FFFD where bytes were lost, private use, and what
# is no character.
_BAD_CHARACTER = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u2028\u2029\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffd"
    "\ufdd0-\ufdef\ufffe\uffff\ue000-\uf8ff]"
)
# These are invisible too, but scripts from right to left need marks of direction, and those without
# spaces between words a space of no width.
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NEEDS_INVISIBLE = re.compile("[\u0590-\u08ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ufb1d-\ufefc]")

# UTF-8 that somebody took for Latin-1 or Windows-1252: the first byte of a character is a letter
# with an accent, the others are what stands at 0x80 to 0xBF there. Only what nobody writes on
# purpose: Å before a quotation mark is Swedish, É before a space may be a French word in capitals.
_TAIL = "[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014"
_TAIL += "\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]"
_NO_MARK = "[\u0080-\u009f\u00a1-\u00aa\u00ac-\u00ba\u00bc-\u00bf\u0152\u0153\u0160\u0161\u0178"
_NO_MARK += "\u017d\u017e\u0192\u02c6\u02dc\u2020\u2021\u2030\u20ac\u2122]"
_TAKEN_FOR_LATIN = re.compile(
    f"(?:[ÂÃ]{_TAIL}|[ÄÅ]{_NO_MARK}|(?:[\u00ce-\u00d1\u00d7-\u00d9]{_TAIL}){{2}}|â[\u0080\u20ac\u0082\u201a\u0084\u201e]{_TAIL}"
    f"|(?:[\u00e0-\u00ef]{_TAIL}{{2}}){{2}}|ðŸ{_TAIL}{{2}}|ï»¿)"
)
_PERHAPS_TAKEN = re.compile(f"[\u00c2-\u00f0]{_TAIL}")  # soon done with most texts

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|([A-Za-z][A-Za-z0-9]{1,30}));")
_TAG = re.compile(
    r"</?(?:a|b|br|div|em|font|i|li|p|span|strong|sub|sup|table|td|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)


def text_fault(text: str) -> str | None:
    """What is wrong with the characters of a text; None when nothing is."""
    found = _BAD_CHARACTER.search(text)
    is_ascii = text.isascii()
    if not found and not is_ascii:
        found = _INVISIBLE.search(text)
        found = None if found and _NEEDS_INVISIBLE.search(text) else found
    if found:
        return f"U+{ord(found[0]):04X} at character {found.start() + 1}"
    if not is_ascii and _PERHAPS_TAKEN.search(text):
        for found in _TAKEN_FOR_LATIN.finditer(text):
            if meant := _as_utf8(found[0]):
                return f"{found[0]!r} at character {found.start() + 1} was {meant!r} in UTF-8"
    if "&" in text or "<" in text:
        for found in (*_ENTITY.finditer(text), *_TAG.finditer(text)):
            name = found.group(1) if found.re is _ENTITY else None
            if name is None or f"{name};" in html5:
                return f"{found[0]!r} at character {found.start() + 1} is HTML"
    return None


def _as_utf8(text: str) -> str | None:
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode()
        except UnicodeError:
            continue
    return None
