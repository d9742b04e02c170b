"""The prompt: every line that is typed has an answer, and none of them ends the session."""

from __future__ import annotations

import builtins
import io
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seq2seq_cli.decoding.translator import Translation, TranslationOptions, Translator
from seq2seq_cli.errors import UsageError
from seq2seq_cli.evaluation.heatmap import attention_blocks
from seq2seq_cli.interactive import HELP, PROMPT, Session, _history, run_prompt
from tests.unit.decoding.support import CPU, TARGET_WORDS, translator_file

LINE = "s1 s2 s3 s4"


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator([translator_file("deep")], CPU)


@pytest.fixture(scope="module")
def blind() -> Translator:
    """A model without attention, which reads three words."""
    return Translator([translator_file("none", max_length=3)], CPU)


def session(translator: Translator, **options: float) -> Session:
    return Session(translator, TranslationOptions(**options))  # type: ignore[arg-type]


def translate(translator: Translator, line: str, **options: float) -> Translation:
    [translation] = translator.translate([line], TranslationOptions(**options))  # type: ignore[arg-type]
    return translation


# ---------------------------------------------------------------- sentences


def test_a_sentence_is_answered_with_its_translation(translator: Translator) -> None:
    subject = session(translator)
    for line in (LINE, "s5", LINE):
        assert subject.answer(f"  {line}\t") == translate(translator, line).best.text


def test_options_hold_for_every_sentence(translator: Translator) -> None:
    subject = session(translator, temperature=1.0, seed=7)
    expected = translate(translator, LINE, temperature=1.0, seed=7).best.text
    assert expected != translate(translator, LINE).best.text
    assert subject.answer(LINE).split("\n")[0] == expected


def test_unknown_words_are_marked_where_they_stand(translator: Translator) -> None:
    subject = session(translator)
    marked, translated = subject.answer("s1 [so] s2 <unk>").split("\n")
    assert marked.strip() == "s1 [[so]?] s2 [<unk>?]"
    assert translated == translate(translator, "s1 [so] s2 <unk>").best.text
    assert "?]" not in subject.answer(LINE)


def test_a_long_sentence_is_said_to_be_cut(blind: Translator) -> None:
    subject = session(blind)
    assert "first 3 tokens" in subject.answer(LINE)
    assert "tokens" not in subject.answer("s1 s2 s3")
    assert "[x?]" not in subject.answer(f"{LINE} x")  # it was not read


def test_the_length_limit_is_said(translator: Translator) -> None:
    translated, said = session(translator, max_length=1, beam_size=1).answer(LINE).split("\n")
    assert len(translated.split()) == 1
    assert "length limit" in said
    assert "limit" not in session(translator).answer(LINE)


@pytest.mark.parametrize("line", ["", "  ", "\t", "\u2028\u00a0"])
def test_a_blank_line_is_answered_with_one(translator: Translator, line: str) -> None:
    subject = session(translator)
    subject.answer("s5")
    before = subject.answer("/nbest")
    assert subject.answer(line) == ""
    assert subject.answer("/nbest") == before


HARMFUL = ["\x1b[31m", "\x07", "\x9b2J", "\u202e", "\x00", "\r"]


@pytest.mark.parametrize("text", HARMFUL, ids=ascii)
@pytest.mark.parametrize("where", ["s1 s2{}s3 s4", "/do{}this", "/nbest{}", "/nbest {}x"])
def test_what_acts_on_a_terminal_is_spelled_out(
    translator: Translator, text: str, where: str
) -> None:
    subject = session(translator)
    subject.answer("s5")
    answer = subject.answer(where.format(text))
    assert text[0] not in answer
    if text != "\r":
        assert ascii(text[0])[1:-1] in answer


def test_what_a_model_writes_is_spelled_out(translator: Translator) -> None:
    words = [f"{word}\x1b[31m" for word in TARGET_WORDS]
    subject = session(Translator([translator_file("deep", target_words=words)], CPU))
    for line in (LINE, "/nbest", "/attention"):
        answer = subject.answer(line)
        assert "\x1b" not in answer
        assert r"\x1b[31m" in answer


@pytest.mark.parametrize("line", ["\udcff", "s1 \udcff s2", "🙂 \udcff", "/do \udcff"])
def test_bytes_that_are_no_utf8_are_answered(translator: Translator, line: str) -> None:
    answer = session(translator).answer(line)
    assert "not valid UTF-8" in answer or "no such command" in answer
    answer.encode()


def test_a_line_without_an_end(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seq2seq_cli.interactive.MAX_LINE_BYTES", 10)
    assert "too long" not in session(translator).answer("s1 s2 s3 4")
    assert "too long" in session(translator).answer("s1 s2 s3 ß")


# ---------------------------------------------------------------- commands


def test_before_any_sentence_there_is_nothing_to_tell(translator: Translator) -> None:
    subject = session(translator)
    assert subject.answer("") == ""
    for command in ("/nbest", "/nbest 3", "/attention"):
        assert subject.answer(command) == "type a sentence first"


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("/what", "no such command: /what; /help"),
        ("/", "no such command: /;"),
        ("/NBEST", "no such command"),
        ("/nbest 1 2", "no such command: /nbest 1 2"),
        ("/attention 3", "no such command"),
        ("/nbest 0", "from 1 to"),
        ("/nbest -1", "from 1 to"),
        ("/nbest 1001", "from 1 to 1000"),
        ("/nbest many", "/nbest many: say how many"),
        ("/nbest 2.5", "say how many"),
        ("/nbest ²", "say how many"),
        ("/nbest " + "9" * 5000, "say how many"),
    ],
    ids=lambda text: text[:20],
)
def test_mistakes_are_answered(translator: Translator, line: str, fragment: str) -> None:
    subject = session(translator)
    subject.answer("s5")
    before = subject.answer("/nbest")
    assert fragment in subject.answer(line)
    assert subject.answer("/nbest") == before


def test_help_names_every_command(translator: Translator) -> None:
    assert session(translator).answer(" /help ") == HELP
    assert all(command in HELP for command in ("/nbest", "/attention", "/help", "/quit", "Ctrl-D"))


@pytest.mark.parametrize("number", [None, 1, 3, 8])
@pytest.mark.parametrize("beam_size", [1, 4, 10])
def test_nbest_are_the_best_of_the_last_sentence(
    translator: Translator, number: int | None, beam_size: int
) -> None:
    subject = session(translator, beam_size=beam_size)
    for line in ("s5", LINE, ""):
        subject.answer(line)
    wanted = number or 5
    expected = translate(translator, LINE, n_best=wanted, beam_size=max(beam_size, wanted))

    rows = subject.answer(f"/nbest {number or ''}").split("\n")

    assert len(rows) == wanted
    for place, (row, candidate) in enumerate(zip(rows, expected.candidates, strict=True), 1):
        assert row.startswith(f"{place:>3} ")
        assert float(row[4:11]) == pytest.approx(candidate.ranking, abs=1e-3)
        assert float(row[12:20]) == pytest.approx(candidate.score, abs=1e-3)
        assert row[20:] == f"  {candidate.text}"


def test_nbest_of_the_configs_beam(translator: Translator) -> None:
    narrow = Translator([translator_file("deep", decoding={"beam_size": 2})], CPU)
    subject = session(narrow)
    subject.answer(LINE)
    expected = translate(narrow, LINE, n_best=2).candidates
    rows = subject.answer("/nbest 2").split("\n")
    assert [row[22:] for row in rows] == [found.text for found in expected]


def test_nbest_of_drawn_translations_are_as_many_draws(translator: Translator) -> None:
    subject = session(translator, temperature=2.0)
    subject.answer(LINE)
    rows = subject.answer("/nbest 4").split("\n")
    assert len(rows) == 4
    assert len({row[22:] for row in rows}) > 1


def test_attention_is_that_of_the_last_translation(translator: Translator) -> None:
    subject = session(translator)
    for line in ("s5", LINE, ""):
        subject.answer(line)
    found = translate(translator, LINE, with_attention=True)
    assert found.best.attention
    expected = attention_blocks(found.source_tokens, found.best.tokens, found.best.attention)
    assert subject.answer("/attention") == expected


@pytest.mark.parametrize(("columns", "widest"), [(20, 20), (0, 80)])
def test_attention_fits_the_terminal(
    translator: Translator, columns: int, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    subject = session(translator)
    line = " ".join(["s1 s2 s3 s4"] * 3)
    subject.answer(line)
    found = translate(translator, line, with_attention=True)
    assert found.best.attention

    shown = subject.answer("/attention")

    assert shown == attention_blocks(
        found.source_tokens, found.best.tokens, found.best.attention, widest
    )


def test_attention_that_is_not_there(blind: Translator, translator: Translator) -> None:
    subject = session(blind)
    subject.answer("s1")
    assert subject.answer("/attention") == "the model has no attention"
    silent = session(translator, max_length=0)
    silent.answer("s1")
    assert silent.answer("/attention") == "the translation is empty"


def test_options_that_the_model_cannot_do_are_refused_at_once(blind: Translator) -> None:
    with pytest.raises(UsageError, match="no attention"):
        Session(blind, TranslationOptions(replacements={}))


# ---------------------------------------------------------------- reading


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


Typed = Callable[..., str]


@pytest.fixture
def typed(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """A session in which these lines are typed, or these errors raised; returns what it shows."""

    def run(*lines: str | BaseException) -> str:
        coming = iter(lines)

        def answer_input(prompt: str) -> str:
            print(prompt, end="")
            line = next(coming, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO()))
        monkeypatch.setattr(builtins, "input", answer_input)
        run_prompt(translator, TranslationOptions())
        return capsys.readouterr().out

    return run


def test_a_session_on_a_terminal(typed: Typed, translator: Translator) -> None:
    first, second = (translate(translator, line).best.text for line in (LINE, "s5"))
    assert typed(LINE, "s5", "") == (
        f"{HELP}\n{PROMPT}{first}\n{PROMPT}{second}\n{PROMPT}\n{PROMPT}\n"
    )


def test_quit_ends_a_session(typed: Typed) -> None:
    assert typed(" /quit ", "s5") == f"{HELP}\n{PROMPT}"


def test_an_interrupt_drops_the_line(typed: Typed, translator: Translator) -> None:
    answer = translate(translator, "s5").best.text
    assert typed(KeyboardInterrupt(), "s5").endswith(f"{PROMPT}\n{PROMPT}{answer}\n{PROMPT}\n")


def test_an_interrupt_drops_the_translation(
    typed: Typed, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Session.answer

    def interrupted(self: Session, line: str) -> str:
        if line == LINE:
            raise KeyboardInterrupt
        return original(self, line)

    monkeypatch.setattr(Session, "answer", interrupted)
    answer = translate(translator, "s5").best.text
    shown = typed(LINE, "s5")
    assert shown.endswith(f"{PROMPT}dropped\n{PROMPT}{answer}\n{PROMPT}\n")


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes, encoding: str = "utf-8") -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding=encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_lines_that_are_piped_in(
    translator: Translator,
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipe(monkeypatch, "ß s2\ns5\r\n\ns1 s2".encode(), encoding)
    run_prompt(translator, TranslationOptions())
    one, two, three = (translate(translator, line).best.text for line in ("ß s2", "s5", "s1 s2"))
    assert capsys.readouterr().out == f"  [ß?] s2\n{one}\n{two}\n\n{three}\n"


def test_a_piped_line_that_is_no_utf8_takes_no_other_with_it(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, b"s5\n\xff\ns5\n")
    run_prompt(translator, TranslationOptions())
    answer = translate(translator, "s5").best.text
    assert capsys.readouterr().out == f"{answer}\nthat line is not valid UTF-8\n{answer}\n"


def test_without_a_terminal_an_interrupt_ends_the_command(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    for place in ("builtins.input", "seq2seq_cli.interactive.Session.answer"):
        with monkeypatch.context() as patch:
            pipe(patch, b"s5\n")
            patch.setattr(place, interrupt)
            with pytest.raises(KeyboardInterrupt):
                run_prompt(translator, TranslationOptions())


def test_a_closed_stdin_is_refused(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input"):
        run_prompt(translator, TranslationOptions())


# ---------------------------------------------------------------- history


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where it is kept; readline's own, which is the whole process's, is empty before and after."""
    readline = pytest.importorskip("readline")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    readline.clear_history()
    yield tmp_path / "caches" / "seq2seq" / "history"
    readline.clear_history()


def add(line: str) -> None:
    import readline

    readline.add_history(line)


def known_lines() -> list[str]:
    import readline

    return [readline.get_history_item(i + 1) for i in range(readline.get_current_history_length())]


def forget() -> None:
    import readline

    readline.clear_history()


def test_lines_are_there_in_the_next_session(history: Path) -> None:
    for line in ("ä 🙂", "/nbest"):
        with _history():
            add(line)
        forget()
    with _history():
        assert known_lines() == ["ä 🙂", "/nbest"]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_nobody_else_reads_it(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As some builds of readline do; others see to it themselves.
    monkeypatch.setattr("readline.write_history_file", lambda path: path.write_text("private"))
    with _history():
        pass
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_it_is_kept_when_the_session_fails(history: Path) -> None:
    def fail() -> None:
        with _history():
            add("typed")
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        fail()
    assert "typed" in history.read_text()


def test_only_so_much_is_kept(history: Path) -> None:
    with _history():
        for number in range(1100):
            add(f"line {number}")
    forget()
    with _history():
        assert known_lines() == [f"line {number}" for number in range(100, 1100)]


def test_a_place_that_cannot_be_written_is_no_error(history: Path) -> None:
    history.parent.parent.mkdir()
    history.parent.write_text("a file where the folder would be")
    with _history():
        add("typed")
    history.parent.unlink()
    history.mkdir(parents=True)
    with _history():
        add("typed")
    shutil.rmtree(history)


def test_without_readline_there_is_none(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "readline", None)
    with _history():
        pass
    assert not history.exists()
