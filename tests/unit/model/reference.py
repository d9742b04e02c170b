"""The network as its equations write it: one sentence, one token, one vector at a time.

Nothing of the package is used but the names of its weights.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seq2seq_cli.config.model import ModelConfig

Weights = dict[str, Tensor]


class Read(NamedTuple):
    memory: list[Tensor]
    """The top layer's output for each token."""
    word_vectors: list[Tensor]
    """Of each token."""
    hidden: list[Tensor]
    """Each layer's at the sentence's end."""
    cell: list[Tensor]


class Written(NamedTuple):
    log_probs: Tensor
    """(time, vocabulary)"""
    attention: Tensor
    """(time, src_len); of no columns without attention"""


def linear(weights: Weights, name: str, inputs: Tensor) -> Tensor:
    product = weights[f"{name}.weight"] @ inputs
    return product + weights[f"{name}.bias"] if f"{name}.bias" in weights else product


def lstm_cell(
    weights: Weights, name: str, inputs: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    from_input = weights[f"{name}.weight_ih_l0"] @ inputs + weights[f"{name}.bias_ih_l0"]
    from_state = weights[f"{name}.weight_hh_l0"] @ hidden + weights[f"{name}.bias_hh_l0"]
    let_in, forget, candidate, let_out = (from_input + from_state).chunk(4)
    cell = forget.sigmoid() * cell + let_in.sigmoid() * candidate.tanh()
    return let_out.sigmoid() * cell.tanh(), cell


def normalise(weights: Weights, name: str, vector: Tensor) -> Tensor:
    """Layer normalisation where the model has weights for it."""
    if f"{name}.weight" not in weights:
        return vector
    centred = vector - vector.mean()
    scaled = centred / (centred.pow(2).mean() + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def read(weights: Weights, config: ModelConfig, src_ids: list[int]) -> Read:
    stack = config.encoder
    words = weights["encoder.embedding.weight"]
    scale = stack.embedding_dim**0.5 if config.tied_embeddings == "all" else 1.0
    vectors = outputs = [words[token] * scale for token in src_ids]
    hidden, cell = [], []
    for layer in range(stack.num_layers):
        seen, ends = [], []
        for direction in range(2 if stack.bidirectional else 1):
            order = 1 if direction == 0 else -1
            state = words.new_zeros(2, stack.hidden_size).unbind()
            states = []
            for vector in outputs[::order]:
                state = lstm_cell(weights, f"encoder.layers.{layer}.{direction}", vector, *state)
                states.append(state[0])
            seen.append(states[::order])
            ends.append(state)
        hidden.append(torch.cat([end[0] for end in ends]))
        cell.append(torch.cat([end[1] for end in ends]))
        above = [
            normalise(weights, f"encoder.norms.{layer}", torch.cat(both))
            for both in zip(*seen, strict=True)
        ]
        if stack.residual and layer > 0:
            above = [new + old for new, old in zip(above, outputs, strict=True)]
        outputs = above
    return Read(outputs, vectors, hidden, cell)


def attend(
    weights: Weights,
    name: str,
    kind: str,
    query: Tensor,
    memory: list[Tensor],
    values: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """The context, made of `values`, and the weights of the source tokens."""
    scores = []
    for vector in memory:
        if kind == "dot":  # Luong et al. 2015
            score = query @ vector
        elif kind == "general":
            score = query @ (weights[f"{name}.key.weight"] @ vector)
        else:  # Bahdanau et al. 2015
            key = weights[f"{name}.key.weight"] @ vector
            joined = linear(weights, f"{name}.query", query) + key
            score = weights[f"{name}.score.weight"][0] @ joined.tanh()
        scores.append(score)
    exponentials = torch.stack(scores).exp()
    shares = exponentials / exponentials.sum()
    context = torch.zeros_like(values[0])
    for share, vector in zip(shares, values, strict=True):
        context = context + share * vector
    return context, shares


def write(weights: Weights, config: ModelConfig, encoded: Read, trg_ids: list[int]) -> Written:
    """Feed every token; what is predicted after each, and where the decoder looked."""
    stack, is_tied = config.decoder, config.tied_embeddings != "none"
    kind, place = stack.attention.kind, getattr(stack.attention, "place", "none")
    is_deep = place in ("deep", "every_layer")
    memory = values = encoded.memory
    if getattr(stack.attention, "word_vectors", False):
        values = [torch.cat(both) for both in zip(memory, encoded.word_vectors, strict=True)]
    words = weights["decoder.embedding.weight"]
    output_layer = words if is_tied else weights["decoder.output.weight"]
    if "decoder.fixnorm.log_length" in weights:
        lengths = output_layer.pow(2).sum(dim=1, keepdim=True).sqrt()
        output_layer = output_layer / lengths * weights["decoder.fixnorm.log_length"].exp()
    hidden, cell = encoded.hidden, encoded.cell
    if "bridge.hidden.weight" in weights:
        count = stack.num_layers
        hidden = [*linear(weights, "bridge.hidden", torch.cat(hidden)).tanh().chunk(count)]
        cell = [*linear(weights, "bridge.cell", torch.cat(cell)).chunk(count)]
    hidden, cell = [*hidden], [*cell]
    read_last = words.new_zeros(stack.embedding_dim if is_tied else stack.hidden_size)
    context, looks = words.new_empty(0), []
    log_probs = []
    for token in trg_ids:
        word = words[token] * (stack.embedding_dim**0.5 if is_tied else 1.0)
        below = word
        if place == "before":
            context, look = attend(weights, "decoder.attention", kind, hidden[-1], memory, values)
            below = torch.cat([word, context])
        if place == "input_feeding":
            below = torch.cat([word, read_last])
        for layer in range(stack.num_layers):
            inputs = torch.cat([below, context]) if is_deep and layer > 0 else below
            name = f"decoder.lstm.layers.{layer}"
            hidden[layer], cell[layer] = lstm_cell(
                weights, name, inputs, hidden[layer], cell[layer]
            )
            output = normalise(weights, f"decoder.lstm.norms.{layer}", hidden[layer])
            below = output + below if stack.residual and layer > 0 else output
            if is_deep and (layer == 0 or place == "every_layer"):
                name = f"decoder.attentions_above.{layer - 1}" if layer else "decoder.attention"
                context, look = attend(weights, name, kind, below, memory, values)
        if place == "input_feeding":
            context, look = attend(weights, "decoder.attention", kind, below, memory, values)
        joined = [below] if place == "none" else [below, context]
        if place == "before":
            joined.append(word)
        read_last = torch.cat(joined)
        if "decoder.readout.weight" in weights:
            read_last = linear(weights, "decoder.readout", read_last).tanh()
        logits = output_layer @ read_last + weights["decoder.output.bias"]
        log_probs.append(logits - logits.exp().sum().log())
        looks.append(words.new_empty(0) if place == "none" else look)
    return Written(torch.stack(log_probs), torch.stack(looks))
