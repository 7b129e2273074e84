"""A prompt of the page is answered like a request of the API: in time, within limits, let go when nobody waits."""

import asyncio
import base64
import re
import time
from contextlib import aclosing, contextmanager

import numpy as np
import pytest

from openlvm.core.images import read_image
from openlvm.prompting.sampling import GREEDY, Sampling
from openlvm.serving.limits import Limits
from openlvm.serving.playground.answering import NOBODY, answer_of
from openlvm.serving.playground.prompts import read_prompt
from openlvm.serving.service import Service
from openlvm.serving.work.asked import Job

HOW = {
    "name": "tiny", "beside": NOBODY, "candidates": 2, "frames": 2, "temperature": 1.0, "top_p": 1.0, "seed": 5,
    "exact": True,
}  # fmt: skip


@contextmanager
def served(lvms, **limits):
    service = Service(lvms, Limits(**limits))
    service.worker.start()
    try:
        yield service
    finally:
        service.close()


@pytest.fixture
def service(lvm):
    with served({"tiny": lvm, "other": lvm}) as made:
        yield made


def answers(service, words: str, **how) -> list[str]:
    """All that the page is told."""

    async def listen() -> list[str]:
        return [made async for made in answer_of(service, words, **(HOW | how))]

    return asyncio.run(listen())


def drawn(html: str) -> list[np.ndarray]:
    """The pictures of the answers, in order."""
    found = re.findall(r'data-layer="picture" src="data:image/png;base64,([^"]+)" alt="answer', html)
    return [read_image(base64.b64decode(data)) for data in found]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("mode", ["complete", "analogy", "compose"])
def test_answers_are_those_of_the_lvm(service, lvm, words, pictures, mode, exact):
    a, b, c, d, e = pictures[:5]
    how = {"num_candidates": 2, "seed": 5, "exact": True, "sampling": Sampling(top_p=1.0)}
    expected = {
        "complete": lambda: lvm.complete([a, b, c], num_frames=2, **how),
        "analogy": lambda: lvm.analogy([(a, b), (c, d)], e, **how),
        "compose": lambda: lvm.compose([[(a, b)], [(c, d)]], e, **how),
    }[mode]()
    last = answers(service, words(mode), exact=exact)[-1]
    found = drawn(last)
    assert len(found) == expected.images.shape[0] * expected.images.shape[1]
    for picture, right in zip(found, expected.images.reshape(-1, *expected.images.shape[2:]), strict=True):
        assert np.array_equal(picture, right)
    assert f"{expected.mean_log_probs[0]:.2f}".replace("-", "−") in last
    assert ("examples help" in last) == (mode != "complete")
    assert ("exact=True" in last) == exact


@pytest.mark.parametrize(
    ("how", "sampling"),
    [
        ({"temperature": 0.0, "top_p": 0.5}, GREEDY),
        ({"temperature": 1.5, "top_p": 0.5}, Sampling(temperature=1.5, top_p=0.5)),
    ],
)
def test_sliders_reach_the_drawing(service, lvm, words, pictures, how, sampling):
    a, b, c, d, e = pictures[:5]
    expected = lvm.analogy([(a, b), (c, d)], e, num_candidates=2, seed=5, exact=True, sampling=sampling)
    last = answers(service, words("analogy"), **how)[-1]
    assert all(np.array_equal(*both) for both in zip(drawn(last), expected.images[:, 0], strict=True))
    assert f"Sampling({'temperature=0.0' if sampling == GREEDY else 'temperature=1.5, top_p=0.5'})" in last


def test_frames_go_on_beyond_the_context(service, lvm, words, pictures):
    expected = lvm.complete(pictures[:3], num_frames=20, seed=5, exact=True, sampling=Sampling(top_p=1.0))
    found = drawn(answers(service, words("complete"), frames=20, candidates=1)[-1])
    assert len(found) == 20 > lvm.bundle.images_in_context
    assert all(np.array_equal(*both) for both in zip(found, expected.images[0], strict=True))


def test_two_lvms_answer_side_by_side(service, words):
    last = answers(service, words("analogy"), beside="other")[-1]
    assert re.findall(r"<h3>(\w+), [\d.]+ s</h3>", last) == ["tiny", "other"]
    assert len(drawn(last)) == 4


def test_a_choice_shows_every_option(service, lvm, words, pictures):
    choice = lvm.choose(pictures[:2], pictures[2:5])
    last = answers(service, words("choose", right=(choice.index + 1) % 3))[-1]
    told = re.findall(r"perplexity ([\d.]+)((?:, <b>\w+</b>)?)", last)
    assert [value for value, _ in told] == [f"{value:.3g}" for value in choice.perplexities]
    assert told[choice.index][1] == ", <b>chosen</b>" and told[(choice.index + 1) % 3][1] == ", <b>right</b>"


def test_what_was_right_is_shown_beside_the_answer_only(service, words, slots):
    told = answers(service, words("analogy", truths=[slots[9]]))
    assert slots[9]["data"] in told[-1] and all(slots[9]["data"] not in one for one in told[:-1])


def test_rows_appear_while_it_is_drawn(service, words, gate):
    async def listen() -> list[str]:
        found = []
        async with aclosing(answer_of(service, words("analogy"), **(HOW | {"exact": False}))) as parts:
            async for made in parts:
                found.append(made)
                if len(found) == 1:
                    gate.set()
        return found

    told = asyncio.run(listen())
    assert "Waiting for its turn" in told[0] and "codes.npy" in told[-1]


@pytest.mark.parametrize("exact", [True, False])
def test_who_leaves_lets_go_of_the_drawing(service, words, gate, monkeypatch, exact):
    cancelled, cancel = [], Job.cancel
    monkeypatch.setattr(Job, "cancel", lambda job: (cancelled.append(job), cancel(job)))

    async def leave() -> None:
        async with aclosing(answer_of(service, words("complete"), **(HOW | {"exact": exact, "frames": 12}))) as parts:
            async for _ in parts:
                break

    asyncio.run(leave())
    assert len(cancelled) == 1
    assert service.requests.taken == 0 and service.uploads.taken == 0
    gate.set()
    end = time.monotonic() + 10
    while any(service.worker.state().values()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(service.worker.state().values())


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"candidates": 99}, "num_candidates"),
        ({"frames": 0}, "num_frames"),
        ({"seed": -1}, "seed"),
        ({"name": "nobody"}, "nobody"),
        ({"temperature": float("nan")}, "temperature"),
        ({"candidates": None}, "num_candidates"),
    ],
)
def test_what_cannot_be_drawn_is_told(service, words, how, told):
    (only,) = answers(service, words("complete"), **how)
    assert 'role="alert"' in only and told in only
    assert service.requests.taken == 0 and service.uploads.taken == 0


def test_limits_are_those_of_the_api(lvm, words):
    with served({"tiny": lvm}, max_requests=1) as service:
        service.admit()
        assert "1 requests are being answered" in answers(service, words("analogy"))[-1]
        assert service.requests.taken == 1
    with served({"tiny": lvm, "other": lvm}, max_requests=1) as service:
        assert "1 requests are being answered" in answers(service, words("analogy"), beside="other")[-1]
        assert service.requests.taken == 0
    with served({"tiny": lvm}, max_uploads_mb=0.0002) as service:
        assert "too much is being uploaded" in answers(service, words("analogy"))[-1]
    with served({"tiny": lvm}, max_megapixels=1e-4) as service:
        assert "16 x 16 pixels" in answers(service, words("analogy"))[-1]
    with served({"tiny": lvm}) as service:
        service.is_stopping = True
        assert "the server is stopping" in answers(service, words("analogy"))[-1]


def test_time_is_over(lvm, words, gate):
    with served({"tiny": lvm}, request_seconds=0.3) as service:
        assert "took longer than the 0.3 s" in answers(service, words("analogy"), exact=False)[-1]
        gate.set()


def test_a_failure_is_told_by_its_id(service, words, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("openlvm.serving.playground.answers.html.drawn", broken)
    last = answers(service, words("analogy"))[-1]
    number = re.search(r"log has it as (\w+)", last).group(1)
    assert "secret" not in last and number in caplog.text and "secret detail" in caplog.text


def test_a_picture_given_twice_is_encoded_once(service, lvm, words, slots, monkeypatch):
    seen, encode = [], type(lvm.bundle.tokenizer).encode
    monkeypatch.setattr(
        type(lvm.bundle.tokenizer), "encode", lambda self, pixels: (seen.append(len(pixels)), encode(self, pixels))[1]
    )
    answers(service, words("complete", sections=[[[slots[0]], [slots[1]], [slots[0]]]]))
    assert seen == [2]  # as the printed call does: the bits of codes may depend on what is encoded beside them


def test_truths_are_text(service, words):
    last = answers(service, words("analogy", truths=[{"data": '"><script>alert(1)</script>'}]))[-1]
    assert "<script" not in last and "right answer" in last


def test_names_of_files_are_text(service, words, slots):
    name = '<img src=x onerror="alert(1)">.png'
    text = words("analogy").replace(slots[0]["name"], name.replace('"', '\\"'))
    assert read_prompt(text).pictures[0].name == "_img_src_x_onerror_alert_1_.png"
    assert "onerror=" not in answers(service, text)[-1]
