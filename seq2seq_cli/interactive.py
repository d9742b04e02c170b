"""`translate --interactive`: a prompt where sentences go in and translations come out."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from seq2seq_cli.console import harmless
from seq2seq_cli.data.corpus import MAX_LINE_BYTES
from seq2seq_cli.data.downloads import cache_path
from seq2seq_cli.data.vocabulary import UNK_ID
from seq2seq_cli.decoding.translator import Translation, TranslationOptions, Translator
from seq2seq_cli.errors import UsageError
from seq2seq_cli.evaluation.heatmap import attention_blocks

HELP = """\
Type a sentence to see its translation; words that the model does not know are marked [so?].
/nbest [N]   the N best translations of the last sentence: score / length ^ penalty, score, text
/attention   where the model looked while it wrote the last translation
/help        this
/quit        leave, as Ctrl-D does; Ctrl-C drops the line"""
PROMPT = "> "
NUM_CANDIDATES = 5


def run_prompt(translator: Translator, options: TranslationOptions) -> None:
    """Read sentences and commands from stdin until it ends; answers go to stdout.

    Raises UsageError for options that the model cannot do, and when stdin is closed.
    """
    if sys.stdin is None:
        raise UsageError("--interactive: there is no standard input to read sentences from")
    if hasattr(sys.stdin, "reconfigure"):
        # As all text here; a line that is something else is answered, and the others are read.
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    session = Session(translator, options)
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        print(HELP)
    with _history() if is_terminal else contextlib.nullcontext():
        while True:
            try:
                line = input(PROMPT if is_terminal else "")
            except EOFError:
                break
            except KeyboardInterrupt:
                if not is_terminal:
                    raise
                print()
                continue
            if line.strip() == "/quit":
                return
            try:
                print(session.answer(line), flush=True)
            except KeyboardInterrupt:
                if not is_terminal:
                    raise
                print("dropped")
    if is_terminal:
        print()


class Session:
    """A conversation: what is said may be about the sentence before."""

    def __init__(self, translator: Translator, options: TranslationOptions) -> None:
        """Raises UsageError for options that the model cannot do."""
        self._translator = translator
        self._options = replace(options, with_attention=translator.has_attention)
        self._last: Translation | None = None
        list(translator.translate([], self._options))  # refuses them now, not at the first sentence

    def answer(self, line: str) -> str:
        """What to print for a line that was typed; mistakes are answered, never raised."""
        line = line.strip()
        try:
            if not line.startswith("/"):
                return self._translated(line) if line else ""
            command, *arguments = line.split()
            if command == "/nbest" and len(arguments) < 2:
                return self._nbest(*arguments)
            if command == "/attention" and not arguments:
                return self._attention()
            if command == "/help":
                return HELP
            return f"no such command: {harmless(line)}; /help names those there are"
        except UsageError as error:
            return str(error)

    def _translate(self, line: str, options: TranslationOptions) -> Translation:
        return next(iter(self._translator.translate([line], options)))

    def _translated(self, line: str) -> str:
        try:
            if len(line.encode()) > MAX_LINE_BYTES:
                return "that line is too long"
        except UnicodeEncodeError:
            return "that line is not valid UTF-8"
        self._last = translation = self._translate(line, self._options)
        shown = []
        if "unknown_words" in translation.flags:
            shown.append("  " + harmless(self._with_unknown_marked(translation)))
        shown.append(harmless(translation.best.text))
        if "truncated" in translation.flags:
            limit = self._translator.file.config.data.max_length
            shown.append(f"  (only the first {limit} tokens were read)")
        if "length_capped" in translation.flags:
            shown.append("  (ended at the length limit)")
        return "\n".join(shown)

    def _with_unknown_marked(self, translation: Translation) -> str:
        vocabulary = self._translator.file.source.vocabulary
        words = translation.source_tokens[1:-1]
        is_unknown = vocabulary.to_ids(words) == UNK_ID
        return " ".join(
            f"[{word}?]" if unknown else word
            for word, unknown in zip(words, is_unknown, strict=True)
        )

    def _nbest(self, number: str = str(NUM_CANDIDATES)) -> str:
        last = self._last_translation()
        if not number.isdecimal() or len(number) > 4 or not 1 <= int(number) <= 1000:
            raise UsageError(f"/nbest {harmless(number)}: say how many, from 1 to 1000")
        options = replace(self._options, n_best=int(number))
        if options.temperature is None:
            config = self._translator.file.config.decoding
            beam_size = options.beam_size or config.beam_size
            options = replace(options, beam_size=max(beam_size, int(number)))
        candidates = self._translate(last.source, options).candidates
        return "\n".join(
            f"{place:>3} {it.ranking:7.3f} {it.score:8.3f}  {harmless(it.text)}"
            for place, it in enumerate(candidates, 1)
        )

    def _attention(self) -> str:
        best = self._last_translation().best
        if best.attention is None:
            raise UsageError("the model has no attention")
        if not best.tokens:
            raise UsageError("the translation is empty")
        source = self._last_translation().source_tokens
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        return attention_blocks(source, best.tokens, best.attention, width)

    def _last_translation(self) -> Translation:
        if self._last is None:
            raise UsageError("type a sentence first")
        return self._last


@contextmanager
def _history() -> Iterator[None]:
    """Inside the block, lines can be edited and called back, those of earlier sessions too."""
    try:
        import readline
    except ImportError:  # Windows, and some builds of Python
        yield
        return
    path = cache_path("history")
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
            path.chmod(0o600)
