"""The client and the server together: what comes back is what the LVM answers, once, streamed, or after a refusal."""

import base64
import io
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image

from openlvm.core.images import write_image
from openlvm.prompting.sampling import Sampling
from openlvm.serving.client import Client, ServerError, _multipart
from openlvm.serving.work.pool import Pool


def test_drawings_equal_calls_of_the_lvm(client, lvm, pictures, pairs):
    how = {"num_candidates": 3, "seed": 5, "exact": True}
    replies = [
        client.analogy(pairs, pictures[4], details=True, **how),
        client.compose([pairs[:1], pairs[1:]], pictures[5], details=True, **how),
        client.complete(pictures[:3], num_frames=2, details=True, **how),
    ]
    answers = [
        lvm.analogy(pairs, pictures[4], **how),
        lvm.compose([pairs[:1], pairs[1:]], pictures[5], **how),
        lvm.complete(pictures[:3], num_frames=2, **how),
    ]
    for reply, answer in zip(replies, answers, strict=True):
        for name in ("images", "codes", "numbers", "log_probs", "entropies", "mean_log_probs"):
            assert np.array_equal(getattr(reply, name), getattr(answer, name)), name
        assert (reply.gain is None) == (answer.gain is None)
    assert np.array_equal(replies[0].gain, answers[0].gain) and replies[0].lvm == "tiny"
    assert client.analogy(pairs, pictures[4]).log_probs is None


def test_ways_of_drawing_equal_those_of_the_lvm(client, lvm, pictures, pairs):
    for way in ({"temperature": 0}, {"temperature": 0.5, "top_k": 3}, {"top_p": 0.5}):
        reply = client.analogy(pairs, pictures[6], seed=2, **way)
        sampling = Sampling(**{"temperature": 1.0, **way})
        assert np.array_equal(reply.codes, lvm.analogy(pairs, pictures[6], seed=2, sampling=sampling).codes)


def test_every_way_of_python_equals_the_call_in_python(client, lvm, pictures, pairs):
    """What the pool cannot draw, alone and streamed; test_worker.py has them in company."""
    for images, how in (
        (pictures[:5], {"num_frames": 20, "exact": True}),
        (pictures, {"num_frames": 14, "slide": True, "keep": 4}),
        (pictures, {"num_frames": 14, "slide": True, "keep": 4, "reuse": True, "num_candidates": 2}),
        (pictures[:3], {"num_frames": 2, "reuse": True}),
        (pictures[:3], {"num_frames": 3, "fast": True}),
        (pictures[:3], {"num_frames": 3, "ahead": 1}),
    ):
        answer = lvm.complete(images, seed=8, **how)
        for watch in (None, lambda told: None):
            reply = client.complete(images, seed=8, on_progress=watch, details=True, **how)
            for name in ("images", "codes", "numbers", "log_probs", "entropies", "reuse_error"):
                assert np.array_equal(getattr(reply, name), getattr(answer, name)), (name, how)
    for how in ({"ensemble": 2}, {"fast": True}, {"ahead": 1}):
        answer = lvm.analogy(pairs, pictures[4], num_candidates=2, seed=8, **how)
        reply = client.analogy(pairs, pictures[4], num_candidates=2, seed=8, details=True, **how)
        for name in ("images", "codes", "log_probs", "gain"):
            assert np.array_equal(getattr(reply, name), getattr(answer, name)), (name, how)
    composed = client.compose([pairs[:1], pairs[1:]], pictures[5], fast=True, details=True)
    assert np.array_equal(composed.log_probs, lvm.compose([pairs[:1], pairs[1:]], pictures[5], fast=True).log_probs)


def test_measures_equal_calls_of_the_lvm(client, lvm, pictures):
    assert client.score(pictures[:2], pictures[4]) == lvm.score(pictures[:2], pictures[4])
    choice = lvm.choose(pictures[:2], pictures[4:7], against="context_free")
    found = client.choose(pictures[:2], pictures[4:7], against="context_free")
    assert found["index"] == choice.index
    assert (tuple(found["perplexities"]), tuple(found["context_free"])) == (choice.perplexities, choice.context_free)


def test_pictures_of_every_kind_are_sent(client, lvm, pictures, tmp_path):
    files = [tmp_path / name for name in ("a.png", "b.jpg", "c.webp", "d.png")]
    for path, picture in zip(files, pictures, strict=False):
        write_image(path, np.kron(picture, np.ones((3, 2, 1), np.uint8)))  # of another size, for the server to prepare
    given = [files[0], str(files[1]), files[2].read_bytes(), Image.open(files[3])]
    reply = client.complete(given, exact=True)
    assert np.array_equal(reply.codes, lvm.complete(given, exact=True).codes)
    bitmap = io.BytesIO()
    Image.fromarray(pictures[5]).save(bitmap, format="BMP")  # no format that a server reads: sent as a PNG
    reply = client.complete([bitmap.getvalue()], exact=True)
    assert np.array_equal(reply.codes, lvm.complete([pictures[5]], exact=True).codes)


def test_progress_shows_the_picture_as_it_grows(client, lvm, pictures, monkeypatch):
    told, step = [], Pool.step
    monkeypatch.setattr(Pool, "step", lambda pool: time.sleep(0.02) or step(pool))
    reply = client.complete(pictures[:2], num_frames=14, seed=1, on_progress=told.append)
    reference = lvm.complete(pictures[:2], num_frames=14, seed=1)
    assert np.array_equal(reply.codes, reference.codes)
    assert len(told) > 2 and all(event["total"] == 56 for event in told)
    drawn = [event["drawn"] for event in told]
    assert drawn == sorted(set(drawn)) and drawn[-1] <= 56
    for event in told:
        rows = (event["drawn"] - 4 * event["frames"][0]) // 2  # two codes a row
        if event["images"][0] is None:
            assert rows == 0
            continue
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(event["images"][0]))))
        assert picture.shape == (16, 16, 3) and (picture[8 * rows :] == 128).all()
        if rows == 2:
            assert np.array_equal(picture, reference.images[0, event["frames"][0]])


def test_models_and_health_tell_what_is_served(client, lvm):
    (model,) = client.models()
    assert model["name"] == "tiny" and model["images_in_context"] == 16 and model["codebook_size"] == 32
    assert model["fingerprint"] == lvm.bundle.tokenizer.fingerprint
    assert client.health() == "ok"


def test_the_lvm_that_is_named_answers(serving, lvm, lvm_at, pictures):
    from openlvm.prompting.lvm import LVM

    other = LVM.load(lvm_at)
    url = serving(lvms={"tiny": lvm, "other": other}).url
    for name, expected in (("tiny", lvm), ("other", other), (None, lvm)):
        reply = Client(url, lvm=name).complete(pictures[:3], seed=4, exact=True)
        assert np.array_equal(reply.codes, expected.complete(pictures[:3], seed=4, exact=True).codes)
    with pytest.raises(ServerError, match="no LVM called 'third'|third"):
        Client(url, lvm="third").complete(pictures[:3])


def test_a_refused_client_waits_and_asks_again(serving, lvm, pictures, gate):
    server = serving(max_requests=1)
    first = threading.Thread(target=Client(server.url).complete, args=(pictures[:2],))
    first.start()
    assert gate.reached.wait(20)
    with pytest.raises(ServerError, match="429: 1 requests are being answered"):
        Client(server.url, patience=0).complete(pictures[:3])
    threading.Timer(0.2, gate.set).start()
    reply = Client(server.url).complete(pictures[:3], seed=1)
    assert np.array_equal(reply.codes, lvm.complete(pictures[:3], seed=1).codes)
    first.join()


def test_many_clients_get_each_their_own_answer(serving, lvm, pictures, pairs):
    """The full load is benchmarks/serving.py."""
    server, wrong = serving(max_requests=6, rate=1000), []
    expected = [lvm.analogy(pairs, pictures[4 + number], seed=number, exact=True).codes for number in range(12)]

    def ask(number: int) -> None:
        for _ in range(2):
            reply = Client(server.url).analogy(pairs, pictures[4 + number], seed=number, exact=True)
            if not np.array_equal(reply.codes, expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    end = time.monotonic() + 5
    while server.service.requests.taken and time.monotonic() < end:
        time.sleep(0.01)
    assert server.service.requests.taken == server.service.uploads.taken == 0


def test_a_picture_that_is_given_twice_is_sent_once(pictures, tmp_path):
    write_image(tmp_path / "a.png", pictures[0])
    given = [pictures[0], pictures[1], pictures[0], tmp_path / "a.png", str(tmp_path / "a.png")]
    kind, body = _multipart({"images": given}, {"seed": 3, "lvm": None})
    request = json.loads(body.split(b"\r\n\r\n")[1].split(b"\r\n--")[0])
    assert request == {"images": [0, 1, 0, 2, 2], "seed": 3}
    assert body.count(b'name="pictures"') == 3 and kind.split("boundary=")[1].encode() in body


def test_an_url_that_is_none_is_rejected():
    with pytest.raises(ValueError, match="must be http://HOST:PORT"):
        Client("localhost:8000")
