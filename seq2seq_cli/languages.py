"""Languages by the codes that people write: de, deu, ger, de-AT.

The table holds what ISO 639 says of the languages with a sizeable parallel corpus; any other code
stands for itself.
"""

from __future__ import annotations

# Two letters, three letters (as Tatoeba has them, so Mandarin for Chinese), English name, and other
# codes or names in use.
_TABLE = """
af afr Afrikaans
ar ara Arabic
az aze Azerbaijani
be bel Belarusian
bg bul Bulgarian
bn ben Bengali bangla
ca cat Catalan
cs ces Czech cze
cy cym Welsh wel
da dan Danish
de deu German ger deutsch
el ell Greek gre
en eng English
eo epo Esperanto
es spa Spanish español
et est Estonian
eu eus Basque baq
fa pes Persian fas per farsi
fi fin Finnish
fr fra French fre français
ga gle Irish
gl glg Galician
he heb Hebrew
hi hin Hindi
hr hrv Croatian
hu hun Hungarian
hy hye Armenian arm
id ind Indonesian
is isl Icelandic ice
it ita Italian italiano
ja jpn Japanese
ka kat Georgian geo
kk kaz Kazakh
ko kor Korean
la lat Latin
lt lit Lithuanian
lv lvs Latvian lav
mk mkd Macedonian mac
mr mar Marathi
ms zsm Malay msa may
nb nob Norwegian no nor
nl nld Dutch dut
pl pol Polish
pt por Portuguese português
ro ron Romanian rum
ru rus Russian
sk slk Slovak slo
sl slv Slovenian
sq sqi Albanian alb
sr srp Serbian
sv swe Swedish
sw swh Swahili swa
ta tam Tamil
te tel Telugu
th tha Thai
tl tgl Tagalog
tr tur Turkish
uk ukr Ukrainian
ur urd Urdu
uz uzb Uzbek
vi vie Vietnamese
yue yue Cantonese
zh cmn Chinese zho chi mandarin
"""
_ROWS = [line.lower().split() for line in _TABLE.strip().splitlines()]
_BY_NAME = {name: row for row in _ROWS for name in row}


def short_code(code: str) -> str:
    """`de` for de, deu, ger or de-AT; a language that is not in the table keeps its code."""
    language = _language(code)
    return _BY_NAME[language][0] if language in _BY_NAME else language


def tatoeba_code(code: str) -> str:
    """`deu` for de, ger or de-AT, as Tatoeba names its languages."""
    language = _language(code)
    return _BY_NAME[language][1] if language in _BY_NAME else language


def names(code: str) -> frozenset[str]:
    """All codes and names of the language, in lower case, and the code as it is written."""
    language, written = _language(code), code.lower()
    written_so = [written, written.replace("-", "_"), written.replace("_", "-")]
    return frozenset([*_BY_NAME.get(language, [language]), *written_so])


def is_name(word: str) -> bool:
    """Whether a lower-case word is any language's code or name."""
    return word in _BY_NAME


def _language(code: str) -> str:
    return code.lower().replace("_", "-").partition("-")[0]
