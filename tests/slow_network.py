"""A network of a given rate on this machine: a TCP proxy that passes bytes on no faster than it is told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 18


class _Bucket:
    """Bytes a second, shared by all connections."""

    def __init__(self, bytes_per_s: float) -> None:
        self._rate, self._free_at = bytes_per_s, time.monotonic()

    async def take(self, count: int) -> None:
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 0.05) + count / self._rate
        await asyncio.sleep(max(0.0, self._free_at - now))


@contextmanager
def slow_network(host: str, port: int, bytes_per_s: float, passed: list[int] | None = None) -> Iterator[int]:
    """The port on 127.0.0.1 of a proxy to host:port whose answers come at `bytes_per_s` in all; the count of their
    bytes so far is kept in `passed[0]`."""
    passed = [0] if passed is None else passed
    ready, stop, where = threading.Event(), asyncio.Event(), [0]
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        bucket = _Bucket(bytes_per_s)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there_reader, there_writer = await asyncio.open_connection(host, port)

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, slow: bool) -> None:
                try:
                    while data := await source.read(_CHUNK):
                        if slow:
                            await bucket.take(len(data))
                            passed[0] += len(data)
                        sink.write(data)
                        await sink.drain()
                except ConnectionError:
                    pass
                finally:
                    sink.close()

            with suppress(asyncio.CancelledError):  # at the end of the block
                await asyncio.gather(
                    copy(reader, there_writer, slow=False), copy(there_reader, writer, slow=True)
                )

        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=_CHUNK)
        where[0] = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        answering = asyncio.all_tasks() - {asyncio.current_task()}
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield where[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
