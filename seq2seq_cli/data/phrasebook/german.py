"""The German side: inflection, agreement and word order."""

from functools import cache
from typing import NamedTuple

from seq2seq_cli.data.phrasebook.clauses import (
    WHO,
    Clause,
    Nominal,
    NounPhrase,
    Owner,
    Pronoun,
    Sentence,
    Tail,
)
from seq2seq_cli.data.phrasebook.function_words import (
    BARE,
    DEFINITE,
    INDEFINITE,
    MY,
    NO,
    OUR,
    OWN,
    THIS,
    YOUR,
)
from seq2seq_cli.data.phrasebook.words import Agreement, Case, Preposition, Verb

# By case: masculine, feminine, neuter, plural.
_COLUMNS = "mfnp"
_Endings = dict[Case, tuple[str, str, str, str]]
_DEFINITE: _Endings = {
    "nom": ("der", "die", "das", "die"),
    "acc": ("den", "die", "das", "die"),
    "dat": ("dem", "der", "dem", "den"),
}
_DIESER: _Endings = {
    "nom": ("er", "e", "es", "e"),
    "acc": ("en", "e", "es", "e"),
    "dat": ("em", "er", "em", "en"),
}
_EIN: _Endings = {
    "nom": ("", "e", "", "e"),
    "acc": ("en", "e", "", "e"),
    "dat": ("em", "er", "em", "en"),
}
_WEAK: _Endings = {
    "nom": ("e", "e", "e", "en"),
    "acc": ("en", "e", "e", "en"),
    "dat": ("en", "en", "en", "en"),
}
_MIXED: _Endings = {
    "nom": ("er", "e", "es", "en"),
    "acc": ("en", "e", "es", "en"),
    "dat": ("en", "en", "en", "en"),
}
_STRONG = _DIESER
# What a determiner ends in, and which adjective endings follow it.
_DETERMINER_ENDINGS = {"definite": _DEFINITE, "dieser": _DIESER, "ein": _EIN, "viele": _DIESER}
_ADJECTIVE_ENDINGS = {
    "definite": _WEAK,
    "dieser": _WEAK,
    "ein": _MIXED,
    "viele": _STRONG,
    "none": _STRONG,
}
_CONTRACTIONS = {
    ("in", "dem"): "im",
    ("an", "dem"): "am",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("von", "dem"): "vom",
    ("in", "das"): "ins",
}
_DEFINITE_DETERMINERS = (DEFINITE, THIS, MY, YOUR, OUR, OWN)
_AGREEMENTS: tuple[Agreement, ...] = ("1s", "2s", "3s", "pl")
_HABEN = dict(zip(_AGREEMENTS, ("habe", "hast", "hat", "haben"), strict=True))
_SEIN = dict(zip(_AGREEMENTS, ("bin", "bist", "ist", "sind"), strict=True))


@cache
def present(verb: Verb) -> dict[Agreement, str]:
    """The present tense of a verb, without a separable prefix."""
    if verb.irregular_present:
        return dict(zip(_AGREEMENTS, verb.irregular_present.split(), strict=True))
    infinitive = verb.base
    stem = infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]
    # After t, d and clusters such as "ffn" an e keeps the ending sayable: arbeitet, öffnet.
    link = "e" if stem[-1] in "td" or stem.endswith(("ffn", "chn", "gn")) else ""
    second = stem + link + ("t" if stem[-1] in "sßz" else "st")
    third = stem + link + "t"
    if verb.second_third:
        second, third = verb.second_third.split()
    return {"1s": stem + "e", "2s": second, "3s": third, "pl": infinitive}


def noun_phrase(phrase: NounPhrase, case: Case, owner: Owner) -> str:
    """A noun phrase in this case; `owner` is what its reflexive possessive refers to."""
    column = 3 if phrase.plural else _COLUMNS.index(phrase.noun.gender)
    determiner = phrase.determiner
    declension = determiner.declension
    words = []
    if declension != "none":
        stem = owner[0] if determiner is OWN else determiner.german
        words.append(stem + _DETERMINER_ENDINGS[declension][case][column])
    elif determiner.german:
        words.append(determiner.german)
    if phrase.adjective is not None:
        ending = _ADJECTIVE_ENDINGS[declension][case][column]
        words.append(phrase.adjective.inflected(ending))
    words.append(phrase.noun.german_form(case, phrase.plural))
    text = " ".join(words)
    if phrase.relative is not None:
        text += f", {_tail(phrase.relative)},"
    return text


def _nominal(nominal: Nominal, case: Case, owner: Owner) -> str:
    if isinstance(nominal, NounPhrase):
        return noun_phrase(nominal, case, owner)
    return nominal.german(case)


def prepositional_phrase(preposition: Preposition, nominal: Nominal, owner: Owner) -> str:
    """A preposition with its noun phrase, contracted where German contracts (im, zur)."""
    text = _nominal(nominal, preposition.case, owner)
    if isinstance(nominal, NounPhrase) and nominal.determiner is DEFINITE:
        article, rest = text.split(" ", 1)
        contracted = _CONTRACTIONS.get((preposition.german, article))
        if contracted is not None:
            return f"{contracted} {rest}"
    return f"{preposition.german} {text}"


class Fields(NamedTuple):
    """The fields of a German clause, from which every word order is put together."""

    subject: str
    finite: str
    middle: list[str]
    prefix: str  # a separable prefix that ends a main clause and joins a final finite verb
    nonfinite: str  # the participle or infinitive

    def main(self, front: str) -> str:
        """Verb second: what stands in front, or else the subject, then the finite verb."""
        opening = [front, self.finite, self.subject] if front else [self.subject, self.finite]
        return _joined([*opening, *self.middle, self.nonfinite, self.prefix])

    def verb_first(self) -> str:
        """The order of a yes/no question."""
        return _joined([self.finite, self.subject, *self.middle, self.nonfinite, self.prefix])

    def verb_final(self) -> str:
        """The order of a subordinate clause."""
        return _joined([self.subject, *self.middle, self.nonfinite, self.prefix + self.finite])


def _joined(parts: list[str]) -> str:
    return " ".join([part for part in parts if part])


def fields(clause: Clause) -> Fields:
    """Inflect a clause and sort its parts into fields."""
    verb, agreement = clause.verb, clause.subject.agreement
    prefix, nonfinite = verb.prefix, ""
    if clause.modal is not None:
        finite, prefix, nonfinite = clause.modal.german_forms[agreement], "", prefix + verb.base
    elif clause.past and verb.preterite:
        finite = verb.preterite.split()[_AGREEMENTS.index(agreement)]
    elif clause.past:
        finite = (_SEIN if verb.perfect_with_sein else _HABEN)[agreement]
        prefix, nonfinite = "", verb.participle
    else:
        finite = present(verb)[agreement]
    subject = _nominal(clause.subject, "nom", clause.subject.owner)
    return Fields(subject, finite, _middle(clause), prefix, nonfinite)


def _is_definite(nominal: Nominal) -> bool:
    return not isinstance(nominal, NounPhrase) or nominal.determiner in _DEFINITE_DETERMINERS


def _middle(clause: Clause) -> list[str]:
    """The middle field: light pronouns, adverbials, objects, negation, what is close to the verb.

    A time comes before the other objects: "kauft heute das Brot". What is definite comes before
    "nicht" and before a frequency, since it is not what they are about: "kauft das Brot heute
    nicht", "kauft das Brot oft", but "kauft oft ein Brot".
    """
    verb, owner, direct = clause.verb, clause.subject.owner, clause.direct
    negation = ""
    if (
        clause.negated
        and isinstance(direct, NounPhrase)
        and direct.determiner in (INDEFINITE, BARE)
    ):
        direct = NounPhrase(direct.noun, NO, direct.plural, direct.adjective)
    elif clause.negated:
        negation = "nicht"
    adverbials = [part.german for part in (clause.time, clause.frequency) if part is not None]
    before: list[str] = []
    after: list[str] = []
    definite_first = bool(negation) or clause.frequency is not None
    roles: tuple[tuple[Nominal | None, Case], ...]
    roles = ((clause.receiver, "dat"), (direct, verb.object_case))
    for nominal, case in roles:
        if nominal is None or (nominal is direct and verb.preposition is not None):
            continue
        is_light = isinstance(nominal, Pronoun) and nominal.is_light
        is_before = is_light or (definite_first and _is_definite(nominal))
        (before if is_before else after).append(_nominal(nominal, case, owner))
    close = []
    if clause.manner is not None:
        close.append(clause.manner.german)
    if direct is not None and verb.preposition is not None:
        close.append(prepositional_phrase(verb.preposition, direct, owner))
    if clause.adjunct is not None:
        close.append(
            prepositional_phrase(clause.adjunct.preposition, clause.adjunct.nominal, owner)
        )
    if clause.predicate is not None:
        close.append(clause.predicate.german)
    return [*before, *adverbials, *after, negation, *close]


def zu_infinitive(clause: Clause) -> str:
    """A clause without its subject as an infinitive with "zu": "das Kind abzuholen"."""
    verb = clause.verb
    infinitive = f"{verb.prefix}zu{verb.base}" if verb.prefix else f"zu {verb.base}"
    return _joined([*_middle(clause), infinitive])


def _tail(tail: Tail) -> str:
    order = tail.conjunction.order
    if order == "infinitive":
        return zu_infinitive(tail.clause)
    parts = fields(tail.clause)
    front = tail.clause.front.german if tail.clause.front is not None else ""
    text = parts.verb_final() if order == "verb final" else parts.main(front)
    return f"{tail.conjunction.german} {text}" if tail.conjunction.german else text


def sentence(spec: Sentence) -> str:
    """A whole sentence with its capital and punctuation."""
    parts = fields(spec.clause)
    front = spec.clause.front.german if spec.clause.front is not None else ""
    if spec.tail is not None and spec.tail_first:
        front = _tail(spec.tail) + ","
    if spec.question_word is not None:
        text = parts.main(spec.question_word.german)
    elif spec.form == "statement" or spec.clause.subject is WHO:
        text = parts.main(front)
    else:
        text = parts.verb_first()
    if spec.tail is not None and not spec.tail_first:
        comma = "," if spec.tail.conjunction.comma else ""
        text += f"{comma} {_tail(spec.tail)}"
    return text[0].upper() + text[1:] + ("?" if spec.form == "question" else ".")
