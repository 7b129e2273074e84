"""Starts of a decoder that save it from learning what is known beforehand; initializations only, nothing stays.

Letters: A heads, E channels of a head, N codes per image, K codebook size.
"""

import math
from collections.abc import Sequence

import torch

from openlvm.core.seeds import seed_of
from openlvm.model.decoder import INIT_STD, Block, Decoder, DecoderConfig
from openlvm.training.decoder.codebook import Embedding, freeze_codebook

PEAK = 20.0
"""Attention logit at the offset looked back to, 0 on average elsewhere: with rope_theta=100 and 64 channels a head
gives 0.6 of its attention to that code and 0.98 to it and its two neighbors; with the scales of model/grid.py 0.9
to that code alone, and most of the rest to the same place of older images."""


def fresh_decoder(
    config: DecoderConfig,
    *,
    seed: int,
    vectors: torch.Tensor | None,
    codes_per_image: int | None,
    embedding: Embedding = "table",
) -> Decoder:
    """A decoder with random weights and the starts of this file.

    Args:
        vectors: float [K, channels], the tokenizer's codebook: where the rows of a table start
            (`embedding_from_codebook`; None leaves it out), or what an embedding of kind "codebook" keeps.
        codes_per_image: N, for `look_back` to `same_place`; None leaves it out.
        embedding: as `DecoderTrainConfig.embedding`.
    """
    decoder = Decoder(config, seed=seed)
    if embedding == "codebook":
        if vectors is None:
            raise ValueError("embedding=codebook keeps the tokenizer's vectors: give vectors=code_vectors(tokenizer)")
        freeze_codebook(decoder, vectors, seed=seed)
    elif vectors is not None:
        generator = torch.Generator().manual_seed(seed_of("codebook start", seed) % 2**63)
        embedding_from_codebook(decoder, vectors, generator=generator)
    if codes_per_image is not None:
        look_back(decoder, same_place(codes_per_image))
    return decoder


@torch.no_grad()
def embedding_from_codebook(decoder: Decoder, vectors: torch.Tensor, *, generator: torch.Generator) -> None:
    """Start the embedding rows of the K codes from the tokenizer's code vectors, so that like codes begin alike.

    The vectors are centered, mapped to the decoder's width by a random matrix, and scaled to the std of all initial
    weights. (DeLVM keeps the codebook itself, frozen, behind a matrix: codebook.py.)

    Args:
        decoder: its first K embedding rows are replaced.
        vectors: float [K, channels], the tokenizer's codebook.
        generator: CPU generator of the random matrix.
    """
    table = decoder.model.embed_tokens.weight
    if vectors.ndim != 2 or len(vectors) > len(table):
        raise ValueError(f"code vectors must be [K, channels] with K <= {len(table)}, not {list(vectors.shape)}")
    centered = vectors.detach().cpu().float() - vectors.detach().cpu().float().mean(0)
    rows = centered @ torch.randn(vectors.shape[1], table.shape[1], generator=generator)  # [K, D]
    table[: len(rows)] = (rows * (INIT_STD / rows.std())).to(table)


def same_place(codes_per_image: int) -> tuple[tuple[int, ...], ...]:
    """Offsets for `look_back` with N codes per image on a square grid.

    At the code from which the next is predicted, N - 1 back is the next one's place in the image before, and grid - 1
    back the place above it. N back is a code's own place in the image before: where an answer's code learns what it is
    the answer to, so that later layers can find a like query and copy its answer.
    """
    grid = math.isqrt(codes_per_image)
    back = codes_per_image - 1
    return (back, codes_per_image, grid - 1), (back,), (back,)


@torch.no_grad()
def look_back(decoder: Decoder, offsets: Sequence[Sequence[int]]) -> None:
    """Let heads begin by attending to fixed offsets, for instance to the same place of the image before.

    The biases of query and key are set so that rotary positions make a logit of `PEAK` at t - s = offset and about 0
    elsewhere: with q at angle -theta_i * offset and k at angle 0 in every pair i, q R(s - t) k is a sum of
    cos(theta_i (t - s - offset)). What stands N - 1 codes back is, where a code is predicted, the code at the same
    place of the image before; a place is 1-D to a Llama, and finding it costs training (docs/log.md, 2026-11-21).

    Args:
        decoder: with attention_bias; small weights elsewhere leave the biases in charge.
        offsets: for each of the first layers, offsets of its first heads, at least 0.
    """
    config = decoder.config
    if not offsets:
        return
    if not config.attention_bias:
        raise ValueError("looking back needs attention_bias=True: the offsets are written into the biases")
    if len(offsets) > config.num_layers or max(map(len, offsets), default=0) > config.num_heads:
        raise ValueError(f"offsets {offsets} for {config.num_layers} layers of {config.num_heads} heads")
    half = config.head_dim // 2
    frequencies = config.rope_frequencies()
    size = math.sqrt(2 * PEAK / math.sqrt(config.head_dim))  # so that half * size^2 / sqrt(E) is the peak
    for block, of_heads in zip(decoder.model.layers, offsets, strict=False):
        assert isinstance(block, Block)
        query, key = block.self_attn.q_proj.bias, block.self_attn.k_proj.bias
        assert query is not None and key is not None
        for head, offset in enumerate(of_heads):
            start = head * config.head_dim
            query[start : start + half] = size * (frequencies * offset).cos()
            query[start + half : start + 2 * half] = -size * (frequencies * offset).sin()
            key[start : start + half] = size
            key[start + half : start + 2 * half] = 0.0
