"""Who answers: the protocol any model can fulfil, the LVM, and the tokenizer's ceiling."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from openlvm.evaluation.harness.questions import Likelihood, Question
from openlvm.evaluation.trials import encode_each_once
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import code_row
from openlvm.prompting.sampling import Sampling
from openlvm.prompting.scoring import log_probs_of, option_log_probs
from openlvm.tokenizer.interface import Tokenizer, fingerprint_of


@runtime_checkable
class Predictor(Protocol):
    """Anything that answers questions with pictures; a Painter, a diffusion model, a classical method, an LVM."""

    @property
    def name(self) -> str:
        """Its row in the tables; also a folder's name: letters, digits, "-", "_", "."."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides its answers, as JSON values; a run that was begun with another description is refused."""
        ...

    def answers(self, questions: Sequence[Question], *, seed: int) -> list[np.ndarray]:
        """A picture for each question, uint8 [H, W, 3] of any size; the same for the same questions and seed.

        The harness always asks the same questions together, however often a run is stopped and on however many
        processes it runs.
        """
        ...


@runtime_checkable
class Likelihoods(Protocol):
    """A predictor that can say how likely a picture is after others."""

    def likelihoods(self, questions: Sequence[Question]) -> list[Likelihood]:
        """Of the truth of each question, given its context."""
        ...


@runtime_checkable
class Choices(Protocol):
    """A predictor that can say how unlikely options are after other pictures."""

    def perplexities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """Of the options of each question, float64 [O], given its context.

        NaN where no picture is shown and the model cannot begin without one.
        """
        ...


class LVMPredictor:
    """An LVM under visual prompts."""

    def __init__(self, lvm: LVM, name: str, *, sampling: Sampling | None = None):
        self.lvm, self._name = lvm, name
        self.sampling = sampling or lvm.sampling

    @property
    def name(self) -> str:
        return self._name

    def describe(self) -> dict[str, Any]:
        return {
            "predictor": "lvm",
            "decoder": self._decoder,
            "parameters": self.lvm.bundle.decoder.config.num_parameters,
            "tokenizer": self.lvm.bundle.tokenizer.fingerprint,
            "sampling": vars(self.sampling),
        }

    @cached_property
    def _decoder(self) -> str:
        return fingerprint_of(self.lvm.bundle.decoder.state_dict(), {})

    def fits(self, question: Question) -> bool:
        """Whether the prompt and its answer fit into the model's context."""
        return len(question.context) + 1 <= self.lvm.bundle.images_in_context

    def answers(self, questions: Sequence[Question], *, seed: int) -> list[np.ndarray]:
        bundle = self.lvm.bundle
        drawn = generate(
            bundle.decoder, self._rows([question.context for question in questions]),
            bundle.tokenizer.codes_per_image,
            num_codes=bundle.tokenizer.codebook_size,
            sampling=self.sampling,
            seed=seed,
        )  # fmt: skip
        return decoded(bundle.tokenizer, drawn.codes[:, 0])

    def likelihoods(self, questions: Sequence[Question]) -> list[Likelihood]:
        decoder, num_codes = self.lvm.bundle.decoder, self.lvm.bundle.tokenizer.codes_per_image
        found = []
        for row in self._rows([[*question.context, _truth(question)] for question in questions]):
            codes = row[None].to(decoder.model.embed_tokens.weight.device)
            with torch.no_grad():
                hidden = decoder.hidden(codes[:, :-1], num_last=num_codes)  # [1, N, D]
                is_top = decoder.head(hidden[0])[None].argmax(dim=-1) == codes[:, -num_codes:]
                log_probs = log_probs_of(decoder, hidden, codes[:, -num_codes:], None)
            found.append(Likelihood(log_probs[0].double().cpu().numpy(), is_top[0].cpu().numpy()))
        return found

    def perplexities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        bundle = self.lvm.bundle
        codes = self._codes([[*question.context, *question.options] for question in questions])
        found = []
        for question, images in zip(questions, codes, strict=True):
            shown = len(question.context)
            if not shown and bundle.special.bos is None:
                found.append(np.full(len(question.options), np.nan))
                continue
            prompt = code_row(images[:shown], bundle.special.bos)
            scores = option_log_probs(bundle.decoder, prompt, images[shown:])  # [O, N]
            found.append(np.exp(-scores.double().mean(dim=1).numpy()))
        return found

    def _codes(self, prompts: Sequence[Sequence[np.ndarray]]) -> list[torch.Tensor]:
        tokenizer = self.lvm.bundle.tokenizer
        prepared: dict[int, np.ndarray] = {}  # the same picture stays the same array: encoded once
        for picture in (picture for prompt in prompts for picture in prompt):
            prepared.setdefault(id(picture), tokenizer.preparation(picture))
        return encode_each_once(tokenizer, [[prepared[id(picture)] for picture in prompt] for prompt in prompts])

    def _rows(self, prompts: Sequence[Sequence[np.ndarray]]) -> list[torch.Tensor]:
        return [code_row(codes, self.lvm.bundle.special.bos) for codes in self._codes(prompts)]


class Ceiling:
    """The truth after a tokenizer's encoding and decoding: no model that draws with it can be expected to do better."""

    def __init__(self, tokenizer: Tokenizer, name: str = "ceiling"):
        self.tokenizer, self.name = tokenizer, name

    def describe(self) -> dict[str, Any]:
        return {"predictor": "ceiling", "tokenizer": self.tokenizer.fingerprint}

    def answers(self, questions: Sequence[Question], *, seed: int) -> list[np.ndarray]:
        prepared = [[self.tokenizer.preparation(_truth(question))] for question in questions]
        return decoded(self.tokenizer, torch.cat(encode_each_once(self.tokenizer, prepared)))


def decoded(tokenizer: Tokenizer, codes: torch.Tensor, at_once: int = 64) -> list[np.ndarray]:
    """Pictures uint8 [size, size, 3] of codes int64 [B, N]."""
    return list(torch.cat([tokenizer.decode(some).cpu() for some in codes.split(at_once)]).numpy())


def _truth(question: Question) -> np.ndarray:
    if question.truth is None:
        raise ValueError("the question has no true picture")
    return question.truth
