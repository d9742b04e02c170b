"""The phrasebook corpus: its splits, its grammar against sentences written by hand, its order."""

import hashlib
import re
from collections import Counter
from functools import cache

import pytest

from seq2seq_cli.data import phrasebook
from seq2seq_cli.data.phrasebook import choices, english, german, lexicon, verbs
from seq2seq_cli.data.phrasebook import function_words as fw
from seq2seq_cli.data.phrasebook.clauses import (
    HE,
    IT,
    MASCULINE_OWNER,
    SHE,
    THEY,
    WE,
    WHO,
    YOU,
    Clause,
    I,
    Nominal,
    NounPhrase,
    PrepositionalPhrase,
    Pronoun,
    Sentence,
    Tail,
    name,
    name_pair,
    relative_about_object,
    relative_about_subject,
    verb_objects,
)
from seq2seq_cli.data.phrasebook.counting import count_statements
from seq2seq_cli.data.phrasebook.grammar import realise
from seq2seq_cli.data.phrasebook.sentences import Sampler
from seq2seq_cli.data.phrasebook.words import (
    Adjective,
    Case,
    Conjunction,
    Determiner,
    Noun,
)

NOUNS = {noun.german: noun for noun in (*lexicon.NOUNS, lexicon.TIME, lexicon.MONEY)}
VERBS = {verb.german: verb for verb in (*choices.ACTIVITIES, *verbs.FRAME_VERBS)}
ADJECTIVES = {adjective.german: adjective for adjective in lexicon.ADJECTIVES}
DER, EIN, DIESER, JEDER = fw.DEFINITE, fw.INDEFINITE, fw.THIS, fw.EVERY
ZWEI = fw.NUMERALS[0]
ANNA, PETER = name("Anna", "f"), name("Peter", "m")
MONDAY = next(time for time in fw.PRESENT_TIMES if time.english == "on Monday")
EVERY_MORNING = next(time for time in fw.PRESENT_TIMES if time.english == "every morning")
TRAIN_SHA256 = "c90d819f4fb9309f2c51b9c5277993d6d87e48d26e2c025e3cfe108acad6801f"
LOUDLY = fw.MANNERS["laut"]


def np(determiner: Determiner, noun: str, adjective: str = "", plural: bool = False) -> NounPhrase:
    """Build a noun phrase from German words."""
    return NounPhrase(NOUNS[noun], determiner, plural, ADJECTIVES[adjective] if adjective else None)


def place(noun: str, adjective: str = "") -> PrepositionalPhrase:
    return PrepositionalPhrase(fw.PLACE_PREPOSITIONS.get(noun, fw.IN), np(DER, noun, adjective))


def being(subject: Nominal, adjective: str, past: bool = False, negated: bool = False) -> Clause:
    """Build a clause that says how somebody or something is."""
    return Clause(subject, verbs.BE, predicate=ADJECTIVES[adjective], past=past, negated=negated)


def with_tail(clause: Clause, conjunction: Conjunction, tail: Clause) -> Sentence:
    return Sentence(clause, tail=Tail(conjunction, tail))


def who_sells_the_car() -> NounPhrase:
    man = np(DER, "Mann")
    selling = Clause(man, VERBS["verkaufen"], np(DER, "Auto"))
    man.relative = relative_about_subject(man, selling)
    return man


def book_that_he_reads() -> NounPhrase:
    book = np(DER, "Buch")
    book.relative = relative_about_object(book, Clause(np(DER, "Mann"), VERBS["lesen"]))
    return book


def read_no_book() -> Sentence:
    reading = Clause(np(DER, "Mann", "alt"), VERBS["lesen"], np(EIN, "Buch"), negated=True)
    reading.time = fw.TODAY
    return with_tail(reading, fw.BECAUSE, being(HE, "müde"))


def sad_about_the_novel() -> Sentence:
    novel = np(DER, "Roman")
    looking = Clause(ANNA, VERBS["suchen"], novel, past=True)
    losing = Clause(PETER, VERBS["verlieren"], past=True)
    return Sentence(looking, tail=relative_about_object(novel, losing))


HAND_WRITTEN = [
    # nicht and kein
    (
        read_no_book(),
        "Der alte Mann liest heute kein Buch, weil er müde ist.",
        "The old man does not read a book today because he is tired.",
    ),
    (
        Sentence(Clause(SHE, VERBS["trinken"], np(fw.BARE, "Kaffee"), negated=True)),
        "Sie trinkt keinen Kaffee.",
        "She does not drink any coffee.",
    ),
    (
        Sentence(Clause(THEY, VERBS["kaufen"], np(fw.BARE, "Ei", plural=True), negated=True)),
        "Sie kaufen keine Eier.",
        "They do not buy any eggs.",
    ),
    (
        Sentence(
            Clause(np(DER, "Frau"), VERBS["kaufen"], np(DER, "Brot"), negated=True, time=fw.TODAY)
        ),
        "Die Frau kauft das Brot heute nicht.",
        "The woman does not buy the bread today.",
    ),
    (
        Sentence(
            Clause(np(DER, "Kind"), VERBS["schlafen"], negated=True, adjunct=place("Garten"))
        ),
        "Das Kind schläft nicht im Garten.",
        "The child does not sleep in the garden.",
    ),
    (
        Sentence(being(np(DER, "Suppe"), "teuer", past=True, negated=True)),
        "Die Suppe war nicht teuer.",
        "The soup was not expensive.",
    ),
    (
        Sentence(Clause(WE, VERBS["an|rufen"], YOU, negated=True, time=fw.TODAY)),
        "Wir rufen dich heute nicht an.",
        "We do not call you today.",
    ),
    (
        Sentence(Clause(np(fw.NO, "Kind"), VERBS["singen"], manner=LOUDLY)),
        "Kein Kind singt laut.",
        "No child sings loudly.",
    ),
    # verb second, with something else in front
    (
        Sentence(
            Clause(np(DER, "Mann"), VERBS["kaufen"], np(EIN, "Auto", "rot"), front=fw.TODAY)
        ),
        "Heute kauft der Mann ein rotes Auto.",
        "Today the man buys a red car.",
    ),
    (
        Sentence(Clause(I, VERBS["essen"], np(EIN, "Apfel"), front=EVERY_MORNING)),
        "Jeden Morgen esse ich einen Apfel.",
        "Every morning I eat an apple.",
    ),
    (
        Sentence(Clause(YOU, VERBS["fahren"], np(DER, "Bus"), front=fw.PERHAPS)),
        "Vielleicht fährst du den Bus.",
        "Perhaps you drive the bus.",
    ),
    (
        Sentence(
            Clause(np(DER, "Gast"), VERBS["auf|stehen"], front=fw.YESTERDAY, past=True)
        ),
        "Gestern ist der Gast aufgestanden.",
        "Yesterday the guest got up.",
    ),
    # separable verbs
    (
        Sentence(Clause(np(DER, "Lehrer"), VERBS["ein|laden"], np(DER, "Schülerin"))),
        "Der Lehrer lädt die Schülerin ein.",
        "The teacher invites the pupil.",
    ),
    (
        with_tail(
            Clause(I, verbs.KNOW), fw.THAT, Clause(SHE, VERBS["ab|holen"], np(DER, "Kind"))
        ),
        "Ich weiß, dass sie das Kind abholt.",
        "I know that she collects the child.",
    ),
    (
        Sentence(Clause(THEY, VERBS["aus|schalten"], np(DER, "Lampe", "alt"), past=True)),
        "Sie haben die alte Lampe ausgeschaltet.",
        "They turned off the old lamp.",
    ),
    (
        with_tail(
            Clause(np(DER, "Ärztin"), verbs.FORGET, past=True),
            fw.INFINITIVE,
            Clause(np(DER, "Ärztin"), VERBS["zu|machen"], np(DER, "Fenster")),
        ),
        "Die Ärztin hat vergessen, das Fenster zuzumachen.",
        "The doctor forgot to close the window.",
    ),
    (
        Sentence(Clause(YOU, VERBS["auf|räumen"], np(fw.OWN, "Zimmer"), modal=fw.MUST)),
        "Du musst dein Zimmer aufräumen.",
        "You have to tidy your room.",
    ),
    # Perfekt and preterite
    (
        Sentence(
            Clause(np(fw.MY, "Bruder"), VERBS["kaufen"], np(EIN, "Fahrrad", "neu"), past=True)
        ),
        "Mein Bruder hat ein neues Fahrrad gekauft.",
        "My brother bought a new bicycle.",
    ),
    (
        Sentence(
            Clause(
                WE, VERBS["fliegen"], past=True, time=fw.YESTERDAY,
                adjunct=PrepositionalPhrase(fw.TO_CITY, choices.CITIES[2]),
            )
        ),
        "Wir sind gestern nach München geflogen.",
        "We flew to Munich yesterday.",
    ),
    (
        with_tail(
            Clause(np(DER, "Kunde"), VERBS["bezahlen"], np(DER, "Bier"), past=True, negated=True),
            fw.BECAUSE,
            Clause(HE, verbs.HAVE, np(fw.BARE, "Geld"), past=True, negated=True),
        ),
        "Der Kunde hat das Bier nicht bezahlt, weil er kein Geld hatte.",
        "The customer did not pay for the beer because he did not have any money.",
    ),
    # modal verbs
    (
        Sentence(
            Clause(ANNA, VERBS["helfen"], np(fw.OWN, "Mutter"), modal=fw.WANT, front=fw.TOMORROW)
        ),
        "Morgen will Anna ihrer Mutter helfen.",
        "Tomorrow Anna wants to help her mother.",
    ),
    (
        Sentence(Clause(HE, VERBS["kommen"], modal=fw.CAN, negated=True, time=fw.TODAY)),
        "Er kann heute nicht kommen.",
        "He cannot come today.",
    ),
    (
        Sentence(Clause(SHE, VERBS["arbeiten"], modal=fw.MUST, negated=True)),
        "Sie muss nicht arbeiten.",
        "She does not have to work.",
    ),
    (
        Sentence(
            Clause(THEY, VERBS["trinken"], np(fw.BARE, "Wein"), modal=fw.MAY, negated=True)
        ),
        "Sie dürfen keinen Wein trinken.",
        "They may not drink any wine.",
    ),
    # questions
    (
        Sentence(Clause(YOU, VERBS["sehen"], np(DER, "Vogel", "klein")), "question"),
        "Siehst du den kleinen Vogel?",
        "Do you see the small bird?",
    ),
    (
        Sentence(
            Clause(np(fw.YOUR, "Schwester"), VERBS["an|rufen"], I, past=True), "question"
        ),
        "Hat deine Schwester mich angerufen?",
        "Did your sister call me?",
    ),
    (
        Sentence(
            Clause(np(DER, "Kind", plural=True), VERBS["schwimmen"], modal=fw.CAN), "question"
        ),
        "Können die Kinder schwimmen?",
        "Can the children swim?",
    ),
    (
        Sentence(Clause(WHO, VERBS["öffnen"], np(DER, "Tür"), past=True), "question"),
        "Wer hat die Tür geöffnet?",
        "Who opened the door?",
    ),
    (
        Sentence(Clause(np(DER, "Bauer"), VERBS["suchen"]), "question", fw.WHAT),
        "Was sucht der Bauer?",
        "What does the farmer look for?",
    ),
    (
        Sentence(Clause(ANNA, VERBS["wohnen"]), "question", fw.WHERE),
        "Wo wohnt Anna?",
        "Where does Anna live?",
    ),
    (
        Sentence(
            Clause(np(DER, "Student"), VERBS["schreiben"], np(DER, "Brief"), past=True),
            "question",
            fw.WHEN,
        ),
        "Wann hat der Student den Brief geschrieben?",
        "When did the student write the letter?",
    ),
    (
        Sentence(Clause(THEY, VERBS["lachen"], np(DER, "Geschichte")), "question", fw.WHY),
        "Warum lachen sie über die Geschichte?",
        "Why do they laugh at the story?",
    ),
    # subordinate clauses
    (
        with_tail(
            Clause(np(DIESER, "Chefin"), VERBS["arbeiten"]),
            fw.ALTHOUGH,
            being(SHE, "krank"),
        ),
        "Diese Chefin arbeitet, obwohl sie krank ist.",
        "This boss works although she is sick.",
    ),
    (
        Sentence(
            Clause(np(DER, "Kind", plural=True), VERBS["spielen"], np(fw.OWN, "Bruder")),
            tail=Tail(fw.IF, Clause(IT, verbs.RAIN)),
            tail_first=True,
        ),
        "Wenn es regnet, spielen die Kinder mit ihrem Bruder.",
        "If it rains, the children play with their brother.",
    ),
    (
        with_tail(
            Clause(PETER, verbs.KNOW, negated=True),
            fw.WHETHER,
            Clause(np(DER, "Nachbar"), VERBS["ein|kaufen"]),
        ),
        "Peter weiß nicht, ob der Nachbar einkauft.",
        "Peter does not know whether the neighbour shops.",
    ),
    (
        with_tail(
            Clause(np(DER, "Vater"), VERBS["lesen"], np(DER, "Zeitung")),
            fw.WHILE,
            Clause(np(DER, "Mutter"), VERBS["fern|sehen"]),
        ),
        "Der Vater liest die Zeitung, während die Mutter fernsieht.",
        "The father reads the newspaper while the mother watches TV.",
    ),
    (
        with_tail(
            Clause(I, VERBS["singen"]), fw.BUT, Clause(YOU, VERBS["tanzen"], negated=True)
        ),
        "Ich singe, aber du tanzt nicht.",
        "I sing, but you do not dance.",
    ),
    # relative clauses
    (
        Sentence(being(who_sells_the_car(), "reich")),
        "Der Mann, der das Auto verkauft, ist reich.",
        "The man who sells the car is rich.",
    ),
    (
        Sentence(being(book_that_he_reads(), "langweilig")),
        "Das Buch, das der Mann liest, ist langweilig.",
        "The book that the man reads is boring.",
    ),
    (
        sad_about_the_novel(),
        "Anna hat den Roman gesucht, den Peter verloren hat.",
        "Anna looked for the novel that Peter lost.",
    ),
    # dative objects, prepositions, contractions, n-declension
    (
        Sentence(
            Clause(np(DER, "Großmutter"), VERBS["geben"], np(EIN, "Ei"), np(DER, "Junge"))
        ),
        "Die Großmutter gibt dem Jungen ein Ei.",
        "The grandmother gives the boy an egg.",
    ),
    (
        Sentence(Clause(HE, VERBS["zeigen"], np(DER, "Bild", plural=True), THEY, past=True)),
        "Er hat ihnen die Bilder gezeigt.",
        "He showed them the pictures.",
    ),
    (
        Sentence(Clause(I, VERBS["danken"], np(DER, "Freund", "nett", plural=True))),
        "Ich danke den netten Freunden.",
        "I thank the nice friends.",
    ),
    (
        Sentence(Clause(SHE, VERBS["warten"], np(DER, "Student"), time=MONDAY)),
        "Sie wartet am Montag auf den Studenten.",
        "She waits for the student on Monday.",
    ),
    (
        Sentence(
            Clause(PETER, VERBS["laufen"], adjunct=PrepositionalPhrase(fw.TO, np(DER, "Schule")))
        ),
        "Peter läuft zur Schule.",
        "Peter runs to the school.",
    ),
    (
        Sentence(
            Clause(WE, VERBS["gehen"], adjunct=PrepositionalPhrase(fw.INTO, np(DER, "Haus", "alt")))
        ),
        "Wir gehen ins alte Haus.",
        "We go into the old house.",
    ),
    (
        Sentence(
            Clause(
                SHE, VERBS["holen"], np(fw.BARE, "Tee"),
                adjunct=PrepositionalPhrase(fw.FOR, HE),
            )
        ),
        "Sie holt Tee für ihn.",
        "She fetches tea for him.",
    ),
    (
        Sentence(Clause(YOU, VERBS["träumen"], np(DER, "Strand"), frequency=fw.OFTEN)),
        "Du träumst oft vom Strand.",
        "You often dream of the beach.",
    ),
    # determiners and agreement
    (
        Sentence(Clause(np(JEDER, "Soldat", "müde"), VERBS["sitzen"], adjunct=place("Bahnhof"))),
        "Jeder müde Soldat sitzt am Bahnhof.",
        "Every tired soldier sits at the station.",
    ),
    (
        Sentence(
            Clause(
                np(DIESER, "Dame", "alt", True), VERBS["tragen"], np(ZWEI, "Hut", "neu", True)
            )
        ),
        "Diese alten Damen tragen zwei neue Hüte.",
        "These old ladies wear two new hats.",
    ),
    (
        Sentence(
            Clause(name_pair("Anna", "Paul"), VERBS["lieben"], np(fw.OWN, "Tochter"))
        ),
        "Anna und Paul lieben ihre Tochter.",
        "Anna and Paul love their daughter.",
    ),
    (
        Sentence(Clause(np(EIN, "Frau", "ehrlich"), VERBS["finden"], np(fw.OUR, "Schlüssel"))),
        "Eine ehrliche Frau findet unseren Schlüssel.",
        "An honest woman finds our key.",
    ),
    (
        Sentence(Clause(PETER, VERBS["verkaufen"], np(DER, "Boot"), frequency=fw.NEVER, past=True)),
        "Peter hat das Boot nie verkauft.",
        "Peter never sold the boat.",
    ),
    (
        Sentence(Clause(PETER, VERBS["lesen"], np(EIN, "Brief", "kurz"), frequency=fw.OFTEN)),
        "Peter liest oft einen kurzen Brief.",
        "Peter often reads a short letter.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("structure", "expected_german", "expected_english"),
    HAND_WRITTEN,
    ids=[english_text for _, _, english_text in HAND_WRITTEN],
)
def test_realises_sentences_written_by_hand(
    structure: Sentence, expected_german: str, expected_english: str
) -> None:
    assert realise(structure) == (expected_german, expected_english)


# For each case: masculine, feminine, neuter, plural.
NOUN_PHRASES: list[tuple[Determiner, Case, list[str]]] = [
    (DER, "nom", ["der alte Hund", "die alte Katze", "das alte Auto", "die alten Männer"]),
    (DER, "acc", ["den alten Hund", "die alte Katze", "das alte Auto", "die alten Männer"]),
    (DER, "dat", ["dem alten Hund", "der alten Katze", "dem alten Auto", "den alten Männern"]),
    (EIN, "nom", ["ein alter Hund", "eine alte Katze", "ein altes Auto"]),
    (EIN, "acc", ["einen alten Hund", "eine alte Katze", "ein altes Auto"]),
    (EIN, "dat", ["einem alten Hund", "einer alten Katze", "einem alten Auto"]),
    (
        fw.NO,
        "nom",
        ["kein alter Hund", "keine alte Katze", "kein altes Auto", "keine alten Männer"],
    ),
    (
        fw.NO,
        "acc",
        ["keinen alten Hund", "keine alte Katze", "kein altes Auto", "keine alten Männer"],
    ),
    (
        fw.NO,
        "dat",
        ["keinem alten Hund", "keiner alten Katze", "keinem alten Auto", "keinen alten Männern"],
    ),
    (
        fw.OUR,
        "nom",
        ["unser alter Hund", "unsere alte Katze", "unser altes Auto", "unsere alten Männer"],
    ),
    (
        fw.OUR,
        "dat",
        [
            "unserem alten Hund",
            "unserer alten Katze",
            "unserem alten Auto",
            "unseren alten Männern",
        ],
    ),
    (
        DIESER,
        "nom",
        ["dieser alte Hund", "diese alte Katze", "dieses alte Auto", "diese alten Männer"],
    ),
    (
        DIESER,
        "acc",
        ["diesen alten Hund", "diese alte Katze", "dieses alte Auto", "diese alten Männer"],
    ),
    (
        DIESER,
        "dat",
        ["diesem alten Hund", "dieser alten Katze", "diesem alten Auto", "diesen alten Männern"],
    ),
    (fw.BARE, "nom", ["alter Hund", "alte Katze", "altes Auto", "alte Männer"]),
    (fw.BARE, "acc", ["alten Hund", "alte Katze", "altes Auto", "alte Männer"]),
    (fw.BARE, "dat", ["altem Hund", "alter Katze", "altem Auto", "alten Männern"]),
]


@pytest.mark.parametrize(("determiner", "case", "expected"), NOUN_PHRASES)
def test_article_and_adjective_endings(
    determiner: Determiner, case: Case, expected: list[str]
) -> None:
    phrases = [
        np(determiner, "Hund", "alt"),
        np(determiner, "Katze", "alt"),
        np(determiner, "Auto", "alt"),
        np(determiner, "Mann", "alt", plural=True),
    ]
    realised = [german.noun_phrase(phrase, case, MASCULINE_OWNER) for phrase in phrases]
    assert realised[: len(expected)] == expected


@pytest.mark.parametrize(
    ("determiner", "expected"),
    [
        (fw.MANY, ["viele kleine Kinder", "viele kleine Kinder", "vielen kleinen Kindern"]),
        (ZWEI, ["zwei kleine Kinder", "zwei kleine Kinder", "zwei kleinen Kindern"]),
    ],
)
def test_endings_after_plural_determiners(determiner: Determiner, expected: list[str]) -> None:
    phrase = np(determiner, "Kind", "klein", plural=True)
    cases: tuple[Case, ...] = ("nom", "acc", "dat")
    assert [german.noun_phrase(phrase, case, MASCULINE_OWNER) for case in cases] == expected


@pytest.mark.parametrize(
    ("noun", "forms"),
    [
        ("Junge", ["Junge", "Jungen", "Jungen"]),
        ("Nachbar", ["Nachbar", "Nachbarn", "Nachbarn"]),
        ("Löwe", ["Löwe", "Löwen", "Löwen"]),
        ("Lehrer", ["Lehrer", "Lehrer", "Lehrer"]),
    ],
)
def test_n_declension(noun: str, forms: list[str]) -> None:
    cases: tuple[Case, ...] = ("nom", "acc", "dat")
    assert [NOUNS[noun].german_form(case, plural=False) for case in cases] == forms


def test_adjectives_that_lose_or_keep_their_e() -> None:
    def text(adjective: str, noun: str) -> str:
        return german.noun_phrase(np(DER, noun, adjective), "acc", MASCULINE_OWNER)

    assert text("teuer", "Hut") == "den teuren Hut"
    assert text("müde", "Frau") == "die müde Frau"
    assert text("lecker", "Käse") == "den leckeren Käse"


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("arbeiten", "arbeite arbeitest arbeitet arbeiten"),
        ("öffnen", "öffne öffnest öffnet öffnen"),
        ("putzen", "putze putzt putzt putzen"),
        ("reisen", "reise reist reist reisen"),
        ("füttern", "füttere fütterst füttert füttern"),
        ("laufen", "laufe läufst läuft laufen"),
        ("lesen", "lese liest liest lesen"),
        ("ein|laden", "lade lädst lädt laden"),
        ("wissen", "weiß weißt weiß wissen"),
        ("finden", "finde findest findet finden"),
    ],
)
def test_german_present_tense(verb: str, forms: str) -> None:
    assert list(german.present(VERBS[verb]).values()) == forms.split()


def test_english_forms() -> None:
    third = {"watch": "watches", "go": "goes", "fly": "flies", "play": "plays", "have to": "has to"}
    assert {verb: english.third_person(verb) for verb in third} == third
    past = {"lieben": "loved", "versuchen": "tried", "suchen": "looked for", "fliegen": "flew"}
    assert {verb: english.past(VERBS[verb]) for verb in past} == past
    assert [english.indefinite_article(word) for word in ("egg", "honest man", "university")] == [
        "an",
        "an",
        "a",
    ]
    plurals = {
        "Messer": "knives",
        "Tomate": "tomatoes",
        "Geschichte": "stories",
        "Kind": "children",
    }
    assert {noun: NOUNS[noun].english_form(True) for noun in plurals} == plurals


def test_every_word_that_a_verb_names_is_in_the_lexicon() -> None:
    known = {noun.kind for noun in lexicon.NOUNS} | set(NOUNS) | {"city"}
    used = {word for verb in choices.ACTIVITIES for word in f"{verb.objects} {verb.places}".split()}
    used |= {word for adjective in lexicon.ADJECTIVES for word in adjective.kinds}
    assert used <= known


@cache
def corpus(split: str) -> list[tuple[str, str]]:
    return phrasebook.load(split, "de", "en")


def words(text: str) -> list[str]:
    return re.findall(r"[\w-]+", text)


def test_split_sizes() -> None:
    assert {split: len(corpus(split)) for split in phrasebook.SPLITS} == phrasebook.SPLITS


def test_load_is_deterministic_and_directed() -> None:
    assert phrasebook.load("valid", "de", "en") == corpus("valid")
    turned_around = [(target, source) for source, target in corpus("valid")]
    assert phrasebook.load("valid", "en", "de") == turned_around


def test_train_has_the_same_bytes_everywhere() -> None:
    """Whoever changes the grammar or the lexicon changes the corpus, and this digest with it."""
    text = "\n".join("\t".join(pair) for pair in corpus("train"))
    assert hashlib.sha256(text.encode()).hexdigest() == TRAIN_SHA256


def test_generate_depends_on_its_seed_only() -> None:
    few = [(pair.german, pair.english) for pair in phrasebook.generate(50, seed=3)]
    many = [(pair.german, pair.english) for pair in phrasebook.generate(100, seed=3)]
    other = [(pair.german, pair.english) for pair in phrasebook.generate(50, seed=4)]
    assert few == many[:50]
    assert few != other


@pytest.mark.parametrize(
    ("split", "source", "target"),
    [("dev", "de", "en"), ("train", "de", "fr"), ("train", "de", "de"), ("train", "", "en")],
)
def test_load_refuses_what_it_does_not_have(split: str, source: str, target: str) -> None:
    with pytest.raises(ValueError, match=r"phrasebook|split"):
        phrasebook.load(split, source, target)


@pytest.mark.parametrize("side", [0, 1])
def test_no_sentence_occurs_twice_in_or_across_splits(side: int) -> None:
    sentences = [pair[side] for split in phrasebook.SPLITS for pair in corpus(split)]
    assert len(set(sentences)) == len(sentences)


def test_one_to_one_before_any_filter() -> None:
    sampler = Sampler(seed=11)
    english_of: dict[str, str] = {}
    german_of: dict[str, str] = {}
    for _ in range(60_000):
        german_text, english_text = realise(sampler.sentence())
        assert english_of.setdefault(german_text, english_text) == english_text
        assert german_of.setdefault(english_text, german_text) == german_text


@pytest.mark.parametrize("side", [0, 1])
def test_lengths(side: int) -> None:
    lengths = [len(words(pair[side])) for pair in corpus("train")]
    assert 8 <= sum(lengths) / len(lengths) <= 9.5
    assert min(lengths) >= phrasebook.MIN_WORDS
    assert max(lengths) <= phrasebook.MAX_WORDS


@pytest.mark.parametrize("side", [0, 1])
def test_vocabulary_is_small_and_every_form_is_frequent(side: int) -> None:
    counts = Counter(word.lower() for pair in corpus("train") for word in words(pair[side]))
    assert 500 <= len(counts) <= 1000
    assert min(counts.values()) >= 5
    for split in ("valid", "test", "test_novel"):
        assert {word.lower() for pair in corpus(split) for word in words(pair[side])} <= set(counts)


def test_sentences_open_with_a_capital_and_end_with_a_mark() -> None:
    for pair in corpus("test"):
        for text in pair:
            assert text[0].isupper()
            assert re.fullmatch(r"[\w ,-]+[.?]", text)


@cache
def sampled() -> list[phrasebook.Pair]:
    return list(phrasebook.generate(8_000, seed=5))


def test_novel_test_holds_reserved_combinations_that_no_other_split_has() -> None:
    seen: set[tuple[str, str]] = set()
    novel: set[tuple[str, str]] = set()
    structures = {
        pair.german: pair.structure for pair in phrasebook.generate(70_000, phrasebook.SEED)
    }
    for split in phrasebook.SPLITS:
        for german_text, _ in corpus(split):
            combinations = set(verb_objects(structures[german_text]))
            if split == "test_novel":
                assert any(phrasebook.is_reserved(*pair) for pair in combinations)
                novel |= {pair for pair in combinations if phrasebook.is_reserved(*pair)}
            else:
                seen |= combinations
    assert not seen & novel
    assert len(novel) > 40
    verb_counts = Counter(verb for verb, _ in seen)
    noun_counts = Counter(noun for _, noun in seen)
    for verb, noun in novel:
        assert verb_counts[verb] >= 2
        assert noun_counts[noun] >= 3


def test_lexicon_and_sentence_space_are_large() -> None:
    assert phrasebook.num_lexemes() >= 300
    assert phrasebook.min_num_sentences() > 10_000_000


def test_num_lexemes_counts_no_word_twice() -> None:
    german_words = Counter(noun.german for noun in lexicon.NOUNS)
    german_words.update(verb.german for verb in VERBS.values())
    german_words.update(adjective.german for adjective in lexicon.ADJECTIVES)
    assert max(german_words.values()) == 1
    english_words = Counter(noun.english for noun in lexicon.NOUNS)
    assert max(english_words.values()) == 1
    assert max(Counter(verb.english for verb in VERBS.values()).values()) == 1


def test_sentence_count_is_the_number_of_distinct_sentences() -> None:
    """Spell out what the count multiplies, for one verb and two times."""

    def phrases(nouns: tuple[Noun, ...]) -> list[NounPhrase]:
        adjectives: dict[Noun, tuple[Adjective | None, ...]] = {
            noun: (None, *choices.adjectives_for(noun)) for noun in nouns
        }
        return [NounPhrase(noun, DER, False, a) for noun in nouns for a in adjectives[noun]]

    verb = VERBS["ein|schalten"]
    subjects = phrases(choices.nouns_named("person contact child"))
    objects = phrases(choices.nouns_named(verb.objects))
    sentences = {
        realise(Sentence(Clause(subject, verb, thing, front=time)))
        for time in fw.PRESENT_TIMES[:2]
        for subject in subjects
        for thing in objects
    }
    assert len({german_text for german_text, _ in sentences}) == len(sentences)
    assert count_statements(verb, num_times=2) == len(sentences)


def finite_form(clause: Clause) -> str:
    """The finite verb that a clause must have, said anew."""
    agreement = clause.subject.agreement
    if clause.modal is not None:
        return clause.modal.german_forms[agreement]
    index = ["1s", "2s", "3s", "pl"].index(agreement)
    if not clause.past:
        return german.present(clause.verb)[agreement]
    if clause.verb is verbs.BE:
        return ["war", "warst", "war", "waren"][index]
    if clause.verb is verbs.HAVE:
        return ["hatte", "hattest", "hatte", "hatten"][index]
    if clause.verb.perfect_with_sein:
        return ["bin", "bist", "ist", "sind"][index]
    return ["habe", "hast", "hat", "haben"][index]


def nominative(subject: Nominal) -> str:
    if isinstance(subject, Pronoun):
        return subject.nominative
    return german.noun_phrase(subject, "nom", subject.owner)


def first_constituent(pair: phrasebook.Pair) -> str:
    """What stands before the finite verb of a statement, as it reads in the sentence."""
    structure = pair.structure
    if structure.tail_first:
        return pair.german.split(", ")[0] + ","
    if structure.clause.front is not None:
        return structure.clause.front.german
    return nominative(structure.clause.subject)


def test_finite_verb_comes_second_in_every_statement() -> None:
    statements = [pair for pair in sampled() if pair.structure.form == "statement"]
    assert sum(pair.structure.clause.front is not None for pair in statements) > 500
    for pair in statements:
        opening = first_constituent(pair)
        opening = opening[0].upper() + opening[1:]
        assert pair.german.startswith(opening + " "), pair.german
        rest = words(pair.german[len(opening) :])
        assert rest[0] == finite_form(pair.structure.clause), pair.german
        if pair.structure.clause.front is not None or pair.structure.tail_first:
            subject = pair.structure.clause.subject
            text = nominative(subject)
            assert " ".join(rest[1:]).startswith(" ".join(words(text))), pair.german


def test_finite_verb_comes_first_in_yes_no_questions() -> None:
    questions = [
        pair
        for pair in sampled()
        if pair.structure.form == "question"
        and pair.structure.question_word is None
        and pair.structure.clause.subject is not WHO
    ]
    assert len(questions) > 300
    for pair in questions:
        assert words(pair.german)[0].lower() == finite_form(pair.structure.clause), pair.german
        assert pair.german.endswith("?")


def test_finite_verb_comes_last_in_subordinate_clauses() -> None:
    checked = 0
    for pair in sampled():
        segments = [words(part) for part in pair.german.split(",")]
        structure = pair.structure
        tail = structure.tail
        subject = structure.clause.subject
        if isinstance(subject, NounPhrase) and subject.relative is not None:
            tail, segment = subject.relative, segments[1]
        elif tail is None or tail.conjunction.order != "verb final":
            continue
        else:
            segment = segments[0] if structure.tail_first else segments[-1]
        clause = tail.clause
        joined = "" if clause.modal is not None or clause.past else clause.verb.prefix
        assert segment[-1] == joined + finite_form(clause), pair.german
        checked += 1
    assert checked > 2_000


def test_prefix_or_participle_closes_a_simple_statement() -> None:
    checked = 0
    for pair in sampled():
        structure = pair.structure
        clause = structure.clause
        if structure.tail is not None:
            continue
        last = words(pair.german)[-1]
        if clause.modal is not None:
            assert last == clause.verb.german.replace("|", ""), pair.german
        elif clause.past and not clause.verb.preterite:
            assert last == clause.verb.participle, pair.german
        elif clause.verb.prefix:
            assert last == clause.verb.prefix, pair.german
        else:
            continue
        checked += 1
    assert checked > 1_000
