"""The answer as HTML: pictures while they are drawn, then how likely they are, their layers, what to take home.

Everything that was given or found is escaped; pictures lie in the page itself, so that the server keeps nothing.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from openlvm.prompting.answers import Answer, Choice
from openlvm.serving.http.pictures import png_text
from openlvm.serving.http.stream import Progress
from openlvm.serving.playground.answers.layers import layers
from openlvm.serving.playground.prompts import Named

LAYERS = {
    "picture": "Picture",
    "entropy": "Entropy (dark: certain, yellow: a guess)",
    "mask": "Read as mask",
    "depth": "Read as depth (yellow: near)",
}
"""What can be shown of each drawn picture -> what its switch says."""
EMPTY = '<p class="quiet">The answer appears here. Load an example, or drop pictures into the prompt.</p>'
WAITING = '<p role="status">Waiting for its turn …</p>'


def problem(words: str) -> str:
    """Why there is no answer."""
    return f'<p role="alert" class="problem">{escape(words)}</p>'


def page(columns: Mapping[str, str], *, truths: Sequence[str] = (), has_layers: bool = False) -> str:
    """The whole: a column for each LVM, by name, and what a perfect answer shows (base64 pictures)."""
    beside = [f'<section class="column"><h3>{escape(name)}</h3>{body}</section>' for name, body in columns.items()]
    if truths:
        shown = _frames([{"picture": truth} for truth in truths], "the right answer")
        beside.append(f'<section class="column truth"><h3>right answer</h3><figure>{shown}</figure></section>')
    return (_switches() if has_layers else "") + f'<div class="columns">{"".join(beside)}</div>'


def _switches() -> str:
    """Radio buttons; page.css shows the layer that is switched on."""
    made = "".join(
        f'<label><input type="radio" name="lvm-layer" value="{name}"{" checked" * (name == "picture")}> {words}</label>'
        for name, words in LAYERS.items()
    )
    return f'<fieldset class="switches" aria-label="What is shown of the answers">{made}</fieldset>'


def _frames(frames: Sequence[Mapping[str, str]], name: str) -> str:
    """Pictures beside one another, each with its layers: base64 PNGs by layer."""
    made = []
    for number, of_frame in enumerate(frames, 1):
        told = f"{name}, frame {number}" if len(frames) > 1 else name
        made += [
            f'<img data-layer="{layer}" src="data:image/png;base64,{escape(data)}" alt="{escape(told)}'
            f'{"" if layer == "picture" else f": {layer}"}">'
            for layer, data in of_frame.items()
        ]
    return f'<div class="frames">{"".join(made)}</div>'


def drawing(so_far: Progress, seen: Mapping[tuple[int, int], str]) -> str:
    """What is there of an answer.

    Args:
        seen: (candidate, frame) -> the newest picture of it, base64 PNG.
    """
    told = f"{so_far.drawn} of {so_far.total} codes"
    bar = f'<progress max="{so_far.total}" value="{so_far.drawn}" aria-label="{told}"></progress>'
    made = [f'<p role="status">Drawing: {told} {bar}</p>']
    for c in range(len(so_far.images)):
        frames = [{"picture": data} for (candidate, _), data in sorted(seen.items()) if candidate == c]
        made.append(f'<figure class="drawing">{_frames(frames, f"candidate {c + 1} so far")}</figure>')
    return "".join(made)


def drawn(answer: Answer, query: np.ndarray | None, taken: Mapping[str, bytes], program: str, *, number: int) -> str:
    """A whole answer, likeliest candidate first.

    Args:
        query: uint8 [H, W, 3] or None; see `layers`.
        taken: files to download, by name.
        program: the call that repeats it.
        number: of the column, for names that are unique in the page.
    """
    made = []
    for c, frames in enumerate(answer.images):
        shown = [
            {name: png_text(view) for name, view in layers(answer, query, c, f).items()} for f in range(len(frames))
        ]
        links = "".join(
            _button(f"candidate-{c}-image-{f}.png", "PNG" if len(frames) == 1 else f"PNG {f + 1}", frame=f)
            for f in range(len(frames))
        )
        caption = f"<figcaption>{_likelihood(answer, c)}<span>{links}</span></figcaption>"
        made.append(f"<figure>{_frames(shown, f'answer {c + 1}')}{caption}</figure>")
    return "".join(made) + take_home(taken, program, number=number)


def _likelihood(answer: Answer, c: int) -> str:
    """How likely a candidate is, in words."""
    mean = float(answer.mean_log_probs[c])
    told = [f"{mean:.2f} nats a code".replace("-", "−"), f"perplexity {math.exp(-mean):.1f}"]
    if answer.gain is not None:
        told.append(f"examples help {answer.gain[c]:+.2f}".replace("-", "−"))
    title = "mean log-probability of its codes; what the candidates are ranked by"
    if answer.gain is not None:
        title += "; by how many nats a code the examples made it likelier"
    return f'<span title="{title}">{" · ".join(told)}</span>'


def chosen(
    choice: Choice,
    options: Sequence[Named],
    right: int | None,
    taken: Mapping[str, bytes],
    program: str,
    *,
    number: int,
) -> str:
    """A choice: every option with its perplexity, the chosen one framed."""
    made = []
    for place, (option, value) in enumerate(zip(options, choice.perplexities, strict=True)):
        words = ["chosen"] * (place == choice.index) + ["right"] * (place == right)
        told = f"perplexity {value:.3g}" + "".join(f", <b>{word}</b>" for word in words)
        kind = ' class="chosen"' if place == choice.index else ""
        shown = _frames([{"picture": option.data}], f"option {place + 1}")
        made.append(f"<figure{kind}>{shown}<figcaption><span>{told}</span></figcaption></figure>")
    return f'<div class="options">{"".join(made)}</div>' + take_home(taken, program, number=number)


def take_home(taken: Mapping[str, bytes], program: str, *, number: int) -> str:
    """Files to download and the call that repeats the answer."""
    links = "".join(_button(name, name, data=data) for name, data in taken.items())
    copies = f'<button type="button" data-copies="lvm-call-{number}">copy the call</button>'
    code = f'<pre tabindex="0"><code id="lvm-call-{number}">{escape(program)}</code></pre>'
    return f'<p class="take">{links}{copies}</p>{code}'


def _button(name: str, words: str, *, data: bytes | None = None, frame: int | None = None) -> str:
    """A download: of its own bytes, or of a picture of its figure."""
    of = f' data-frame="{frame}"' if data is None else f' data-bytes="{base64.b64encode(data).decode()}"'
    label = f'data-file="{escape(name)}" aria-label="Download {escape(name)}"'
    return f'<button type="button" {label}{of}>{escape(words)}</button>'
