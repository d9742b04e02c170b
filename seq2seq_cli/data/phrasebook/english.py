"""The English side: inflection, agreement, do-support and word order."""

from functools import cache

from seq2seq_cli.data.phrasebook.clauses import (
    WHO,
    Clause,
    Nominal,
    NounPhrase,
    Owner,
    Sentence,
    Tail,
)
from seq2seq_cli.data.phrasebook.function_words import BARE, INDEFINITE, OWN
from seq2seq_cli.data.phrasebook.verbs import BE
from seq2seq_cli.data.phrasebook.words import Agreement, Preposition, Verb

_BE_PRESENT: dict[Agreement, str] = {"1s": "am", "2s": "are", "3s": "is", "pl": "are"}
_BE_PAST: dict[Agreement, str] = {"1s": "was", "2s": "were", "3s": "was", "pl": "were"}
# Written vowel or not, what counts is the sound.
_SILENT_H = ("hour", "honest")
_SPOKEN_Y = ("university",)


def indefinite_article(following: str) -> str:
    """The article by the sound that the following words begin with: an honest man."""
    word = following.split(" ", 1)[0]
    starts_with_vowel = (word[0] in "aeiou" or word in _SILENT_H) and word not in _SPOKEN_Y
    return "an" if starts_with_vowel else "a"


@cache
def third_person(verb_phrase: str) -> str:
    """The he/she/it form of the verb that opens a phrase: "picks up", "has to"."""
    word, space, rest = verb_phrase.partition(" ")
    if word == "have":
        word = "has"
    elif word.endswith(("s", "x", "z", "ch", "sh", "o")):
        word += "es"
    elif word.endswith("y") and word[-2] not in "aeiou":
        word = word[:-1] + "ies"
    else:
        word += "s"
    return word + space + rest


@cache
def past(verb: Verb) -> str:
    """The simple past."""
    if verb.english_past:
        return verb.english_past
    word = verb.english
    if word.endswith("e"):
        return word + "d"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + "ed"


def noun_phrase(phrase: NounPhrase, owner: Owner) -> str:
    """A noun phrase; `owner` is what its reflexive possessive refers to."""
    text = phrase.noun.english_form(phrase.plural)
    if phrase.adjective is not None:
        text = f"{phrase.adjective.english} {text}"
    determiner = phrase.determiner
    if determiner is OWN:
        text = f"{owner[1]} {text}"
    elif determiner is INDEFINITE:
        text = f"{indefinite_article(text)} {text}"
    elif determiner is not BARE:
        word = determiner.english_plural if phrase.plural else determiner.english
        text = f"{word} {text}"
    if phrase.relative is not None:
        text += f" {_tail(phrase.relative)}"
    return text


def _object(nominal: Nominal, owner: Owner) -> str:
    if isinstance(nominal, NounPhrase):
        return noun_phrase(nominal, owner)
    return nominal.english_object


def _prepositional_phrase(preposition: Preposition, nominal: Nominal, owner: Owner) -> str:
    return f"{preposition.english} {_object(nominal, owner)}"


def _complements(clause: Clause) -> list[str]:
    owner, direct = clause.subject.owner, clause.direct
    parts = []
    if clause.predicate is not None:
        parts.append(clause.predicate.english)
    if clause.receiver is not None:
        parts.append(_object(clause.receiver, owner))
    if direct is not None:
        text = _object(direct, owner)
        is_bare = isinstance(direct, NounPhrase) and direct.determiner is BARE
        if clause.negated and is_bare:
            text = f"any {text}"
        preposition = clause.verb.preposition
        parts.append(text if preposition is None else f"{preposition.english} {text}")
    if clause.manner is not None:
        parts.append(clause.manner.english)
    if clause.adjunct is not None:
        parts.append(
            _prepositional_phrase(clause.adjunct.preposition, clause.adjunct.nominal, owner)
        )
    if clause.time is not None:
        parts.append(clause.time.english)
    return parts


def _predicate(clause: Clause, inverted: bool) -> tuple[str, str]:
    """The operator (do, can, is), empty where none is needed, and the verb after it."""
    verb, modal, agreement = clause.verb, clause.modal, clause.subject.agreement
    if verb is BE:
        return (_BE_PAST if clause.past else _BE_PRESENT)[agreement], ""
    if modal is not None and modal.auxiliary:
        return modal.english, verb.english
    base = verb.english if modal is None else f"{modal.english} {verb.english}"
    if clause.negated or inverted:
        if clause.past:
            return "did", base
        return ("does" if agreement == "3s" else "do"), base
    if clause.past:
        return "", past(verb)
    return "", third_person(base) if agreement == "3s" else base


def clause_text(clause: Clause, inverted: bool = False) -> str:
    """A clause with its subject; `inverted` puts the operator first, as questions do."""
    subject = clause.subject
    if isinstance(subject, NounPhrase):
        subject_text = noun_phrase(subject, subject.owner)
    else:
        subject_text = subject.english_subject
    operator, verb = _predicate(clause, inverted)
    negation = ["not"] if clause.negated else []
    if operator == "can" and negation and not inverted:
        operator, negation = "cannot", []
    opening = [operator, subject_text, *negation] if inverted else [subject_text, operator]
    opening += [] if inverted else negation
    frequency = clause.frequency.english if clause.frequency is not None else ""
    front = clause.front.english if clause.front is not None else ""
    parts = [front, *opening, frequency, verb, *_complements(clause)]
    return " ".join([part for part in parts if part])


def _tail(tail: Tail) -> str:
    clause, conjunction = tail.clause, tail.conjunction
    if conjunction.order == "infinitive":
        return " ".join(["to", clause.verb.english, *_complements(clause)])
    text = clause_text(clause)
    return f"{conjunction.english} {text}" if conjunction.english else text


def sentence(spec: Sentence) -> str:
    """A whole sentence with its capital and punctuation."""
    inverted = spec.form == "question" and spec.clause.subject is not WHO
    text = clause_text(spec.clause, inverted)
    if spec.question_word is not None:
        text = f"{spec.question_word.english} {text}"
    if spec.tail is not None:
        tail = _tail(spec.tail)
        comma = "," if spec.tail.conjunction.english == "but" else ""
        text = f"{tail}, {text}" if spec.tail_first else f"{text}{comma} {tail}"
    return text[0].upper() + text[1:] + ("?" if spec.form == "question" else ".")
