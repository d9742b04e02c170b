"""What is found in texts and small corpora."""

from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.checking import check as check_module
from seq2seq_cli.checking import facts, findings
from seq2seq_cli.checking.check import check_data
from seq2seq_cli.checking.findings import DataReport, Finding, Place
from seq2seq_cli.checking.report import as_json, as_text
from seq2seq_cli.checking.texts import text_fault
from seq2seq_cli.config.data import DataConfig, ParallelFiles
from seq2seq_cli.errors import DataError

# ---------------------------------------------------------------- single texts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg.",
        "„Äpfel“, sagte er – ‚und Öl‘ … »ja« «nein» 5 € 20 °C § 3 ½",
        "Voix ambiguë d’un cœur qui, au zéphyr, préfère les jattes de kiwis.",
        "L’été à Noël : « où ça ? » — oui\u202f!",
        "Příliš žluťoučký kůň úpěl ďábelské ódy.",
        "Tiếng Việt rất đẹp, ở đâu cũng thế. Nguyễn Ã Â Đ",
        "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim. MANHÃ! A Ã é uma letra.",
        "Él dijo: ¡qué año! ¿Cómo estás, señor Muñoz?",
        "Smørrebrød på Åland, æ ø å",
        "Ångström är från Österåker.",
        "می‌خواهم نامه‌ای بنویسم",
        "السلام عليكم، كيف حالك؟",
        "שלום עולם",
        "क्‍षत्रिय हिन्दी र्‍य",
        "Ђурађ и Љубица; Привет, как дела? Їжак",
        "日本語の「文」です。全角　空白",
        "👨‍👩‍👧 🇩🇪 ❤️ 👍🏽 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "A\u0308pfel ho\u0308ren",
        "tab\tand\u00a0no-break space\u2009thin",
        "AT&T, R&D; Q&A; Tom & Jerry; a &b; x < y > z; <unk> <eos>",
        "5 < 6; &; &&; &#; &#x;",
        "ﬁn, Œuvre, Straße, ẞ, Ÿ",
        "„Viel Spaß“, Spaß… Fuß–und MENÜ“",
        "fatigué\u00a0» CAFÉ\u00a0! OÙ… Ù\u00a0? à\u00a0« Å”",
        "abc שלום\u200f! ខ្មែរ\u200bខ្មែរ \u202bعربي\u202c",
    ],
)
def test_ordinary_text_has_no_fault(text: str) -> None:
    assert text_fault(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\x00b", "U+0000 at character 2"),
        ("\x07", "U+0007 at character 1"),
        ("ring\x1b[0m", "U+001B at character 5"),
        ("a\x7f", "U+007F at character 2"),
        ("a\x85b", "U+0085 at character 2"),
        ("a\u2028b", "U+2028 at character 2"),
        ("a\ufeffb", "U+FEFF at character 2"),
        ("M\ufffdller", "U+FFFD at character 2"),
        ("a\ue000", "U+E000 at character 2"),
        ("a\ufdd0", "U+FDD0 at character 2"),
        ("first\x02second\x01", "U+0002 at character 6"),
        ("soft\u00adhyphen", "U+00AD at character 5"),
        ("abc\u200f", "U+200F at character 4"),
        ("no\u200bspace", "U+200B at character 3"),
    ],
)
def test_bad_character(text: str, said: str) -> None:
    assert text_fault(text) == said


@pytest.mark.parametrize(
    "text",
    ["Müller", "Straße", "café", "“quoted”", "5 €", "naïve", "Привет", "你好", "año", "d’un", "–"],
)
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_utf8_taken_for_something_else(text: str, encoding: str) -> None:
    try:
        spoilt = text.encode().decode(encoding)
    except UnicodeDecodeError:
        pytest.skip("bytes that Windows-1252 does not have")
    assert text_fault(f"So {spoilt} is") is not None


def test_utf8_taken_for_latin_tells_what_was_meant() -> None:
    assert text_fault("Herr MÃ¼ller") == "'Ã¼' at character 7 was 'ü' in UTF-8"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Tom &amp; Jerry", "'&amp;' at character 5 is HTML"),
        ("&quot;yes&quot;", "'&quot;' at character 1 is HTML"),
        ("it&#39;s", "'&#39;' at character 3 is HTML"),
        ("a<br>b", "'<br>' at character 2 is HTML"),
        ("a<BR />b", "'<BR />' at character 2 is HTML"),
        ("it&#x27;s", "'&#x27;' at character 3 is HTML"),
        ("&frac12;", "'&frac12;' at character 1 is HTML"),
        ("Q&AB; <b>fett</b>", "'<b>' at character 7 is HTML"),
        ('<a href="x">y', """'<a href="x">' at character 1 is HTML"""),
    ],
)
def test_html(text: str, said: str) -> None:
    assert text_fault(text) == said


# ---------------------------------------------------------------- small corpora


def check(folder: Path, source: str, target: str, **keys: Any) -> DataReport:
    """Check two texts as training data."""
    for name, text in (("a", source), ("b", target)):
        (folder / name).write_text(text, encoding="utf-8")
    files = ParallelFiles(source=folder / "a", target=folder / "b")
    return check_data(DataConfig(train=files, **({"valid": "none", "test": "none"} | keys)))


def kinds(report: DataReport) -> list[tuple[str, int]]:
    return [(finding.kind, finding.count) for finding in report.findings]


def test_counts_of_a_small_corpus(tmp_path: Path) -> None:
    report = check(tmp_path, "eins zwei\ndrei\neins ZWEI\n", "one two\nthree\none two .\n")
    facts = report.splits["train"]
    assert (facts.pairs, facts.distinct_sources) == (3, 2)
    assert (facts.source.tokens, facts.source.longest, facts.source.lengths) == (5, 2, [0, 1, 2])
    assert (facts.target.tokens, facts.target.longest) == (6, 3)
    assert facts.target.lengths == [0, 1, 1, 1]
    assert (facts.source.unknown_share, facts.target.unknown_share) == (0.0, 0.0)
    assert report.findings == []
    assert not report.harmful


def test_one_pair(tmp_path: Path) -> None:
    report = check(tmp_path, "ja", "yes")
    assert report.splits["train"].pairs == 1
    assert report.findings == []


def test_copies_are_pairs_with_the_same_letters(tmp_path: Path) -> None:
    report = check(tmp_path, "OK\n42 !\nTaxi \n", "ok\n42 !\ntaxi\n")
    assert kinds(report) == [("identical", 2)]
    assert [place.line for place in report.findings[0].places] == [1, 3]


def test_blank_pairs_are_empty_and_nothing_else(tmp_path: Path) -> None:
    report = check(tmp_path, "\n\t\nja\n", "\n\nyes\n")
    assert kinds(report) == [("empty", 2)]
    assert [place.message for place in report.findings[0].places]
    assert report.findings[0].places[0].file == str(tmp_path / "a")


def test_duplicates_whatever_their_case_space_and_unicode_form(tmp_path: Path) -> None:
    sources = "Ho\u0308rt zu\nHÖRT  zu\nhört zu \nhört zu\n"
    report = check(tmp_path, sources, "listen\nListen\nlisten\nhear\n")
    assert kinds(report) == [("duplicate", 2)]
    assert [place.line for place in report.findings[0].places] == [2, 3]
    assert all("also line 1: " in p.message for p in report.findings[0].places)
    assert not report.harmful


def test_longer_than_max_length(tmp_path: Path) -> None:
    report = check(tmp_path, "a b c\na b\n", "x y\nx y z w\n", max_length=3)
    [finding] = report.findings
    assert (finding.kind, finding.count, finding.harmful) == ("too_long", 1, True)
    assert finding.places == [Place(str(tmp_path / "a"), 2, "2 and 4 tokens: a b | x y z w")]
    report = check(tmp_path, "a b c\na b\n", "x y\nx y z w\n", max_length=4)
    assert report.findings == []


def test_length_outliers_need_enough_pairs_to_know_what_is_usual(tmp_path: Path) -> None:
    for num_pairs, expected in [(19, []), (20, [("length_ratio", 1)])]:
        sources = "".join(f"dies ist Satz {number}\n" for number in range(num_pairs))
        targets = [f"this is sentence {number}\n" for number in range(num_pairs)]
        targets[7] = "word " * 40 + "\n"
        found = kinds(check(tmp_path, sources, "".join(targets)))
        assert [entry for entry in found if entry[0] == "length_ratio"] == expected


def test_limit_counts_pairs_of_the_training_split(tmp_path: Path) -> None:
    sources = "".join(f"Satz {number}\n" for number in range(100))
    report = check(tmp_path, sources, sources.replace("Satz", "set"), limit=10)
    assert report.splits["train"].pairs == 10
    report = check(
        tmp_path, sources, sources.replace("Satz", "set"), limit=10, valid=None, test=None
    )
    assert report.splits["train"].pairs == 10
    assert list(report.splits) == ["train", "valid", "test"]
    assert report.splits["valid"].pairs + report.splits["test"].pairs > 0


def test_places_are_listed_up_to_a_number_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (check_module, facts):
        monkeypatch.setattr(module, "NUM_PLACES", 3)
    (tmp_path / "bad").write_bytes(b"\xff\n" * 5)
    text = "".join(f"x\x02{number}\n" for number in range(5))
    report = check(tmp_path, text, "y\n" * 5)
    assert [(found.count, len(found.places)) for found in report.findings] == [(5, 3)]
    bad = ParallelFiles(source=tmp_path / "bad", target=tmp_path / "b")
    report = check_data(DataConfig(train=bad, valid="none", test="none"))
    assert report.findings[0].kind == "unreadable"
    assert (report.findings[0].count, len(report.findings[0].places)) == (5, 3)


def test_very_long_sentences_are_counted_together(tmp_path: Path) -> None:
    report = check(tmp_path, "a " * 5000 + "\nb\n", "c\nd\n")
    side = report.splits["train"].source
    assert (side.longest, side.tokens) == (5000, 5001)
    assert (len(side.lengths), side.lengths[-1]) == (findings.LONGEST_BIN + 1, 1)


def test_data_that_cannot_be_looked_at_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        check_data(DataConfig(train=tmp_path / "nowhere.csv"))


@pytest.mark.parametrize("kind", findings.KINDS)
def test_share_decides_what_is_harmful(kind: str) -> None:
    least = findings.KINDS[kind].harmful_from
    for share in (0.0, 0.0005, 0.001, 0.01, 0.05, 0.1, 1.0):
        harmful = least is not None and share >= least
        assert Finding(kind, "train", 1, share).harmful is harmful
        assert DataReport({}, [Finding(kind, "train", 1, share)]).harmful is harmful


# ---------------------------------------------------------------- the report


def test_report_names_a_few_places_and_counts_the_rest(tmp_path: Path) -> None:
    report = check(tmp_path, "\n" * 1200 + "ja\n", "yes\n" * 1201)
    text = as_text(report)
    assert text.count("no source") == 5
    assert "... and 1,195 more" in text
    assert len(as_json(report)["findings"][0]["places"]) == findings.NUM_PLACES


def test_a_few_very_long_sentences_have_a_row_of_their_own(tmp_path: Path) -> None:
    lines = "".join(f"{'a ' * (1 + number % 20)}\n" for number in range(2000)) + "a " * 5000 + "\n"
    text = as_text(check(tmp_path, lines, lines.replace("a", "b")))
    rows = [line.split() for line in text.split("\n") if line[:1].isdecimal()]
    assert [row[0] for row in rows] == [*(f"{n}-{n + 1}" for n in range(1, 20, 2)), "21-"]
    assert rows[-1][-1] == "1"


def test_histogram_has_ten_bins(tmp_path: Path) -> None:
    lines = "".join("a " * length + "\n" for length in range(1, 100))
    text = as_text(check(tmp_path, lines, lines.replace("a", "b")))
    bars = [line for line in text.split("\n") if line[:1].isdecimal()]
    assert len(bars) == 10
    assert [bar.split()[0] for bar in bars[:2]] == ["1-10", "11-20"]
