"""The word tables: verbs. Objects are noun kinds (lower case) and single nouns (capitalised)."""

from seq2seq_cli.data.phrasebook.words import Preposition, Verb

PEOPLE = "person contact child kin elder"
_GOODS = "fruit food cold hot text motor vehicle clothes furniture device object"

TRANSITIVE_VERBS = (
    Verb(
        "lesen",
        "gelesen",
        "read",
        "read",
        "text",
        "liest liest",
        places="Garten Park Bibliothek Küche Zimmer Büro",
    ),
    Verb(
        "schreiben",
        "geschrieben",
        "write",
        "wrote",
        "Brief Buch Roman Gedicht Geschichte Bericht",
        for_somebody=True,
    ),
    Verb("verstehen", "verstanden", "understand", "understood", "text " + PEOPLE),
    Verb(
        "essen",
        "gegessen",
        "eat",
        "ate",
        "fruit food",
        "isst isst",
        places="Restaurant Küche Garten Park Hotel Büro",
    ),
    Verb(
        "trinken",
        "getrunken",
        "drink",
        "drank",
        "cold hot",
        places="Restaurant Küche Garten Park Hotel Büro",
    ),
    Verb(
        "kochen", "gekocht", "cook", "", "Reis Suppe Fleisch Fisch Kartoffel Ei", for_somebody=True
    ),
    Verb("bestellen", "bestellt", "order", "", "fruit food cold hot", for_somebody=True),
    Verb("bezahlen", "bezahlt", "pay for", "paid for", "cold hot text clothes"),
    Verb("kaufen", "gekauft", "buy", "bought", _GOODS, for_somebody=True),
    Verb("verkaufen", "verkauft", "sell", "sold", _GOODS),
    Verb(
        "brauchen",
        "gebraucht",
        "need",
        "",
        "motor vehicle clothes furniture device object",
        voluntary=False,
    ),
    Verb("fahren", "gefahren", "drive", "drove", "motor", "fährst fährt"),
    Verb("reparieren", "repariert", "repair", "", "motor vehicle furniture device opening"),
    Verb("waschen", "gewaschen", "wash", "", "clothes motor", "wäschst wäscht"),
    Verb("tragen", "getragen", "wear", "wore", "clothes", "trägst trägt"),
    Verb("suchen", "gesucht", "look for", "looked for", "animal object clothes " + PEOPLE),
    Verb("finden", "gefunden", "find", "found", "animal object clothes Brief Buch Hotel Dorf"),
    Verb(
        "verlieren", "verloren", "lose", "lost", "object clothes Brief Buch Hund", voluntary=False
    ),
    Verb("sehen", "gesehen", "see", "saw", "animal motor place " + PEOPLE, "siehst sieht"),
    Verb("hören", "gehört", "hear", "heard", "animal Radio Bus Traktor " + PEOPLE),
    Verb(
        "malen",
        "gemalt",
        "paint",
        "",
        "animal Blume Bild Haus Garten Kirche Dorf Tür",
        for_somebody=True,
    ),
    Verb("fotografieren", "fotografiert", "photograph", "", "animal place " + PEOPLE),
    Verb("füttern", "gefüttert", "feed", "fed", "animal"),
    Verb("beobachten", "beobachtet", "watch", "", "animal " + PEOPLE),
    Verb("lieben", "geliebt", "love", "", "animal kin elder", voluntary=False),
    Verb(
        "treffen",
        "getroffen",
        "meet",
        "met",
        PEOPLE,
        "triffst trifft",
        places="Park Bahnhof Restaurant Museum Hotel Theater Kirche Flughafen city",
    ),
    Verb("fragen", "gefragt", "ask", "", PEOPLE),
    Verb("besuchen", "besucht", "visit", "", "place " + PEOPLE),
    Verb("vermissen", "vermisst", "miss", "", PEOPLE + " Hund Katze Pferd", voluntary=False),
    Verb("begrüßen", "begrüßt", "greet", "", PEOPLE),
    Verb("verlassen", "verlassen", "leave", "left", "place", "verlässt verlässt"),
    Verb("öffnen", "geöffnet", "open", "", "opening Brief Koffer Tasche Flasche Geschenk Schrank"),
    Verb("putzen", "geputzt", "clean", "", "opening Küche Zimmer Büro Tisch Spiegel Schrank"),
    Verb("bauen", "gebaut", "build", "built", "Haus Boot Tisch Bett Schrank Stuhl"),
    Verb("mieten", "gemietet", "rent", "", "motor vehicle Haus Zimmer Büro Boot"),
    Verb(
        "holen",
        "geholt",
        "fetch",
        "",
        "object text food hot Stuhl Teppich Lampe Radio",
        for_somebody=True,
    ),
    Verb(
        "vergessen",
        "vergessen",
        "forget",
        "forgot",
        "object text clothes",
        "vergisst vergisst",
        voluntary=False,
    ),
    Verb("ein|laden", "eingeladen", "invite", "", PEOPLE, "lädst lädt"),
    Verb("an|rufen", "angerufen", "call", "", PEOPLE + " Hotel Restaurant Theater Krankenhaus"),
    Verb("ab|holen", "abgeholt", "collect", "", PEOPLE + " Koffer Geschenk Tasche Auto"),
    Verb("ein|schalten", "eingeschaltet", "turn on", "turned on", "Lampe Radio Computer Fernseher"),
    Verb("aus|schalten", "ausgeschaltet", "turn off", "turned off", "Lampe Radio Computer Kamera"),
    Verb("zu|machen", "zugemacht", "close", "", "opening Koffer Tasche Flasche Schrank Buch"),
    Verb("auf|räumen", "aufgeräumt", "tidy", "", "Küche Zimmer Büro Schrank Garten Haus"),
    Verb("mit|bringen", "mitgebracht", "bring along", "brought along", "fruit food object text"),
    Verb("weg|werfen", "weggeworfen", "throw away", "threw away", "fruit text", "wirfst wirft"),
)

DATIVE_VERBS = (
    Verb("helfen", "geholfen", "help", "", PEOPLE, "hilfst hilft", object_case="dat"),
    Verb("danken", "gedankt", "thank", "", PEOPLE, object_case="dat"),
    Verb("antworten", "geantwortet", "answer", "", PEOPLE, object_case="dat"),
    Verb("folgen", "gefolgt", "follow", "", PEOPLE, object_case="dat", perfect_with_sein=True),
    Verb("zu|hören", "zugehört", "listen to", "listened to", PEOPLE, object_case="dat"),
)

# With a receiver in the dative and a thing in the accusative.
GIVING_VERBS = (
    Verb("geben", "gegeben", "give", "gave", "fruit text object", "gibst gibt", receiver=True),
    Verb("zeigen", "gezeigt", "show", "", "text clothes object vehicle place", receiver=True),
    Verb("schicken", "geschickt", "send", "sent", "text object", receiver=True),
    Verb("bringen", "gebracht", "bring", "brought", "fruit food hot cold object", receiver=True),
    Verb("leihen", "geliehen", "lend", "lent", "Buch Roman vehicle Auto Kamera", receiver=True),
)

_FOR = Preposition("auf", "for", "acc")
_TO = Preposition("mit", "to", "dat")
_OF = Preposition("von", "of", "dat")
_WITH = Preposition("mit", "with", "dat")
_AT = Preposition("über", "at", "acc")
PREPOSITION_VERBS = (
    Verb("warten", "gewartet", "wait", "", PEOPLE + " Bus Taxi Brief", preposition=_FOR),
    Verb("sprechen", "gesprochen", "talk", "", PEOPLE, "sprichst spricht", preposition=_TO),
    Verb("träumen", "geträumt", "dream", "", "kin elder place", preposition=_OF),
    Verb("spielen", "gespielt", "play", "", "child kin", preposition=_WITH),
    Verb(
        "lachen", "gelacht", "laugh", "", "Geschichte Bild Brief Hut Esel Bericht", preposition=_AT
    ),
)

_ROOMS = "Küche Haus Büro Hotel Zimmer Bibliothek"
_OUTSIDE = "Garten Park Strand"
_PUBLIC = "Schule Restaurant Museum Krankenhaus Theater Bahnhof Flughafen Bauernhof Universität"
# What is done without an object: where, and how.
# fmt: off
INTRANSITIVE_VERBS = (
    Verb(
        "schlafen", "geschlafen", "sleep", "slept", "", "schläfst schläft",
        places=f"{_ROOMS} {_OUTSIDE} Flughafen", manners="allein", animal_subject=True,
    ),
    Verb(
        "arbeiten", "gearbeitet", "work",
        places=f"{_ROOMS} {_PUBLIC} Garten Supermarkt Markt city", manners="schnell langsam allein",
    ),
    Verb(
        "singen", "gesungen", "sing", "sang",
        places="Kirche Park Garten Theater Küche Schule", manners="laut leise allein",
    ),
    Verb(
        "tanzen", "getanzt", "dance",
        places=f"{_OUTSIDE} Theater Küche Hotel Restaurant", manners="langsam allein",
    ),
    Verb(
        "sitzen", "gesessen", "sit", "sat",
        places=f"{_ROOMS} {_OUTSIDE} Restaurant Museum Theater Kirche Flughafen",
        needs_place=True, animal_subject=True,
    ),
    Verb(
        "lernen", "gelernt", "study",
        places="Bibliothek Schule Universität Zimmer Küche Garten", manners="schnell leise allein",
    ),
    Verb(
        "wohnen", "gewohnt", "live",
        places="Haus Zimmer Dorf Hotel Wald city", needs_place=True, voluntary=False,
    ),
    Verb(
        "ein|kaufen", "eingekauft", "shop", "shopped",
        places="Supermarkt Markt Dorf city", manners="schnell allein",
    ),
    Verb(
        "schwimmen", "geschwommen", "swim", "swam",
        perfect_with_sein=True, places="See", manners="schnell langsam allein",
    ),
    Verb(
        "auf|stehen", "aufgestanden", "get up", "got up",
        perfect_with_sein=True, manners="schnell langsam leise",
    ),
    Verb(
        "ein|schlafen", "eingeschlafen", "fall asleep", "fell asleep", "", "schläfst schläft",
        perfect_with_sein=True, places=f"{_ROOMS} {_OUTSIDE} Museum Kirche", animal_subject=True,
    ),
    Verb(
        "fern|sehen", "ferngesehen", "watch TV", "watched TV", "", "siehst sieht",
        places="Küche Zimmer Hotel Haus", manners="allein",
    ),
)
# fmt: on
_NOT_LASTING = ("auf|stehen", "ein|schlafen", "wohnen")
# What can go on while something else happens.
LASTING_VERBS = tuple(verb for verb in INTRANSITIVE_VERBS if verb.german not in _NOT_LASTING)

_INTO = "Haus Küche Garten Zimmer Wald Büro Dorf"
INTO_PLACES = tuple(_INTO.split())
_DESTINATIONS = f"{_PUBLIC} {_INTO} Park Hotel Kirche Supermarkt Markt Strand See"
# With a destination: into a room, to some other place, or to a city.
# fmt: off
MOTION_VERBS = (
    Verb(
        "gehen", "gegangen", "go", "went",
        perfect_with_sein=True, places=_DESTINATIONS, manners="schnell langsam",
    ),
    Verb(
        "laufen", "gelaufen", "run", "ran", "", "läufst läuft",
        perfect_with_sein=True, places=_DESTINATIONS, manners="schnell langsam",
    ),
    Verb("kommen", "gekommen", "come", "came", perfect_with_sein=True, places=_DESTINATIONS),
    Verb("fliegen", "geflogen", "fly", "flew", perfect_with_sein=True, places="city"),
    Verb(
        "reisen", "gereist", "travel", "travelled",
        perfect_with_sein=True, places="city", manners="allein",
    ),
)
# fmt: on

BE = Verb(
    "sein",
    "gewesen",
    "be",
    "was",
    irregular_present="bin bist ist sind",
    preterite="war warst war waren",
)
HAVE = Verb(
    "haben",
    "gehabt",
    "have",
    "had",
    irregular_present="habe hast hat haben",
    preterite="hatte hattest hatte hatten",
)
RAIN = Verb("regnen", "geregnet", "rain")
SNOW = Verb("schneien", "geschneit", "snow")
KNOW = Verb("wissen", "gewusst", "know", "knew", irregular_present="weiß weißt weiß wissen")
SAY = Verb("sagen", "gesagt", "say", "said")
BELIEVE = Verb("glauben", "geglaubt", "believe")
HOPE = Verb("hoffen", "gehofft", "hope")
ASK = next(verb for verb in TRANSITIVE_VERBS if verb.german == "fragen")
TRY = Verb("versuchen", "versucht", "try")
PROMISE = Verb("versprechen", "versprochen", "promise", "", "", "versprichst verspricht")
PLAN = Verb("planen", "geplant", "plan", "planned")
# The verbs with a use of their own in some kind of sentence.
FRAME_VERBS = (BE, HAVE, RAIN, SNOW, KNOW, SAY, BELIEVE, HOPE, TRY, PROMISE, PLAN)
FORGET = next(verb for verb in TRANSITIVE_VERBS if verb.german == "vergessen")


def _named(names: str) -> tuple[Verb, ...]:
    verbs = (*TRANSITIVE_VERBS, *PREPOSITION_VERBS, *INTRANSITIVE_VERBS, *MOTION_VERBS)
    return tuple(verb for verb in verbs if verb.german in names.split())


# What one does with somebody, what makes tired, what makes sad if it does not happen, what nobody
# decides to do, and what takes money rather than time.
COMPANY_VERBS = _named("arbeiten singen tanzen lernen ein|kaufen fern|sehen")
TIRING_VERBS = _named(
    "arbeiten tanzen schwimmen lernen laufen putzen bauen auf|räumen waschen reparieren kochen"
)
MISSED_VERBS = _named("finden besuchen treffen sehen verstehen kaufen")
UNPLANNED_VERBS = _named("sehen hören finden verstehen träumen ein|schlafen")
COSTLY_VERBS = _named("kaufen bestellen bezahlen mieten reisen fliegen")
