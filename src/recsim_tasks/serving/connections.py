"""HTTP/1.1 connections with limits on headers (size, number, time), on slow readers, and on their number.

See docs/adr/0007-http-server.md.
"""

from __future__ import annotations

import resource
from asyncio import TimerHandle, Transport
from time import monotonic

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from recsim_tasks.serving.problems import problem_document

MAX_CONNECTIONS = 1000
# Files that a worker opens besides its connections: releases, images, metrics.
OTHER_FILES, MIN_CONNECTIONS = 112, 16


class RefusedError(Exception):
    """A request whose headers are refused, with the status and detail of the response."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def max_connections() -> int:
    """Return how many connections a worker keeps: fewer where the limit on open files is low."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, files - OTHER_FILES))


class Connection(HttpToolsProtocol):
    """uvicorn's protocol on httptools, which has no such limits of its own.

    A connection is idle (waiting for headers or the next request) or busy with a request. Beyond `limit`
    connections, the one that has been idle longest is dropped, or the new one when all are busy.
    """

    limit = max_connections()
    header_bytes, header_fields, header_seconds = 64 * 1024, 100, 10.0
    pipelined = 10
    # A client that reads less of its response than this within that time is dropped.
    min_read_bytes, stalled_seconds = 10 * 1024, 10.0
    closing_seconds = 5.0

    _since = 0.0
    _size = _fields = 0
    # Bytes received since the parser last produced headers or a part of a body.
    _pending = 0
    _progress = False
    _refusal: RefusedError | None = None

    @property
    def idle(self) -> bool:
        """Whether no request of this connection is in progress."""
        return not self.cycle or self.cycle.response_complete

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start to wait for headers; drop a connection when there are too many."""
        super().connection_made(transport)
        self._deadline: TimerHandle | None = self.loop.call_later(self.header_seconds, self._headers_late)
        self._stall: TimerHandle | None = None
        self._closing: TimerHandle | None = None
        self._since = monotonic()
        if len(self.connections) > self.limit:
            idle = [
                each
                for each in self.connections
                if isinstance(each, Connection) and each is not self and each.idle
            ]
            min(idle, key=lambda each: each._since, default=self)._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        for timer in (self._deadline, self._stall, self._closing):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse `data`, and count bytes that produce no headers and no body."""
        self._progress = False
        super().data_received(data)
        self._pending = 0 if self._progress else self._pending + len(data)
        if self.transport.is_closing():
            return
        if self._pending > self.header_bytes:
            self._refuse(self._too_large())
        elif self.idle and not self._deadline:
            self._deadline = self.loop.call_later(self.header_seconds, self._headers_late)

    def on_message_begin(self) -> None:
        """Start to count headers."""
        super().on_message_begin()
        self._size = self._fields = 0

    def on_url(self, url: bytes) -> None:
        """Count a part of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header or a trailer."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the timer and start the request."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._raise(RefusedError(400, "A request needs exactly one `Host` header."))
        if len(self.pipeline) >= self.pipelined:
            self._raise(
                RefusedError(
                    400,
                    f"More than {self.pipelined} requests are waiting on this connection. "
                    "Read the responses first.",
                )
            )
        self._stop_timer()
        self._progress = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a part of a body on; bodies have their own limit."""
        self._progress = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Start to wait for the next request."""
        self._since = monotonic()
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def pause_writing(self) -> None:
        """Start to watch a client that does not read."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stop watching a client that reads again."""
        super().resume_writing()
        if self._stall:
            self._stall.cancel()
            self._stall = None

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if the last response was not read."""
        self._close()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem document."""
        refusal = self._refusal or RefusedError(400, f"{msg} The server accepts HTTP/1.1.")
        answer = problem_document(refusal.status, refusal.detail, {"Connection": "close"})
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
        """Stop the parser; it reports that it was stopped, but not why."""
        self._refusal = refusal
        raise refusal

    def _refuse(self, refusal: RefusedError) -> None:
        self._refusal = refusal
        self.send_400_response("")

    def _headers_late(self) -> None:
        if self._pending:
            self._refuse(
                RefusedError(
                    408,
                    f"The headers did not arrive within {self.header_seconds:g} s. Send the request again.",
                )
            )
        else:
            self._close()

    def _stop_timer(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _watch_reader(self) -> None:
        self._stall = self.loop.call_later(
            self.stalled_seconds, self._check_reader, self.transport.get_write_buffer_size()
        )

    def _check_reader(self, unread: int) -> None:
        if self.transport.get_write_buffer_size() > unread - self.min_read_bytes:
            self._drop()
        else:
            self._watch_reader()

    def _close(self) -> None:
        """Close once everything is sent, and after some seconds in any case."""
        self._stop_timer()
        self.transport.close()
        if not self._closing:
            self._closing = self.loop.call_later(self.closing_seconds, self._drop)

    def _drop(self) -> None:
        self.transport.abort()
