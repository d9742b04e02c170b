"""Lines in, lines out."""

import pytest
import torch

from seq2seq_cli.config import TranslatorConfig
from seq2seq_cli.config.data import WhitespaceTokenizer
from seq2seq_cli.data.tokenizers import load_tokenizer
from seq2seq_cli.data.vocabulary import TextCodec, Vocabulary
from seq2seq_cli.decoding.translator import Translator
from seq2seq_cli.model.model_file import TranslatorFile
from tests.unit.model.support import ARCHITECTURES, SOURCE_SIZE, TARGET_SIZE, small_model

CPU = torch.device("cpu")


def translator(**data: object) -> Translator:
    tokenizer = load_tokenizer(WhitespaceTokenizer(), b"")
    source, target = (
        TextCodec(tokenizer, Vocabulary([f"{side}{number}" for number in range(size - 4)]))
        for side, size in [("s", SOURCE_SIZE), ("t", TARGET_SIZE)]
    )
    config = TranslatorConfig.model_validate(
        {"data": {"tokenizer": WhitespaceTokenizer(), **data}, "model": ARCHITECTURES["deep"]}
    )
    model = small_model(ARCHITECTURES["deep"], seed=5)
    return Translator(TranslatorFile(config, source, target, model), CPU)


LINES = ["s1 s2 s3", "", "s4", "   ", "s1 zzz s9 s9 s9 s3", "\u2028", "s5 s5", "s1 s2 s3"]


def test_every_line_has_its_answer_in_its_place() -> None:
    found = list(translator().translate(LINES))

    assert [translation.source for translation in found] == LINES
    blank = [not translation.text for translation in found]
    assert blank == [not line.strip() for line in LINES]
    assert found[0] == found[7]
    alone = [next(iter(translator().translate([line]))) for line in LINES]
    assert [t.text for t in found] == [t.text for t in alone]
    assert [t.score for t in found] == pytest.approx([t.score for t in alone], rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    lines = [" ".join(f"s{(i * j) % 17}" for j in range(i % 9)) for i in range(100)]

    expected = [translation.text for translation in translator().translate(lines, 16)]

    assert [t.text for t in translator().translate(lines, batch_size)] == expected


def test_lines_are_taken_as_they_are_needed() -> None:
    def endless() -> object:
        while True:
            yield "s1 s2"

    translations = translator().translate(endless(), batch_size=2)  # type: ignore[arg-type]

    assert next(translations).text == next(translations).text


def test_flags_say_what_was_done_to_a_line() -> None:
    found = list(translator(max_length=3).translate(["s1 s2 s3", "s1 s2 s3 s4", "s1 huh"]))

    assert "truncated" not in found[0].flags
    assert "truncated" in found[1].flags
    assert found[1].text == found[0].text  # the rest was cut off
    assert ["unknown_words" in translation.flags for translation in found] == [False, False, True]


def test_max_length_caps_a_translation() -> None:
    whole = next(iter(translator().translate(["s1 s2 s3"])))
    assert len(whole.tokens) > 1

    cut = next(iter(translator().translate(["s1 s2 s3"], max_length=1)))

    assert cut.tokens == whole.tokens[:1]
    assert "length_capped" in cut.flags


def test_reversing_the_source_is_the_models_business() -> None:
    forwards, backwards = translator(), translator(reverse_source=True)

    assert [t.text for t in backwards.translate(["s3 s2 s1", "s9 s4"])] == [
        t.text for t in forwards.translate(["s1 s2 s3", "s4 s9"])
    ]


def test_a_model_in_training_mode_stays_so_but_translates_without_dropout() -> None:
    subject = translator()
    expected = [t.text for t in subject.translate(LINES)]
    subject.file.model.train()

    assert [t.text for t in subject.translate(LINES)] == expected
    assert subject.file.model.training
