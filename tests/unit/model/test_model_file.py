"""The model file: what goes in comes out, and nothing else is let in."""

import functools
import json
import math
import operator
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from seq2seq_cli.decoding.translator import Translator
from seq2seq_cli.errors import ModelFileError
from seq2seq_cli.model import model_file
from seq2seq_cli.model.model_file import (
    FORMAT_VERSION,
    TranslatorFile,
    load_translator,
    save_translator,
)
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
    assert list(metadata) == ["config", "format_version", "sha256", "vocabularies"]
    assert metadata["format_version"] == 2
    assert metadata["vocabularies"] == "separate"


def rewrite(path: Path, **changes: Any) -> None:
    """Save the file again with changed metadata or tensors (None: left out), and without a sum."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["seq2seq"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["sha256"]
    metadata["format_version"] = 1
    for key, value in changes.items():
        if isinstance(value, torch.Tensor):
            tensors[key] = value
        elif key in tensors:
            del tensors[key]
        else:
            metadata[key] = value
    safetensors.torch.save_file(tensors, path, metadata={"seq2seq": json.dumps(metadata)})


def text(data: bytes) -> torch.Tensor:
    return torch.tensor(list(data), dtype=torch.uint8)


def changed(place: str, value: object) -> dict[str, Any]:
    """The config of `words_translator` with another value at a dotted key."""
    config = words_translator().config.model_dump(mode="json")
    *sections, key = place.split(".")
    functools.reduce(operator.getitem, sections, config)[key] = value
    return {"config": config}


SUBWORDS = shared_bpe_translator().source.tokenizer.to_bytes()
NEVER = "which no seq2seq has ever written"
NOT_FINITE = r"some of the weights inside are no numbers: decoder\.output\.bias$"
MISFITS: list[tuple[dict[str, Any], str]] = [
    (
        {"format_version": 3},
        "has format version 3, this program reads up to 2; a newer seq2seq has written it: "
        "update with pip install --upgrade seq2seq-cli$",
    ),
    *(({"format_version": v}, f"version {v}, {NEVER}") for v in (0, -1, 1.0, True, 10**30)),
    *(({"format_version": v}, NEVER) for v in ("1", None, [1], {"a": 1}, "9" * 9999)),
    ({"format_version": 2}, "the sha256 inside is missing$"),
    ({"format_version": 2, "sha256": 5}, "the checksum inside is none: 5$"),
    ({"format_version": 2, "sha256": ""}, "the checksum inside is none: ''$"),
    ({"format_version": 2, "sha256": "a" * 64}, "damaged: .* the checksum differs; copy it again$"),
    ({"sha256": "a" * 64}, "the sha256 inside should not be there$"),
    ({"more": 1}, "the more inside should not be there$"),
    ({"m" * 9999: 1}, "the m{199}… inside should not be there$"),
    ({"vocabularies": "shared"}, "the vocabularies inside do not fit the config inside$"),
    ({"vocabularies": []}, "the vocabularies inside do not fit the config inside$"),
    ({"config": {"data": {}, "modell": {}}}, "the config inside does not fit: modell"),
    ({"config": {"data": {}, "m" * 9999: {}}}, "the config inside does not fit: m{199}…$"),
    ({"config": None}, "the config inside does not fit: Input should be an object$"),
    ({"config": []}, "the config inside does not fit: Input should be an object$"),
    (changed("model.encoder.hidden_size", 10**12), r"model\.encoder\.hidden_size: .* 65536$"),
    (changed("model.encoder.hidden_size", 1.0), r"model\.encoder\.hidden_size: .* integer$"),
    (changed("model.encoder.num_layers", True), r"model\.encoder\.num_layers: .* integer$"),
    (changed("model.encoder.num_layers", 10**9), r"model\.encoder\.num_layers: .* 64$"),
    (changed("model.layer_norm", 1), r"model\.layer_norm: .* boolean$"),
    (changed("name", "../x"), "the config inside does not fit: name"),
    (changed("name", "\ud800"), "the config inside does not fit"),
    (changed("decoding.beam_size", float("1e400")), "not a model file of this program$"),
    (changed("decoding.beam_size", float("nan")), "not a model file of this program$"),
    # Nothing of that size is made: it would not fit into this computer.
    (
        changed("model.decoder.embedding_dim", 65536),
        r"is float32 \(.*, it should be float32 \(.*65536",
    ),
    (changed("model.encoder.num_layers", 64), r"model\.\S+ is missing$"),
    (
        {"model.decoder.output.bias": None},
        r"config inside: model\.decoder\.output\.bias is missing$",
    ),
    (
        {"model.decoder.output.bias": torch.zeros(3)},
        r"decoder.output.bias is float32 \(3,\), it should be float32 \(19,\)",
    ),
    ({"model.decoder.output.bias": torch.zeros(19).half()}, r"bias is float16 \(19,\), it should"),
    ({"model.decoder.output.bias": torch.zeros(19).bfloat16()}, r"bias is Bfloat16 \(19,\)"),
    ({"model.decoder.output.bias": torch.zeros(19, dtype=torch.int32)}, r"bias is I32 \(19,\)"),
    ({"model.decoder.output.bias": torch.zeros([1] * 999)}, r"bias is float32 \(1, 1, .*…, it"),
    *(
        ({"model.decoder.output.bias": torch.tensor([value, *[0.0] * 18])}, NOT_FINITE)
        for value in (math.nan, math.inf, -math.inf)
    ),
    ({"model.surplus": torch.zeros(1)}, r"config inside: model\.surplus should not be there$"),
    ({"vocabulary.more": text(b"a")}, r"config inside: vocabulary\.more should not be there$"),
    ({"vocabulary.source": None}, "vocabulary.source inside is missing$"),
    ({"vocabulary.source": torch.zeros(3)}, "vocabulary.source inside is missing$"),
    ({"vocabulary.source": torch.zeros(3, 3).byte()}, "vocabulary.source inside is missing$"),
    ({"vocabulary.target": text(b"x\nx")}, "names a word twice"),
    ({"vocabulary.target": text(b"x\n<eos>")}, "names a word twice"),
    ({"vocabulary.target": text(b"x\n\ny")}, "the vocabulary inside holds an empty word$"),
    ({"vocabulary.target": text(b"x\n")}, "the vocabulary inside holds an empty word$"),
    ({"vocabulary.target": text(b"\xff")}, "is not UTF-8"),
    (
        {"vocabulary.target": text(b"a\nb")},
        r"weight is float32 \(19, .* it should be float32 \(6, ",
    ),
    (
        changed("data.vocabulary.max_size", {"source": None, "target": 14}),
        "the vocabulary inside has 15 words, the config inside 14$",
    ),
    ({"tokenizer.source": None}, "tokenizer.source inside is missing$"),
    ({"tokenizer.source": text(SUBWORDS)}, "the tokenizer inside is of another kind than words$"),
    (changed("data.tokenizer", {"kind": "bpe"}), "the tokenizer inside is empty$"),
    (changed("data.tokenizer", {"kind": "unigram"}), "the tokenizer inside is empty$"),
    (
        changed("data.tokenizer", {"kind": "bpe", "size": 30})
        | {"tokenizer.source": text(SUBWORDS[:-9])},
        "the tokenizer inside is damaged$",
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISFITS)
def test_what_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    save_translator(path, words_translator())
    rewrite(path, **changes)

    with pytest.raises(ModelFileError, match=message) as caught:
        load_translator(path, CPU)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < len(str(path)) + 500


def in_one_file(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def with_metadata(metadata: str) -> bytes:
    return in_one_file(json.dumps({"__metadata__": {"seq2seq": metadata}}).encode())


SPAN = b'{"x":{"dtype":"F32","shape":[%s],"data_offsets":[%s]}}'
FOREIGN = "not a model file of this program$"
NO_HEADER = "damaged, or not a model file: its [0-9,]+ bytes hold no whole header$"
UNREAL = "damaged, or not a model file: "
FOREIGN_FILES: list[tuple[bytes, str]] = [
    (b"", NO_HEADER),
    (b"\0" * 7, NO_HEADER),
    (b"junk junk junk", NO_HEADER),
    (b"PK\x03\x04" + bytes(1000), NO_HEADER),
    ((1 << 60).to_bytes(8, "little") + b"{}", NO_HEADER),
    ((100).to_bytes(8, "little") + b"{}", NO_HEADER),
    (bytes(8), UNREAL),
    (in_one_file(b"{}"), FOREIGN),
    (in_one_file(b"[]"), UNREAL),
    (in_one_file(b"{} {}"), UNREAL),
    (in_one_file(b"\xff\xfe"), UNREAL),
    (in_one_file(b"[" * 100_000), UNREAL),
    (in_one_file(b" " * ((16 << 20) + 1)), NO_HEADER),
    (in_one_file(b"{}", b"trailing"), UNREAL),
    (in_one_file(SPAN % (b"1", b"0,4"), bytes(4)), FOREIGN),
    (in_one_file(SPAN % (b"1", b"0,4"), bytes(3)), UNREAL),
    (in_one_file(SPAN % (b"1", b"0,4"), bytes(5)), UNREAL),
    (in_one_file(SPAN % (b"1", b"4,8"), bytes(8)), UNREAL),
    (in_one_file(SPAN % (b"1", b"4,0"), bytes(4)), UNREAL),
    (in_one_file(SPAN % (b"-1", b"0,4"), bytes(4)), UNREAL),
    (in_one_file(SPAN % (b"4611686018427387905", b"0,4"), bytes(4)), UNREAL),
    (in_one_file(SPAN % (b"4294967296,4294967296,1", b"0,0")), UNREAL),
    (in_one_file(SPAN.replace(b"F32", b"X" * 9999) % (b"1", b"0,4"), bytes(4)), UNREAL),
    *(
        (with_metadata(metadata), FOREIGN)
        for metadata in (
            "",
            "{",
            "null",
            "[]",
            '"format_version"',
            "{}",
            '{"format_version": NaN}',
            '{"format_version": 1, "format_version": 1}',
            '{"format_version": 1, "config": {"a": 1, "a": 2}}',
            '{"format_version": %s}' % ("9" * 5000),
            *('{"format_version": ' + "[" * depth + "]" * depth + "}" for depth in (2000, 100_000)),
        )
    ),
    *(
        (with_metadata('{"format_version": ' + "[" * depth + "]" * depth + "}"), "")
        for depth in range(100, 1000, 50)
    ),
    *(
        (
            with_metadata(
                '{"format_version": 1, "vocabularies": "shared", "config": '
                + '{"data": ' * depth
                + "}" * (depth + 1)
            ),
            "",
        )
        for depth in range(100, 1000, 50)
    ),
    (
        in_one_file(b'{"__metadata__":{"seq2seq":"{\\"format_version\\":1}","format":"pt"}}'),
        "the config inside is missing$",
    ),
]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    for content, message in FOREIGN_FILES:
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=f"^{path}: {message}") as caught:
            load_translator(path, CPU)
        assert len(str(caught.value)) < len(str(path)) + 500


def test_entries_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_translator(path, words_translator())
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    safetensors.torch.save_file(
        safetensors.torch.load_file(path), path, metadata | {"format": "pt"}
    )

    with pytest.raises(ModelFileError, match=r"the metadata entry format should not be there$"):
        load_translator(path, CPU)


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, whole, unreadable = (tmp_path / name for name in ("pipe", "whole", "unreadable"))
    os.mkfifo(pipe)
    save_translator(whole, words_translator())
    unreadable.write_bytes(whole.read_bytes())
    unreadable.chmod(0)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, message in [
        (tmp_path / "nowhere", "no such file"),
        (tmp_path, "not a model file: it is a folder"),
        (pipe, "not a model file: it is no regular file"),
        (Path("/dev/zero"), "not a model file: it is no regular file"),
        (loop, "cannot be read: Too many levels of symbolic links"),
        (whole / "inner", "cannot be read: Not a directory"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
        *([(unreadable, "cannot be read: Permission denied")] if os.geteuid() else []),
    ]:
        with pytest.raises(ModelFileError, match=f"^{path}: {message}$"):
            load_translator(path, CPU)
    monkeypatch.setattr(model_file, "_MAX_FILE_BYTES", 1000)
    with pytest.raises(ModelFileError, match=r"not a model file: larger than 1,000 bytes$"):
        load_translator(whole, CPU)
    monkeypatch.undo()
    monkeypatch.setattr(model_file, "_MAX_TEXT_BYTES", 10)
    with pytest.raises(ModelFileError, match=r"vocabulary.source inside is larger than 10 bytes$"):
        load_translator(whole, CPU)


# ---------------------------------------------------------------- files of other versions

KEPT = Path(__file__).parent / "kept"
# With a new version, load one of these and keep what it is saved as; the old ones stay as they are.
# Translations of three lines and their scores, and the score of "the dog" for "der Hund".
LINES = ["der Hund schläft.", "die Katze .", "the dog"]
EXPECTED: dict[str, tuple[list[str], list[float]]] = {
    "": (["cat cat cat", "cat", "<unk> <unk> dog"], [-7.04703, -3.52928, -6.40263, -6.75698]),
    "-bpe": (["orol", "oro", "oro"], [-8.66438, -6.88549, -7.05157, -32.86065]),
}


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
@pytest.mark.parametrize("kind", EXPECTED)
def test_kept_files_translate_as_they_did(version: int, kind: str, tmp_path: Path) -> None:
    path = KEPT / f"format-{version}{kind}.safetensors"
    translator = Translator.load([path], CPU)

    found = [translation.best for translation in translator.translate(LINES)]
    scores = translator.score([("der Hund", "the dog")])

    texts, numbers = EXPECTED[kind]
    assert [best.text for best in found] == texts
    assert [best.score for best in found] == pytest.approx(numbers[:3], abs=1e-4)
    assert [each.score for each in scores] == pytest.approx(numbers[3:], abs=1e-4)
    # What is read is written in the newest format, and nothing of it is lost.
    save_translator(tmp_path / "new", translator.file)
    newest = load_translator(tmp_path / "new", CPU)
    assert newest.config == translator.file.config
    save_translator(tmp_path / "again", newest)
    assert (tmp_path / "new").read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
def test_no_flipped_bit_goes_unnoticed(kind: str, step: int, tmp_path: Path) -> None:
    path = tmp_path / "m"
    data = (KEPT / f"format-{FORMAT_VERSION}{kind}.safetensors").read_bytes()
    for position in range(0, 8 * len(data), step):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(ModelFileError) as caught:
            load_translator(path, CPU)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", EXPECTED)
def test_no_cut_goes_unnoticed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    data = (KEPT / f"format-{FORMAT_VERSION}{kind}.safetensors").read_bytes()
    for length in range(0, len(data), 9):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match=f"^{path}: damaged, or not a model file: "):
            load_translator(path, CPU)


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

    with pytest.raises(
        ModelFileError, match=f"do not fit the config inside: model.{name} "
    ) as caught:
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
