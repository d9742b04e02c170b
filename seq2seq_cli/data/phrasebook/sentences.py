"""Random sentences of every kind that the grammar knows."""

from seq2seq_cli.data.phrasebook import choices, clauses, lexicon, verbs
from seq2seq_cli.data.phrasebook import function_words as fw
from seq2seq_cli.data.phrasebook.clauses import (
    Clause,
    Nominal,
    NounPhrase,
    PrepositionalPhrase,
    Sentence,
    Tail,
)
from seq2seq_cli.data.phrasebook.sampling import ClauseSampler, pronoun_for
from seq2seq_cli.data.phrasebook.words import Adverbial, Noun

_DESCRIBED = "fruit food cold hot text motor vehicle clothes furniture opening device object place"
_ANIMAL_PLACES = "Garten Park Wald Strand Bauernhof"
# Why somebody does something, does not do it, or does it all the same.
_HELPFUL = ("fleißig", "glücklich", "gesund")
_HINDERING = ("müde", "krank", "faul")


class Sampler(ClauseSampler):
    """Draws sentence structures from a seeded generator."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        makers = (
            (26, self._plain),
            (4, self._animal),
            (10, self._question),
            (8, self._word_question),
            (8, self._feeling),
            (14, self._with_reason),
            (10, self._with_reported_clause),
            (7, self._with_infinitive),
            (6, self._with_relative_subject),
            (4, self._with_relative_object),
            (5, self._two_clauses),
        )
        self._makers = tuple(maker for weight, maker in makers for _ in range(weight))

    def sentence(self) -> Sentence:
        """One random sentence."""
        return self._pick(self._makers)()

    def _state(self, subject: Nominal, words: tuple[str, ...], past: bool = False) -> Clause:
        """Somebody is in some state of mind or body."""
        predicate = self._pick(choices.adjectives_named(words))
        return Clause(subject, verbs.BE, predicate=predicate, past=past)

    def _thing(self, noun: Noun) -> NounPhrase:
        plural = bool(noun.plural) and self._chance(0.25)
        return NounPhrase(noun, self._determiner(noun, plural, "specific", own=False), plural)

    def _quality(self) -> Clause:
        """Something is as it is."""
        noun = self._pick(choices.nouns_named(_DESCRIBED))
        predicate = self._pick(choices.adjectives_for(noun))
        clause = Clause(self._thing(noun), verbs.BE, predicate=predicate, past=self._chance(0.4))
        clause.negated = self._chance(0.3)
        return clause

    def _plain(self) -> Sentence:
        negated = self._chance(0.25)
        clause = self._activity(self._subject(specific=negated), negated=negated)
        self._add_front(clause, 0.4)
        if clause.front is None or clause.front in fw.ATTITUDES:
            self._add_time(clause, 0.4)
        return Sentence(clause)

    def _animal(self) -> Sentence:
        subject = self._phrase(self._pick(choices.nouns_named("animal")), "subject", size=2)
        clause = Clause(subject, self._pick(choices.ANIMAL_VERBS), past=self._chance(0.4))
        noun = self._pick(choices.nouns_named(_ANIMAL_PLACES))
        place = NounPhrase(noun, fw.DEFINITE, adjective=self._adjective(noun, 0.2))
        clause.adjunct = PrepositionalPhrase(fw.PLACE_PREPOSITIONS.get(noun.german, fw.IN), place)
        self._add_front(clause, 0.4)
        if clause.front is None:
            self._add_time(clause, 0.4)
        return Sentence(clause)

    def _asked_person(self) -> Nominal:
        """Somebody to ask about; one seldom asks about oneself."""
        subject = self._subject(specific=True)
        return clauses.YOU if subject is clauses.I else subject

    def _ask(self, clause: Clause, time: float, question_word: Adverbial | None = None) -> Sentence:
        if clause.frequency is not None:
            clause.frequency = fw.OFTEN if clause.past else self._pick((fw.OFTEN, fw.ALWAYS))
        self._add_time(clause, time)
        return Sentence(clause, "question", question_word)

    def _question(self) -> Sentence:
        return self._ask(self._activity(self._asked_person()), 0.5)

    def _word_question(self) -> Sentence:
        draw = self._random()
        if draw < 0.25:
            return self._ask(self._activity(clauses.WHO), 0.6)
        subject = self._asked_person()
        if draw < 0.45:
            clause = self._activity(subject, self._pick(choices.WHAT_VERBS), size=1.2)
            clause.direct = None
            return self._ask(clause, 0.7, fw.WHAT)
        if draw < 0.6:
            clause = self._activity(subject, self._pick(choices.WHERE_VERBS))
            clause.adjunct = clause.manner = None
            return self._ask(clause, 0.7, fw.WHERE)
        if draw < 0.8:
            clause = self._activity(subject, self._pick(choices.VOLUNTARY))
            clause.frequency = None
            return self._ask(clause, 0, fw.WHEN)
        return self._ask(self._activity(subject), 0.5, fw.WHY)

    def _feeling(self) -> Sentence:
        """Somebody is happy, sad or tired because of what they did or did not do."""
        subject = self._subject(specific=True, size=0)
        pronoun = pronoun_for(subject)
        feeling = self._pick(("glücklich", "traurig", "müde"))
        if feeling == "traurig":
            verb = self._pick(verbs.MISSED_VERBS)
        else:
            verb = self._pick(choices.DELIBERATE if feeling == "glücklich" else verbs.TIRING_VERBS)
        negated = feeling == "traurig"
        cause = self._activity(pronoun, verb, past=True, negated=negated, size=0.8, final=True)
        cause.frequency = None
        self._add_time(cause, 0.4)
        return Sentence(self._state(subject, (feeling,)), tail=Tail(fw.BECAUSE, cause))

    def _with_reason(self) -> Sentence:
        conjunction = self._pick((fw.BECAUSE, fw.BECAUSE, fw.ALTHOUGH, fw.IF, fw.WHILE))
        negated = conjunction in (fw.BECAUSE, fw.ALTHOUGH) and self._chance(0.4)
        subject = self._subject(specific=True, size=0)
        past = False if conjunction is fw.IF else None
        verb = self._pick(choices.DELIBERATE)
        clause = self._activity(subject, verb, past=past, negated=negated, size=0.6)
        if conjunction is fw.WHILE:
            other = self._subject(specific=True, size=0)
            if other is subject:
                other = self._pick([person for person in choices.NAMES if person is not subject])
            lasting = self._pick(verbs.LASTING_VERBS)
            reason = self._activity(other, lasting, past=clause.past, size=0, final=True)
        elif conjunction is fw.IF and self._chance(0.3):
            reason = Clause(clauses.IT, self._pick((verbs.RAIN, verbs.SNOW)))
        else:
            helpful = negated == (conjunction is fw.ALTHOUGH)
            reason = self._reason(clause, helpful)
        tail_first = self._chance(0.35)
        if not tail_first:
            self._add_front(clause, 0.2)
        return Sentence(clause, tail=Tail(conjunction, reason), tail_first=tail_first)

    def _reason(self, clause: Clause, helpful: bool) -> Clause:
        """The state or the means that make somebody do something, or else keep them from it."""
        subject = pronoun_for(clause.subject)
        if self._chance(0.6):
            return self._state(subject, _HELPFUL if helpful else _HINDERING, clause.past)
        means = lexicon.MONEY if clause.verb in verbs.COSTLY_VERBS else lexicon.TIME
        phrase = NounPhrase(means, fw.BARE)
        return Clause(subject, verbs.HAVE, direct=phrase, past=clause.past, negated=not helpful)

    def _with_reported_clause(self) -> Sentence:
        subject = self._subject(specific=True, size=0)
        reports = [verbs.KNOW, verbs.SAY, verbs.BELIEVE]
        if self._chance(0.2):
            content = self._quality()
        else:
            negated = self._chance(0.2)
            reported = self._subject(specific=True)
            content = self._activity(reported, negated=negated, size=0.7, final=True)
            self._add_time(content, 0.2)
            if reported is not subject:
                reports.append(verbs.HOPE)
        if self._chance(0.3) and not content.negated:
            doubtful = self._chance(0.5)
            clause = Clause(subject, verbs.KNOW if doubtful else verbs.ASK, negated=doubtful)
            return Sentence(clause, tail=Tail(fw.WHETHER, content))
        return Sentence(Clause(subject, self._pick(reports)), tail=Tail(fw.THAT, content))

    def _with_infinitive(self) -> Sentence:
        subject = self._subject(specific=True)
        verb = self._pick((verbs.TRY, verbs.PROMISE, verbs.PLAN, verbs.HOPE, verbs.FORGET))
        clause = Clause(subject, verb, past=self._chance(0.5))
        if clause.past and verb is not verbs.HOPE:
            self._add_front(clause, 0.5)
        aims = choices.VOLUNTARY if verb is verbs.TRY else choices.DELIBERATE
        aim = self._activity(subject, self._pick(aims), past=False)
        aim.modal = aim.frequency = None
        return Sentence(clause, tail=Tail(fw.INFINITIVE, aim))

    def _with_relative_subject(self) -> Sentence:
        if self._chance(0.5):
            thing, relative = self._wanted_thing()
            thing.relative = relative
            predicate = self._pick(choices.adjectives_for(thing.noun))
            clause = Clause(thing, verbs.BE, predicate=predicate, past=relative.clause.past)
            return Sentence(clause)
        noun = self._pick(choices.nouns_named("person contact child"))
        person = NounPhrase(noun, self._pick((fw.DEFINITE, fw.DEFINITE, fw.THIS)))
        person.plural = self._chance(0.2)
        doing = self._activity(person, size=0.3)
        person.relative = clauses.relative_about_subject(person, doing)
        if self._chance(0.6):
            predicate = self._pick(choices.adjectives_for(noun))
            return Sentence(Clause(person, verbs.BE, predicate=predicate, past=doing.past))
        return Sentence(self._activity(person, past=doing.past, size=0.3))

    def _wanted_thing(self, past: bool | None = None) -> tuple[NounPhrase, Tail]:
        """A thing, and the relative clause that says what somebody does with it."""
        verb = self._pick(choices.WHAT_VERBS)
        noun = self._pick(choices.nouns_named(verb.objects))
        thing = NounPhrase(noun, fw.DEFINITE, bool(noun.plural) and self._chance(0.25))
        somebody = self._subject(specific=True, size=0)
        doing = self._activity(somebody, verb, past=past, size=0, final=True)
        doing.direct = None
        return thing, clauses.relative_about_object(thing, doing)

    def _with_relative_object(self) -> Sentence:
        subject = self._subject(specific=True, size=0.3)
        past = self._chance(0.4)
        if self._chance(0.5):
            verb = self._pick(choices.PERSON_VERBS)
            noun = self._pick(choices.nouns_named("person contact child"))
            direct = NounPhrase(noun, fw.DEFINITE, self._chance(0.2))
            doing = self._activity(direct, past=past, size=0.3)
            tail = clauses.relative_about_subject(direct, doing)
        else:
            direct, tail = self._wanted_thing(past)
            others = [
                verb for verb in choices.verbs_taking(direct.noun) if verb is not tail.clause.verb
            ]
            verb = self._pick(others)
        clause = Clause(subject, verb, direct, past=past and verb.tells_past)
        return Sentence(clause, tail=tail)

    def _contrast(self) -> Sentence:
        """Two things of a kind and the opposite of each other."""
        one = self._pick([noun for noun in lexicon.NOUNS if choices.contrasts(noun)])
        quality, opposite = self._pick(choices.contrasts(one))
        fitting = choices.nouns_named(one.kind)
        other = self._pick([noun for noun in fitting if opposite in choices.adjectives_for(noun)])
        past = self._chance(0.4)
        first = Clause(self._thing(one), verbs.BE, predicate=quality, past=past)
        second = Clause(self._thing(other), verbs.BE, predicate=opposite, past=past)
        return Sentence(first, tail=Tail(fw.BUT, second))

    def _two_clauses(self) -> Sentence:
        if self._chance(0.4):
            return self._contrast()
        first = self._activity(self._subject(specific=True, size=0), size=0.2)
        negated = self._chance(0.4)
        subject = self._subject(specific=True, size=0)
        if subject in choices.PAIRS:  # "... und Anna und Paul" would be hard to read
            subject = self._pick(choices.NAMES)
        second = self._activity(subject, past=first.past, negated=negated, size=0.2)
        return Sentence(first, tail=Tail(fw.BUT if negated else fw.AND, second))
