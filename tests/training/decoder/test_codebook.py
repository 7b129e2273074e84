"""The codebook as embedding: its rows, what learns, and that it folds into a plain decoder."""

import pytest
import torch
from small_plans import DrawnPlan, K, small_decoder, small_task

from openlvm.model.folder import load_decoder, save_decoder
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.codebook import folded, folded_state, freeze_codebook, has_codebook
from openlvm.training.decoder.starts import fresh_decoder
from openlvm.training.loop import train
from openlvm.training.optim import split_parameters

VECTORS = torch.randn(K, 6, generator=torch.Generator().manual_seed(0)) + 0.5


def with_codebook(seed: int = 0):
    return fresh_decoder(small_decoder().config, seed=seed, vectors=VECTORS, codes_per_image=None, embedding="codebook")


def test_rows_are_the_codebook_times_the_matrix():
    decoder = with_codebook()
    embedding = decoder.model.embed_tokens
    assert torch.linalg.matrix_rank(embedding.weight[:K].detach()) == 6 < torch.linalg.matrix_rank(embedding.weight)
    codes = torch.tensor([[3, K, K + 99]])
    rows = torch.stack([VECTORS[3] @ embedding.matrix.weight, embedding.others.weight[0], embedding.others.weight[99]])
    torch.testing.assert_close(embedding(codes)[0], rows)
    assert embedding.weight[:K].std().item() == pytest.approx(0.02, rel=1e-3)
    assert not torch.equal(with_codebook(1).model.embed_tokens.matrix.weight, embedding.matrix.weight)


def test_training_moves_the_matrix_and_not_the_codebook(tmp_path):
    """And the folded decoder is the same function, on disk too."""
    decoder = with_codebook()
    embedding = decoder.model.embed_tokens
    before = {name: value.clone() for name, value in embedding.state_dict().items()}
    config = TrainConfig(steps=3, positions_per_step=3, optim=OptimConfig(lr=1e-2), checkpoint_every=2)
    train(config, small_task(decoder=decoder, plan=DrawnPlan()), tmp_path / "run")
    after = embedding.state_dict()
    assert torch.equal(after["vectors"], VECTORS)
    assert all(not torch.equal(after[name], before[name]) for name in ("matrix.weight", "others.weight"))
    plain = folded(decoder)
    assert isinstance(plain.model.embed_tokens, torch.nn.Embedding) and not has_codebook(plain)
    save_decoder(plain, tmp_path / "decoder")
    codes = torch.randint(K, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for other in (plain, load_decoder(tmp_path / "decoder")):
            torch.testing.assert_close(other(codes), decoder(codes))
    resumed = with_codebook(seed=9)
    train(config, small_task(decoder=resumed, plan=DrawnPlan()), tmp_path / "run", resume=True)
    assert torch.equal(resumed.model.embed_tokens.weight, embedding.weight)


def test_the_matrix_is_an_embedding_to_the_optimizer():
    lists = split_parameters({"decoder": with_codebook()})
    embedding = {id(p) for p in with_codebook().model.embed_tokens.parameters()}
    assert len(lists["embeddings"]) == len(embedding) == 2


def test_folding_leaves_a_plain_decoder_alone():
    decoder = small_decoder()
    assert folded(decoder) is decoder
    assert folded_state(decoder.state_dict()).keys() == decoder.state_dict().keys()


def test_codebook_rejects_what_cannot_be():
    with pytest.raises(ValueError, match="needs tie_embeddings=False"):
        freeze_codebook(small_decoder(tie_embeddings=True), VECTORS, seed=0)
    with pytest.raises(ValueError, match=r"\[K, channels\] with K < 116, not \[116, 3\]"):
        freeze_codebook(small_decoder(), torch.zeros(116, 3), seed=0)
    with pytest.raises(ValueError, match="give vectors=code_vectors"):
        fresh_decoder(small_decoder().config, seed=0, vectors=None, codes_per_image=None, embedding="codebook")
