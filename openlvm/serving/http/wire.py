"""Requests and answers as JSON: the one description that is checked, published as OpenAPI and shown on the docs page.

A picture P is base64 text of a PNG, JPEG or WebP in a JSON body, and the number of an uploaded file in a multipart one.
Letters beside the project's own: C candidates, F frames drawn.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Inline = Annotated[
    str,
    Field(min_length=16, description="A PNG, JPEG or WebP, base64", json_schema_extra={"format": "picture"}),
]
"""In a JSON body."""
Number = Annotated[int, Field(ge=0, le=9999, description="Number of an uploaded picture, from 0")]
"""In a multipart body."""
P = TypeVar("P")
Pictures = Annotated[list[P], Field(max_length=4096)]
Pair = Annotated[list[P], Field(min_length=2, max_length=2)]
"""A picture and its answer."""


MOST_MARKS = 65_536
"""Brackets and commas of a JSON text: 4096 pictures need 20,000. Without a bound, 32 MiB of them are read in seconds in
which nothing else goes on, and take a GiB (measured, with json and with pydantic)."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class _Asking(_Strict):
    lvm: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Which LVM is asked, by its name in /v1/models; by default the first."
    )


class _Drawing(_Asking):
    num_candidates: int = Field(1, ge=1, le=64, description="C, answers; the likeliest comes first.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of chance: the same seed, the same answer.")
    temperature: float | None = Field(None, ge=0, le=100, description="0 takes the likeliest code each time.")
    top_k: int | None = Field(None, ge=1, le=2**31, description="Draw among the k likeliest codes only.")
    top_p: float | None = Field(None, gt=0, le=1, description="Draw among the likeliest codes of this share only.")
    exact: bool = Field(
        False, description="Drawn by itself, with the bits of a call in Python with exact=True; slower in company."
    )
    fast: bool = Field(
        False, description="The same codes (up to ties) in fewer steps, by guessing; one candidate after the other."
    )
    ahead: int | None = Field(
        None, ge=1, le=4096, description="Lossy, in fewer steps: each row of codes this many ahead of the one below."
    )
    stream: bool = Field(False, description="Answer as server-sent events: progress, then the answer.")
    details: bool = Field(False, description="Tell log-probabilities and entropies of every code too.")


class Complete(_Drawing, Generic[P]):
    """What comes next after a row of pictures."""

    images: Annotated[Pictures[P], Field(min_length=1, description="The row, in order.")]
    num_frames: int = Field(
        1, ge=1, le=4096, description="F, pictures to draw; when the context is full, the first pictures in it go."
    )
    slide: bool = Field(False, description="More pictures may be given than fit: the first of them go.")
    keep: int | None = Field(
        None, ge=1, le=4096, description="Pictures kept when the context is full; by default all but one."
    )
    reuse: bool = Field(
        False, description="Keep what was computed for these instead of reading them again: faster, inexact."
    )


class Analogy(_Drawing, Generic[P]):
    """A picture that is to the query as the second picture of each pair is to the first."""

    pairs: Annotated[Pictures[Pair[P]], Field(min_length=1, description="Examples: picture and answer, each.")]
    query: Annotated[P, Field(description="The picture to answer.")]
    ensemble: int = Field(
        1, ge=1, le=64, description="Orders of the pairs, or choices of those that fit, that answer together."
    )


class Compose(_Drawing, Generic[P]):
    """Several tasks, shown one after the other by groups of pairs, at once."""

    groups: Annotated[
        Pictures[Annotated[Pictures[Pair[P]], Field(min_length=1)]],
        Field(min_length=1, description="Examples of one task in each."),
    ]
    query: Annotated[P, Field(description="The picture to answer.")]


class Score(_Asking, Generic[P]):
    """The perplexity of a picture after others."""

    context: Annotated[Pictures[P], Field(description="Pictures before it, in order.")]
    target: Annotated[P, Field(description="The picture that is scored.")]
    restrict: bool = Field(False, description="Softmax over the codes alone, not over the whole vocabulary.")


class Choose(_Asking, Generic[P]):
    """Which of several pictures follows others best."""

    context: Annotated[Pictures[P], Field(description="Pictures before it, in order.")]
    options: Annotated[Pictures[P], Field(min_length=2, description="Pictures to choose from.")]
    restrict: bool = Field(False, description="Softmax over the codes alone, not over the whole vocabulary.")
    against: Literal["context", "context_free"] = Field(
        "context", description="Lowest perplexity, or largest fall from the one without the context."
    )


class Drawn(_Strict):
    """What was drawn: candidates are ranked, the likeliest is number 0."""

    lvm: str
    images: list[list[str]] = Field(description="[C][F] PNGs, base64.")
    codes: list[list[list[int]]] = Field(description="[C][F][N]")
    mean_log_probs: list[float] = Field(description="[C] nats a code; what candidates are ranked by.")
    numbers: list[int] = Field(description="[C] which candidate of chance each one is.")
    num_codes: int = Field(description="K, the size of the codebook.")
    gain: list[float] | None = Field(description="[C] nats a code by which examples made the answer likelier.")
    log_probs: list[list[list[float]]] | None = Field(description="[C][F][N], if details are asked for.")
    entropies: list[list[list[float]]] | None = Field(description="[C][F][N] nats, if details are asked for.")
    reuse_error: list[float] | None = Field(
        description="With reuse: the largest error of log-probabilities at the first slide and at the last."
    )
    seconds: float = Field(description="From the whole request to this answer.")


class Scored(_Strict):
    """How well a picture fits."""

    lvm: str
    perplexity: float
    seconds: float


class Chosen(_Strict):
    """Which option fits best."""

    lvm: str
    index: int
    perplexities: list[float]
    context_free: list[float] | None
    seconds: float


class Model(_Strict):
    """An LVM that is served."""

    name: str
    image_size: int
    codes_per_image: int
    codebook_size: int
    images_in_context: int = Field(description="Pictures given and drawn together, at most.")
    temperature: float = Field(description="How it draws unless it is told.")
    top_k: int | None
    top_p: float | None
    fingerprint: str = Field(description="Of its tokenizer.")


class Models(_Strict):
    """What is served; the first answers where none is named."""

    models: list[Model]


class Health(_Strict):
    """Whether the server takes work."""

    status: Literal["ok", "stopping"]


class Problem(_Strict):
    """Why there is no answer."""

    error: str
    id: str = Field(description="Of this request, as in the server's log.")


VERBS: dict[str, tuple[Any, type[BaseModel]]] = {
    "complete": (Complete, Drawn),
    "analogy": (Analogy, Drawn),
    "compose": (Compose, Drawn),
    "score": (Score, Scored),
    "choose": (Choose, Chosen),
}
"""Verb -> the model of its requests, of any P, and of its answers."""


def check_marks(text: bytes | str) -> None:
    """Refuse, unread, a JSON text that would be costly to read; raises ValueError."""
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    if sum(map(data.count, (b"[", b"{", b","))) > MOST_MARKS:
        raise ValueError(f"the body: JSON of more than {MOST_MARKS:,} brackets and commas is not read")


def validated(verb: str, text: bytes | str, picture: Any) -> Any:
    """The request in a JSON text, whose pictures are `Inline` or `Number`.

    Raises:
        ValueError: one line that says where it is wrong and why.
    """
    check_marks(text)
    try:
        return VERBS[verb][0][picture].model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_told(error.errors(include_url=False, include_context=False, include_input=False))) from None


def _told(errors: list[Any]) -> str:
    """The first few complaints in one line."""
    lines = [f"{'.'.join(map(str, error['loc'])) or 'the body'}: {error['msg']}" for error in errors[:3]]
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return "; ".join(lines)[:600] + more


def schema_of(verb: str, picture: Any, refs: dict[str, Any]) -> Mapping[str, Any]:
    """The JSON schema of a verb's requests; what it refers to is added to `refs`."""
    made = VERBS[verb][0][picture].model_json_schema(ref_template="#/components/schemas/{model}")
    refs.update(made.pop("$defs", {}))
    return made
