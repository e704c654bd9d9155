"""Tell a web address of each move of an alias: a signed POST, after the move, which it can neither undo nor fail.

LATENTACT_WEBHOOK_URL (https, or http on this machine) gets JSON, signed with LATENTACT_WEBHOOK_SECRET after the rules
of Standard Webhooks 1.0 (standardwebhooks.com), which has receivers' libraries in many languages:

    webhook-id           names the move and stays the same when it is sent again: what came before is to be ignored
    webhook-timestamp    seconds since 1970 of this sending: what is older than five minutes is to be refused
    webhook-signature    v1,<base64 of HMAC-SHA256 over id.timestamp.body, keyed with the secret>

A secret that begins with whsec_ is base64 after that; any other is used as it is. Without one nothing is sent.
A message may be lost, or come twice. The alias's log is the truth: `zoo history NAME`. A receiver in Python, which has
the headers in lower case:

    import base64, hmac, time

    def verified(headers, body: bytes, secret: bytes) -> bool:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        ours = "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
        fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
        return fresh and hmac.compare_digest(ours, headers["webhook-signature"])
"""

from __future__ import annotations

import base64
import binascii
import hmac
import http.client
import logging
import threading
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from zoo import settings
from zoo.store import to_json

log = logging.getLogger("zoo")
URL, SECRET = "LATENTACT_WEBHOOK_URL", "LATENTACT_WEBHOOK_SECRET"
TIMEOUT_S = 3.0  # of each step of a request
PAUSES_S = (0.5, 1.5)  # before the second and the third try
DEADLINE_S = 10.0  # of all together: a name server has no timeout of its own
MIN_SECRET_BYTES = 16
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
WORTH_ANOTHER_TRY = (408, 425, 429)  # and every 5xx


def notify(zoo: str, name: str, state: dict[str, Any]) -> str:
    """Send a move (a state of the alias of `name` in the store at `zoo`). Returns what went wrong, or "".

    Never raises, and takes DEADLINE_S at the most. The sentence names neither the secret nor more of the address than
    its host: addresses may hold tokens.
    """
    environment = settings.environment()
    if not (url := environment.get(URL)):
        return ""
    outcome = [f"it was given up after {DEADLINE_S:.0f} s"]
    try:
        target, key = _target(url), _key(environment.get(SECRET, ""))

        def send() -> None:
            outcome[0] = _deliver(target, key, _message(zoo, name, state), state["nonce"])

        sender = threading.Thread(target=send, daemon=True)  # one that hangs does not keep the process
        sender.start()
        sender.join(DEADLINE_S)
    except _Unusable as unusable:
        outcome = [str(unusable)]
    if outcome[0]:
        error = f"The alias has moved, but the webhook was not told: {outcome[0]}."
        log.warning(error)
        return error
    return ""


def sign(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of webhook-signature."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


class _Unusable(Exception):
    """The settings are such that nothing may be sent."""


def _target(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        raise _Unusable(f"{URL} is no address such as https://host/path, without a user in it")
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in THIS_MACHINE):
        raise _Unusable(f"{URL} must be https, since anyone may read along with {parts.scheme or 'nothing'}")
    return parts


def _key(secret: str) -> bytes:
    try:
        prefix, _, rest = secret.partition("whsec_")
        key = base64.b64decode(rest, validate=True) if rest and not prefix else secret.encode()
    except (binascii.Error, ValueError):
        raise _Unusable(f"{SECRET} begins with whsec_, and is not base64 after that") from None
    if len(key) < MIN_SECRET_BYTES:
        raise _Unusable(
            f"{SECRET} must have {MIN_SECRET_BYTES} bytes or more: make one with `openssl rand -hex 32`"
        )
    return key


def _message(zoo: str, name: str, state: dict[str, Any]) -> bytes:
    verdict = state.get("verdict")
    return to_json(
        {
            "type": "alias.moved",
            "timestamp": state["at"],
            "data": {
                "zoo": zoo,
                "name": name,
                "alias": state["alias"],
                "version": state["number"],
                "digest": state["digest"],
                "previous": state["previous"]["number"] if state["previous"] else None,
                "sequence": state["sequence"],
                "how": state["how"],
                "reason": state["reason"],
                "gate": verdict["sentence"] if verdict else None,
                "by": state["by"],
            },
        }
    )


def _deliver(target: SplitResult, key: bytes, body: bytes, nonce: str) -> str:
    """Try until somebody takes it; returns what went wrong at last, or ""."""
    wrong = ""
    for pause_s in (0.0, *PAUSES_S):
        time.sleep(pause_s)
        try:
            status = _post(target, key, body, f"move_{nonce}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            wrong = f"{target.hostname} cannot be reached ({type(error).__name__}): check {URL}"
            continue
        if 200 <= status < 300:
            return ""
        wrong = f"{target.hostname} answered {status}"
        if 300 <= status < 400:
            return f"{wrong}, and redirections are not followed: give the final address in {URL}"
        if status < 500 and status not in WORTH_ANOTHER_TRY:
            break
    return wrong


def _post(target: SplitResult, key: bytes, body: bytes, message_id: str) -> int:
    """One request; returns the status. Not urllib: it would follow redirections and proxies of the environment."""
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    timestamp = str(int(time.time()))
    connection = kind(target.hostname or "", target.port, timeout=TIMEOUT_S)
    try:
        connection.request(
            "POST",
            (target.path or "/") + (f"?{target.query}" if target.query else ""),
            body,
            {
                "Content-Type": "application/json",
                "User-Agent": "latentact-zoo",
                "webhook-id": message_id,
                "webhook-timestamp": timestamp,
                "webhook-signature": sign(key, message_id, timestamp, body),
            },
        )
        return connection.getresponse().status
    finally:
        connection.close()
