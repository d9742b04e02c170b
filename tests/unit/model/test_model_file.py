"""The model file: what goes in comes out, and nothing else is let in."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from seq2seq_cli.config import Config, TranslatorConfig
from seq2seq_cli.config.data import BpeTokenizer, SpacyTokenizer, WordsTokenizer
from seq2seq_cli.config.model import ModelConfig
from seq2seq_cli.data.subwords import SubwordTokenizer
from seq2seq_cli.data.tokenizers import load_tokenizer
from seq2seq_cli.data.vocabulary import TextCodec, Vocabulary
from seq2seq_cli.errors import ModelFileError
from seq2seq_cli.model.model_file import TranslatorFile, load_translator, save_translator
from seq2seq_cli.model.seq2seq import Seq2Seq
from tests.unit.model.support import (
    ARCHITECTURES,
    PLACES,
    PLAIN_AND_FULL,
    SOURCE_SIZE,
    TARGET_SIZE,
    coins,
    small_batch,
    small_config,
    small_model,
)

CPU = torch.device("cpu")
TEXTS = ["der Hund läuft", "die Katze schläft", "ein Hund schläft gut"] * 5


def words_translator(architecture: ModelConfig = ARCHITECTURES["deep"]) -> TranslatorFile:
    shared = architecture.tied_embeddings == "all"
    vocabularies = [
        Vocabulary([f"{side}{number}" for number in range(size - 4)])
        for side, size in [("s", SOURCE_SIZE), ("t", TARGET_SIZE)]
    ]
    if shared:
        vocabularies[1] = vocabularies[0]
    source, target = (
        TextCodec(load_tokenizer(WordsTokenizer(), b"", language), vocabulary)
        for language, vocabulary in zip(("de", "en"), vocabularies, strict=True)
    )
    data = {"source": "de", "target": "en", "vocabulary": {"shared": shared}}
    config = TranslatorConfig.model_validate({"name": "tiny", "data": data, "model": architecture})
    return TranslatorFile(config, source, target, small_model(architecture))


def shared_bpe_translator() -> TranslatorFile:
    tokenizer_config = BpeTokenizer(size=30)
    tokenizer = SubwordTokenizer.learn(tokenizer_config, TEXTS)
    pieces = {piece for text in TEXTS for piece in tokenizer.tokenize(text)}
    codec = TextCodec(tokenizer, Vocabulary(sorted(pieces)))
    size = len(codec.vocabulary)
    model = Seq2Seq(ARCHITECTURES["bridge over sizes"], size, size).eval()
    config = TranslatorConfig.model_validate(
        {
            "data": {"tokenizer": tokenizer_config, "vocabulary": {"shared": True}},
            "model": ARCHITECTURES["bridge over sizes"],
        }
    )
    return TranslatorFile(config, codec, codec, model)


def shared_spacy_translator() -> TranslatorFile:
    vocabulary = Vocabulary(["der", "Hund", "läuft", "the", "dog", "doesn't", "does", "n't", "!"])
    config = TranslatorConfig.model_validate(
        {
            "data": {
                "source": "deu",
                "target": "en",
                "tokenizer": {"kind": "spacy"},
                "vocabulary": {"shared": True},
            },
            "model": ARCHITECTURES["deep"],
        }
    )
    source, target = (
        TextCodec(load_tokenizer(SpacyTokenizer(), b"", language), vocabulary)
        for language in ("deu", "en")
    )
    model = Seq2Seq(config.model, len(vocabulary), len(vocabulary)).eval()
    return TranslatorFile(config, source, target, model)


MAKERS = [words_translator, shared_bpe_translator, shared_spacy_translator]


@pytest.mark.parametrize("make", MAKERS)
def test_round_trip(make: Callable[[], TranslatorFile], tmp_path: Path) -> None:
    translator = make()
    save_translator(tmp_path / "m.safetensors", translator)

    loaded = load_translator(tmp_path / "m.safetensors", CPU)

    assert loaded.config == translator.config
    shared = translator.source.vocabulary is translator.target.vocabulary
    assert (loaded.source.vocabulary is loaded.target.vocabulary) == shared
    for before, after in [
        (translator.source, loaded.source),
        (translator.target, loaded.target),
    ]:
        assert after.vocabulary.tokens == before.vocabulary.tokens
        for text in [*TEXTS, "the dog doesn't!"]:
            assert after.encode(text).tolist() == before.encode(text).tolist()
            assert after.decode(after.encode(text)) == before.decode(before.encode(text))
    weights = loaded.model.state_dict()
    assert all(torch.equal(w, weights[n]) for n, w in translator.model.state_dict().items())
    assert not loaded.model.training
    batch = small_batch(src_lens=(2, 3), trg_lens=(2, 1))
    batch = batch._replace(src_ids=batch.src_ids.clamp(max=9), trg_ids=batch.trg_ids.clamp(max=9))
    torch.testing.assert_close(loaded.model(batch), translator.model(batch))


@pytest.mark.parametrize("make", MAKERS)
def test_equal_content_gives_equal_bytes(
    make: Callable[[], TranslatorFile], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    save_translator(tmp_path / "a", make())
    torch.manual_seed(1)
    save_translator(tmp_path / "b", make())
    save_translator(tmp_path / "c", load_translator(tmp_path / "a", CPU))

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_shared_is_kept_once(make: Callable[[], TranslatorFile], tmp_path: Path) -> None:
    save_translator(tmp_path / "m", make())

    with safetensors.safe_open(tmp_path / "m", framework="pt") as file:
        metadata = json.loads(file.metadata()["seq2seq"])
        names = {name for name in file.keys() if not name.startswith("model.")}  # noqa: SIM118

    sides = ("source", "target") if make is words_translator else ("source",)
    assert names == {f"{what}.{side}" for what in ("tokenizer", "vocabulary") for side in sides}
    assert metadata["vocabularies"] == ("separate" if len(sides) == 2 else "shared")


EVERY_WEIGHT = (
    ARCHITECTURES
    | PLAIN_AND_FULL
    | {
        f"{place} tied all": small_config("additive", place, tied="all", layer_norm=True)
        for place in PLACES
    }
    | {"dropout": small_config("dot", dropout={"word": 0.1, "output": 0.2, "variational": True})}
)


@pytest.mark.parametrize("architecture", EVERY_WEIGHT.values(), ids=EVERY_WEIGHT.keys())
def test_every_architecture_makes_the_round_trip(architecture: ModelConfig, tmp_path: Path) -> None:
    translator = words_translator(architecture)
    path = tmp_path / "m"
    save_translator(path, translator)

    loaded = load_translator(path, CPU)

    assert loaded.config.model == architecture
    before, after = (
        dict(each.model.named_parameters(remove_duplicate=False)) for each in (translator, loaded)
    )
    assert [*before] == [*after]
    for name, parameter in before.items():
        assert torch.equal(after[name], parameter), name
        assert after[name].requires_grad
    batch = small_batch()
    for forced in (None, coins(batch, [False])):
        assert torch.equal(loaded.model(batch, forced)[0], translator.model(batch, forced)[0])
    save_translator(tmp_path / "again", loaded)
    assert path.read_bytes() == (tmp_path / "again").read_bytes()
    # What is tied is one matrix in the file and in the model that comes out of it.
    with safetensors.safe_open(path, framework="pt") as file:
        saved = [name for name in file.keys() if name.endswith("embedding.weight")]  # noqa: SIM118
    num_matrices = 1 if architecture.tied_embeddings == "all" else 2
    assert len(saved) == num_matrices
    shared = {id(after[name]) for name in after if name.endswith("embedding.weight")}
    assert len(shared) == num_matrices


@pytest.mark.parametrize("tied", ["target", "all"])
def test_a_tied_matrix_stays_tied_in_training(tied: str, tmp_path: Path) -> None:
    architecture = small_config("additive", tied=tied)
    save_translator(tmp_path / "m", words_translator(architecture))
    models = [
        translator.model
        for translator in (words_translator(architecture), load_translator(tmp_path / "m", CPU))
    ]

    for model in models:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model(small_batch())[0].backward()
            optimizer.step()

    kept, loaded = (model.state_dict() for model in models)
    torch.testing.assert_close(loaded, kept)


def test_the_languages_of_the_config_decide_how_text_is_put_together(tmp_path: Path) -> None:
    translator = words_translator()
    data = translator.config.data.model_copy(update={"target": "fr"})
    config = translator.config.model_copy(update={"data": data})
    file = TranslatorFile(config, translator.source, translator.target, translator.model)
    save_translator(tmp_path / "m", file)

    loaded = load_translator(tmp_path / "m", CPU)

    assert loaded.source.tokenizer.detokenize(["a", "!"]) == "a!"
    assert loaded.target.tokenizer.detokenize(["a", "!"]) == "a !"


def test_a_file_that_wants_spacy_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_translator(tmp_path / "m", shared_spacy_translator())
    monkeypatch.setitem(sys.modules, "spacy", None)

    with pytest.raises(ModelFileError, match=r"m: .*pip install 'seq2seq-cli\[spacy\]'"):
        load_translator(tmp_path / "m", CPU)


def test_no_path_of_the_training_machine_is_inside(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"data": {"train": "/home/me/secret.tsv", "valid": "/home/me/valid.tsv"}}
    )
    translator = words_translator()
    file = TranslatorFile(
        config.for_translator().model_copy(update={"model": translator.config.model}),
        translator.source,
        translator.target,
        translator.model,
    )
    save_translator(tmp_path / "m", file)

    assert b"/home" not in (tmp_path / "m").read_bytes()


def test_metadata_is_one_entry_of_sorted_json(tmp_path: Path) -> None:
    save_translator(tmp_path / "m", words_translator())

    with safetensors.safe_open(tmp_path / "m", framework="pt") as file:
        entries = file.metadata()

    assert list(entries) == ["seq2seq"]
    metadata = json.loads(entries["seq2seq"])
    assert list(metadata) == sorted(metadata)
    assert metadata["format_version"] == 1
    assert metadata["vocabularies"] == "separate"


def rewrite(path: Path, **changes: object) -> None:
    """Save the file again with changed metadata or tensors (None: left out)."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["seq2seq"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for key, value in changes.items():
        if key in metadata:
            metadata[key] = value
        elif isinstance(value, torch.Tensor):
            tensors[key] = value
        else:
            del tensors[key]
    safetensors.torch.save_file(tensors, path, metadata={"seq2seq": json.dumps(metadata)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "has format version 2, this program reads 1"),
        ({"config": {"data": {}, "modell": {}}}, "the config inside does not fit: modell"),
        ({"config": None}, "the config inside does not fit"),
        ({"model.decoder.output.bias": None}, "do not fit the config inside: decoder.output.bias"),
        (
            {"model.decoder.output.bias": torch.zeros(3)},
            r"decoder.output.bias is torch.float32 \(3,\), it should be float32 \(19,\)",
        ),
        ({"model.decoder.output.bias": torch.zeros(19).half()}, "is torch.float16"),
        ({"model.surplus": torch.zeros(1)}, "do not fit the config inside: surplus"),
        ({"vocabulary.source": None}, "vocabulary.source is missing inside"),
        ({"vocabulary.target": torch.tensor([120, 10, 120]).byte()}, "names a word twice"),
        ({"vocabulary.target": torch.tensor([255]).byte()}, "is not UTF-8"),
    ],
)
def test_what_does_not_fit_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    save_translator(path, words_translator())
    rewrite(path, **changes)

    with pytest.raises(ModelFileError, match=message) as caught:
        load_translator(path, CPU)
    assert str(path) in str(caught.value)


TIED_PARTS = {
    "the output layer's name for it": ("target", "decoder.output.embedding.weight", True),
    "an output layer of its own": ("target", "decoder.output.weight", True),
    "the source's name for it": ("all", "decoder.embedding.weight", True),
    "no matrix at all": ("target", "decoder.embedding.weight", False),
    "no matrix for both": ("all", "encoder.embedding.weight", False),
    "no key": ("target", "decoder.attention.key.weight", False),
    "no readout": ("target", "decoder.readout.bias", False),
    "no norm": ("target", "encoder.norms.1.weight", False),
}


@pytest.mark.parametrize(("tied", "name", "extra"), TIED_PARTS.values(), ids=TIED_PARTS.keys())
def test_a_tensor_too_many_or_too_few_is_refused(
    tied: str, name: str, extra: bool, tmp_path: Path
) -> None:
    path = tmp_path / "m"
    architecture = small_config("additive", tied=tied, layer_norm=True)
    save_translator(path, words_translator(architecture))
    rewrite(path, **{f"model.{name}": torch.zeros(SOURCE_SIZE, 6) if extra else None})

    with pytest.raises(ModelFileError, match=f"do not fit the config inside: {name}$") as caught:
        load_translator(path, CPU)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("size", [10_000, None])
def test_a_file_from_before_attention_is_read(size: int | None, tmp_path: Path) -> None:
    translator = words_translator()
    path = tmp_path / "m"
    save_translator(path, translator)
    stack = {"hidden_size": 7, "num_layers": 3}
    old = {
        "data": {
            "max_length": 100,
            "reverse_source": False,
            "source": "de",
            "target": "en",
            "tokenizer": {"kind": "words", "lowercase": False, "nfc": False},
            "vocabulary": {"max_size": size, "min_freq": 2, "shared": False},
        },
        "decoding": {"max_length_ratio": 2.0},
        "model": {
            "decoder": {"embedding_dim": 6, **stack},
            "dropout": 0.3,
            "encoder": {"bidirectional": False, "embedding_dim": 5, **stack},
            "init": {"kind": "uniform", "scale": 0.08},
        },
        "name": "multi30k-tutorial",
    }
    rewrite(path, config=old)

    loaded = load_translator(path, CPU)

    config = loaded.config
    assert config.model.dropout.model_dump() == {
        "embedding": 0.3,
        "hidden": 0.3,
        "output": 0.0,
        "word": 0.0,
        "variational": False,
    }
    assert config.model.decoder.attention.kind == "none"
    sizes = config.data.vocabulary.max_size
    assert (sizes.source, sizes.target) == (size, size)
    assert torch.equal(loaded.model(small_batch())[0], translator.model(small_batch())[0])
    save_translator(tmp_path / "new", loaded)
    assert load_translator(tmp_path / "new", CPU).config == config


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    save_translator(whole, words_translator())
    data = whole.read_bytes()
    bad = tmp_path / "bad"
    for content in (b"", b"junk", data[:100], data[:-1], data[len(data) // 2 :]):
        bad.write_bytes(content)
        with pytest.raises(ModelFileError, match="bad"):
            load_translator(bad, CPU)
    safetensors.torch.save_file({"x": torch.zeros(1)}, bad)
    with pytest.raises(ModelFileError, match="not a model file of this program"):
        load_translator(bad, CPU)
    with pytest.raises(ModelFileError, match="no such file"):
        load_translator(tmp_path / "nowhere", CPU)
    with pytest.raises(ModelFileError, match=str(tmp_path)):
        load_translator(tmp_path, CPU)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m"
    save_translator(path, words_translator())
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="No space"):
        save_translator(path, words_translator())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
    shutil.rmtree(tmp_path)
