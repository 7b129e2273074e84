"""What a run folder says about a decoder's training: its size, how many codes it saw, and its losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openlvm.core.files import read_json
from openlvm.core.runs import RunFolder, read_metrics
from openlvm.model.decoder import DecoderConfig
from openlvm.model.sizes import flops_per_token
from openlvm.sentences.grammar import GRAMMAR, MAX_IMAGES

HELDOUT = "heldout/loss"
AVERAGED = 8
"""Last lines of metrics over which a training loss is averaged, at most: each is the loss of one batch."""

Curve = Sequence[tuple[float, float]]
"""(codes trained on, loss in nats a code), ascending."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A decoder's training."""

    name: str
    """As it is called in the report: the folder's name, and its parent's where that is needed to tell runs apart."""
    at: Path
    parameters: int
    flops_per_token: float
    seed: int
    steps: int
    """Done so far."""
    all_steps: int
    """Planned."""
    tokens: float
    """Trained on so far, BOS included."""
    seconds: float
    """Of training between lines of metrics; without evaluations and checkpoints."""
    training: Curve
    heldout: Curve
    """Empty where nothing was held out."""

    @property
    def flops(self) -> float:
        """Of the training so far."""
        return self.flops_per_token * self.tokens

    @property
    def training_loss(self) -> float:
        """Mean of the last lines."""
        last = [loss for _, loss in self.training[-AVERAGED:]]
        return sum(last) / len(last)

    @property
    def heldout_loss(self) -> float | None:
        """After the last step that was evaluated; None where nothing was held out."""
        return self.heldout[-1][1] if self.heldout else None


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders, under names that tell them apart.

    Raises:
        FileNotFoundError, ValueError: no run there, a run of something else than a decoder, or one without metrics.
    """
    if not folders:
        raise ValueError("give at least one run folder, such as runs/mini")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"a run folder is given twice among {', '.join(names)}")
    return [_read(Path(folder), name) for folder, name in zip(folders, names, strict=True)]


def _read(at: Path, name: str) -> Run:
    config = read_json(RunFolder(at).config_at, "config of a run")
    if not isinstance(config, dict) or "model" not in config or "components" not in config:
        raise ValueError(f"{at} is not the run of a decoder; reports are drawn of those alone")
    lines = [line for line in read_metrics(at) if "timing" in line]
    if not lines:
        every = config["train"]["log_every"]
        raise ValueError(f"{at} has no line of metrics yet; one is written every {every} steps (train.log_every)")
    shape, train = shape_of(config["model"]), config["train"]
    per_position = tokens_per_position(lines, train)
    per_step = per_position * train["positions_per_step"]
    return Run(
        name=name,
        at=at,
        parameters=shape.num_parameters,
        flops_per_token=flops_per_token(shape, _sentence_length(config["components"], per_position)),
        seed=train["seed"],
        steps=lines[-1]["step"],
        all_steps=train["steps"],
        tokens=lines[-1]["step"] * per_step,
        seconds=sum(line["timing"]["seconds"] for line in lines),
        training=[(line["step"] * per_step, line["loss"]) for line in lines],
        heldout=[
            (line["step"] * per_step, line["evaluation"][HELDOUT])
            for line in lines
            if line.get("evaluation", {}).get(HELDOUT) is not None
        ],
    )


def shape_of(model: Mapping[str, Any]) -> DecoderConfig:
    """A decoder's shape from the JSON that its run keeps."""
    values = {name: value for name, value in model.items() if name != "type"}
    return DecoderConfig(**{**values, "rope_scales": tuple(values["rope_scales"])})


def tokens_per_position(lines: Sequence[Mapping[str, Any]], train: Mapping[str, Any]) -> float:
    """Tokens of a position of the plan: those counted between lines, over the positions counted.

    The loop counts anew after each line and after each checkpoint, so that a line tells of the steps since the later.
    """
    tokens = positions = 0.0
    before = 0
    for line in lines:
        step, timing = line["step"], line["timing"]
        checkpoint = (step - 1) // train["checkpoint_every"] * train["checkpoint_every"]
        tokens += timing["tokens_per_second"] * timing["seconds"]
        positions += (step - max(before, checkpoint)) * train["positions_per_step"]
        before = step
    return tokens / positions


def _sentence_length(components: Sequence[Mapping[str, Any]], per_position: float) -> float:
    """Mean tokens of a sentence; a position holds n = floor(16 / S) sentences of S images and n BOS."""
    kinds = {kind.__name__: kind for kind in GRAMMAR.values()}
    images = []
    for component in components:
        told = {name: _tuples(value) for name, value in component["kind"].items() if name != "type"}
        images.append(kinds[component["kind"]["type"]](**told).num_images)
    counts = [MAX_IMAGES // size for size in images]
    shown = sum(count * size for count, size in zip(counts, images, strict=True))
    codes_per_image = round((per_position * len(images) - sum(counts)) / shown)
    return sum(size * codes_per_image + 1 for size in images) / len(images)


def _tuples(value: Any) -> Any:
    """JSON knows lists only; kinds of sentence take tuples."""
    return tuple(value) if isinstance(value, list) else value
