"""How large the grammar is."""

from seq2seq_cli.data.phrasebook import choices, lexicon, verbs
from seq2seq_cli.data.phrasebook import function_words as fw
from seq2seq_cli.data.phrasebook.words import Noun, Verb


def num_lexemes() -> int:
    """Count the nouns, verbs, adjectives, adverbs, numerals and names; no other function words."""
    nouns = (*lexicon.NOUNS, lexicon.TIME, lexicon.MONEY)
    all_verbs = (*choices.ACTIVITIES, *verbs.FRAME_VERBS, *fw.MODALS)
    adverbs = (*fw.FREQUENCIES, *fw.MANNERS, *fw.ATTITUDES)
    names = (*lexicon.NAMES, *lexicon.CITIES)
    groups = (nouns, all_verbs, lexicon.ADJECTIVES, adverbs, fw.NUMERALS, names)
    return sum(len(group) for group in groups)


def count_statements(verb: Verb, num_times: int) -> int:
    """Count statements such as "Heute kauft die junge Frau das rote Auto." with one verb.

    Time, subject, the adjective of either noun and the object are free of each other, so that
    their numbers multiply.
    """
    subjects = choices.nouns_named("person contact child")
    return num_times * _num_phrases(subjects) * _num_phrases(choices.nouns_named(verb.objects))


def _num_phrases(nouns: tuple[Noun, ...]) -> int:
    """Count the nouns with the definite article, each with one of its adjectives or with none."""
    return sum(1 + len(choices.adjectives_for(noun)) for noun in nouns)


def min_num_sentences() -> int:
    """Count only the affirmative present-tense statements that open with a time.

    The whole grammar, with its tenses, determiners and subordinate clauses, has many times more.
    """
    return sum(
        count_statements(verb, len(fw.PRESENT_TIMES))
        for verb in verbs.TRANSITIVE_VERBS
        if verb.voluntary
    )
