"""Who listens to the answers in Gradio's queue, which would keep without end what nobody takes.

A call of Gradio has two steps: a client joins the queue, then listens to events. What it is told lies in memory until
it is taken; Gradio does not bound how much that is, how long it lies, or for how many who never listen.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from openlvm.serving.http.body import Refused
from openlvm.serving.limits import Budget, Limits

SECONDS_TO_LISTEN = 10.0
"""After a call, or the end of a stream: a session that nobody listens to then is let go, its drawing with it."""
MOST_UNREAD = 3
"""Messages; who has more of them before him is behind."""


class Listeners:
    """The streams of events, by the names of their sessions.

    Args:
        page: Gradio's blocks, with their queue.
    """

    def __init__(self, page: Any, limits: Limits):
        self.page = page
        self.streams = Budget(max(1, limits.max_connections // 2))
        """At a time: the other connections are left to all else."""
        self.seconds = limits.upload_seconds + limits.request_seconds
        """That a stream lasts at most; no answer takes longer."""
        self._listening: Counter[str] = Counter()
        self._deaf: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def listening(self, session: str) -> AsyncGenerator[None, None]:
        """Within it a client listens, until its time is over; Refused where there is no such session, or no room."""
        if session not in self.page._queue.pending_messages_per_session:
            raise Refused(404, "no such session; load the page again")
        if not self.streams.take(1):
            raise Refused(429, "too many listen at once; try again", retry_after=1)
        self._listening[session] += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.seconds):
                    yield
        finally:
            self.streams.give_back(1)
            self._listening[session] -= 1
            if not self._listening[session]:
                del self._listening[session]
            self.expect(session)

    def expect(self, session: str) -> None:
        """Somebody must listen to this session soon."""
        if session in self._deaf:
            self._deaf[session].cancel()
        self._deaf[session] = asyncio.create_task(self._let_go(session))

    async def _let_go(self, session: str) -> None:
        """Of a session that nobody listens to after all: its calls, its messages, its last prompt and answer."""
        await asyncio.sleep(SECONDS_TO_LISTEN)
        del self._deaf[session]
        if session in self._listening:
            return
        queue, states = self.page._queue, self.page.state_holder
        await queue.clean_events(session_hash=session)
        for kept in (
            queue.pending_messages_per_session, queue.pending_event_ids_session, states.session_data,
            states.time_last_used,
        ):  # fmt: skip
            kept.pop(session, None)

    def is_behind(self, session: str) -> bool:
        """Whether a session has not taken what it was told."""
        unread = self.page._queue.pending_messages_per_session.get(session)
        return unread is not None and unread.qsize() > MOST_UNREAD


async def newest(parts: AsyncGenerator[str, None], is_behind: Callable[[], bool]) -> AsyncGenerator[str, None]:
    """All parts for who keeps up; an old one again, which Gradio sends as "no change", for who is behind. The last part
    is for all. Closing it closes `parts`.
    """
    shown = part = ""
    async with aclosing(parts):
        async for part in parts:
            if not shown or not is_behind():
                shown = part
            yield shown
    if part != shown:
        yield part
