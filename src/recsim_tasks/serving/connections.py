"""HTTP/1.1 connections with limits: on headers in size, number and time, on readers that stall, and on their number.

See docs/adr/0007-http-server.md.
"""

from __future__ import annotations

import resource
from asyncio import TimerHandle, Transport
from time import monotonic

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from recsim_tasks.serving.problems import problem

MOST_CONNECTIONS = 1000
# Files of releases, images and metrics: what a worker opens beside its connections.
OTHER_FILES, FEWEST_CONNECTIONS = 112, 16


class RefusedError(Exception):
    """A request whose headers are not taken: the status and the sentence of its answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def most_connections() -> int:
    """How many connections one worker holds: fewer where it may open few files, which it needs to answer."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, files - OTHER_FILES))


class Connection(HttpToolsProtocol):
    """uvicorn's protocol on httptools, which has no such limits of its own.

    A connection waits (for headers, or for the next request) or is busy with a request. Beyond `most` the one that has
    waited longest is dropped; when all are busy, the new one is.
    """

    most = most_connections()
    header_bytes, header_fields, header_seconds = 64 * 1024, 100, 10.0
    pipelined = 10
    # A client that reads less of its answer than this in that time is dropped.
    least_read, stalled_seconds = 10 * 1024, 10.0
    closing_seconds = 5.0

    _since = 0.0
    _size = _fields = 0
    # Bytes that came since the parser last had headers or a part of a body to give.
    _pending = 0
    _progress = False
    _refusal: RefusedError | None = None

    @property
    def waits(self) -> bool:
        """Whether no request of this connection is being answered."""
        return not self.cycle or self.cycle.response_complete

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers; make room when there is none."""
        super().connection_made(transport)
        self._deadline: TimerHandle | None = self.loop.call_later(self.header_seconds, self._late)
        self._stall: TimerHandle | None = None
        self._closing: TimerHandle | None = None
        self._since = monotonic()
        if len(self.connections) > self.most:
            others = [
                each
                for each in self.connections
                if isinstance(each, Connection) and each is not self and each.waits
            ]
            min(others, key=lambda each: each._since, default=self)._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        for timer in (self._deadline, self._stall, self._closing):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it as long as nothing comes of it."""
        self._progress = False
        super().data_received(data)
        self._pending = 0 if self._progress else self._pending + len(data)
        if self.transport.is_closing():
            return
        if self._pending > self.header_bytes:
            self._refuse(self._too_large())
        elif self.waits and not self._deadline:
            self._deadline = self.loop.call_later(self.header_seconds, self._late)

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._size = self._fields = 0

    def on_url(self, url: bytes) -> None:
        """Count a part of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, or a trailer of a body."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock, and start the request."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._raise(RefusedError(400, "A request names one host. Send one `Host` header."))
        if len(self.pipeline) >= self.pipelined:
            self._raise(
                RefusedError(
                    400,
                    f"More than {self.pipelined} requests wait on this connection. Read the answers first.",
                )
            )
        self._stop_clock()
        self._progress = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, which has a limit of its own."""
        self._progress = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._since = monotonic()
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def pause_writing(self) -> None:
        """Watch a client that does not read."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Leave a client that reads."""
        super().resume_writing()
        if self._stall:
            self._stall.cancel()
            self._stall = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that had no request for long, even when the last answer was not read."""
        self._close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not a request, in the form of every other refusal."""
        refusal = self._refusal or RefusedError(400, f"{msg} The server takes HTTP/1.1.")
        answer = problem(refusal.status, refusal.detail, {"Connection": "close"})
        headers = b"".join(b"%b: %b\r\n" % header for header in answer.raw_headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[refusal.status], headers, bytes(answer.body)))
        self._close()

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self.header_bytes:
            self._raise(self._too_large())
        if self._fields > self.header_fields:
            self._raise(
                RefusedError(431, f"The request has more than {self.header_fields} headers. Send fewer.")
            )

    def _too_large(self) -> RefusedError:
        return RefusedError(
            431, f"The headers have more than {self.header_bytes:,} bytes. Send less, or send it in the body."
        )

    def _raise(self, refusal: RefusedError) -> None:
        """Stop the parser, which tells its caller that it was stopped, and not by what."""
        self._refusal = refusal
        raise refusal

    def _refuse(self, refusal: RefusedError) -> None:
        self._refusal = refusal
        self.send_400_response("")

    def _late(self) -> None:
        if self._pending:
            self._refuse(
                RefusedError(
                    408, f"The headers did not come within {self.header_seconds:g} s. Send the request again."
                )
            )
        else:
            self._close()

    def _stop_clock(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _watch_reader(self) -> None:
        self._stall = self.loop.call_later(
            self.stalled_seconds, self._look_at_reader, self.transport.get_write_buffer_size()
        )

    def _look_at_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() > unread - self.least_read:
            self._drop()
        else:
            self._watch_reader()

    def _close(self) -> None:
        """Close once all is sent, and in any case after a while."""
        self._stop_clock()
        self.transport.close()
        if not self._closing:
            self._closing = self.loop.call_later(self.closing_seconds, self._drop)

    def _drop(self) -> None:
        self.transport.abort()
