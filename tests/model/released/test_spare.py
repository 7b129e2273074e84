"""Spare rows tell which ids were trained: of a small decoder trained with BOS and EOS only; where they tell nothing."""

import pytest
import torch
import torch.nn.functional as F

from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import save_decoder
from openlvm.model.released.load import open_weights
from openlvm.model.released.spare import trained_ids, trained_rows

K, BOS, EOS = 24, 24, 25


def trained(steps: int, *, tied: bool = False) -> Decoder:
    """A decoder that learned to count from any code on, behind BOS, and to end."""
    config = DecoderConfig(
        vocab_size=K + 100, hidden_size=48, num_layers=1, num_heads=2, mlp_size=64, context=20, tie_embeddings=tied
    )
    decoder = Decoder(config, seed=3)
    optim = torch.optim.AdamW(decoder.parameters(), lr=3e-3, weight_decay=0.1, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(0)
    edge = torch.ones(8, 1, dtype=torch.int64)
    for _ in range(steps):
        codes = (torch.randint(0, K, (8, 1), generator=generator) + torch.arange(8)) % K
        logits = decoder(torch.cat([edge * BOS, codes], dim=1))
        loss = F.cross_entropy(logits.flatten(0, 1), torch.cat([codes, edge * EOS], dim=1).flatten())
        optim.zero_grad()
        loss.backward()
        optim.step()
    return decoder


@pytest.fixture(scope="module")
def decoder():
    return trained(150)


def test_trained_ids_are_those_of_the_training(decoder, tmp_path):
    save_decoder(decoder, tmp_path, dtype=torch.float16)
    found = trained_ids(open_weights(tmp_path), K)
    assert found["embedding"].ids == (BOS,)  # comes in, never asked for
    assert found["head"].ids == (EOS,)  # asked for, never comes in
    assert min(found["embedding"].spreads + found["head"].spreads) > 6
    assert found["head"].codes_seen > 0.9 and not found["head"].doubt
    with pytest.raises(ValueError, match="num_codes=125 must lie in 1 .. 124, the vocabulary"):
        trained_ids(open_weights(tmp_path), 125)


def test_one_table_tells_both(tmp_path):
    save_decoder(trained(60, tied=True), tmp_path)
    assert {name: set(one.ids) for name, one in trained_ids(open_weights(tmp_path), K).items()} == {"both": {BOS, EOS}}


def test_untrained_decoder_tells_nothing():
    fresh = trained(0)
    for table in (fresh.model.embed_tokens.weight, fresh.lm_head.weight):
        assert trained_rows(table.detach(), K).doubt.startswith("only 0% of the codes' own rows stand out")


def test_few_spare_rows_tell_nothing(decoder):
    table = decoder.lm_head.weight.detach()
    assert trained_rows(table[: K + 7], K).doubt == "7 spare rows, too few to compare"
    assert trained_rows(table[: K + 8], K).ids == (EOS,)
    assert trained_rows(table[:K], K).doubt == "0 spare rows, too few to compare"


def test_equal_spare_rows_are_untrained(decoder):
    """As those of a vocabulary made larger by zeros."""
    table = decoder.lm_head.weight.detach().clone()
    table[K:] = 0
    assert trained_rows(table, K).ids == ()
    table[BOS] = 1e-3
    assert trained_rows(table, K).ids == (BOS,)


def test_most_spare_rows_trained_is_the_stated_failure(decoder):
    """Then the untrained ones are the exception, and nothing in the table says which is which."""
    table = decoder.lm_head.weight.detach().clone()
    table[K : K + 80] = table[:K].repeat(4, 1)[:80]
    assert EOS not in trained_rows(table, K).ids
