"""Tokens back to text: where each language wants its spaces."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import regex

from seq2seq_cli.languages import short_code

_NO_SPACE_BEFORE = ".,!?;:%)]}…/’।"
_NO_SPACE_AFTER = "([{¿¡/$£"

# Which marks close a quotation, by the one that opened it. One that can open and close closes when
# its partner is open. These are for a language that nobody named.
_ANY = {'"': '"', "„": "“", "“": "”", "‚": "‘", "‘": "’", "«": "»", "»": "«"}
_HIGH = {'"': '"', "“": "”", "‘": "’", "„": "“”", "‚": "‘’", "«": "»"}
_LOW = {'"': '"', "„": "“”", "‚": "‘’", "«": "»"}
_LOW_INWARDS = {'"': '"', "„": "“”", "‚": "‘’", "»": "«"}
_BY_LANGUAGE = {
    "be ca cy el en eo es eu fr ga gl hy id it ms nb nl nn pt ru tr uk vi": _HIGH,
    "bg de-ch de-li et is ka lt lv mk pl ro sq": _LOW,
    "cs de hr hu sk sl sr": _LOW_INWARDS,
    "da": {**_LOW_INWARDS, "”": "”"},
    "fi sv": {'"': '"', "”": "”", "“": "”", "»": "»"},
}
_QUOTES = {code: quotes for codes, quotes in _BY_LANGUAGE.items() for code in codes.split()}

_MORE_CLOSE_MARKS = {"ar": "،؛؟", "fa": "،؛؟", "ur": "،؛؟۔"}  # noqa: RUF001
_FULL_WIDTH = "，。、！？；：「」『』（）《》"  # noqa: RUF001
_TIGHT_MARKS = {"ja": _FULL_WIDTH, "yue": _FULL_WIDTH, "zh": _FULL_WIDTH}


_APART = {"fr": ";:!?%", "de": "%"}


@dataclass(frozen=True)
class Spacing:
    """Where a language wants spaces beside its marks."""

    closed_by: Mapping[str, frozenset[str]]
    """Which marks close a quotation, by the one that opens it."""
    close_to_left: frozenset[str]
    """Marks with no space before them."""
    close_to_right: frozenset[str]
    """Marks with no space after them."""
    apart: frozenset[str] = frozenset()
    """Marks with a space before them, but for the second of two."""
    apart_quotes: frozenset[str] = frozenset()
    """Quotation marks with a space on their inner side."""
    suspends: frozenset[str] = frozenset()
    """Words before which a hyphen belongs to the word before it (Ess- und Wohnzimmer)."""
    elides: bool = False
    """Whether a word that ends in an apostrophe stands close to the next (l' homme)."""


def spacing(language: str | None) -> Spacing:
    """The spacing of a language by its code; without one, what suits most of Europe."""
    region = (language or "").lower().replace("_", "-")
    code = short_code(region)
    quotes = _QUOTES.get(region, _QUOTES.get(code))
    closing: set[str] = set()
    if quotes is None:  # here any mark may open, so that one on its own says nothing
        quotes = _ANY
    else:
        closing = set("".join(quotes.values())) - quotes.keys()
    tight = _TIGHT_MARKS.get(code, "")
    return Spacing(
        closed_by={opening: frozenset(marks) for opening, marks in quotes.items()},
        close_to_left=frozenset({*_NO_SPACE_BEFORE, *closing, *tight})
        | frozenset(_MORE_CLOSE_MARKS.get(code, "")),
        close_to_right=frozenset({*_NO_SPACE_AFTER, *tight}),
        apart=frozenset(_APART.get(code, "")),
        suspends=frozenset(("und", "oder", "bzw", "sowie") if code == "de" else ()),
        apart_quotes=frozenset("«»" if code == "fr" else ""),
        elides=code in ("ca", "fr", "it"),
    )


def join(tokens: Sequence[str], spacing: Spacing, bonds: Container[int] = ()) -> str:
    """Tokens as text; one whose index is among the `bonds` stands close to the token before it."""
    pieces: list[str] = []
    open_quotes: list[str] = []
    # Straight apostrophes that come in pairs are quotation marks; one alone ends a word (boys').
    closed_by = spacing.closed_by
    if (num_apostrophes := tokens.count("'")) and num_apostrophes % 2 == 0:
        closed_by = {**closed_by, "'": frozenset("'")}
    previous = ""
    glue = True  # whether the next token stands close to the one before
    for index, token in enumerate(tokens):
        closes = bool(open_quotes) and token in closed_by[open_quotes[-1]]
        opens = not closes and token in closed_by
        close = closes or (token in spacing.close_to_left and not opens)
        close = close or (token == "'" and num_apostrophes % 2 == 1)
        if token == "-" and previous[-1:].isalnum() and tokens[index + 1 : index + 2]:
            close = close or tokens[index + 1].lower() in spacing.suspends
        if token in spacing.apart_quotes or (
            token in spacing.apart and previous not in spacing.apart
        ):
            close = False
        pieces.append(token if close or glue or index in bonds else f" {token}")
        if closes:
            open_quotes.pop()
        elif opens:
            open_quotes.append(token)
        glue = (
            (opens and token not in spacing.apart_quotes)
            or token in spacing.close_to_right
            or (spacing.elides and token[-1:] in ("'", "’") and len(token) > 1)
        )
        previous = token
    return "".join(pieces)


# What spaCy's rules cut off a word, by language, and the words that it cuts in two.
_CLITICS = {
    "en": regex.compile(r"n['’]?t|['’](?:s|m|d|ll|re|ve)", regex.IGNORECASE),
    "fr": regex.compile(r"-\p{L}.*"),
}
_HALVES = {"en": {("can", "not"), ("gon", "na"), ("got", "ta"), ("wan", "na")}}


def spacy_bonds(tokens: Sequence[str], language: str) -> set[int]:
    """Indices of the tokens that were one word with the token before them: clitics (do n't), and
    hyphens between words (well - known), which far more often than not had no spaces."""
    clitics, halves = _CLITICS.get(language), _HALVES.get(language, set())
    bonds: set[int] = set()
    for index, (previous, token) in enumerate(itertools.pairwise(tokens), 1):
        following = tokens[index + 1] if index + 1 < len(tokens) else ""
        is_clitic = clitics is not None and clitics.fullmatch(token)
        if is_clitic or (previous.lower(), token.lower()) in halves:
            bonds.add(index)
        elif token == "-" and previous[-1:].isalnum() and following[:1].isalnum():
            bonds |= {index, index + 1}
    return bonds
