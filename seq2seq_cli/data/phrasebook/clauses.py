"""The structure of a sentence, before either language gives it words."""

from dataclasses import dataclass, replace
from typing import Literal

from seq2seq_cli.data.phrasebook.words import (
    Adjective,
    Adverbial,
    Agreement,
    Case,
    Conjunction,
    Determiner,
    Gender,
    Modal,
    Noun,
    Preposition,
    Verb,
)

# The possessive stems that refer to somebody: (German, English).
Owner = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pronoun:
    """A personal, interrogative or relative pronoun, or a name: what stands for a noun phrase."""

    nominative: str
    accusative: str
    dative: str
    english_subject: str
    english_object: str
    agreement: Agreement
    owner: Owner
    gender: Gender = "m"
    is_light: bool = True  # an unstressed object pronoun comes before the adverbials in German

    def german(self, case: Case) -> str:
        """The German pronoun in this case."""
        if case == "nom":
            return self.nominative
        return self.accusative if case == "acc" else self.dative


MASCULINE_OWNER = ("sein", "his")
FEMININE_OWNER = ("ihr", "her")
PLURAL_OWNER = ("ihr", "their")
I = Pronoun("ich", "mich", "mir", "I", "me", "1s", ("mein", "my"))  # noqa: E741
YOU = Pronoun("du", "dich", "dir", "you", "you", "2s", ("dein", "your"))
HE = Pronoun("er", "ihn", "ihm", "he", "him", "3s", MASCULINE_OWNER)
SHE = Pronoun("sie", "sie", "ihr", "she", "her", "3s", FEMININE_OWNER, "f")
IT = Pronoun("es", "es", "ihm", "it", "it", "3s", ("sein", "its"), "n")
WE = Pronoun("wir", "uns", "uns", "we", "us", "pl", ("unser", "our"))
THEY = Pronoun("sie", "sie", "ihnen", "they", "them", "pl", PLURAL_OWNER)
WHO = Pronoun("wer", "wen", "wem", "who", "who", "3s", MASCULINE_OWNER)


def name(text: str, gender: Gender) -> Pronoun:
    """A person's name, which does not inflect."""
    owner = FEMININE_OWNER if gender == "f" else MASCULINE_OWNER
    return Pronoun(text, text, text, text, text, "3s", owner, gender, is_light=False)


def name_pair(first: str, second: str) -> Pronoun:
    """Two people by name: Anna und Peter."""
    german, english = f"{first} und {second}", f"{first} and {second}"
    return Pronoun(
        german, german, german, english, english, "pl", PLURAL_OWNER, "m", is_light=False
    )


@dataclass(slots=True)
class NounPhrase:
    """A determiner, an attributive adjective, a noun, and a relative clause about it."""

    noun: Noun
    determiner: Determiner
    plural: bool = False
    adjective: Adjective | None = None
    relative: "Tail | None" = None

    @property
    def agreement(self) -> Agreement:
        """The verb form that the phrase takes as a subject."""
        return "pl" if self.plural else "3s"

    @property
    def gender(self) -> Gender:
        """The gender of the noun."""
        return self.noun.gender

    @property
    def owner(self) -> Owner:
        """The possessive stems that refer back to the phrase."""
        if self.plural:
            return PLURAL_OWNER
        return FEMININE_OWNER if self.noun.gender == "f" else MASCULINE_OWNER


Nominal = Pronoun | NounPhrase


@dataclass(slots=True)
class PrepositionalPhrase:
    """A preposition with a noun phrase, a pronoun or a name: a place, a companion."""

    preposition: Preposition
    nominal: Nominal


@dataclass(slots=True)
class Clause:
    """A verb with all that goes with it; `front` is what a main clause opens with.

    In a German negated clause an indefinite direct object takes "kein"; any other clause takes
    "nicht". Neither language leaves a choice of word order: it follows from what is filled in.
    """

    subject: Nominal
    verb: Verb
    direct: Nominal | None = None
    receiver: Nominal | None = None
    predicate: Adjective | None = None
    past: bool = False
    modal: Modal | None = None
    negated: bool = False
    front: Adverbial | None = None
    time: Adverbial | None = None
    frequency: Adverbial | None = None
    manner: Adverbial | None = None
    adjunct: PrepositionalPhrase | None = None


@dataclass(slots=True)
class Tail:
    """A clause joined to another by a conjunction, or a relative clause.

    A relative clause about the subject has the relative pronoun as its subject; in one about an
    object the pronoun is the conjunction, and `antecedent` the noun it stands for.
    """

    conjunction: Conjunction
    clause: Clause
    antecedent: Noun | None = None


Form = Literal["statement", "question"]


@dataclass(slots=True)
class Sentence:
    """A main clause as a statement or question, and at most one clause joined to it."""

    clause: Clause
    form: Form = "statement"
    question_word: Adverbial | None = None
    tail: Tail | None = None
    tail_first: bool = False


RELATIVE_PRONOUNS: dict[str, str] = {"m": "der", "f": "die", "n": "das", "p": "die"}


def relative_about_subject(antecedent: NounPhrase, clause: Clause) -> Tail:
    """A relative clause whose subject is the antecedent; `clause.subject` is replaced."""
    pronoun = RELATIVE_PRONOUNS["p" if antecedent.plural else antecedent.gender]
    subject = Pronoun(
        pronoun, pronoun, pronoun, "who", "who", antecedent.agreement, antecedent.owner,
        antecedent.gender,
    )  # fmt: skip
    return Tail(Conjunction("", ""), replace(clause, subject=subject))


def relative_about_object(antecedent: NounPhrase, clause: Clause) -> Tail:
    """A relative clause whose accusative object, absent from `clause`, is the thing before it."""
    key = "p" if antecedent.plural else antecedent.gender
    german = "den" if key == "m" else RELATIVE_PRONOUNS[key]
    return Tail(Conjunction(german, "that"), clause, antecedent.noun)


def _clause_verb_objects(clause: Clause) -> list[tuple[str, str]]:
    return [
        (clause.verb.german, nominal.noun.german)
        for nominal in (clause.direct, clause.receiver)
        if isinstance(nominal, NounPhrase)
    ]


def _tail_verb_objects(tail: Tail) -> list[tuple[str, str]]:
    found = _clause_verb_objects(tail.clause)
    if tail.antecedent is not None:
        found.append((tail.clause.verb.german, tail.antecedent.german))
    return found


def verb_objects(sentence: Sentence) -> list[tuple[str, str]]:
    """The combinations of a German verb and an object noun anywhere in a sentence."""
    found = _clause_verb_objects(sentence.clause)
    if sentence.tail is not None:
        found += _tail_verb_objects(sentence.tail)
    subject = sentence.clause.subject
    if isinstance(subject, NounPhrase) and subject.relative is not None:
        found += _tail_verb_objects(subject.relative)
    return found
