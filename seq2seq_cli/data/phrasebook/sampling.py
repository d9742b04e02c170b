"""Random noun phrases and clauses."""

import random
from collections.abc import Sequence
from typing import Literal, TypeVar

from seq2seq_cli.data.phrasebook import choices, clauses, verbs
from seq2seq_cli.data.phrasebook import function_words as fw
from seq2seq_cli.data.phrasebook.clauses import (
    Clause,
    Nominal,
    NounPhrase,
    PrepositionalPhrase,
    Pronoun,
)
from seq2seq_cli.data.phrasebook.words import Adjective, Adverbial, Case, Determiner, Noun, Verb

# Which determiners fit: those of a subject, an object, an object that is denied (a, any), or only
# those that pick out somebody or something known.
Scope = Literal["subject", "object", "negated", "specific"]
Item = TypeVar("Item")
_PAST_FREQUENCIES = (fw.OFTEN, fw.NEVER)
_RELATIVES = ("kin", "elder")
_POSSESSIVES = (fw.MY, fw.YOUR, fw.OUR)


class ClauseSampler:
    """Draws noun phrases and clauses that make sense from a seeded generator.

    Only `Random.random` is used, whose sequence Python keeps the same from version to version.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def _pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._random() * len(items))]

    def _chance(self, probability: float) -> bool:
        return self._random() < probability

    # Noun phrases

    def _adjective(self, noun: Noun, probability: float) -> Adjective | None:
        if self._chance(probability):
            fitting = choices.adjectives_for(noun)
            return self._pick(fitting) if fitting else None
        return None

    def _phrase(self, noun: Noun, scope: Scope, own: bool = False, size: float = 1) -> NounPhrase:
        """A noun phrase; `own` allows a possessive that refers to the subject of the clause."""
        plural = bool(noun.plural) and self._chance(0.3)
        adjective = self._adjective(noun, 0.4 * size)
        if noun.kind in _RELATIVES:
            determiner = self._possessive(own)
        else:
            determiner = self._determiner(noun, plural, scope, own)
        return NounPhrase(noun, determiner, plural, adjective)

    def _possessive(self, own: bool) -> Determiner:
        return fw.OWN if own and self._chance(0.5) else self._pick(_POSSESSIVES)

    def _determiner(self, noun: Noun, plural: bool, scope: Scope, own: bool) -> Determiner:
        draw = self._random()
        if draw < 0.4:
            return fw.DEFINITE
        if noun.is_mass:
            return fw.BARE if scope != "specific" else fw.DEFINITE
        if draw < 0.6 and noun.kind not in ("person", "child", "place", "animal"):
            return self._possessive(own)
        if draw < 0.68:
            return fw.THIS
        if scope == "specific" or noun.kind == "place":
            return fw.DEFINITE
        if draw < 0.85:
            if plural and scope == "subject":
                return fw.MANY
            return fw.BARE if plural else fw.INDEFINITE
        if scope == "negated":
            return fw.DEFINITE
        if plural:
            return self._pick(fw.NUMERALS) if draw < 0.95 else fw.MANY
        if draw < 0.91 and (scope == "subject" or noun.kind in ("text", "object", "fruit")):
            return fw.EVERY
        return fw.NO if scope == "subject" else fw.INDEFINITE

    def _subject(self, specific: bool = False, size: float = 1) -> Nominal:
        """Somebody; `specific` leaves out who cannot be referred back to as he, she or they."""
        draw = self._random()
        if draw < 0.38:
            return self._pick(choices.SUBJECT_PRONOUNS)
        if draw < 0.46:
            return self._pick(choices.NAMES)
        if draw < 0.5:
            return self._pick(choices.PAIRS)
        phrase = self._phrase(
            self._pick(choices.nouns_named(verbs.PEOPLE)),
            "specific" if specific else "subject",
            size=size,
        )
        if specific and phrase.noun.gender == "n" and not phrase.plural:
            phrase.plural = True
        return phrase

    def _person_object(self, subject: Nominal, case: Case, bare: bool = True) -> Pronoun:
        """A name or a pronoun other than the subject.

        A name without a preposition comes with a pronoun as subject only: next to a noun it would
        read as that person's name (die Malerin Lena).
        """
        if self._chance(0.3) and (not bare or subject in choices.PRONOUNS):
            return self._pick([person for person in choices.NAMES if person is not subject])
        candidates = choices.PRONOUNS if case == "dat" else choices.ACCUSATIVE_PRONOUNS
        clash = choices.FIRST_PERSON if subject in choices.FIRST_PERSON else (subject,)
        return self._pick([person for person in candidates if person not in clash])

    # Clauses

    def _activity(
        self,
        subject: Nominal,
        verb: Verb | None = None,
        past: bool | None = None,
        negated: bool = False,
        size: float = 1,
        final: bool = False,
    ) -> Clause:
        """Somebody does something; `size` scales how likely the optional parts are.

        `final` says that the verb will come last in German.
        """
        if verb is None:
            verb = self._pick(choices.ACTIVITIES)
        if past is None:
            past = self._chance(0.4)
        clause = Clause(subject, verb, past=past and verb.tells_past, negated=negated)
        if not clause.past and verb.voluntary and self._chance(0.16 * size):
            clause.modal = self._pick(fw.MODALS)
        if final and not clause.past and clause.modal is None:
            clause.subject = _told_apart(subject, verb)
        self._add_objects(clause, size)
        self._add_place(clause, size)
        has_room = not negated and (clause.adjunct is None or verb in verbs.MOTION_VERBS)
        if verb.manners and has_room and self._chance(0.5 * size):
            clause.manner = self._pick(choices.manners(verb))
        if verb.voluntary and not negated and clause.modal is None and self._chance(0.15 * size):
            clause.frequency = self._pick(_PAST_FREQUENCIES if clause.past else fw.FREQUENCIES)
        return clause

    def _add_objects(self, clause: Clause, size: float) -> None:
        verb, subject = clause.verb, clause.subject
        own = _can_own(subject)
        if verb.receiver:
            if self._chance(0.5):
                clause.receiver = self._person_object(subject, "dat")
            else:
                noun = self._other_noun(verbs.PEOPLE, subject)
                clause.receiver = self._phrase(noun, "specific", own, 0)
        if not verb.objects:
            return
        case = verb.object_case if verb.preposition is None else verb.preposition.case
        if "person" in verb.objects.split() and self._chance(0.3):
            clause.direct = self._person_object(subject, case, bare=verb.preposition is None)
            return
        scope: Scope = "object"
        if clause.negated:
            takes_kein = verb.preposition is None and verb.object_case == "acc"
            scope = "negated" if takes_kein else "specific"
        noun = self._other_noun(verb.objects, subject)
        clause.direct = self._phrase(noun, scope, own, size)

    def _other_noun(self, names: str, subject: Nominal) -> Noun:
        """A noun that the subject does not have: no grandfather answers a grandfather."""
        nouns = choices.nouns_named(names)
        noun = self._pick(nouns)
        while isinstance(subject, NounPhrase) and noun is subject.noun:
            noun = self._pick(nouns)
        return noun

    def _add_place(self, clause: Clause, size: float) -> None:
        verb = clause.verb
        if verb.for_somebody and not clause.negated and self._chance(0.25 * size):
            clause.adjunct = PrepositionalPhrase(fw.FOR, self._somebody(clause.subject, "acc"))
        elif verb.places and (
            verb.needs_place or verb in verbs.MOTION_VERBS or self._chance(0.5 * size)
        ):
            clause.adjunct = self._place(verb)
        elif verb in verbs.COMPANY_VERBS and self._chance(0.3):
            clause.adjunct = PrepositionalPhrase(fw.WITH, self._somebody(clause.subject, "dat"))

    def _somebody(self, subject: Nominal, case: Case) -> Nominal:
        if self._chance(0.4):
            return self._person_object(subject, case, bare=False)
        noun = self._other_noun(verbs.PEOPLE, subject)
        return self._phrase(noun, "specific", _can_own(subject), 0)

    def _place(self, verb: Verb) -> PrepositionalPhrase:
        is_motion = verb in verbs.MOTION_VERBS
        nouns = choices.nouns_named(verb.places)
        if "city" in verb.places and (not nouns or self._chance(0.4)):
            return PrepositionalPhrase(
                fw.TO_CITY if is_motion else fw.IN, self._pick(choices.CITIES)
            )
        noun = self._pick(nouns)
        determiner = fw.DEFINITE if self._chance(0.85) else fw.THIS
        phrase = NounPhrase(noun, determiner, False, self._adjective(noun, 0.15))
        if not is_motion:
            return PrepositionalPhrase(fw.PLACE_PREPOSITIONS.get(noun.german, fw.IN), phrase)
        return PrepositionalPhrase(fw.INTO if noun.german in verbs.INTO_PLACES else fw.TO, phrase)

    def _time(self, clause: Clause) -> Adverbial:
        if clause.past:
            return self._pick(fw.PAST_TIMES)
        if clause.modal is not None:
            return self._pick(fw.FUTURE_TIMES)
        return self._pick(fw.SINGLE_TIMES if clause.negated else fw.PRESENT_TIMES)

    def _takes_time(self, clause: Clause) -> bool:
        return clause.verb.voluntary and clause.frequency is None

    def _add_time(self, clause: Clause, probability: float) -> None:
        """Put a time phrase in its place inside the clause."""
        if self._takes_time(clause) and self._chance(probability):
            clause.time = self._time(clause)

    def _add_front(self, clause: Clause, probability: float) -> None:
        """Open the clause with a time phrase or with an attitude."""
        if not self._chance(probability):
            return
        if self._chance(0.25) or not self._takes_time(clause):
            clause.front = self._pick(fw.ATTITUDES)
        else:
            clause.front = self._time(clause)


def _told_apart(subject: Nominal, verb: Verb) -> Nominal:
    """The subject, or one in the plural where the clause-final form would be too rare to learn.

    A separable verb joined to its prefix (anrufe, anrufst) comes with "ich" and "du" so seldom
    that a corpus of this size would hold it only a few times.
    """
    if not verb.prefix or subject.agreement in ("3s", "pl"):
        return subject
    return clauses.WE if subject is clauses.I else clauses.HE


def _can_own(subject: Nominal) -> bool:
    """Whether "sein" or "ihr" can refer to the subject without doubt in both languages."""
    is_neuter = subject.gender == "n" and subject.agreement != "pl"
    return subject is not clauses.WHO and not is_neuter


def pronoun_for(nominal: Nominal) -> Pronoun:
    """The pronoun that refers back to a specific subject."""
    if nominal in choices.PRONOUNS and isinstance(nominal, Pronoun):
        return nominal
    if nominal.agreement == "pl":
        return clauses.THEY
    return clauses.SHE if nominal.gender == "f" else clauses.HE
