"""Which ids behind the codes were ever trained: read off the rows that a checkpoint has for them.

The rule, for the table of embeddings and for that of the head, each by itself. Rows of ids that were never used are
draws of one distribution, shifted alike: nothing moves a row of the embedding that never comes in but weight decay, and
the softmax pushes all rows of the head that are never asked for the same way. So, of the spare rows:

    center  = their median, coordinate by coordinate
    far     = |row - center|, a norm
    typical = median of far
    spread  = the larger of 1.4826 * median |far - typical| and typical / sqrt(2 D), that of the norms of normal rows
    trained = |far - typical| > 6 spread

It fails, and says so where it can, when
- fewer than 8 rows are spare, or half of them and more were trained: then nothing tells what untrained looks like;
- the rows of codes do not stand out themselves: training was too short for the rule to see anything;
- both tables are one: "comes in" and "is asked for" cannot be told apart;
- training cut an endless stream of sentences: there BOS is also asked for and EOS also comes in: both tables name both;
- an id was used so rarely that its row moved less than the spread; or spare rows were set on purpose after training.
"""

import math
from dataclasses import dataclass

import torch

from openlvm.model.released.weights import Weights

MIN_SPARE = 8
FAR = 6.0  # spreads; of 100 normal rows none lies there by chance (1 table in 5 million)
SEEN = 0.5  # share of the codes' rows that must stand out for the rule to be believed


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What one table tells."""

    ids: tuple[int, ...]
    """Spare ids whose rows were trained, the farthest first; empty also where `doubt` says that nothing is told."""
    spreads: tuple[float, ...]
    """How far each of them lies from the untrained ones, in spreads."""
    codes_seen: float
    """Share of the rows of codes that stand out in the same way, 0 .. 1."""
    doubt: str
    """Why the table tells nothing; empty if it does."""


def trained_rows(table: torch.Tensor, num_codes: int) -> Trained:
    """Which spare rows of a table were trained.

    Args:
        table: float [V, D]; of the embedding or of the head.
        num_codes: K; rows from here on are spare.
    """
    num_spare = len(table) - num_codes
    if num_spare < MIN_SPARE:
        return Trained(ids=(), spreads=(), codes_seen=0.0, doubt=f"{num_spare} spare rows, too few to compare")
    spare = table[num_codes:].double()
    center = spare.median(dim=0).values  # [D]
    far = (spare - center).norm(dim=1)  # [V - K]
    typical = far.median()
    spread = max(1.4826 * (far - typical).abs().median().item(), typical.item() / math.sqrt(2 * table.shape[1]))
    spread = max(spread, 1e-12)  # rows all equal: whatever differs was trained

    def spreads_of(rows: torch.Tensor) -> torch.Tensor:
        return ((rows.double() - center).norm(dim=1) - typical).abs() / spread

    seen = (spreads_of(table[:num_codes]) > FAR).double().mean().item()
    if seen < SEEN:
        doubt = f"only {seen:.0%} of the codes' own rows stand out, so a trained row need not"
        return Trained(ids=(), spreads=(), codes_seen=seen, doubt=doubt)
    distance = spreads_of(spare)
    order = [n for n in distance.argsort(descending=True).tolist() if distance[n] > FAR]
    ids, spreads = tuple(num_codes + n for n in order), tuple(round(distance[n].item(), 1) for n in order)
    return Trained(ids=ids, spreads=spreads, codes_seen=seen, doubt="")


def trained_ids(weights: Weights, num_codes: int) -> dict[str, Trained]:
    """What the tables of a decoder tell: of "embedding" and "head", or of "both" where they are one."""
    if not 0 < num_codes <= weights.config.vocab_size:
        raise ValueError(f"num_codes={num_codes} must lie in 1 .. {weights.config.vocab_size}, the vocabulary")
    tables = {"embedding": "model.embed_tokens.weight", "head": "lm_head.weight"}
    if weights.config.tie_embeddings:
        tables = {"both": "model.embed_tokens.weight"}
    return {what: trained_rows(weights.read(name), num_codes) for what, name in tables.items()}
