"""The facade: an LVM is prompted with pictures and answers with pictures, scores and choices.

Letters beside the project's own: C candidates, F frames drawn.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from openlvm.bundle import Bundle, bundle_of_parts, load_bundle
from openlvm.core.images import Picture
from openlvm.core.picking import pick
from openlvm.model.packed import DTYPES, pack, with_dtype
from openlvm.model.released.load import RELEASED
from openlvm.prompting.answers import Answer, Choice
from openlvm.prompting.drawing import How, Wishes, answers_of, draw_apart, draw_together
from openlvm.prompting.examples import Example, nearest_examples
from openlvm.prompting.long import draw_long
from openlvm.prompting.prompts import (
    Pair,
    analogy_order,
    check_room,
    code_row,
    compose_order,
    counts_asked,
    encode_rows,
    named,
    orders_shown,
    pairs_in_order,
    span_of,
)
from openlvm.prompting.sampling import Sampling
from openlvm.prompting.scoring import OnRows, perplexity, row_log_probs
from openlvm.store.format import Store


class LVM:
    """A large vision model: give it pictures, and it draws what comes next.

    Pictures are given as paths, PIL images or uint8 arrays [H, W, 3] of any size. What decides chance is `seed` alone.

    Args:
        bundle: its decoder's weights are joined for drawing, in place (model/packed.py).
    """

    def __init__(self, bundle: Bundle):
        self.bundle = bundle
        pack(bundle.decoder)
        self.sampling = Sampling(**bundle.meta.get("sampling", {}))
        """How codes are drawn unless a call says otherwise."""

    @classmethod
    def load(
        cls,
        name: Path | str = "mini",
        *,
        tokenizer: Path | str | None = None,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> "LVM":
        """An LVM by its place or name; the one that ships with the package needs neither network nor GPU.

        Args:
            name: "mini", the embedded LVM, or a bundle folder, such as the one that `openlvm demo --train` writes; with
                a tokenizer, a decoder by itself, such as LVM's and DeLVM's released ones (`load_decoder`).
            tokenizer: the decoder's: a folder or a name ("lvm", "delvm"; `load_tokenizer`). Bundles have their own, and
                so has the released decoder "lvm_7b".
            device: where its weights lie: "cpu", "cuda".
            dtype: of the decoder's weights: "float32", "bfloat16" or "int8"; the last two change answers a little.
        """
        pick(DTYPES, dtype, "dtype")
        read_as = torch.float32 if dtype == "float32" else torch.bfloat16  # int8 is rounded from bfloat16
        if tokenizer is None and name in RELEASED and not Path(name).exists():
            tokenizer = RELEASED[str(name)].tokenizer
        if tokenizer is None:
            bundle = load_bundle(name, device=device, decoder_dtype=read_as)
        else:
            bundle = bundle_of_parts(tokenizer, name, device=device, decoder_dtype=read_as)
        with_dtype(bundle.decoder, dtype)
        return cls(bundle)

    def complete(
        self,
        images: Sequence[Picture],
        *,
        num_frames: int = 1,
        slide: bool = False,
        keep: int | None = None,
        reuse: bool = False,
        **how: Unpack[Wishes],
    ) -> Answer:
        """Sequential prompting: the frames that follow a row of pictures, however many.

        When the context is full, whole pictures are dropped from its front and the rest is read again.

        Args:
            images: at least one.
            num_frames: F, pictures to draw.
            slide: allow more pictures than fit beside one new one; the first of them are dropped.
            keep: pictures kept when the context is full; by default as many as fit beside one new one. Fewer are
                read again less often.
            reuse: keep what was computed for them instead of reading again: faster, and inexact, since it has seen the
                dropped pictures. `Answer.reuse_error` says by how much.
            how: `num_candidates`, `seed`, `sampling`, `exact`, `fast`, `ahead`, `on_codes`; see `Wishes`.
        """
        settled, given = How.of(self.sampling, how), [*named(images, "images").items()]
        span = span_of(self.bundle, len(given), num_frames, slide=slide, keep=keep)
        codes = self._encoded(dict(given[len(given) - span.num_shown :]))
        if not span.slides:
            drawn = draw_apart(self.bundle, [codes], num_frames, settled, style="sequence")
            return answers_of(self.bundle, drawn, reuse_error=() if reuse else None)[0]
        long = draw_long(self.bundle, codes, num_frames, settled, keep=span.keep, reuse=reuse)
        return answers_of(self.bundle, long.drawn, reuse_error=long.reuse_error)[0]

    def analogy(
        self,
        pairs: Sequence[Pair],
        query: Picture,
        *,
        ensemble: int = 1,
        **how: Unpack[Wishes],
    ) -> Answer:
        """Analogy prompting: [(a, A), (b, B)], c give a picture that is to c as A is to a; arguments as `complete`.

        Args:
            ensemble: orders of the pairs (the one given, and others drawn by `seed`) that are asked together: each code
                comes from the mean of their distributions. If the pairs do not all fit, as many different choices of
                those that fit. Costs so many times more.
        """
        settled, given = How.of(self.sampling, how), analogy_order(pairs, query)
        orders = orders_shown(self.bundle, len(pairs), ensemble, settled.seed)
        codes = self._encoded(given)
        return self._analogies(codes[:-1].unflatten(0, (-1, 2)), codes[-1:], settled, orders)[0]

    def analogies(self, pairs: Sequence[Pair], queries: Sequence[Picture], **how: Unpack[Wishes]) -> list[Answer]:
        """Analogy prompting of many queries with the same examples, which are read once; arguments as `complete`.

        The first answer is that of `analogy`; the others have their own draws, by their number.
        """
        settled, shown = How.of(self.sampling, how), pairs_in_order(pairs, "pairs")
        asked = named(queries, "queries")
        if not asked:
            raise ValueError("queries is empty; give at least one picture to answer")
        orders = orders_shown(self.bundle, len(pairs), 1, settled.seed)
        codes = self._encoded(shown | asked)
        return self._analogies(codes[: len(shown)].unflatten(0, (-1, 2)), codes[len(shown) :], settled, orders)

    def analogy_from(
        self,
        store: Store | Path | str,
        query: Picture,
        *,
        source: str = "image",
        target: str,
        count: int = 3,
        by: str = "overlap",
        exclude: Sequence[int] = (),
        ensemble: int = 1,
        **how: Unpack[Wishes],
    ) -> Answer:
        """Analogy prompting with examples from a store of this LVM's tokenizer, the one nearest to the query last.

        Args:
            store: an open store, or its folder.
            source, target: slots of the store that hold pictures like the query and like the answer.
            count: examples shown.
            by: how they are chosen: "overlap" or "likelihood"; see `nearest_examples`.
            exclude: numbers of records that are not to be shown.
        """
        settled, tokenizer = How.of(self.sampling, how), self.bundle.tokenizer
        fingerprint = tokenizer.codes_fingerprint
        opened = store if isinstance(store, Store) else Store.open(store, tokenizer)
        if opened.codes_fingerprint != fingerprint:
            raise ValueError(
                f"the store {opened.at} has codes of another tokenizer ({opened.codes_fingerprint[:12]}…) than "
                f"this LVM ({fingerprint[:12]}…); tokenize the data with the LVM's own"
            )
        orders = orders_shown(self.bundle, count, ensemble, settled.seed)
        asked = self._encoded({"query": query})
        found = nearest_examples(
            opened, asked[0].numpy(), source=source, target=target, count=count,
            by=by,
            decoder=self.bundle.decoder,
            bos=self.bundle.special.bos,
            exclude=exclude,
        )  # fmt: skip
        examples = tuple(reversed(found))
        pairs = torch.from_numpy(np.stack([[one.source, one.target] for one in examples]))  # [E, 2, N]
        return self._analogies(pairs, asked, settled, orders, examples=examples)[0]

    def compose(
        self,
        groups: Sequence[Sequence[Pair]],
        query: Picture,
        **how: Unpack[Wishes],
    ) -> Answer:
        """Compositional prompting: several tasks shown one after the other, then the query; arguments as `complete`.

        [[(a, A), (b, B)], [(a2, A2)]] and c are shown as a A b B a2 A2 c.
        """
        settled, given = How.of(self.sampling, how), compose_order(groups, query)
        check_room(self.bundle, len(given), 1)
        codes = self._encoded(given)
        drawn = draw_apart(self.bundle, [codes], 1, settled, style="analogy")
        return answers_of(self.bundle, drawn, queries=codes[-1:])[0]

    def score(
        self,
        context: Sequence[Picture],
        target: Picture,
        *,
        restrict: bool = False,
        on_rows: OnRows | None = None,
    ) -> float:
        """Perplexity (natural base, mean over the target's codes) of a picture given those before it.

        Args:
            context: at least one picture, unless the model has a BOS.
            target: the picture that is scored.
            restrict: softmax over the K codes; by default over the whole vocabulary, as published.
            on_rows: called with the number of rows measured (`OnRows`); raise in it to cancel.
        """
        return float(self._scores([named(context, "context")], {"target": target}, restrict, on_rows=on_rows)[0])

    def scores(
        self,
        contexts: Sequence[Sequence[Picture]],
        targets: Sequence[Picture],
        *,
        restrict: bool = False,
        rows_at_once: int | None = None,
        on_rows: OnRows | None = None,
    ) -> np.ndarray:
        """`score` of n targets, each after its own context: float64 [n]. A picture given many times is encoded once.

        Args:
            rows_at_once: rows in one forward; by default as many as are fast.
        """
        if len(contexts) != len(targets):
            raise ValueError(f"{len(contexts)} contexts given for {len(targets)} targets; give one context a target")
        shown = [named(context, f"contexts[{number}]") for number, context in enumerate(contexts)]
        return self._scores(shown, named(targets, "targets"), restrict, rows_at_once, on_rows)

    def choose(
        self,
        context: Sequence[Picture],
        options: Sequence[Picture],
        *,
        restrict: bool = False,
        against: str = "context",
        on_rows: OnRows | None = None,
    ) -> Choice:
        """The option that follows the context best; arguments as `score`.

        Args:
            against: "context" takes the lowest perplexity; "context_free" the largest fall from the option's perplexity
                without the context, so that a plain picture does not win by being plain.
        """
        given, shown = named(options, "options"), named(context, "context")
        if len(given) < 2:
            raise ValueError(f"options has {len(given)} pictures; a choice needs at least two")
        if against not in ("context", "context_free"):
            raise ValueError(f"against={against!r} must be 'context' or 'context_free'")
        check_room(self.bundle, len(shown), 1)
        images, codes = encode_rows([shown, given], self.bundle.tokenizer)
        prompt = code_row(images, self.bundle.special.bos)
        log_probs = partial(self._log_probs, restrict=restrict, on_rows=on_rows)
        after = log_probs([torch.cat([prompt, option]) for option in codes])  # [O, N]
        perplexities = tuple(perplexity(row) for row in after)
        if against == "context":
            return Choice(index=int(np.argmin(perplexities)), perplexities=perplexities)
        alone = [code_row(option, self.bundle.special.bos) for option in codes]
        num_targets = len(alone[0]) - 1  # without a BOS, nothing says what a first code is likely to be
        free = log_probs(alone, num_targets)
        gains = (after[:, -num_targets:] - free).double().mean(dim=1)
        return Choice(
            index=int(gains.argmax()), perplexities=perplexities, context_free=tuple(perplexity(row) for row in free)
        )

    def score_by_count(
        self,
        pairs: Sequence[Pair],
        query: Picture,
        answer: Picture,
        counts: Sequence[int] | None = None,
        *,
        restrict: bool = False,
    ) -> dict[int, float]:
        """Perplexity of the answer to a query by the number of examples, the first of `pairs`, shown before it.

        Args:
            counts: numbers of examples; by default 0 and all up to those that fit.
        """
        shown, ask = pairs_in_order(pairs, "pairs"), {"query": query}
        most = min(len(pairs), (self.bundle.images_in_context - 2) // 2)
        wanted = counts_asked(counts, 0, most, "pairs")
        contexts = [dict([*shown.items()][: 2 * count]) | ask for count in wanted]
        return dict(zip(wanted, self._scores(contexts, {"answer": answer}, restrict).tolist(), strict=True))

    def score_by_frames(
        self,
        frames: Sequence[Picture],
        target: Picture,
        counts: Sequence[int] | None = None,
        *,
        restrict: bool = False,
    ) -> dict[int, float]:
        """Perplexity of the frame after `frames` by how many of them, the last ones, are shown.

        Args:
            counts: numbers of frames; by default all that fit, from 1, or from 0 if the model has a BOS.
        """
        shown = [*named(frames, "frames").items()]
        most = min(len(shown), self.bundle.images_in_context - 1)
        wanted = counts_asked(counts, 1 if self.bundle.special.bos is None else 0, most, "frames")
        contexts = [dict(shown[len(shown) - count :]) for count in wanted]
        return dict(zip(wanted, self._scores(contexts, {"target": target}, restrict).tolist(), strict=True))

    def _scores(
        self,
        contexts: Sequence[dict[str, Picture]],
        targets: dict[str, Picture],
        restrict: bool,
        rows_at_once: int | None = None,
        on_rows: OnRows | None = None,
    ) -> np.ndarray:
        """Perplexities float64 [n] of n targets (or of one, after each of the contexts)."""
        for context in contexts:
            check_room(self.bundle, len(context), 1)
        *shown, codes = encode_rows([*contexts, targets], self.bundle.tokenizer)
        rows = [
            torch.cat([code_row(images, self.bundle.special.bos), target])
            for images, target in zip(shown, codes.expand(len(shown), -1), strict=True)
        ]
        log_probs = self._log_probs(rows, restrict=restrict, rows_at_once=rows_at_once, on_rows=on_rows)
        return (-log_probs.double().mean(dim=1)).exp().numpy()

    def _log_probs(
        self,
        rows: Sequence[torch.Tensor],
        num_targets: int | None = None,
        *,
        restrict: bool,
        rows_at_once: int | None = None,
        on_rows: OnRows | None = None,
    ) -> torch.Tensor:
        """float32 [n, M] of the last M codes, by default those of a picture, of rows of codes."""
        tokenizer = self.bundle.tokenizer
        return row_log_probs(
            self.bundle.decoder, rows, num_targets or tokenizer.codes_per_image,
            num_codes=tokenizer.codebook_size if restrict else None,
            rows_at_once=rows_at_once,
            on_rows=on_rows,
        )  # fmt: skip

    def _analogies(
        self,
        pairs: torch.Tensor,
        queries: torch.Tensor,
        how: How,
        orders: Sequence[Sequence[int]],
        *,
        examples: tuple[Example, ...] = (),
    ) -> list[Answer]:
        """Answers to P queries int64 [P, N], after examples int64 [E, 2, N] in each order (P = 1 if in many)."""
        shown = [
            torch.cat([pairs[list(order)].flatten(0, 1), query[None]]) for query in queries for order in orders
        ]  # int64 [S, N] each
        if len(orders) > 1:
            drawn = draw_together(self.bundle, shown, how)
        else:
            drawn = draw_apart(self.bundle, shown, 1, how, style="analogy")
        return answers_of(self.bundle, drawn, queries=queries, examples=examples)

    def _encoded(self, images: dict[str, Picture]) -> torch.Tensor:
        """int64 [S, N]."""
        return encode_rows([images], self.bundle.tokenizer)[0]
