"""Distillation: a student also learns what a larger decoder expects next (DeLVM, arXiv 2402.04841).

    loss of a target = weight of its role * (cross entropy + weight * T^2 * KL(teacher || student))

Both distributions are softmax(logits / T) over the whole vocabulary. DeLVM's release: weight 1, T 1, every position.
Letters beside the project's own: M targets, m of one chunk, k codes kept of the teacher.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from openlvm.bundle import SpecialIds, load_bundle
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import CONFIG, load_decoder
from openlvm.sentences.grammar import ROLES
from openlvm.training.decoder.cache import TeacherCache, digest_of

LEAST_REST = 1e-6
"""Probability that codes outside the k kept have together at least: a teacher sure of its k leaves nothing by rounding,
and the logarithm of nothing is no number."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """What a student learns from a teacher, beside the next code itself."""

    teacher: str
    """A decoder folder, an LVM's folder, or an embedded LVM's name; over the same vocabulary as the student."""
    weight: float = 1.0
    """Of the divergence, against 1 of the cross entropy (DeLVM: 1)."""
    temperature: float = 1.0
    """T: both distributions are softened by it, and the divergence is multiplied by T^2 (DeLVM: 1)."""
    positions: Literal["all", "answer"] = "all"
    """Targets that learn from the teacher: all whose loss counts (DeLVM), or those of answers alone."""
    top_k: int | None = None
    """How many of the teacher's likeliest codes are kept apart; the rest is one lump. None keeps all (DeLVM)."""
    reverse: bool = False
    """KL(student || teacher) instead: the student keeps to what the teacher finds likely, and may leave some out."""
    cache: str = ""
    """Folder for the teacher's answers, 4 * top_k bytes a target: the first training writes them, others with the same
    teacher and sentences read them instead of running it. "" runs the teacher each time."""

    def __post_init__(self) -> None:
        if not (self.weight > 0 and self.temperature > 0):
            raise ValueError(f"distill.weight={self.weight} and distill.temperature={self.temperature} must be above 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"distill.top_k={self.top_k} must be at least 1; leave it out to keep all codes")
        if self.cache and self.top_k is None:
            raise ValueError(f"distill.cache={self.cache!r} needs distill.top_k; whole distributions are too large")


# --------------------------------------------------------------------------------------------------------- divergence


def divergence(student: Tensor, teacher: Tensor, *, temperature: float, reverse: bool) -> tuple[Tensor, Tensor]:
    """T^2 * KL(teacher || student) of each row, or with `reverse` T^2 * KL(student || teacher).

    Args:
        student, teacher: log-probabilities at temperature T, float32 [m, V].

    Returns:
        float32 [m]; and its gradient with respect to the student's logits (before the division by T), [m, V].
    """
    mass = student.exp()
    if reverse:
        gap = student - teacher
        distance = (mass * gap).sum(-1)
        return temperature**2 * distance, mass.mul_(gap.sub_(distance[:, None])).mul_(temperature)
    expected = teacher.exp()
    distance = (expected * (teacher - student)).sum(-1)
    return temperature**2 * distance, mass.sub_(expected).mul_(temperature)


def with_rest(codes: Tensor, log_probs: Tensor, student: Tensor) -> Tensor:
    """A whole distribution from a teacher's k likeliest codes, the rest shared out as the student does.

    With it, `divergence` and its gradient are those between k + 1 outcomes: the k codes, and all others as one.

    Args:
        codes: int64 [m, k]; the teacher's likeliest.
        log_probs: float32 [m, k], theirs.
        student: log-probabilities, float32 [m, V].

    Returns:
        log-probabilities, float32 [m, V].
    """
    rest = (1 - log_probs.exp().sum(-1, keepdim=True)).clamp_min(LEAST_REST)  # [m, 1]
    total = torch.logaddexp(log_probs.logsumexp(-1, keepdim=True), rest.log())  # 0 up to rounding
    others = student.scatter(1, codes, -torch.inf).logsumexp(-1, keepdim=True)  # [m, 1]
    return (student + (rest.log() - total - others)).scatter(1, codes, log_probs - total)


# ------------------------------------------------------------------------------------------------------------ teacher


@dataclass(frozen=True)
class Answers:
    """What a teacher says at M targets: states before its head, float [M, D], or its k likeliest codes, [M, k]."""

    states: Tensor | None = None
    codes: Tensor | None = None
    log_probs: Tensor | None = None


class Teacher:
    """A decoder that is asked, never trained.

    Args:
        decoder: over the student's vocabulary.
        config: what is learned of it.
        sentences: what decides the sentences at the positions of a run, as JSON values; for the cache.
        compile: run it through torch.compile; FlexAttention (packed on CUDA) needs it.
    """

    def __init__(
        self,
        decoder: Decoder,
        config: DistillConfig,
        *,
        sentences: Mapping[str, Any] | None = None,
        compile: bool = False,
    ):
        self.decoder = decoder.eval().requires_grad_(False)
        self.config, self.sentences = config, dict(sentences or {})
        self.cache: TeacherCache | None = None
        self.hidden = torch.compile(decoder.hidden, dynamic=False) if compile else decoder.hidden

    @cached_property
    def digest(self) -> str:
        """Of its weights."""
        return digest_of(self.decoder)

    def open_cache(self, *, num_positions: int, per_position: int) -> None:
        """Begin or go on with the cache, if the config names one; sizes as in `TeacherCache`."""
        if not self.config.cache:
            return
        assert self.config.top_k is not None
        teacher = {"teacher": self.digest, "temperature": self.config.temperature}
        self.cache = TeacherCache(
            self.config.cache, asked={**teacher, **self.sentences}, num_positions=num_positions,
            per_position=per_position, top_k=self.config.top_k,
        )  # fmt: skip

    @torch.no_grad()
    def answers(
        self, data: dict[str, Tensor], mask: Any, *, positions: Sequence[int], places: np.ndarray, chunk_rows: int
    ) -> Answers:
        """What it says at the counted targets of a micro-batch.

        Args:
            data: inputs int64 [B, T]; counted int64 [M] if not all; positions of packed rows; on the device.
            mask: of packed rows.
            positions: of the plan that the micro-batch holds.
            places: int64 [M], of the targets in the cache.
            chunk_rows: targets whose logits are in memory at once.
        """
        device = data["inputs"].device
        if self.cache is not None and self.cache.holds(positions):
            return _on(device, *self.cache.read(places))
        self.decoder.to(device)
        states = self.hidden(data["inputs"], mask=mask, positions=data.get("positions")).flatten(0, 1)  # [B * T, D]
        if "counted" in data:
            states = states.index_select(0, data["counted"])  # [M, D]
        if self.config.top_k is None:
            return Answers(states=states)
        likeliest = [self._log_probs(chunk).topk(self.config.top_k) for chunk in states.split(chunk_rows)]
        codes = torch.cat([chunk.indices for chunk in likeliest])  # [M, k]
        log_probs = torch.cat([chunk.values for chunk in likeliest])
        if self.cache is None:
            return Answers(codes=codes, log_probs=log_probs)
        kept = codes.cpu().numpy().astype(np.uint16), log_probs.cpu().numpy().astype(np.float16)
        self.cache.write(positions, places, *kept)
        return _on(device, *kept)  # as rounded as the next training reads them

    def _log_probs(self, states: Tensor) -> Tensor:
        """At the config's temperature, float32 [m, V]; products in the dtype of the states."""
        decoder = self.decoder
        table = decoder.model.embed_tokens.weight if decoder.config.tie_embeddings else decoder.lm_head.weight
        with torch.autocast(states.device.type, enabled=False):
            return ((states @ table.to(states.dtype).T).float() / self.config.temperature).log_softmax(-1)

    def term(self, answers: Answers) -> Callable[[Tensor, slice], tuple[Tensor, Tensor]]:
        """The divergence as a term of the loss (loss.LossTerm)."""
        config = self.config

        def divergence_of(log_probs: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
            softened = log_probs if config.temperature == 1 else (log_probs / config.temperature).log_softmax(-1)
            if answers.states is not None:
                teacher = self._log_probs(answers.states[rows])
            else:
                assert answers.codes is not None and answers.log_probs is not None
                teacher = with_rest(answers.codes[rows], answers.log_probs[rows], softened)
            return divergence(softened, teacher, temperature=config.temperature, reverse=config.reverse)

        return divergence_of

    def weights(self, weights: Tensor, roles: Tensor) -> Tensor:
        """Of the divergence at each target, float32 [M], from the loss weights and roles int64 [M] of the targets."""
        scaled = weights * self.config.weight
        return scaled * (roles == ROLES.index("answer")) if self.config.positions == "answer" else scaled


def _on(device: torch.device, codes: np.ndarray, log_probs: np.ndarray) -> Answers:
    return Answers(
        codes=torch.from_numpy(codes.astype(np.int64)).to(device),
        log_probs=torch.from_numpy(log_probs.astype(np.float32)).to(device),
    )


def load_teacher(
    config: DistillConfig, *, student: DecoderConfig, special: SpecialIds, codes_fingerprint: str, dtype: torch.dtype
) -> Decoder:
    """The teacher's decoder, on the CPU, after making sure that it speaks of the same ids.

    Args:
        config: says where it is.
        student: shape of the student.
        special: ids of the student's BOS, EOS and padding.
        codes_fingerprint: of the tokenizer of the student's sentences; a decoder folder alone cannot be compared.
        dtype: of its weights.
    """
    if (Path(config.teacher) / CONFIG).is_file():
        decoder = load_decoder(config.teacher, dtype=dtype)
    else:
        bundle = load_bundle(config.teacher)
        if bundle.tokenizer.codes_fingerprint != codes_fingerprint:
            raise ValueError(f"the teacher {config.teacher} learned the codes of another tokenizer than the stores'")
        if bundle.special != special:
            raise ValueError(f"the teacher {config.teacher} has {bundle.special}, the student {special}; use one set")
        decoder = bundle.decoder.to(dtype)
    theirs = decoder.config
    if theirs.vocab_size != student.vocab_size or theirs.context < student.context:
        raise ValueError(
            f"the teacher {config.teacher} has vocab_size={theirs.vocab_size} and context={theirs.context}, the "
            f"student {student.vocab_size} and {student.context}; a teacher needs the same ids and no less context"
        )
    if config.top_k is not None and config.top_k >= student.vocab_size:
        raise ValueError(f"distill.top_k={config.top_k} must be below vocab_size={student.vocab_size}; leave it out")
    if config.cache and student.vocab_size > 2**16:
        raise ValueError(f"distill.cache keeps ids of 16 bits; vocab_size={student.vocab_size} has longer ones")
    return decoder
