"""What can be said to `openlvm prompt`: a dataclass for each form; fields are flags, their docstrings the help."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Reading = Literal["mask", "classes", "depth", "disparity", "normals", "edges", "flow", "keypoints", "openpose", "boxes"]
WITH_IDS = ("classes", "boxes")  # readings that need to know which ids may be answered
RANGES = {"depth_range": "depth", "disparity_range": "disparity", "fastest": "flow"}  # option -> reading it belongs to


def _refuse(when: object, message: str) -> None:
    """Options that contradict each other, or that would have no effect, are an error."""
    if when:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every prompt says."""

    lvm: str = "mini"
    """The LVM that answers: a bundle folder, or "mini", which comes with OpenLVM."""
    device: str = "cpu"
    """Where it runs, such as cuda."""
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    """Of its weights: float32 is exact, the others are smaller, and faster where the machine has them."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Drawing(Common):
    """What every prompt says whose answer is drawn."""

    seed: int = 0
    """Of the chances taken; the same call gives the same answer."""
    candidates: int = 1
    """Answers drawn to the same prompt; the likeliest one comes first."""
    temperature: float | None = None
    """Of sampling; 0 takes the likeliest code each time. By default what the LVM suggests, or else 1."""
    top_k: int | None = None
    """Sample among this many likeliest codes only."""
    top_p: float | None = None
    """Sample among the likeliest codes that hold this share of the probability."""
    dry_run: bool = False
    """Say how many codes would be read and drawn, and how much memory that takes at most; draw nothing."""


@dataclass(frozen=True, kw_only=True)
class Showing(Drawing):
    """What every prompt says whose answer is shown to a person."""

    out: Path = Path("runs/prompt")
    """Folder the answers are written to: a contact sheet and candidate-C-image-F.png."""
    format: Literal["png", "webp"] = "png"
    """Of the pictures written; both without loss."""
    read: Reading | None = None
    """Read the answers as annotations too: each as an array (.npy, in its unit) and as a picture."""
    ids: tuple[int, ...] = ()
    """Ids that classes or boxes may have, as in OpenLVM's palette; 1 alone (white) for boxes by default."""
    depth_range: tuple[float, float] = (1.0, 10.0)
    """Depth at white and at the darkest gray, meters if you know them."""
    disparity_range: tuple[float, float] = (1.0, 10.0)
    """Disparity at the darkest gray and at white, pixels if you know them."""
    fastest: float = 1.0
    """Of flow: the longest motion, pixels if you know it; by default motions are shares of it."""
    confidence: bool = False
    """Write how sure the model was at each place, 0..1, as an array and as a picture."""
    exact: bool = False
    """The same bits whatever is drawn beside an answer, at the cost of drawing every candidate alone."""
    fast: bool = False
    """The same answer in fewer steps: guess codes ahead and keep those that come true; pays where answers repeat."""
    ahead: int | None = None
    """Another answer, nearly as good, in fewer steps: each row of codes is drawn this many codes ahead of the next."""

    def __post_init__(self):
        _refuse(self.exact and self.fast, "--exact and --fast exclude each other; leave one out")
        _refuse(
            self.ahead is not None and (self.exact or self.fast), "--ahead excludes --exact and --fast; leave one out"
        )
        _refuse(self.read == "classes" and not self.ids, "--read classes needs its ids, such as --ids 0 1 2")
        _refuse(self.ids and self.read not in WITH_IDS, f"--ids need --read {' or '.join(WITH_IDS)}")
        for field, reading in RANGES.items():
            is_unread = getattr(self, field) != getattr(Showing, field) and self.read != reading
            _refuse(is_unread, f"--{field.replace('_', '-')} needs --read {reading}")
        near, far = self.depth_range
        _refuse(
            not 0 <= near < far, f"--depth-range {near:g} {far:g} must be two distances, 0 or more, the near one first"
        )
        least, most = self.disparity_range
        _refuse(
            not 0 <= least < most,
            f"--disparity-range {least:g} {most:g} must be two disparities, 0 or more, the least first",
        )
        _refuse(not self.fastest > 0, f"--fastest {self.fastest:g} must be a length above 0, in pixels")


@dataclass(frozen=True, kw_only=True)
class Continue(Showing):
    """Continue a sequence: frames of a clip, views of an object, pictures of a category."""

    images: tyro.conf.Positional[tuple[str, ...]]
    """Pictures, folders or patterns, in order."""
    frames: int = 1
    """Pictures to add; when the context is full, the first ones are forgotten and the rest is read again."""
    keep: int | None = None
    """Pictures that are kept when the context is full; by default as many as leave room for one more."""
    slide: bool = False
    """Forget the first ones of the pictures given, too, if they are too many for the context."""
    reuse: bool = False
    """When the context is full keep what was read instead of reading it again: faster, not exact; prints its error."""
    gif: bool = False
    """Write candidate-C.gif too: the pictures given and those drawn, moving."""

    def __post_init__(self):
        super().__post_init__()
        _refuse(not self.images, "no pictures are given; name at least one file, folder or pattern")


@dataclass(frozen=True, kw_only=True)
class Analogy(Showing):
    """Show a task by examples, and have it done on pictures."""

    pairs: tuple[str, ...] = ()
    """Examples: picture and answer, picture and answer, ...; or two folders or patterns, paired by file name."""
    query: tuple[str, ...]
    """The picture to answer; several, a folder or a pattern are answered together, each into a folder of its own."""
    examples_from: Path | None = None
    """A store that the examples nearest to the query are taken from, instead of --pairs."""
    source: str | None = None
    """Slot of the store that pictures are in; "image" by default."""
    target: str | None = None
    """Slot of the store that answers are in, such as mask."""
    num_examples: int | None = None
    """Examples to take from the store; 3 by default."""
    by: Literal["overlap", "likelihood"] | None = None
    """What "nearest" means: equal codes, or (among those) how likely the examples make each other's answers."""
    ensemble: int = 1
    """Orders of the examples, or choices among them if they do not all fit, that draw every code together."""

    def __post_init__(self):
        super().__post_init__()
        _refuse(self.pairs and self.examples_from, "--pairs and --examples-from exclude each other; leave one out")
        _refuse(not self.pairs and not self.examples_from, "no examples; give --pairs, or --examples-from STORE")
        of_store = {"source": self.source, "target": self.target, "num-examples": self.num_examples, "by": self.by}
        said = [f"--{name}" for name, value in of_store.items() if value is not None]
        _refuse(said and not self.examples_from, f"{' and '.join(said)} need --examples-from STORE")
        nothing_said = self.examples_from and self.target is None
        _refuse(nothing_said, "--examples-from needs --target, the slot of the answers, such as mask")


@dataclass(frozen=True, kw_only=True)
class Compose(Showing):
    """Show several tasks, a group of examples each, and have them all done on a picture."""

    group: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]]
    """Examples of one task: picture and answer, ..., or two folders or patterns; once for each task."""
    query: str
    """The picture to answer."""


@dataclass(frozen=True, kw_only=True)
class Choose(Common):
    """Say which of several pictures fits best after the others (the lowest perplexity)."""

    context: tuple[str, ...]
    """Pictures, folders or patterns, in order."""
    options: tuple[str, ...]
    """The pictures to choose from."""
    against: Literal["context", "context_free"] = "context"
    """Choose by perplexity after the context, or by how far the context lowers it: then plain options win less."""
    restrict: bool = False
    """Probabilities over the picture codes; by default over the whole vocabulary, as published."""


@dataclass(frozen=True, kw_only=True)
class Score(Common):
    """Say how likely pictures are after others: their perplexity, 1 (certain) to the size of the vocabulary."""

    context: tuple[str, ...] = ()
    """Pictures, folders or patterns that come before, in order."""
    pairs: tuple[str, ...] = ()
    """Or examples of a task, as in analogy."""
    query: str | None = None
    """The picture after --pairs that the target answers."""
    target: tuple[str, ...]
    """Pictures, folders or patterns; each is scored by itself."""
    by_count: bool = False
    """Also with fewer of the examples, or of the context's pictures (the last ones): 0 or 1, 2, ... to all."""
    restrict: bool = False
    """Probabilities over the picture codes; by default over the whole vocabulary, as published."""

    def __post_init__(self):
        _refuse(self.pairs and self.context, "--pairs and --context exclude each other; leave one out")
        is_half = bool(self.pairs) != (self.query is not None)
        _refuse(is_half, "--pairs and --query belong together; pictures that are no examples are --context")
        _refuse(self.by_count and len(self.target) > 1, "--by-count takes one --target")
        _refuse(self.by_count and not (self.pairs or self.context), "--by-count needs --pairs or --context")


@dataclass(frozen=True, kw_only=True)
class Batch(Drawing):
    """Answer every line of a file, as the official LVM tools do: {"input": [...], "output": ..., "target": ...}.

    Every line is a JSON object: "input" lists pictures in order, "output" says where under --out the answer goes,
    "target" (one picture, or a list) is the truth to compare with. Lines that begin with the same pictures are answered
    together. Writes results.jsonl; a batch that was stopped goes on where it was.
    """

    file: tyro.conf.Positional[Path]
    """The JSON lines."""
    out: Path
    """Folder of the answers and of results.jsonl."""
    root: Path | None = None
    """Folder that the paths in the file start from; by default the file's own."""
    frames: int = 1
    """Pictures to draw where a line has no target; else as many as it has targets."""
    score_only: bool = False
    """Draw nothing; perplexities of the targets alone."""
    at_once: int = 16
    """Lines drawn together."""
    max_bad: float = 0.001
    """Share of the lines that may be unreadable; more stop the batch. They are counted and reported."""

    def __post_init__(self):
        _refuse(self.dry_run and self.score_only, "--dry-run says what drawing costs; leave out --score-only")


Verbs = (
    Annotated[Continue, tyro.conf.subcommand("sequence")]
    | Annotated[Analogy, tyro.conf.subcommand("analogy")]
    | Annotated[Compose, tyro.conf.subcommand("compose")]
    | Annotated[Choose, tyro.conf.subcommand("choose")]
    | Annotated[Score, tyro.conf.subcommand("score")]
    | Annotated[Batch, tyro.conf.subcommand("batch")]
)
"""The forms of `openlvm prompt`."""
