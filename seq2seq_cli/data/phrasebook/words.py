"""What the lexicon says of a word: its inflection in both languages and what it can go with."""

from dataclasses import dataclass
from typing import Literal

Gender = Literal["m", "f", "n"]
Case = Literal["nom", "acc", "dat"]
# Which verb form a subject takes; the German forms for "wir" and "sie" (they) are the same.
Agreement = Literal["1s", "2s", "3s", "pl"]


def _english_plural(singular: str) -> str:
    if singular.endswith(("s", "x", "z", "ch", "sh", "o")):
        return singular + "es"
    if singular.endswith("y") and singular[-2] not in "aeiou":
        return singular[:-1] + "ies"
    return singular + "s"


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """A common noun. `plural` is empty for a noun that the grammar uses in the singular only.

    `oblique` is the accusative and dative singular of the n-declension (den Studenten).
    """

    german: str
    plural: str
    gender: Gender
    english: str
    kind: str
    english_irregular_plural: str = ""
    oblique: str = ""

    @property
    def is_mass(self) -> bool:
        """Whether the noun is not counted: it takes no "ein" and no "a"."""
        return self.kind in ("food", "cold", "hot", "means")

    def english_form(self, plural: bool) -> str:
        """The English noun in this number."""
        if not plural:
            return self.english
        return self.english_irregular_plural or _english_plural(self.english)

    def german_form(self, case: Case, plural: bool) -> str:
        """The German noun in this case and number."""
        if plural:
            needs_n = case == "dat" and not self.plural.endswith(("n", "s"))
            return self.plural + "n" if needs_n else self.plural
        return self.german if case == "nom" else self.oblique or self.german


@dataclass(frozen=True, slots=True, eq=False)
class Adjective:
    """An adjective, and the kinds of noun and single nouns that it can stand before.

    `stem` is what the endings go on, where that is not the bare adjective (teuer, der teure Hut).
    """

    german: str
    english: str
    kinds: frozenset[str]
    stem: str = ""

    def inflected(self, ending: str) -> str:
        """The adjective before its noun."""
        return (self.stem or self.german) + ending


@dataclass(frozen=True, slots=True, eq=False)
class Determiner:
    """An article, possessive, quantifier or numeral.

    `declension` says how it inflects and which adjective endings follow it: `definite` (der),
    `dieser` (dieser, jeder), `ein` (ein, kein, mein), `viele`, `none` (numerals, no article).
    """

    german: str
    english: str
    declension: Literal["definite", "dieser", "ein", "viele", "none"]
    english_plural: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Preposition:
    """A preposition with the case that it governs."""

    german: str
    english: str
    case: Case


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """A verb. `german` marks a separable prefix with a bar: "ein|laden".

    `second_third` holds the du- and er-forms where the stem vowel changes ("liest liest").
    `objects` names the noun kinds and single German nouns that the verb takes as its object, and
    `places` those that it can happen in. What is not `voluntary` goes with no modal verb and no
    time. `irregular_present` and `preterite` hold the forms for ich, du, er and wir of the few
    verbs that need them; a verb with a preterite uses it for the past where others use the Perfekt.
    """

    german: str
    participle: str
    english: str
    english_past: str = ""
    objects: str = ""
    second_third: str = ""
    perfect_with_sein: bool = False
    object_case: Case = "acc"
    preposition: Preposition | None = None
    receiver: bool = False
    places: str = ""
    needs_place: bool = False
    manners: str = ""
    animal_subject: bool = False
    voluntary: bool = True
    for_somebody: bool = False
    irregular_present: str = ""
    preterite: str = ""

    @property
    def prefix(self) -> str:
        """The separable prefix, or an empty string."""
        return self.german.partition("|")[0] if "|" in self.german else ""

    @property
    def base(self) -> str:
        """The infinitive without a separable prefix."""
        return self.german.rpartition("|")[2]

    @property
    def tells_past(self) -> bool:
        """Whether the English past differs from the present: not so for "they read"."""
        return self.english_past != self.english


@dataclass(frozen=True, slots=True, eq=False)
class Modal:
    """A modal verb; an English `auxiliary` (can) needs no do-support, "want to" does."""

    german_forms: dict[Agreement, str]
    english: str
    auxiliary: bool


@dataclass(frozen=True, slots=True, eq=False)
class Adverbial:
    """A fixed adverb or phrase: time, frequency, manner, attitude or a question word."""

    german: str
    english: str


@dataclass(frozen=True, slots=True, eq=False)
class Conjunction:
    """What joins a second clause to the first, and the word order that clause has."""

    german: str
    english: str
    order: Literal["verb final", "main", "infinitive"] = "verb final"
    comma: bool = True
