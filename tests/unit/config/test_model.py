"""The keys of `model`: their defaults, their values, and what does not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seq2seq_cli.config import Config, TranslatorConfig
from seq2seq_cli.config.model import (
    AdditiveAttention,
    DotAttention,
    DropoutConfig,
    EncoderConfig,
    GeneralAttention,
    ModelConfig,
    NoAttention,
    PretrainedConfig,
    TrainedModelConfig,
)
from seq2seq_cli.config_file import dump_config, load_config, parse_override
from tests.unit.config.support import CORPUS, at, load, mistakes

SHARED = "data: {dataset: phrasebook, source: de, target: en, vocabulary: {shared: true}}\n"
KINDS = {"dot": DotAttention, "general": GeneralAttention, "additive": AdditiveAttention}
PLACES = ("before", "input_feeding", "deep", "every_layer")


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("encoder.residual", False),
        ("encoder.bidirectional", False),
        ("decoder.residual", False),
        ("decoder.attention", NoAttention()),
        ("layer_norm", False),
        ("tied_embeddings", "none"),
        ("dropout.embedding", 0.3),
        ("dropout.hidden", 0.3),
        ("dropout.output", 0.0),
        ("dropout.word", 0.0),
        ("dropout.variational", False),
        ("pretrained.source", None),
        ("pretrained.target", None),
    ],
)
def test_defaults(key: str, default: object) -> None:
    found = at(load(CORPUS), f"model.{key}")
    assert found == default
    assert type(found) is type(default)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Dropout: a number, or a mapping.
        ("dropout: 1.0", "2: model.dropout: must be less than 1, not 1.0"),
        ("dropout: -0.1", "2: model.dropout: must be at least 0, not -0.1"),
        ("dropout: nan", "2: model.dropout: must be a number, not 'nan'"),
        *[
            (
                f"dropout: {given}",
                "2: model.dropout: must be a number, or a mapping of keys "
                f"(embedding, hidden, output, word, variational), not {shown}",
            )
            for given, shown in [("x", "'x'"), ("true", "'true'"), ("[1]", "['1']"), ("''", "''")]
        ],
        *[
            (
                f"dropout:\n    hidden: 0\n    {name}: 1",
                f"4: model.dropout.{name}: must be less than 1, not 1",
            )
            for name in ("embedding", "output", "word")
        ],
        ("dropout:\n    hidden: 1", "3: model.dropout.hidden: must be less than 1, not 1"),
        ("dropout: {output: -1}", "2: model.dropout.output: must be at least 0, not -1"),
        ("dropout: {hidden:}", "2: model.dropout.hidden: must be a number, not nothing"),
        ("dropout: {outputs: 0}", "2: model.dropout.outputs: unknown key (did you mean output?)"),
        (
            "dropout: {variational: 0.5}",
            "2: model.dropout.variational: must be true or false, not 0.5",
        ),
        # Attention.
        (
            "decoder: {attention: {kind: addditive}}",
            "2: model.decoder.attention.kind: must be one of none, dot, general, additive, "
            "not 'addditive' (did you mean additive?)",
        ),
        *[
            (
                f"decoder:\n    attention: {{kind: {kind}, place: input-feeding}}",
                "3: model.decoder.attention.place: must be one of before, input_feeding, deep, "
                "every_layer, not 'input-feeding' (did you mean input_feeding?)",
            )
            for kind in KINDS
        ],
        (
            "decoder: {attention: additive}",
            "2: model.decoder.attention: must be a mapping of keys (kind, ...), not 'additive'; "
            "write {kind: additive}",
        ),
        *[
            (
                f"decoder: {{attention: {{{kind}place: deep}}}}",
                "2: model.decoder.attention.place: unknown key of kind none",
            )
            for kind in ("", "kind: none, ")
        ],
        (
            "encoder: {attention: {kind: dot}}",
            "2: model.encoder.attention: unknown key",
        ),
        # Residual connections.
        *[
            (
                f"{side}:\n    num_layers: 1\n    residual: true",
                f"2: model.{side}: residual goes from the second layer on, and num_layers is 1",
            )
            for side in ("encoder", "decoder")
        ],
        ("encoder: {residual: 1.5}", "2: model.encoder.residual: must be true or false, not 1.5"),
        ("layer_norm: 2", "2: model.layer_norm: must be true or false, not 2"),
        # Dot has one size.
        (
            "encoder: {hidden_size: 4}\n  decoder:\n    attention: {place: before, kind: dot}",
            "4: model.decoder.attention.kind: dot compares vectors of one size: "
            "decoder.hidden_size is 512, and the encoder has 4; "
            "general and additive fit any sizes",
        ),
        (
            "encoder: {bidirectional: true}\n  decoder: {attention: {kind: dot}}",
            "3: model.decoder.attention.kind: dot compares vectors of one size: "
            "decoder.hidden_size is 512, and the encoder has 512 in each of two directions; "
            "general and additive fit any sizes",
        ),
        # Tied embeddings.
        (
            "tied_embeddings: targets",
            "2: model.tied_embeddings: must be one of none, target, all, not 'targets' "
            "(did you mean target?)",
        ),
        (
            "tied_embeddings: true",
            "2: model.tied_embeddings: must be one of none, target, all, not 'true' "
            "(did you mean target?)",
        ),
        (
            "tied_embeddings: all",
            "2: model.tied_embeddings: all needs data.vocabulary.shared: true",
        ),
        (
            "encoder: {embedding_dim: 3}\n  tied_embeddings: all",
            "3: model.tied_embeddings: all needs one size: encoder.embedding_dim is 3, "
            "decoder.embedding_dim 256",
        ),
        # Files of word vectors.
        (
            "pretrained: none",
            "2: model.pretrained: must be a mapping of keys (source, target), not 'none'",
        ),
        ("pretrained: {target: ''}", "2: model.pretrained.target: must be the path of a file"),
        ('pretrained: {source: "a\\0"}', "2: model.pretrained.source: must be the path of a file"),
        (
            "pretrained: {trg: a.vec}",
            "2: model.pretrained.trg: unknown key (did you mean target?)",
        ),
    ],
)  # fmt: skip
def test_mistakes(lines: str, expected: str) -> None:
    assert mistakes(f"model:\n  {lines}\n{CORPUS}") == [f"c.yaml:{expected}"]


# ---------------------------------------------------------------- dropout


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0", DropoutConfig(embedding=0.0, hidden=0.0)),
        ("0.5", DropoutConfig(embedding=0.5, hidden=0.5)),
        ("5e-1", DropoutConfig(embedding=0.5, hidden=0.5)),
        ("", DropoutConfig(embedding=0.3, hidden=0.3)),
        ("{}", DropoutConfig(embedding=0.3, hidden=0.3)),
        # A key that is not there has its default, as everywhere.
        ("{output: .4}", DropoutConfig(embedding=0.3, hidden=0.3, output=0.4)),
        ("{embedding: 0, variational: true}", DropoutConfig(embedding=0.0, variational=True)),
        (
            "{embedding: 0.1, hidden: 0.2, output: 0.3, word: 0.4, variational: yes}",
            DropoutConfig(embedding=0.1, hidden=0.2, output=0.3, word=0.4, variational=True),
        ),
    ],
)
def test_dropout_is_a_number_for_two_places_or_a_mapping(
    given: str, expected: DropoutConfig
) -> None:
    config = load(f"{CORPUS}model:\n  dropout: {given}\n")
    assert config.model.dropout == expected
    assert load(CORPUS, f"model.dropout={given}").model.dropout == expected
    reloaded(config)


def test_a_rate_can_be_set_in_a_mapping_but_not_in_a_number() -> None:
    assert load(CORPUS, "model.dropout.word=0.1").model.dropout == DropoutConfig(word=0.1)
    text = f"{CORPUS}model: {{dropout: {{hidden: 0.2}}}}\n"
    expected = DropoutConfig(hidden=0.2, word=0.1)
    assert load(text, "model.dropout.word=0.1").model.dropout == expected
    assert mistakes(f"{CORPUS}model: {{dropout: 0.2}}\n", "model.dropout.word=0.1") == [
        "--set model.dropout.word: model.dropout is a value, it has no keys inside"
    ]


def test_a_wrong_number_for_two_places_is_one_mistake() -> None:
    assert mistakes(CORPUS, "model.dropout=1") == [
        "--set model.dropout: model.dropout: must be less than 1, not 1"
    ]
    # But each of two numbers is its own.
    assert mistakes(f"{CORPUS}model:\n  dropout:\n    embedding: 1\n    hidden: 1\n") == [
        "c.yaml:4: model.dropout.embedding: must be less than 1, not 1",
        "c.yaml:5: model.dropout.hidden: must be less than 1, not 1",
    ]


# ---------------------------------------------------------------- attention, sizes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [None, *PLACES])
def test_every_kind_of_attention_has_every_place(kind: str, place: str | None) -> None:
    given = f"{{kind: {kind}}}" if place is None else f"{{kind: {kind}, place: {place}}}"
    config = load(f"{CORPUS}model: {{decoder: {{attention: {given}}}}}\n")
    found = config.model.decoder.attention
    assert type(found) is KINDS[kind]
    assert found == KINDS[kind].model_validate({"place": place or "deep"})
    reloaded(config)


@pytest.mark.parametrize("given", ["", "{}", "{kind: none}"])
def test_no_attention(given: str) -> None:
    config = load(f"{CORPUS}model:\n  decoder:\n    attention: {given}\n")
    assert config.model.decoder.attention == NoAttention()
    reloaded(config)


@pytest.mark.parametrize(
    ("encoder", "decoder", "fit"),
    [
        ({"hidden_size": 8}, {"hidden_size": 8}, True),
        ({"hidden_size": 4, "bidirectional": True}, {"hidden_size": 8}, True),
        ({"hidden_size": 8, "bidirectional": True}, {"hidden_size": 8}, False),
        ({"hidden_size": 4}, {"hidden_size": 8}, False),
    ],
)
@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_only_dot_asks_for_one_size(
    encoder: dict[str, Any], decoder: dict[str, Any], fit: bool, kind: str
) -> None:
    given = {"encoder": encoder, "decoder": {**decoder, "attention": {"kind": kind}}}
    if fit or kind != "dot":
        ModelConfig.model_validate(given)
    else:
        with pytest.raises(ValueError, match=r"hidden_size is 8, and the encoder has [48]"):
            ModelConfig.model_validate(given)


@pytest.mark.parametrize(("bidirectional", "size"), [(False, 7), (True, 14)])
def test_the_output_of_two_directions_is_twice_as_wide(bidirectional: bool, size: int) -> None:
    assert EncoderConfig(hidden_size=7, bidirectional=bidirectional).output_size == size


def test_residual_goes_with_two_layers() -> None:
    sides = "{num_layers: 2, residual: true}"
    model = load(f"{CORPUS}model: {{encoder: {sides}, decoder: {sides}}}\n").model
    assert (model.encoder.residual, model.decoder.residual) == (True, True)


# ---------------------------------------------------------------- tied embeddings


def test_what_ties_need() -> None:
    assert load(SHARED, "model.tied_embeddings=all").model.tied_embeddings == "all"
    unequal = ("model.tied_embeddings=target", "model.encoder.embedding_dim=3")
    assert load(CORPUS, *unequal).model.tied_embeddings == "target"


def test_all_tied_is_refused_where_the_vocabulary_is_not_shared_and_where_sizes_differ() -> None:
    key = "--set model.tied_embeddings: model.tied_embeddings"
    for text, expected in [
        (CORPUS, "all needs data.vocabulary.shared: true"),
        (
            f"{SHARED}model: {{decoder: {{embedding_dim: 3}}}}\n",
            "all needs one size: encoder.embedding_dim is 256, decoder.embedding_dim 3",
        ),
    ]:
        assert mistakes(text, "model.tied_embeddings=all") == [f"{key}: {expected}"]


def test_all_tied_begins_with_the_vectors_of_the_target() -> None:
    text = f"{SHARED}model:\n  tied_embeddings: all\n  pretrained:\n"
    assert mistakes(f"{text}    target: b.vec\n    source: a.vec\n") == [
        "c.yaml:6: model.pretrained.source: tied_embeddings: all has one matrix for both sides, "
        "and it begins with pretrained.target"
    ]
    assert load(f"{text}    target: b.vec\n").model.pretrained.target == Path.cwd() / "b.vec"
    both = "{source: a.vec, target: b.vec}"
    model = load(CORPUS, "model.tied_embeddings=target", f"model.pretrained={both}").model
    assert model.pretrained.source == Path.cwd() / "a.vec"


# ---------------------------------------------------------------- files of word vectors


@pytest.mark.parametrize(
    ("overrides", "source", "target"),
    [
        ([], "conf/a.vec", "conf/../b.vec.gz"),
        (["model.pretrained={source: z.vec}"], "here/z.vec", None),
        (["model.pretrained.source=z.vec"], "here/z.vec", "conf/../b.vec.gz"),
        (["model.pretrained.target=~/z.vec"], "conf/a.vec", "home/z.vec"),
        (["model.pretrained.target=/z.vec"], "conf/a.vec", "/z.vec"),
        (["model.pretrained.source=null"], None, "conf/../b.vec.gz"),
        (["model.pretrained="], None, None),
        (["model={pretrained: {target: ../z.vec}}"], None, "here/../z.vec"),
        (["model.layer_norm=true", "data.limit=3"], "conf/a.vec", "conf/../b.vec.gz"),
    ],
)
def test_files_are_taken_from_the_configs_folder_or_from_where_one_stands(
    overrides: list[str],
    source: str | None,
    target: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "c.yaml"
    path.write_text(f"{CORPUS}model: {{pretrained: {{source: a.vec, target: ../b.vec.gz}}}}\n")
    config = load_config(str(path), map(parse_override, overrides))
    assert config.model.pretrained == PretrainedConfig(
        source=tmp_path / source if source else None,
        target=tmp_path / target if target else None,
    )
    reloaded(config)


def test_files_at_home_and_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    text = f"{CORPUS}model: {{pretrained: {{source: ~/a.vec, target: /b.vec}}}}\n"
    assert load(text).model.pretrained == PretrainedConfig(
        source=tmp_path / "home" / "a.vec", target=Path("/b.vec")
    )


def test_a_translator_knows_no_file_of_word_vectors() -> None:
    config = load(f"{CORPUS}model: {{layer_norm: true, pretrained: {{source: secret.vec}}}}\n")
    assert type(config.model) is TrainedModelConfig
    kept = config.for_translator()
    assert type(kept) is TranslatorConfig
    assert type(kept.model) is ModelConfig
    assert kept.model.layer_norm is True
    text = kept.model_dump_json()
    assert "pretrained" not in text
    assert "secret" not in text
    assert str(Path.cwd()) not in text
    assert TranslatorConfig.model_validate_json(text) == kept


def reloaded(config: Config) -> None:
    """The resolved config, read anywhere else, is the same."""
    other = Path("elsewhere")
    other.mkdir(exist_ok=True)
    (other / "dumped.yaml").write_text(dump_config(config))
    assert load_config(str(other / "dumped.yaml")) == config
