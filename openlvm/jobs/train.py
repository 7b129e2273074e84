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

from openlvm.bundle import SpecialIds, load_bundle, save_bundle
from openlvm.core.ranks import ranks_from_environment
from openlvm.core.runs import read_metrics
from openlvm.jobs.own import train_own
from openlvm.model.decoder import Decoder
from openlvm.model.folder import load_decoder
from openlvm.training.decoder.starts import fresh_decoder
from openlvm.recipes.config import LVMConfig
from openlvm.recipes.own import OwnConfig
from openlvm.store.format import STORE
from openlvm.store.plan import Plan
from openlvm.store.tokenize import tokenize
from openlvm.tokenizer.folder import AnyTokenizer, code_vectors, load_tokenizer
from openlvm.training.decoder.train import DecoderTrainConfig, train_decoder
from openlvm.training.progress import say
from openlvm.training.tokenizer.config import TokenizerTrainConfig
from openlvm.training.tokenizer.train import train_tokenizer

SMALL = 8  # parts of a source: fewer are tokenized here, before a pool of processes would have started


def run_recipe(
    config: LVMConfig | TokenizerTrainConfig | OwnConfig, *, at: Path, resume: bool = False, device: str = "cpu"
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
            card=card_of(config, at),
            meta={"sampling": asdict(config.sampling)},
        )
    return at / "bundle"


def _tell_plan(config: DecoderTrainConfig) -> None:
    plan = Plan(config.components, seed=config.train.seed, max_passes=config.max_passes)
    for line in plan.report().splitlines():
        say(line)


def _first_decoder(config: LVMConfig, tokenizer: AnyTokenizer) -> Decoder:
    """The decoder before the first step: of another LVM that spoke the same codes, or fresh."""
    if not config.start:
        return fresh_decoder(
            config.model,
            seed=config.decoder.train.seed,
            vectors=code_vectors(tokenizer) if config.codebook_start else None,
            codes_per_image=tokenizer.codes_per_image if config.look_back else None,
        )
    before = load_bundle(config.start)
    if before.tokenizer.codes_fingerprint != tokenizer.codes_fingerprint:
        raise ValueError(f"start={config.start!r} learned the codes of another tokenizer than {config.tokenizer!r}")
    return before.decoder.train().requires_grad_(True)


def make_stores(config: LVMConfig, stores_at: Path) -> None:
    """Tokenize every source of a recipe into `stores_at`/<name>; finished parts are kept.

    Of several ranks the first tokenizes, into a folder that all can read; the others wait.
    """
    if not ranks_from_environment().is_main:
        while not all((stores_at / store.name / STORE).exists() for store in config.stores):
            time.sleep(0.2)  # the launcher ends this rank if the first one fails
        return
    for store in config.stores:
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
    components = tuple(replace(part, store=stores_at / str(part.store)) for part in config.decoder.components)
    return replace(config.decoder, components=components)


def card_of(config: LVMConfig, at: Path) -> str:
    """The model card of a bundle: what it was trained on, how long, and to what loss."""
    last = read_metrics(at)[-1]
    train = config.decoder.train
    lines = [
        "# An LVM trained with OpenLVM",
        "",
        f"- tokenizer: `{config.tokenizer}`",
        f"- data: {', '.join(store.name for store in config.stores)}",
        f"- decoder: {config.model.num_parameters:,} parameters",
        f"- training: {train.steps} steps of {train.positions_per_step} positions (up to 16 images), seed {train.seed}",
        f"- last training loss: {last['loss']:.4f}",
    ]
    return "\n".join(lines) + "\n"
