"""The word tables: determiners, prepositions, adverbs, conjunctions and modal verbs."""

from seq2seq_cli.data.phrasebook.words import (
    Adverbial,
    Conjunction,
    Determiner,
    Modal,
    Preposition,
)

DEFINITE = Determiner("", "the", "definite", "the")
INDEFINITE = Determiner("ein", "a", "ein")
BARE = Determiner("", "", "none")
NO = Determiner("kein", "no", "ein", "no")
THIS = Determiner("dies", "this", "dieser", "these")
EVERY = Determiner("jed", "every", "dieser")
MANY = Determiner("viel", "many", "viele", "many")
MY = Determiner("mein", "my", "ein", "my")
YOUR = Determiner("dein", "your", "ein", "your")
OUR = Determiner("unser", "our", "ein", "our")
# The possessive that refers to the subject of its own clause; "ihr" as her or as their is then
# never in doubt.
OWN = Determiner("", "", "ein")
NUMERALS = tuple(
    Determiner(german, english, "none", english)
    for german, english in (
        ("zwei", "two"),
        ("drei", "three"),
        ("vier", "four"),
        ("fünf", "five"),
        ("sechs", "six"),
    )
)

IN = Preposition("in", "in", "dat")
TO = Preposition("zu", "to", "dat")
INTO = Preposition("in", "into", "acc")
TO_CITY = Preposition("nach", "to", "dat")
WITH = Preposition("mit", "with", "dat")
FOR = Preposition("für", "for", "acc")
_AT = Preposition("an", "at", "dat")
# How one says where somebody is, by the German noun; every other place takes "in".
PLACE_PREPOSITIONS = {
    "Bahnhof": _AT,
    "Flughafen": _AT,
    "Strand": _AT,
    "Universität": _AT,
    "Markt": Preposition("auf", "at", "dat"),
    "Bauernhof": Preposition("auf", "on", "dat"),
}

_WEEKDAYS = tuple(
    Adverbial(f"am {german}", f"on {english}")
    for german, english in (
        ("Montag", "Monday"),
        ("Dienstag", "Tuesday"),
        ("Mittwoch", "Wednesday"),
        ("Donnerstag", "Thursday"),
        ("Freitag", "Friday"),
        ("Samstag", "Saturday"),
        ("Sonntag", "Sunday"),
    )
)
TODAY = Adverbial("heute", "today")
YESTERDAY = Adverbial("gestern", "yesterday")
TOMORROW = Adverbial("morgen", "tomorrow")
EVERY_DAY = Adverbial("jeden Tag", "every day")
# A denied action goes with these; "every day" does not.
SINGLE_TIMES = (
    TODAY,
    Adverbial("im Sommer", "in summer"),
    Adverbial("im Winter", "in winter"),
    *_WEEKDAYS,
)
PRESENT_TIMES = (
    *SINGLE_TIMES,
    EVERY_DAY,
    Adverbial("jeden Morgen", "every morning"),
    Adverbial("jeden Abend", "every evening"),
    Adverbial("jeden Nachmittag", "every afternoon"),
)
PAST_TIMES = (
    YESTERDAY,
    Adverbial("gestern Abend", "yesterday evening"),
    Adverbial("heute Morgen", "this morning"),
    Adverbial("am Wochenende", "at the weekend"),
    Adverbial("vor zwei Tagen", "two days ago"),
    Adverbial("vor einer Stunde", "an hour ago"),
    *_WEEKDAYS,
)
FUTURE_TIMES = (
    TODAY,
    TOMORROW,
    Adverbial("jetzt", "now"),
    Adverbial("nächste Woche", "next week"),
    Adverbial("bald", "soon"),
    *_WEEKDAYS,
)

PERHAPS = Adverbial("vielleicht", "perhaps")
# These open the sentence only, in both languages.
ATTITUDES = (
    PERHAPS,
    Adverbial("leider", "unfortunately,"),
    Adverbial("natürlich", "of course"),
)
OFTEN = Adverbial("oft", "often")
NEVER = Adverbial("nie", "never")
ALWAYS = Adverbial("immer", "always")
FREQUENCIES = (
    OFTEN,
    ALWAYS,
    NEVER,
    Adverbial("manchmal", "sometimes"),
    Adverbial("selten", "rarely"),
)
MANNERS = {
    "schnell": Adverbial("schnell", "quickly"),
    "langsam": Adverbial("langsam", "slowly"),
    "laut": Adverbial("laut", "loudly"),
    "leise": Adverbial("leise", "quietly"),
    "allein": Adverbial("allein", "alone"),
}
WHAT = Adverbial("was", "what")
WHERE = Adverbial("wo", "where")
WHEN = Adverbial("wann", "when")
WHY = Adverbial("warum", "why")

AND = Conjunction("und", "and", "main", comma=False)
BUT = Conjunction("aber", "but", "main")
BECAUSE = Conjunction("weil", "because")
ALTHOUGH = Conjunction("obwohl", "although")
IF = Conjunction("wenn", "if")
WHILE = Conjunction("während", "while")
THAT = Conjunction("dass", "that")
WHETHER = Conjunction("ob", "whether")
INFINITIVE = Conjunction("", "", "infinitive")

CAN = Modal({"1s": "kann", "2s": "kannst", "3s": "kann", "pl": "können"}, "can", True)
MAY = Modal({"1s": "darf", "2s": "darfst", "3s": "darf", "pl": "dürfen"}, "may", True)
SHOULD = Modal({"1s": "sollte", "2s": "solltest", "3s": "sollte", "pl": "sollten"}, "should", True)
MUST = Modal({"1s": "muss", "2s": "musst", "3s": "muss", "pl": "müssen"}, "have to", False)
WANT = Modal({"1s": "will", "2s": "willst", "3s": "will", "pl": "wollen"}, "want to", False)
MODALS = (CAN, MAY, SHOULD, MUST, WANT)
