"""Distillation: divergences against torch's, a whole student's loss against the plain formula, cached answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_plans import SPECIAL, DrawnPlan, K, small_decoder, small_task

from openlvm.bundle import SpecialIds
from openlvm.model.folder import save_decoder
from openlvm.sentences.grammar import ROLES
from openlvm.training.decoder.cache import LOG_PROBS, META, TeacherCache, digest_of
from openlvm.training.decoder.distill import DistillConfig, Teacher, divergence, load_teacher, with_rest
from openlvm.training.decoder.loss import next_code_loss, next_code_loss_and_term

V = K + 100


def logits(seed: int, rows: int = 7, size: int = 23) -> torch.Tensor:
    return 3 * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_divergence_matches_torch(temperature, reverse):
    student, teacher = logits(0).requires_grad_(), logits(1)
    soft, wanted = (student / temperature).log_softmax(-1), (teacher / temperature).log_softmax(-1)
    pair = (wanted, soft) if reverse else (soft, wanted)
    expected = temperature**2 * F.kl_div(*pair, reduction="none", log_target=True).sum(-1)
    expected.sum().backward()
    distance, grad = divergence(soft.detach(), wanted, temperature=temperature, reverse=reverse)
    torch.testing.assert_close(distance, expected.detach())
    torch.testing.assert_close(grad, student.grad)


def test_divergence_limits():
    """Of itself it is nothing; of a sure teacher it is the cross entropy of the code it is sure of."""
    soft = logits(0).log_softmax(-1)
    for reverse in (False, True):
        distance, grad = divergence(soft, soft, temperature=1, reverse=reverse)
        assert distance.abs().max() < 1e-12 and grad.abs().max() < 1e-12
    sure = (1e3 * F.one_hot(torch.arange(7), 23).double()).log_softmax(-1)
    distance, _ = divergence(soft, sure, temperature=1, reverse=False)
    torch.testing.assert_close(distance, -soft[torch.arange(7), torch.arange(7)])


@pytest.mark.parametrize("reverse", [False, True])
def test_top_k_matches_the_divergence_of_k_codes_and_one_lump(reverse):
    student, teacher, k = logits(0).requires_grad_(), logits(1).log_softmax(-1), 5
    kept = teacher.topk(k)
    soft = student.log_softmax(-1)
    others = torch.ones_like(soft, dtype=torch.bool).scatter(1, kept.indices, False)

    def lumped(log_probs):
        rest = log_probs.masked_fill(~others, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.cat([log_probs.gather(1, kept.indices), rest], dim=1)

    pair = (lumped(teacher), lumped(soft)) if reverse else (lumped(soft), lumped(teacher))
    expected = F.kl_div(*pair, reduction="none", log_target=True).sum(-1)
    expected.sum().backward()
    whole = with_rest(kept.indices, kept.values, soft.detach())
    torch.testing.assert_close(whole.exp().sum(-1), torch.ones(7, dtype=torch.float64))
    distance, grad = divergence(soft.detach(), whole, temperature=1, reverse=reverse)
    torch.testing.assert_close(distance, expected.detach())
    torch.testing.assert_close(grad, student.grad)


def test_top_k_of_a_sure_teacher_is_a_number():
    log_probs = torch.tensor([[0.0, -20.0]])  # as rounded: together a little more than 1
    whole = with_rest(torch.tensor([[3, 1]]), log_probs, logits(0, rows=1).float().log_softmax(-1))
    assert whole.isfinite().all() and whole.exp().sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("chunk_rows", [3, 64])
def test_loss_with_a_term_matches_the_sum_of_both(chunk_rows):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(23, (11,), generator=generator)
    weights, term_weights = torch.rand(11, generator=generator), torch.rand(11, generator=generator)
    wanted = logits(3, rows=11).float().log_softmax(-1)

    def term(log_probs, rows):
        return divergence(log_probs, wanted[rows], temperature=1, reverse=False)

    grads = []
    for ours in (True, False):
        hidden, table = logits(1, 11, 6).float().requires_grad_(), logits(2, 23, 6).float().requires_grad_()
        if ours:
            total, losses, terms = next_code_loss_and_term(
                hidden, table, targets, weights, term=term, term_weights=term_weights, chunk_rows=chunk_rows
            )
            assert torch.equal(losses, next_code_loss(hidden, table, targets, weights, chunk_rows=chunk_rows)[1])
        else:
            soft = (hidden @ table.T).log_softmax(-1)
            expected_terms = F.kl_div(soft, wanted, reduction="none", log_target=True).sum(-1)
            torch.testing.assert_close(terms, expected_terms.detach(), rtol=1e-4, atol=1e-5)
            total = (F.nll_loss(soft, targets, reduction="none") * weights + expected_terms * term_weights).sum()
        total.backward()
        grads.append((total.detach(), hidden.grad, table.grad))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- whole students


def opinionated():
    """A wider decoder that is sure of itself, as trained ones are and fresh ones are not."""
    decoder = small_decoder(seed=5, hidden_size=48)
    with torch.no_grad():
        decoder.lm_head.weight.mul_(30)
    return decoder


def student_loss(config: DistillConfig, layout: str = "dense", **more):
    """A student's loss over six positions, its parts and its gradient, with an opinionated teacher."""
    teacher = Teacher(opinionated(), config)
    task = small_task(
        layout, teacher=teacher, plan=DrawnPlan(images=(4,) if layout == "stream" else (16, 4, 3)), **more
    )
    total, parts = 0.0, dict.fromkeys(task.part_names, 0.0)
    for batch in task.micro_batches(0, range(6)):
        loss = task.loss(batch)
        loss.total.backward()
        total += loss.total.item()
        for name, (part, weight) in loss.parts.items():
            parts[name] += np.array([float(part), float(weight)])
    return total, parts, torch.cat([p.grad.flatten() for p in task.decoder.parameters()]), task, teacher


def plain_loss(config: DistillConfig, task, teacher):
    """The same by the formula at the top of distill.py, sentence by sentence."""
    total = 0.0
    for position in range(6):
        sentences = task.plan.sentences(position)
        for codes in sentences.codes:
            row = torch.tensor([SPECIAL.bos, *codes, SPECIAL.eos])
            roles = np.repeat(sentences.roles[0], task.plan.codes_per_image)
            roles = torch.tensor([*roles, roles[-1]])
            ours, theirs = (decoder(row[None, :-1])[0] for decoder in (task.decoder, teacher.decoder))
            weights = torch.tensor([1.0, 0.5, 2.0])[roles]
            t = config.temperature
            pair = ((ours / t).log_softmax(-1), (theirs / t).log_softmax(-1))
            distance = t**2 * F.kl_div(*pair, reduction="none", log_target=True).sum(-1)
            learns = (roles == ROLES.index("answer")) | (config.positions == "all")
            entropy = F.cross_entropy(ours, row[1:], reduction="none")
            total = total + (weights * (entropy + config.weight * learns * distance)).sum()
    total.backward()
    return total.item(), torch.cat([p.grad.flatten() for p in task.decoder.parameters()])


@pytest.mark.parametrize("positions", ["all", "answer"])
@pytest.mark.parametrize("layout", ["dense", "packed"])
def test_students_loss_matches_the_plain_formula(layout, positions):
    config = DistillConfig(teacher="-", weight=0.7, temperature=2.0, positions=positions)
    total, parts, grad, task, teacher = student_loss(config, layout)
    task.decoder.zero_grad()
    expected, expected_grad = plain_loss(config, task, teacher)
    assert total == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-3, atol=1e-4)
    assert parts["next_code"][0] + parts["distill"][0] == pytest.approx(total, rel=1e-5)
    assert parts["next_code"][0] == pytest.approx(sum(parts[name][0] for name in task.plan.names), rel=1e-5)
    all_weights = sum(batch.weight for batch in task.micro_batches(0, range(6)))
    assert parts["distill"][1] == pytest.approx(0.7 * all_weights) if positions == "all" else parts["distill"][1] > 0


def test_a_teacher_equal_to_its_student_adds_nothing_and_learns_nothing():
    decoder = small_decoder()
    task = small_task(decoder=decoder, teacher=Teacher(small_decoder(), DistillConfig(teacher="-")))
    plain = small_task(decoder=small_decoder())
    batches = zip(task.micro_batches(0, range(4)), plain.micro_batches(0, range(4)), strict=True)
    for ours, theirs in batches:
        loss = task.loss(ours)
        loss.total.backward()
        assert loss.total.item() == pytest.approx(plain.loss(theirs).total.item(), rel=1e-6)
    assert all(p.grad is None for p in task.teacher.decoder.parameters())
    assert list(task.modules) == ["decoder"] and task.modules["decoder"] is decoder


@pytest.mark.parametrize("layout", ["dense", "packed", "stream"])
def test_cached_answers_equal_those_asked_for(layout, tmp_path):
    """The second training reads what the first wrote, in other micro-batches, and never runs its teacher."""
    config = DistillConfig(teacher="-", top_k=4, cache=str(tmp_path / "cache"))
    first = student_loss(config, layout)
    asked = student_loss(replace(config, cache=""), layout)
    assert first[0] == pytest.approx(asked[0], rel=2e-3)  # the cache rounds to float16
    assert abs(first[0] - asked[0]) > 0
    task, teacher = first[3:]
    again = Teacher(opinionated(), config)
    again.hidden = None  # would fail if it were run
    second = small_task(layout, teacher=again, plan=task.plan, per_forward=3)
    total = sum(second.loss(batch).total.item() for batch in second.micro_batches(0, range(6)))
    assert total == pytest.approx(first[0], rel=1e-6)


def test_cache_keeps_the_likeliest_codes_at_their_places(tmp_path):
    config = DistillConfig(teacher="-", top_k=3, temperature=2.0, cache=str(tmp_path))
    *_, task, teacher = student_loss(config)
    sentences = task.plan.sentences(1)  # of four images: 4 sentences of 17 targets
    codes, log_probs = teacher.cache.read(np.arange(4 * 17) + task.targets_per_position)
    rows = np.pad(sentences.codes, ((0, 0), (1, 0)), constant_values=SPECIAL.bos)
    with torch.no_grad():
        wanted = (teacher.decoder(torch.from_numpy(rows)) / 2).log_softmax(-1).flatten(0, 1).topk(3)
    assert np.array_equal(codes, wanted.indices.numpy())
    np.testing.assert_allclose(log_probs, wanted.values.numpy(), atol=5e-3)


def test_cache_rejects_another_teacher_other_sentences_and_damage(tmp_path):
    asked = {"teacher": digest_of(small_decoder()), "stores": {"a": "1"}}
    sizes = {"num_positions": 8, "per_position": 5, "top_k": 2}
    TeacherCache(tmp_path, asked=asked, **sizes)
    assert json.loads((tmp_path / META).read_text())["size"] == [8, 5, 2]
    TeacherCache(tmp_path, asked=asked, **sizes)
    other = {**asked, "teacher": digest_of(small_decoder(seed=1))}
    with pytest.raises(ValueError, match="written for another teacher; give another distill.cache or delete"):
        TeacherCache(tmp_path, asked=other, **sizes)
    with pytest.raises(ValueError, match="written for another size, stores"):
        TeacherCache(tmp_path, asked={**asked, "stores": {"a": "2"}}, **{**sizes, "top_k": 3})
    with open(tmp_path / LOG_PROBS, "r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"log_probs.f16 is 100 bytes, expected 160 bytes; delete"):
        TeacherCache(tmp_path, asked=asked, **sizes)


def test_distill_config_rejects_contradictions():
    with pytest.raises(ValueError, match="distill.weight=0 and distill.temperature=1.0 must be above 0"):
        DistillConfig(teacher="t", weight=0)
    with pytest.raises(ValueError, match="distill.top_k=0 must be at least 1"):
        DistillConfig(teacher="t", top_k=0)
    with pytest.raises(ValueError, match="needs distill.top_k"):
        DistillConfig(teacher="t", cache="somewhere")


def test_load_teacher_rejects_other_ids(tmp_path):
    student = small_decoder().config
    save_decoder(small_decoder(seed=3), tmp_path / "same")
    save_decoder(small_decoder(vocab_size=V + 1), tmp_path / "more")
    save_decoder(small_decoder(context=20), tmp_path / "short")

    def load(at: str, dtype=torch.float32, **changes):
        config = DistillConfig(teacher=at, **changes)
        return load_teacher(config, student=student, special=SPECIAL, codes_fingerprint="f", dtype=dtype)

    assert digest_of(load(str(tmp_path / "same"))) == digest_of(small_decoder(seed=3))
    assert load(str(tmp_path / "same"), torch.bfloat16).lm_head.weight.dtype == torch.bfloat16
    with pytest.raises(ValueError, match=f"has vocab_size={V + 1} and context=65, the student {V} and 65"):
        load(str(tmp_path / "more"))
    with pytest.raises(ValueError, match="no less context"):
        load(str(tmp_path / "short"))
    with pytest.raises(ValueError, match=f"distill.top_k={V} must be below vocab_size={V}"):
        load(str(tmp_path / "same"), top_k=V)
    with pytest.raises(FileNotFoundError, match="no LVM bundle at"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="learned the codes of another tokenizer"):
        load("mini")


def test_a_teachers_special_ids_must_be_the_students():
    from openlvm.bundle import load_bundle

    bundle = load_bundle("mini")
    fingerprint = bundle.tokenizer.codes_fingerprint
    wanted = {"student": bundle.decoder.config, "codes_fingerprint": fingerprint, "dtype": torch.float32}
    assert load_teacher(DistillConfig(teacher="mini"), special=bundle.special, **wanted).config == bundle.decoder.config
    with pytest.raises(ValueError, match="the teacher mini has SpecialIds"):
        load_teacher(DistillConfig(teacher="mini"), special=SpecialIds(), **wanted)
