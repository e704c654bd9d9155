"""A proxy in front of a real S3 server that misbehaves as servers, gateways and networks do.

It signs what it passes on anew, with the keys of the store, so that it may take away headers that were signed.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.object_server import ObjectStore

_NOT_PASSED_ON = {"host", "authorization", "connection", "expect", "content-length", "transfer-encoding"}
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Request:
    """What arrived: the path with its query, and the headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Misbehaviour:
    """What the proxy does besides passing on; change it at any time. Broken requests end in a reset."""

    strips: set[str] = field(default_factory=set)  # headers (lower case) that never arrive at the server
    breaks_before: Callable[[Request], bool] = lambda _: False  # the server never sees the request
    breaks_after: Callable[[Request], bool] = lambda _: False  # it is done, and its reply is lost
    cuts_bodies_at: int | None = None  # bytes of every GET's body after which the connection is closed
    refuses: dict[str, tuple[int, str]] = field(
        default_factory=dict
    )  # header -> status and code of the error
    looks_then_writes: bool = False  # If-Match as a gateway does it whose system knows no conditions
    seen: list[Request] = field(default_factory=list)


@contextmanager
def misbehaving(store: ObjectStore) -> Iterator[tuple[dict[str, str], Misbehaviour]]:
    """The environment that goes through the proxy, and what it does; until the block ends."""
    behaviour = Misbehaviour()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store, behaviour))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield {**store.env, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}"}, behaviour
    finally:
        server.shutdown()
        server.server_close()


def _handler(store: ObjectStore, behaviour: Misbehaviour) -> type[BaseHTTPRequestHandler]:
    there = urlsplit(store.endpoint)
    signer = S3SigV4Auth(Credentials(store.access_key, store.secret_key), "s3", "us-east-1")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def pass_on(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers)
            behaviour.seen.append(request)
            body = self.rfile.read(int(headers.get("content-length", 0)))
            if behaviour.breaks_before(request):
                return self.break_off()
            for header, (status, code) in behaviour.refuses.items():
                if header in headers:
                    return self.refuse(status, code)
            expected = headers.pop("if-match", None) if behaviour.looks_then_writes else None
            kept = {k: v for k, v in headers.items() if k not in _NOT_PASSED_ON | behaviour.strips}
            connection = http.client.HTTPConnection(str(there.hostname), int(there.port or 80), timeout=60)
            try:
                if expected is not None:
                    found = self.ask(connection, "HEAD", {}, b"")
                    found.read()
                    if found.getheader("ETag") != expected:
                        return self.refuse(412, "PreconditionFailed")
                reply = self.ask(connection, self.command, kept, body)
                if behaviour.breaks_after(request):
                    reply.read()
                    return self.break_off()
                self.answer(reply)
            finally:
                connection.close()

        def ask(
            self, connection: http.client.HTTPConnection, method: str, headers: dict[str, str], body: bytes
        ) -> http.client.HTTPResponse:
            signed = AWSRequest(method, store.endpoint + self.path, data=body, headers=headers)
            signer.add_auth(signed)
            connection.request(method, self.path, body, dict(signed.headers.items()))
            return connection.getresponse()

        def answer(self, reply: http.client.HTTPResponse) -> None:
            self.send_response(reply.status)
            data = reply.read() if reply.getheader("Content-Length") is None else None
            for name, value in reply.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            if data is not None:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            left = behaviour.cuts_bodies_at if self.command == "GET" and reply.status in (200, 206) else None
            while chunk := (data if data is not None else reply.read(_CHUNK)):
                if left is not None and len(chunk) > left:
                    self.wfile.write(chunk[:left])
                    self.close_connection = True  # not a reset: what was sent arrives
                    return
                self.wfile.write(chunk)
                left = None if left is None else left - len(chunk)
                if data is not None:
                    break

        def refuse(self, status: int, code: str) -> None:
            body = f"<Error><Code>{code}</Code><Message>refused by the proxy</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def break_off(self) -> None:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

    return Handler
