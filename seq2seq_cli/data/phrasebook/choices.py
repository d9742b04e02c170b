"""What there is to choose from: the words of the lexicon by what they can be used for."""

from functools import cache

from seq2seq_cli.data.phrasebook import clauses, lexicon, verbs
from seq2seq_cli.data.phrasebook import function_words as fw
from seq2seq_cli.data.phrasebook.clauses import Pronoun
from seq2seq_cli.data.phrasebook.words import Adjective, Adverbial, Noun, Verb

PRONOUNS = (clauses.I, clauses.YOU, clauses.HE, clauses.SHE, clauses.WE, clauses.THEY)
# Only these two show a verb form of their own, so they are drawn twice as often.
SUBJECT_PRONOUNS = (*PRONOUNS, clauses.I, clauses.YOU)
# As accusative objects only those that English tells apart: "sie" is both her and them.
ACCUSATIVE_PRONOUNS = (clauses.I, clauses.YOU, clauses.HE, clauses.WE)
FIRST_PERSON = (clauses.I, clauses.WE)
NAMES = tuple(clauses.name(text, gender) for text, gender in lexicon.NAMES.items())
PAIRS = tuple(
    clauses.name_pair(woman, man)
    for woman, one in lexicon.NAMES.items()
    for man, other in lexicon.NAMES.items()
    if (one, other) == ("f", "m")
)
CITIES = tuple(
    Pronoun(german, german, german, english, english, "3s", clauses.MASCULINE_OWNER, is_light=False)
    for german, english in lexicon.CITIES.items()
)


@cache
def nouns_named(names: str) -> tuple[Noun, ...]:
    """The nouns that a list of kinds and single nouns stands for, without the cities."""
    wanted = set(names.split())
    return tuple(noun for noun in lexicon.NOUNS if noun.kind in wanted or noun.german in wanted)


@cache
def adjectives_for(noun: Noun) -> tuple[Adjective, ...]:
    """The adjectives that can stand before a noun."""
    return tuple(
        word for word in lexicon.ADJECTIVES if noun.kind in word.kinds or noun.german in word.kinds
    )


@cache
def adjectives_named(names: tuple[str, ...]) -> tuple[Adjective, ...]:
    """The adjectives with these German forms."""
    return tuple(word for word in lexicon.ADJECTIVES if word.german in names)


@cache
def contrasts(noun: Noun) -> tuple[tuple[Adjective, Adjective], ...]:
    """The opposites that can be said of a noun, in either order."""
    fitting = {word.german: word for word in adjectives_for(noun)}
    pairs = [pair for pair in lexicon.OPPOSITES if fitting.keys() >= set(pair)]
    return tuple(
        (fitting[first], fitting[second])
        for pair in pairs
        for first, second in (pair, tuple(reversed(pair)))
    )


@cache
def manners(verb: Verb) -> tuple[Adverbial, ...]:
    """How a verb can be done."""
    return tuple(fw.MANNERS[word] for word in verb.manners.split())


ACTIVITIES = (
    *verbs.TRANSITIVE_VERBS,
    *verbs.DATIVE_VERBS,
    *verbs.GIVING_VERBS,
    *verbs.PREPOSITION_VERBS,
    *verbs.INTRANSITIVE_VERBS,
    *verbs.MOTION_VERBS,
)
VOLUNTARY = tuple(verb for verb in ACTIVITIES if verb.voluntary)
DELIBERATE = tuple(verb for verb in VOLUNTARY if verb not in verbs.UNPLANNED_VERBS)
ANIMAL_VERBS = tuple(verb for verb in ACTIVITIES if verb.animal_subject)
PERSON_VERBS = tuple(verb for verb in verbs.TRANSITIVE_VERBS if "person" in verb.objects)
WHAT_VERBS = tuple(verb for verb in verbs.TRANSITIVE_VERBS if "person" not in verb.objects)
WHERE_VERBS = tuple(verb for verb in verbs.INTRANSITIVE_VERBS if verb.places)


@cache
def verbs_taking(noun: Noun) -> tuple[Verb, ...]:
    """The transitive verbs that take a noun as their object."""
    return tuple(verb for verb in verbs.TRANSITIVE_VERBS if noun in nouns_named(verb.objects))
