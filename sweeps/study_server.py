"""A small server for a user study: its page, and the answers into SQLite. Starlette on uvicorn.

    GET  /               the page and the motions (STUDY/public, and nothing else of the folder)
    POST /api/raters     {study, rater} -> {slot}: a sequence for this rater, the same whenever they ask again
    POST /api/votes      one answer, see sweeps/study_votes.py -> {kept: true}, on disk by then
    GET  /api/progress   how many raters have joined and finished, how many answers there are

400 and 422 are requests that never will be right (the page gives them up), 409 an answer that is there otherwise, 413
one that is too long, 429 and 503 "later" (the page sends it again). No address of a rater is written anywhere.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sweeps.errors import SweepError
from sweeps.study_store import Full, OtherAnswer, VoteStore
from sweeps.study_votes import DATABASE, PUBLIC, Design, VoteRefused

_LONGEST_BODY = 2048  # bytes; an answer has some 250
_ENDPOINT = re.compile(r'(<meta name="study-endpoint" content=")[^"]*(")')


class Rates:
    """At most `burst` requests at once and `per_s` a second in the long run from one address."""

    def __init__(self, *, burst: float, per_s: float, addresses: int = 10_000) -> None:
        self._burst, self._per_s, self._most = burst, per_s, addresses
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, address: str, now: float) -> bool:
        with self._lock:
            left, before = self._left.pop(address, (self._burst, now))
            left = min(self._burst, left + (now - before) * self._per_s)
            self._left[address] = (max(left - 1, 0.0) if left >= 1 else left, now)
            while len(self._left) > self._most:
                self._left.popitem(last=False)
            return left >= 1


def study_app(
    folder: Path,
    store: VoteStore,
    design: Design,
    *,
    allowed_origins: Sequence[str] = (),
    rates: Rates | None = None,
) -> Starlette:
    """The server's application. `allowed_origins`: other web addresses whose page may send answers here."""
    # Many raters may come from one address: a class room behind one router, or a proxy before this server.
    rates = rates or Rates(burst=200, per_s=50)
    public = folder / PUBLIC

    async def page(request: Request) -> Response:
        text = await run_in_threadpool((public / "index.html").read_text, "utf-8")
        served = _ENDPOINT.sub(r"\g<1>api\g<2>", text)  # this page has a server: its own
        return HTMLResponse(served, headers={"cache-control": "no-cache"})

    async def join(request: Request) -> Response:
        sent = await _body(request, rates)
        if not isinstance(sent, dict) or set(sent) != {"study", "rater"} or sent["study"] != design.study:
            raise VoteRefused("the request is of another study: reload the page")
        slot = await run_in_threadpool(store.join, design.check_rater(sent["rater"]))
        return JSONResponse({"slot": slot})

    async def vote(request: Request) -> Response:
        await run_in_threadpool(store.keep, design.vote(await _body(request, rates)))
        return JSONResponse({"kept": True})

    async def progress(request: Request) -> Response:
        return JSONResponse({"study": design.study, **await run_in_threadpool(store.progress)})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/index.html", page),
            Route("/api/raters", join, methods=["POST"]),
            Route("/api/votes", vote, methods=["POST"]),
            Route("/api/progress", progress),
            Mount("/", StaticFiles(directory=public)),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=list(allowed_origins),
                allow_methods=["GET", "POST"],
                allow_headers=["content-type"],
            )
        ],
        exception_handlers={
            _Later: _said(429),
            _TooLong: _said(413),
            OtherAnswer: _said(409),
            Full: _said(403),
            VoteRefused: _said(422),
        },
    )


class _TooLong(VoteRefused):
    pass


class _Later(VoteRefused):
    pass


def _said(status: int) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        headers = {"retry-after": "2"} if status == 429 else {}
        return JSONResponse({"error": str(error)}, status_code=status, headers=headers)

    return answer


async def _body(request: Request, rates: Rates) -> object:
    """The JSON of a request, read no further than an answer can be long."""
    if not rates.allows(request.client.host if request.client else "", time.monotonic()):
        raise _Later("too many answers at once from this address: they are taken in a moment")
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LONGEST_BODY:
            raise _TooLong(f"an answer has at most {_LONGEST_BODY} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise VoteRefused("an answer is JSON") from None


def serve(
    folder: Path,
    *,
    host: str,
    port: int,
    most_raters: int,
    allowed_origins: Sequence[str],
    say: Any,
) -> None:
    """Serve until interrupted. Raises SweepError where the folder holds no study or the port is taken."""
    import socket

    import uvicorn

    design = Design.read(folder)
    if not (folder / PUBLIC / "index.html").is_file():
        raise SweepError(f"{folder}/{PUBLIC} holds no page: build the study again.")
    store = VoteStore(folder / DATABASE, design, most_raters=most_raters)
    app = study_app(folder, store, design, allowed_origins=allowed_origins)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(2048)  # who comes before the server is ready waits
        except OSError as error:
            raise SweepError(f"--host {host} --port {port}: {error.strerror}; choose another.") from error
        shown = f"[{host}]" if ":" in host else host
        progress = store.progress()
        say(f"Study:    http://{shown}:{listening.getsockname()[1]}/")
        say(f"Answers:  {folder / DATABASE} ({progress['votes']} of {progress['raters']} raters so far)")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, limit_concurrency=500,
            timeout_keep_alive=15, timeout_graceful_shutdown=5, h11_max_incomplete_event_size=16_384,
        )  # fmt: skip
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    store.close()
