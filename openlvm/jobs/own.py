"""Training a decoder on a store of one's own: which sentences it can make, the training, and the LVM of both parts."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from openlvm.bundle import SpecialIds, save_bundle, vocab_size_for
from openlvm.core.picking import pick
from openlvm.core.ranks import ranks_from_environment
from openlvm.core.records import IMAGE
from openlvm.model.folder import load_decoder
from openlvm.model.sizes import SIZES
from openlvm.recipes.own import OwnConfig
from openlvm.sentences.grammar import MAX_IMAGES, Category, Kind, Pairs, Sequence, Single
from openlvm.store.format import Store
from openlvm.store.plan import Component
from openlvm.tokenizer.folder import code_vectors, load_tokenizer
from openlvm.training.decoder.starts import fresh_decoder
from openlvm.training.decoder.train import DecoderTrainConfig, train_decoder

CARD = """# An LVM trained by `openlvm train own`

Data: {records} records, {images} images, of {source}. Sentences: {kinds}.
Trained for {steps} steps of {positions} positions. The pictures' licenses are those of the data.
"""


def kinds_for(store: Store) -> list[Kind]:
    """The kinds of sentence that a store can make: frames if it has clips, pairs of each annotation, else classes.

    Clips give sentences as long as their median allows, so that half of them or more are long enough.
    """
    median = int(np.median(store.records["num_frames"])) if store.num_records else 0
    kinds: list[Kind] = [Sequence(num_images=min(median, MAX_IMAGES))] if median > 1 else []
    pairs = min(MAX_IMAGES // 2, store.num_records)
    kinds += [Pairs(target=slot, pairs=pairs) for slot in store.slots if slot != IMAGE]
    if not kinds and len(store.labels) > 1:
        counts = np.bincount(store.records["label"])
        kinds.append(Category(per_class=min(int(counts.max()), MAX_IMAGES // 2)))
    return kinds or [Single()]


def train_own(config: OwnConfig, at: Path, *, resume: bool = False, device: str = "cpu") -> Path:
    """Train a decoder on `config.store` in the run folder `at`; returns the LVM's folder, at/bundle."""
    tokenizer = load_tokenizer(config.tokenizer)
    store = Store.open(config.store, tokenizer)
    context = MAX_IMAGES * tokenizer.codes_per_image + 1
    shape = pick(SIZES, config.size, "decoder size")
    kinds = kinds_for(store)
    names = [f"{kind.name} {'+'.join(kind.slots)}" for kind in kinds]
    training = DecoderTrainConfig(
        model=replace(shape, vocab_size=vocab_size_for(tokenizer.codebook_size), context=context),
        train=config.train,
        components=tuple(
            Component(config.store, kind, weight=1.0, name=name) for kind, name in zip(kinds, names, strict=True)
        ),
        max_passes=config.max_passes,
    )
    decoder = fresh_decoder(
        training.model,
        seed=config.train.seed,
        vectors=code_vectors(tokenizer),
        codes_per_image=tokenizer.codes_per_image if shape.attention_bias else None,
    )
    decoder_at = train_decoder(training, at, decoder=decoder, resume=resume, device=device)
    if not ranks_from_environment().is_main:
        return at / "bundle"
    card = CARD.format(
        records=store.num_records,
        images=store.num_images,
        source=store.info()["source"],
        kinds=", ".join(names),
        steps=config.train.steps,
        positions=config.train.positions_per_step,
    )
    special = SpecialIds.after(tokenizer.codebook_size)
    save_bundle(at / "bundle", tokenizer=tokenizer, decoder=load_decoder(decoder_at), special=special, card=card)
    return at / "bundle"
