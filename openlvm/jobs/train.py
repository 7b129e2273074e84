"""Running a recipe: from raw data to weights, in one run folder that the same command finishes after any interruption.

run/
  stores/<name>/       of an LVM: what was tokenized
  config.json, metrics.jsonl, checkpoints/
  bundle/              of an LVM: tokenizer and decoder together (openlvm.LVM.load)
  tokenizer/           of a tokenizer
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

from openlvm.bundle import SpecialIds, load_bundle, save_bundle, vocab_size_for
from openlvm.core.ranks import ranks_from_environment
from openlvm.core.runs import read_metrics
from openlvm.jobs.own import train_own
from openlvm.model.decoder import Decoder
from openlvm.model.folder import load_decoder
from openlvm.recipes.config import LVMConfig, StoresConfig
from openlvm.recipes.own import OwnConfig
from openlvm.recipes.papers.mixture import components_of
from openlvm.store.format import STORE, Store
from openlvm.store.plan import Plan
from openlvm.store.tokenize import tokenize
from openlvm.tokenizer.folder import AnyTokenizer, code_vectors, load_tokenizer
from openlvm.training.decoder.starts import fresh_decoder
from openlvm.training.decoder.train import DecoderTrainConfig, train_decoder
from openlvm.training.progress import say
from openlvm.training.tokenizer.config import TokenizerTrainConfig
from openlvm.training.tokenizer.train import train_tokenizer

SMALL = 8  # parts of a source: fewer are tokenized here, before a pool of processes would have started


def run_recipe(
    config: LVMConfig | StoresConfig | TokenizerTrainConfig | OwnConfig,
    *,
    at: Path,
    resume: bool = False,
    device: str = "cpu",
) -> Path:
    """Run a recipe in the folder `at`; returns the bundle of an LVM, or the folder of a tokenizer.

    Args:
        resume: go on from the last checkpoint, to the bit. Stores are always gone on with: they repeat to the byte.
        device: "cpu", or "cuda".
    """
    if isinstance(config, TokenizerTrainConfig):
        return train_tokenizer(config, at, resume=resume, device=device)
    if isinstance(config, OwnConfig):
        return train_own(config, at, resume=resume, device=device)
    tokenizer = load_tokenizer(config.tokenizer)
    make_stores(config, at / "stores")
    if isinstance(config, StoresConfig):
        decoder_config = on_stores(config, tokenizer, at / "stores")
    else:
        decoder_config = located(config, at / "stores")
    decoder = _first_decoder(config, tokenizer)
    is_main = ranks_from_environment().is_main
    if is_main:
        _tell_plan(decoder_config)
    trained = train_decoder(decoder_config, at, decoder=decoder, resume=resume, device=device)
    if is_main:
        save_bundle(
            at / "bundle",
            tokenizer=tokenizer,
            decoder=load_decoder(trained),
            special=SpecialIds.after(tokenizer.codebook_size),
            card=card_of(config, decoder_config, at),
            meta={"sampling": asdict(config.sampling)},
        )
    return at / "bundle"


def on_stores(config: StoresConfig, tokenizer: AnyTokenizer, stores_at: Path) -> DecoderTrainConfig:
    """The decoder's config with components of the stores given, or of those made under `stores_at`; one epoch of them.

    Raises:
        ValueError: no stores, stores of another tokenizer, a decoder that does not fit it, fewer positions than a step.
    """
    _refuse_misfit(config, tokenizer)
    folders = config.stores or tuple(stores_at / store.name for store in config.sources)
    if not folders:
        raise ValueError("the recipe needs stores of codes: --stores DIR DIR ... (openlvm tokenize makes them)")
    components, heldout = (
        components_of(
            [Store.open(at, tokenizer) for at in some], mix=mix, max_images=config.max_images, strides=config.strides
        )
        for some, mix in ((folders, config.mix), (config.heldout, "size"))
    )
    decoder = replace(config.decoder, components=components, heldout=heldout)
    return _one_epoch(decoder) if config.one_epoch else decoder


def _refuse_misfit(config: StoresConfig, tokenizer: AnyTokenizer) -> None:
    model, images = config.model, config.max_images
    vocab_size, context = vocab_size_for(tokenizer.codebook_size), images * tokenizer.codes_per_image + 1
    if (model.vocab_size, model.context) != (vocab_size, context):
        raise ValueError(
            f"the tokenizer {config.tokenizer!r} has {tokenizer.codebook_size} codes and {tokenizer.codes_per_image} a "
            f"picture; the recipe's decoder has vocab_size={model.vocab_size} and context={model.context} for {images} "
            f"pictures. Use its tokenizer, or --decoder.model.vocab-size {vocab_size} --decoder.model.context {context}"
        )


def _one_epoch(config: DecoderTrainConfig) -> DecoderTrainConfig:
    """At most the steps that the stores give; warm-up and decay shrink in proportion."""
    train = config.train
    plan = Plan(config.components, seed=train.seed, window_parts=config.window_parts, max_passes=config.max_passes)
    steps = min(train.steps, plan.num_positions // train.positions_per_step)
    if steps < 1:
        raise ValueError(
            f"the stores give {plan.num_positions} positions in an epoch, a step takes {train.positions_per_step}; "
            "give more stores or lower --decoder.train.positions-per-step"
        )
    if steps == train.steps:
        return config
    if ranks_from_environment().is_main:
        say(f"an epoch of these stores is {steps:,} steps; the recipe's {train.steps:,} shrink to it")
    ramps = {name: getattr(train.optim, name) * steps // train.steps for name in ("warmup_steps", "decay_steps")}
    if train.optim.decay_steps:
        ramps["decay_steps"] = max(1, ramps["decay_steps"])
    return replace(config, train=replace(train, steps=steps, optim=replace(train.optim, **ramps)))


def _tell_plan(config: DecoderTrainConfig) -> None:
    plan = Plan(config.components, seed=config.train.seed, max_passes=config.max_passes)
    for line in plan.report().splitlines():
        say(line)


def _first_decoder(config: LVMConfig | StoresConfig, tokenizer: AnyTokenizer) -> Decoder:
    """The decoder before the first step: of another LVM that spoke the same codes, or fresh."""
    if isinstance(config, StoresConfig) or not config.start:
        keeps_vectors = config.codebook_start or config.decoder.embedding == "codebook"
        return fresh_decoder(
            config.model,
            seed=config.decoder.train.seed,
            vectors=code_vectors(tokenizer) if keeps_vectors else None,
            codes_per_image=tokenizer.codes_per_image if config.look_back else None,
            embedding=config.decoder.embedding,
        )
    before = load_bundle(config.start)
    if before.tokenizer.codes_fingerprint != tokenizer.codes_fingerprint:
        raise ValueError(f"start={config.start!r} learned the codes of another tokenizer than {config.tokenizer!r}")
    return before.decoder.train().requires_grad_(True)


def make_stores(config: LVMConfig | StoresConfig, stores_at: Path) -> None:
    """Tokenize every source of a recipe into `stores_at`/<name>, unless it is told of stores; finished parts are kept.

    Of several ranks the first tokenizes, into a folder that all can read; the others wait.
    """
    if isinstance(config, StoresConfig):
        stores = () if config.stores else config.sources
    else:
        stores = config.stores
    if not ranks_from_environment().is_main:
        while not all((stores_at / store.name / STORE).exists() for store in stores):
            time.sleep(0.2)  # the launcher ends this rank if the first one fails
        return
    for store in stores:
        say(f"tokenizing {store.name}")
        made = tokenize(
            store.source,
            tokenizer=config.tokenizer,
            at=stores_at / store.name,
            generated=store.generated,
            workers=config.workers if len(store.source.parts()) > SMALL else 0,
        )
        say(f"  {made.num_records} records, {made.num_images} images, {made.num_images * made.codes_per_image:,} codes")


def located(config: LVMConfig, stores_at: Path) -> DecoderTrainConfig:
    """The decoder's config with the folders of the stores in place of their names."""
    decoder = config.decoder
    components, heldout = (
        tuple(replace(part, store=stores_at / str(part.store)) for part in parts)
        for parts in (decoder.components, decoder.heldout)
    )
    return replace(decoder, components=components, heldout=heldout)


def card_of(config: LVMConfig | StoresConfig, trained: DecoderTrainConfig, at: Path) -> str:
    """The model card of a bundle: what it was trained on, how long, and to what loss."""
    last = read_metrics(at)[-1]
    train = trained.train
    stores = dict.fromkeys(Path(str(component.store)).name for component in trained.components)
    lines = [
        "# An LVM trained with OpenLVM",
        "",
        f"- tokenizer: `{config.tokenizer}`",
        f"- data: {', '.join(stores)}",
        f"- decoder: {config.model.num_parameters:,} parameters",
        f"- training: {train.steps} steps of {train.positions_per_step} positions (up to 16 images), seed {train.seed}",
        f"- last training loss: {last['loss']:.4f}",
    ]
    return "\n".join(lines) + "\n"
