"""An embedding that is the tokenizer's codebook behind a learned matrix, as in DeLVM, instead of a row for each code.

    row of code c   = vectors[c] @ matrix      vectors [K, C] as they are in the tokenizer; matrix [C, D] learned
    row of other ids = learned as usual

What is learned folds away: a decoder that is written down has the table [V, D] of any Llama. Letters: C channels.
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openlvm.core.seeds import nothing_drawn, seed_of
from openlvm.model.decoder import INIT_STD, Decoder

Embedding = Literal["table", "codebook"]
"""How codes come in: a learned row for each, or the tokenizer's codebook behind a learned matrix."""

_AT = "model.embed_tokens."  # of the embedding, in a decoder's state dict


class CodebookEmbedding(nn.Module):
    """Takes the place of a decoder's `nn.Embedding`.

    Args:
        vectors: float [K, C], the codebook.
        vocab_size: V, more than K.
        width: D.
        generator: CPU generator of the matrix and of the other ids' rows.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, *, vocab_size: int, width: int, generator: torch.Generator):
        super().__init__()
        if vectors.ndim != 2 or len(vectors) >= vocab_size:
            raise ValueError(f"code vectors must be [K, channels] with K < {vocab_size}, not {list(vectors.shape)}")
        given = vectors.detach().cpu().float()
        self.register_buffer("vectors", given.clone())
        self.matrix = nn.Embedding(given.shape[1], width)  # an embedding to the optimizer: AdamW, no decay
        self.others = nn.Embedding(vocab_size - len(given), width)
        with torch.no_grad():
            for part in (self.matrix, self.others):
                part.weight.copy_(torch.randn(part.weight.shape, generator=generator))
            self.matrix.weight.mul_(INIT_STD / (given @ self.matrix.weight).std())
            self.others.weight.mul_(INIT_STD)

    @property
    def weight(self) -> Tensor:
        """The whole table, float [V, D], with gradient."""
        return _folded(self.vectors, self.matrix.weight, self.others.weight)

    def forward(self, codes: Tensor) -> Tensor:
        """int64 [...] -> float [..., D]."""
        with torch.autocast(codes.device.type, enabled=False):
            return F.embedding(codes, self.weight)


def _folded(vectors: Tensor, matrix: Tensor, others: Tensor) -> Tensor:
    return torch.cat([vectors.to(matrix.dtype) @ matrix, others])


def freeze_codebook(decoder: Decoder, vectors: Tensor, *, seed: int) -> None:
    """Put a `CodebookEmbedding` over `vectors` float [K, C] into a fresh decoder, in place."""
    config = decoder.config
    if config.tie_embeddings:
        raise ValueError("embedding=codebook needs tie_embeddings=False: logits through a frozen table could not learn")
    generator = torch.Generator().manual_seed(seed_of("codebook embedding", seed) % 2**63)
    embedding = CodebookEmbedding(vectors, vocab_size=config.vocab_size, width=config.hidden_size, generator=generator)
    decoder.model.register_module("embed_tokens", embedding)


def has_codebook(decoder: Decoder) -> bool:
    """Whether its embedding is a `CodebookEmbedding`."""
    return isinstance(decoder.model.embed_tokens, CodebookEmbedding)


def folded_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A decoder's state dict with its embedding as one table; one without `CodebookEmbedding` as it is."""
    parts = [f"{_AT}{name}" for name in ("vectors", "matrix.weight", "others.weight")]
    if parts[0] not in state:
        return dict(state)
    kept = {name: value for name, value in state.items() if name not in parts}
    return {f"{_AT}weight": _folded(*(state[name].detach() for name in parts)), **kept}


def folded(decoder: Decoder) -> Decoder:
    """The same decoder with a plain embedding; itself if it has one."""
    if not has_codebook(decoder):
        return decoder
    with nothing_drawn(), torch.device("meta"):
        plain = Decoder(decoder.config)
    plain.load_state_dict(folded_state(decoder.state_dict()), assign=True)
    plain.model.build_rope(next(plain.parameters()).device)
    return plain.train(decoder.training)
