"""The chunked cross entropy against torch's, with its gradients; the document mask against the rule."""

import pytest
import torch
import torch.nn.functional as F
from small_plans import small_task

from openlvm.training.decoder.loss import block_mask, document_mask, next_code_loss


def drawn(num_rows: int = 37, width: int = 12, vocab: int = 29):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_rows, width, generator=generator, requires_grad=True)
    table = torch.randn(vocab, width, generator=generator, requires_grad=True)
    targets = torch.randint(vocab, (num_rows,), generator=generator)
    weights = torch.rand(num_rows, generator=generator)
    return hidden, table, targets, weights


@pytest.mark.parametrize("chunk_rows", [1, 8, 37, 64])
def test_next_code_loss_matches_torch_cross_entropy(chunk_rows):
    ours, theirs = drawn(), drawn()
    total, losses = next_code_loss(*ours, chunk_rows=chunk_rows)
    hidden, table, targets, weights = theirs
    expected = F.cross_entropy(hidden @ table.T, targets, reduction="none")
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(total, (expected * weights).sum(), rtol=1e-6, atol=1e-6)
    (total / 3).backward()
    ((expected * weights).sum() / 3).backward()
    for left, right in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-5, atol=1e-6)


def test_next_code_loss_limits():
    """Certain and right is 0; knowing nothing is ln V."""
    targets, weights = torch.tensor([2]), torch.ones(1)
    assert next_code_loss(torch.full((1, 8), 100.0), torch.eye(8)[:, :8] * 0, targets, weights)[0] == pytest.approx(
        torch.tensor(8.0).log().item()
    )
    assert next_code_loss(100 * torch.eye(8)[2:3], torch.eye(8), targets, weights)[0] == pytest.approx(0, abs=1e-6)


def test_next_code_loss_takes_autocasts_dtype():
    hidden, table, targets, weights = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = next_code_loss(hidden, table, targets, weights)
    expected, _ = next_code_loss(hidden.bfloat16().float(), table.bfloat16().float(), targets, weights)
    assert total != next_code_loss(hidden, table, targets, weights)[0]
    torch.testing.assert_close(total, expected, rtol=5e-3, atol=0)
    total.backward()
    assert hidden.grad.dtype == table.grad.dtype == torch.float32


def test_document_mask_matches_the_rule():
    documents = torch.tensor([[0, 0, 1, 1, 1, -1, -1]], dtype=torch.int32)
    seen = document_mask(documents)[0, 0]
    for query in range(7):
        for key in range(7):
            assert seen[query, key] == (key <= query and documents[0, key] == documents[0, query])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()  # FlexAttention has no backward on a CPU
def test_block_mask_equals_the_boolean_mask_on_cpu():
    task = small_task("packed", per_forward=3)
    task.decoder.requires_grad_(False)
    data = task.micro_batches(0, range(3))[0].data.tensors
    masks = (document_mask(data["documents"]), block_mask(data["documents"]))
    dense, flex = (task.decoder.hidden(data["inputs"], mask=mask, positions=data["positions"]) for mask in masks)
    torch.testing.assert_close(flex, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_block_mask_equals_the_boolean_mask():
    from torch.nn.attention.flex_attention import create_mask, flex_attention

    documents = torch.arange(512).div(100, rounding_mode="floor").int()[None].repeat(2, 1)
    block, dense = document_mask(documents.cuda()), document_mask(documents).cuda()
    q, k, v = torch.randn(3, 2, 4, 512, 32, device="cuda")
    mixed = torch.compile(flex_attention)(q, k, v, block_mask=block)
    torch.testing.assert_close(mixed, F.scaled_dot_product_attention(q, k, v, attn_mask=dense), rtol=1e-2, atol=1e-2)
    assert torch.equal(create_mask(block.mask_mod, 2, 1, 512, 512, device="cuda"), dense)
