"""The facade: an LVM is prompted with pictures and answers with pictures, scores and choices.

Letters beside the project's own: C candidates, F frames drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from openlvm.bundle import Bundle, load_bundle
from openlvm.core.images import Picture
from openlvm.prompting.engine.generate import generate
from openlvm.prompting.prompts import Pair, analogy_order, code_row, compose_order, encode, named
from openlvm.prompting.sampling import Sampling
from openlvm.prompting.scoring import option_log_probs, perplexity, target_log_probs


@dataclass(frozen=True, eq=False)
class Answer:
    """What was drawn."""

    images: np.ndarray
    """uint8 [C, F, H, W, 3]."""
    codes: np.ndarray
    """int64 [C, F, N]."""
    log_probs: np.ndarray
    """float32 [C, F, N]: natural logarithm of each code's probability at temperature 1, over the K codes."""


@dataclass(frozen=True)
class Choice:
    """Which option fits best."""

    index: int
    """Of the option with the lowest perplexity."""
    perplexities: tuple[float, ...]
    """Of every option, in the order given."""


class LVM:
    """A large vision model: give it pictures, and it draws what comes next.

    Pictures are given as paths, PIL images or uint8 arrays [H, W, 3] of any size. What decides chance is `seed` alone.
    """

    def __init__(self, bundle: Bundle):
        self.bundle = bundle
        self.sampling = Sampling(**bundle.meta.get("sampling", {}))
        """How codes are drawn unless a call says otherwise."""

    @classmethod
    def load(cls, name: Path | str = "mini", *, device: str = "cpu") -> "LVM":
        """An LVM by its place or name; the one that ships with the package needs neither network nor GPU.

        Args:
            name: "mini", the embedded LVM, or a bundle folder, such as the one that `openlvm demo --train` writes.
            device: where its weights lie: "cpu", "cuda".
        """
        return cls(load_bundle(name, device=device))

    def complete(
        self,
        images: Sequence[Picture],
        *,
        num_frames: int = 1,
        num_candidates: int = 1,
        seed: int = 0,
        sampling: Sampling | None = None,
        exact: bool = False,
    ) -> Answer:
        """Sequential prompting: the frames that follow a row of pictures.

        Args:
            images: at least one.
            num_frames: F, pictures to draw.
            num_candidates: C, independent answers.
            seed: of chance.
            sampling: how codes are drawn; by default as the bundle suggests (`meta["sampling"]` in lvm.json), or else
                from the model's own distribution (temperature 1).
            exact: the same bits whatever `num_candidates` is, at about C times the cost.
        """
        return self._draw(named(images, "images"), num_frames, num_candidates, seed, sampling, exact)

    def analogy(
        self,
        pairs: Sequence[Pair],
        query: Picture,
        *,
        num_candidates: int = 1,
        seed: int = 0,
        sampling: Sampling | None = None,
        exact: bool = False,
    ) -> Answer:
        """Analogy prompting: [(a, A), (b, B)], c give a picture that is to c as A is to a; arguments as `complete`."""
        return self._draw(analogy_order(pairs, query), 1, num_candidates, seed, sampling, exact)

    def compose(
        self,
        groups: Sequence[Sequence[Pair]],
        query: Picture,
        *,
        num_candidates: int = 1,
        seed: int = 0,
        sampling: Sampling | None = None,
        exact: bool = False,
    ) -> Answer:
        """Compositional prompting: several tasks shown one after the other, then the query; arguments as `complete`.

        [[(a, A), (b, B)], [(a2, A2)]] and c are shown as a A b B a2 A2 c.
        """
        return self._draw(compose_order(groups, query), 1, num_candidates, seed, sampling, exact)

    def score(self, context: Sequence[Picture], target: Picture, *, restrict: bool = False) -> float:
        """Perplexity (natural base, mean over the target's codes) of a picture given those before it.

        Args:
            context: at least one picture, unless the model has a BOS.
            target: the picture that is scored.
            restrict: softmax over the K codes; by default over the whole vocabulary, as published.
        """
        row = torch.cat(
            [self._prompt(named(context, "context"), 1), encode({"target": target}, self.bundle.tokenizer)[0]]
        )
        num_targets = self.bundle.tokenizer.codes_per_image
        return perplexity(
            target_log_probs(self.bundle.decoder, row[None], num_targets, num_codes=self._num_codes(restrict))
        )

    def choose(self, context: Sequence[Picture], options: Sequence[Picture], *, restrict: bool = False) -> Choice:
        """The option that follows the context best: the one with the lowest perplexity; arguments as `score`."""
        given = named(options, "options")
        if len(given) < 2:
            raise ValueError(f"options has {len(given)} pictures; a choice needs at least two")
        codes = encode(given, self.bundle.tokenizer)  # [O, N]
        prompt = self._prompt(named(context, "context"), 1)
        scores = option_log_probs(self.bundle.decoder, prompt, codes, num_codes=self._num_codes(restrict))
        perplexities = tuple(perplexity(row) for row in scores)
        return Choice(int(np.argmin(perplexities)), perplexities)

    def _num_codes(self, restrict: bool) -> int | None:
        return self.bundle.tokenizer.codebook_size if restrict else None

    def _prompt(self, images: dict[str, Picture], num_more: int) -> torch.Tensor:
        """The row of codes of a prompt, if `num_more` images still fit behind it."""
        given, fit = len(images), self.bundle.images_in_context
        if num_more < 1:
            raise ValueError(f"num_frames={num_more} must be at least 1")
        if given + num_more > fit:
            raise ValueError(
                f"{given} images and {num_more} more do not fit: the context of {self.bundle.context} positions holds "
                f"{fit} images of {self.bundle.tokenizer.codes_per_image} codes. Give at most {max(0, fit - num_more)}"
            )
        if not given and self.bundle.special.bos is None:
            raise ValueError("no picture given; this model has no BOS, so it needs at least one to begin with")
        codes = encode(images, self.bundle.tokenizer) if given else torch.empty(0, dtype=torch.int64)
        return code_row(codes, self.bundle.special.bos)

    def _draw(
        self,
        images: dict[str, Picture],
        num_frames: int,
        num_candidates: int,
        seed: int,
        sampling: Sampling | None,
        exact: bool,
    ) -> Answer:
        tokenizer = self.bundle.tokenizer
        drawn = generate(
            self.bundle.decoder,
            [self._prompt(images, num_frames)],
            num_frames * tokenizer.codes_per_image,
            num_codes=tokenizer.codebook_size,
            sampling=self.sampling if sampling is None else sampling,
            seed=seed,
            num_candidates=num_candidates,
            exact=exact,
        )
        shape = (num_candidates, num_frames, tokenizer.codes_per_image)
        codes = drawn.codes.view(shape)  # [C, F, N]
        images_drawn = torch.stack([tokenizer.decode(frames) for frames in codes]).cpu().numpy()  # [C, F, H, W, 3]
        return Answer(images_drawn, codes.numpy(), drawn.log_probs.view(shape).numpy())
