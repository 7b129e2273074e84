"""Gradio keeps nothing for those who do not listen, little for those who are slow, and no stream goes on for ever."""

import asyncio
import http.client
import json
import time
from types import SimpleNamespace

import pytest

from openlvm.serving.http.body import Refused
from openlvm.serving.limits import Limits
from openlvm.serving.playground import listeners
from openlvm.serving.playground.answering import NOBODY
from openlvm.serving.playground.listeners import Listeners, newest
from openlvm.serving.server import running


@pytest.fixture
def page(lvm, monkeypatch):
    monkeypatch.setattr(listeners, "SECONDS_TO_LISTEN", 2)  # on a machine that does much else
    limits = Limits(rate=1e6, burst=10**6, request_seconds=30, upload_seconds=1)
    with running({"tiny": lvm}, limits=limits, has_page=True) as started:
        yield started


def blocks(page):
    """Gradio's, behind the guard and the gate."""
    return page.server.config.app.app.listeners.page


def run_number(page) -> int:
    """Of the handler that draws."""
    return next(number for number, handler in blocks(page).fns.items() if len(handler.inputs) > 2)


def join(page, words: str, session: str) -> int:
    """Ask for a drawing in company; the status."""
    data = [words, "tiny", NOBODY, 1, 1, 1.0, 1.0, 0, False]
    body = json.dumps({"data": data, "fn_index": run_number(page), "session_hash": session})
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", "/playground/gradio_api/queue/join", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def listen(page, session: str) -> str:
    """All events until the stream ends, or breaks off."""
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=20)
    try:
        connection.request("GET", f"/playground/gradio_api/queue/data?session_hash={session}")
        return connection.getresponse().read().decode()
    except http.client.IncompleteRead as error:
        return error.partial.decode()
    finally:
        connection.close()


def kept(page, session: str) -> list[bool]:
    """Whether Gradio has anything of a session: messages, names of calls, its last prompt and answer."""
    queue, states = blocks(page)._queue, blocks(page).state_holder
    places = (queue.pending_messages_per_session, queue.pending_event_ids_session, states.session_data)
    return [session in place for place in places]


def soon(is_so) -> bool:
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


def test_who_never_listens_is_let_go_with_the_drawing(page, words, gate):
    assert join(page, words("analogy"), "deaf") == 200
    assert soon(lambda: page.service.requests.taken == 1)
    assert kept(page, "deaf") == [True] * 3
    assert soon(lambda: page.service.requests.taken == 0)  # long before its time is over
    assert soon(lambda: kept(page, "deaf") == [False] * 3)


def test_who_listened_is_answered_and_then_forgotten(page, words):
    assert join(page, words("analogy"), "heard") == 200
    told = listen(page, "heard")
    assert "codes.npy" in told and "close_stream" in told
    assert any(kept(page, "heard"))
    assert join(page, words("analogy"), "heard") == 200  # before it is forgotten
    time.sleep(0.3)
    assert "codes.npy" in listen(page, "heard")
    assert soon(lambda: kept(page, "heard") == [False] * 3)


def test_a_stream_is_cut_off_when_its_time_is_over(page, words, gate):
    page.server.config.app.app.listeners.seconds = 1
    join(page, words("analogy"), "long")
    began = time.monotonic()
    assert "codes.npy" not in listen(page, "long")
    assert 0.9 < time.monotonic() - began < 15
    assert page.server.config.app.app.listeners.streams.taken == 0


def test_no_call_waits_with_its_pictures_in_gradios_queue(page, words, gate):
    number = 45  # Gradio runs 40 at a time unless it is told
    assert [join(page, words("analogy"), f"one{at}") for at in range(number)] == [200] * number
    assert soon(lambda: page.service.requests.taken == number)
    assert len(blocks(page)._queue) == 0
    gate.set()


def test_a_session_of_nobody_is_not_there(page, caplog):
    connection = http.client.HTTPConnection(page.url.removeprefix("http://"), timeout=20)
    connection.request("GET", "/playground/gradio_api/queue/data?session_hash=nobody")
    assert connection.getresponse().status == 404
    connection.close()
    assert "Traceback" not in caplog.text


def test_too_many_streams_are_refused():
    page = SimpleNamespace(_queue=SimpleNamespace(pending_messages_per_session={"a": None, "b": None}))

    async def listen_twice() -> None:
        some = Listeners(page, Limits(max_connections=3))
        async with some.listening("a"):
            with pytest.raises(Refused, match="too many listen"):
                async with some.listening("b"):
                    pass
        async with some.listening("b"):
            assert some.streams.taken == 1

    asyncio.run(listen_twice())


@pytest.mark.parametrize(
    ("behind", "told"),
    [
        ([], ["a", "b", "c"]),
        ([1], ["a", "a", "c"]),
        ([1, 2], ["a", "a", "a", "c"]),
        ([0, 1], ["a", "a", "c"]),
    ],
)
def test_who_is_behind_gets_the_last_part_but_not_every_one(behind, told):
    asked = []

    async def parts():
        for number, part in enumerate("abc"):
            asked.append(number)
            yield part

    async def collect() -> list[str]:
        return [part async for part in newest(parts(), lambda: asked[-1] in behind)]

    assert asyncio.run(collect()) == told
