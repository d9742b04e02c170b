"""How runs begin: with word vectors from files, where the config names some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seq2seq_cli.data.vocabulary import SPECIAL_TOKENS
from seq2seq_cli.errors import ConfigError, DataError
from seq2seq_cli.model.dropout import Embedding
from seq2seq_cli.model.model_file import load_translator
from seq2seq_cli.training.loop import train
from seq2seq_cli.training.runs import resumed_trainer
from seq2seq_cli.training.stopping import StopRequest
from tests.unit.training.support import (
    CPU,
    Scores,
    assert_same_weights,
    run,
    run_until,
    tiny_config,
    tiny_trainer,
    weights,
)

SOURCE, TARGET = "encoder.embedding.weight", "decoder.embedding.weight"
# Beside the words of the corpus: one that it has not, one in other case, names of special tokens.
GERMAN = ["Brot", "nirgends", "mag", "<eos>", "<unk>", "er"]
ENGLISH = ["bread", "nowhere", "LIKES", "<pad>", "."]


def write_vectors(path: Path, words: list[str], size: int, first: float = 1.0) -> dict[str, Tensor]:
    """A GloVe file; returns each word's vector."""
    vectors = {word: first + index + torch.arange(size) / 100 for index, word in enumerate(words)}
    lines = [
        f"{word} {' '.join(f'{number:.2f}' for number in vector.tolist())}\n"
        for word, vector in vectors.items()
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return vectors


def settings(folder: Path, *sides: str, **model: Any) -> dict[str, Any]:
    files = {side: str(folder / f"{side}.vec") for side in sides}
    sizes = {
        "encoder": {"embedding_dim": 8, "hidden_size": 8, "num_layers": 1},
        "decoder": {"embedding_dim": 6, "hidden_size": 8, "num_layers": 1},
    }
    return {
        "epochs": 1,
        "batch_size": 8,
        "data": {"limit": 48},
        "model": {**sizes, **model, "pretrained": files},
    }


def assert_begins_with(
    embedding: Embedding, initial: Tensor, tokens: tuple[str, ...], vectors: dict[str, Tensor]
) -> None:
    """The LSTM is given the file's vectors for its words, all other rows are what they would be
    without it."""
    found = embedding.weight.detach()
    num_taken = 0
    for index, token in enumerate(tokens):
        vector = next((v for word, v in vectors.items() if word.lower() == token.lower()), None)
        if vector is None or token in SPECIAL_TOKENS:
            assert torch.equal(found[index], initial[index]), token
        else:
            torch.testing.assert_close(found[index] * embedding.scale, vector)
            num_taken += 1
    assert num_taken >= 3


@pytest.mark.parametrize("sides", [("source",), ("target",), ("source", "target")])
@pytest.mark.parametrize("tied", ["none", "target"])
def test_words_of_the_files_begin_with_their_vectors(
    sides: tuple[str, ...], tied: str, tmp_path: Path
) -> None:
    german = write_vectors(tmp_path / "source.vec", GERMAN, 8)
    english = write_vectors(tmp_path / "target.vec", ENGLISH, 6, first=-9.0)
    plain = tiny_trainer(tmp_path, **settings(tmp_path, tied_embeddings=tied))
    trainer = tiny_trainer(tmp_path, **settings(tmp_path, *sides, tied_embeddings=tied))

    initial, found = weights(plain), weights(trainer)
    changed = {name for name in found if not torch.equal(found[name], initial[name])}
    of_target = {TARGET, *{"decoder.output.embedding.weight"} & found.keys()}
    assert changed == ({SOURCE} if "source" in sides else set()) | (
        of_target if "target" in sides else set()
    )
    model = trainer.model
    for side, name, embedding, codec, vectors in (
        ("source", SOURCE, model.encoder.embedding, trainer.data.source, german),
        ("target", TARGET, model.decoder.embedding, trainer.data.target, english),
    ):
        if side in sides:
            assert_begins_with(embedding, initial[name], codec.vocabulary.tokens, vectors)


def test_all_tied_begins_with_the_vectors_of_the_target(tmp_path: Path) -> None:
    words = ["Brot", "bread", "er", "nowhere"]
    vectors = write_vectors(tmp_path / "target.vec", words, 6)
    sizes = {"embedding_dim": 6, "hidden_size": 8, "num_layers": 1}
    model = {"encoder": sizes, "decoder": sizes, "tied_embeddings": "all"}
    shared = {"limit": 48, "vocabulary": {"shared": True}}
    plain = tiny_trainer(tmp_path, **settings(tmp_path, **model) | {"data": shared})
    trainer = tiny_trainer(tmp_path, **settings(tmp_path, "target", **model) | {"data": shared})

    assert trainer.model.encoder.embedding.weight is trainer.model.decoder.embedding.weight
    tokens = trainer.data.source.vocabulary.tokens
    embedding = trainer.model.encoder.embedding
    assert_begins_with(embedding, weights(plain)[SOURCE], tokens, vectors)


def test_the_mean_of_the_weights_begins_there_too(tmp_path: Path) -> None:
    write_vectors(tmp_path / "source.vec", GERMAN, 8)
    trainer = tiny_trainer(tmp_path, **settings(tmp_path, "source"), averaging={"kind": "ema"})
    assert torch.equal(trainer.average.tensors()[f"0.{SOURCE}"], weights(trainer)[SOURCE])


def test_how_much_of_a_vocabulary_is_known_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_vectors(tmp_path / "source.vec", GERMAN, 8)
    write_vectors(tmp_path / "target.vec", ENGLISH, 6)
    with caplog.at_level("INFO", logger="seq2seq"):
        trainer = tiny_trainer(tmp_path, **settings(tmp_path, "source", "target"))
    for side, codec, found in (
        ("source", trainer.data.source, 3),
        ("target", trainer.data.target, 3),
    ):
        size = len(codec.vocabulary) - len(SPECIAL_TOKENS)
        (line,) = [text for text in caplog.messages if f"{side}.vec: " in text]
        assert f": {found} of the vocabulary's {size} words have a vector (" in line


@pytest.mark.parametrize(
    ("side", "part", "size"), [("source", "encoder", 8), ("target", "decoder", 6)]
)
def test_vectors_of_another_size_are_refused_naming_both(
    side: str, part: str, size: int, tmp_path: Path
) -> None:
    write_vectors(tmp_path / f"{side}.vec", GERMAN, 7)
    with pytest.raises(ConfigError) as caught:
        tiny_trainer(tmp_path, **settings(tmp_path, side))
    assert str(caught.value) == (
        f"model.pretrained.{side}: the vectors in {tmp_path / side}.vec have 7 numbers, but "
        f"model.{part}.embedding_dim is {size}; set it to 7"
    )
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"target\.vec: "):
        tiny_trainer(tmp_path, **settings(tmp_path, "target"))


def test_going_on_needs_the_files_no_more(tmp_path: Path) -> None:
    write_vectors(tmp_path / "source.vec", GERMAN, 8)
    write_vectors(tmp_path / "target.vec", ENGLISH, 6)
    given = settings(tmp_path, "source", "target")
    straight = tiny_trainer(tmp_path, **given)
    run(straight, tmp_path)
    run_dir = run_until(tiny_trainer(tmp_path, **given), tmp_path, 2)
    for side in ("source", "target"):
        (tmp_path / f"{side}.vec").unlink()

    resumed = resumed_trainer(run_dir, tiny_config(tmp_path, **given), CPU, torch.float32)
    train(resumed, run_dir, Scores(), StopRequest())
    assert_same_weights(weights(straight), weights(resumed))
    assert b".vec" not in (run_dir / "best.safetensors").read_bytes()
    load_translator(run_dir / "best.safetensors", CPU)

    with pytest.raises(ConfigError) as caught:
        resumed_trainer(run_dir, tiny_config(tmp_path, **settings(tmp_path)), CPU, torch.float32)
    assert str(caught.value).splitlines() == [
        f"model.pretrained.{side}: cannot change from {tmp_path / side}.vec to None on --resume"
        for side in ("source", "target")
    ]
