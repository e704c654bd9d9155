"""The webhook: signed, sent again, never in the way. Its receiver is a real HTTP server."""

from __future__ import annotations

import base64
import json
import logging
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from zoo_bundles import write_bundle

import zoo
from zoo import webhook
from zoo.store import open_store

OBJECTS = "latentact-world-objects"
SECRET = "correct horse battery staple"
REPOSITORY = Path(__file__).parents[1]

# The example that tells people how to write a receiver is the one that is run here.
VERIFY = textwrap.dedent("    import base64" + str(webhook.__doc__).partition("    import base64")[2])


@dataclass
class Receiver:
    """What came, and what is to be answered: statuses in turn, then 200."""

    url: str
    answers: list[int] = field(default_factory=list)
    wait_s: float = 0.0
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as kept:
        yield kept


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.came.append(({key.lower(): value for key, value in self.headers.items()}, body))
            time.sleep(kept.wait_s)
            status = kept.answers.pop(0) if kept.answers else 200
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{kept.url}elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    kept = Receiver(f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/hooks/T0ken?a=b")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder: Path) -> Path:
    """A file with a new key and a certificate of 127.0.0.1, which nobody has vouched for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "receiver.pem"
    file.write_bytes(key.private_bytes(*plain) + signed.public_bytes(Encoding.PEM))
    return file


@pytest.fixture
def promote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Callable[[], str]:
    """Publishes and promotes a first version, in a store of its own; returns what is said about the webhook."""
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv(webhook.URL, receiver.url)
    monkeypatch.setenv(webhook.SECRET, SECRET)
    monkeypatch.setattr(webhook, "PAUSES_S", (0.01, 0.02))
    store = open_store(f"file://{tmp_path}/zoo")
    zoo.publish(OBJECTS, write_bundle(tmp_path / "bundle"), store=store)

    def promoted() -> str:
        promotion = zoo.promote(OBJECTS, 1, store=store, force="a test")
        assert promotion.moved and zoo.history(OBJECTS, store=store)[-1]["number"] == 1
        return promotion.notify_error

    promoted.store = store  # type: ignore[attr-defined]
    return promoted


def test_what_is_sent_and_how_a_receiver_verifies_it(receiver: Receiver, promote: Callable[[], str]) -> None:
    assert promote() == ""
    ((headers, body),) = receiver.came
    sent = json.loads(body)
    assert sent["type"] == "alias.moved"
    facts = {
        "name": OBJECTS,
        "alias": "champion",
        "version": 1,
        "previous": None,
        "how": "promotion",
        "reason": "a test",
    }
    assert facts.items() <= sent["data"].items() and "no champion" in sent["data"]["gate"]
    assert SECRET.encode() not in body and SECRET not in str(headers)
    program: dict[str, Callable[..., bool]] = {}
    exec(VERIFY, program)  # noqa: S102 (our own docstring)
    verified = program["verified"]
    assert verified(headers, body, SECRET.encode())
    assert not verified(headers, body.replace(b'"version":1', b'"version":2'), SECRET.encode())
    assert not verified(headers, body, b"another secret altogether")
    assert not verified(headers | {"webhook-id": "move_other"}, body, SECRET.encode())
    old = str(int(headers["webhook-timestamp"]) - 301)
    signature = webhook.sign(SECRET.encode(), headers["webhook-id"], old, body)
    stale = {"webhook-timestamp": old, "webhook-signature": signature}
    assert not verified(headers | stale, body, SECRET.encode())


def test_a_secret_in_the_standard_form(receiver: Receiver, promote: Callable[[], str], monkeypatch) -> None:
    key = bytes(range(32))
    monkeypatch.setenv(webhook.SECRET, "whsec_" + base64.b64encode(key).decode())
    assert promote() == ""
    ((headers, body),) = receiver.came
    expected = webhook.sign(key, headers["webhook-id"], headers["webhook-timestamp"], body)
    assert headers["webhook-signature"] == expected


def test_it_fails_first_and_is_sent_again_as_the_same_message(
    receiver: Receiver, promote: Callable[[], str]
) -> None:
    receiver.answers = [503, 429]
    assert promote() == ""
    assert len(receiver.came) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1
    assert len({body for _, body in receiver.came}) == 1


def test_each_move_is_a_message_and_no_move_is_none(
    receiver: Receiver, promote: Callable[[], str], tmp_path
) -> None:
    store = promote.store  # type: ignore[attr-defined]
    assert promote() == ""
    assert not zoo.promote(OBJECTS, 1, store=store).moved
    zoo.publish(OBJECTS, write_bundle(tmp_path / "better", seed=1, errors_cm=[2.0] * 6), store=store)
    zoo.promote(OBJECTS, 2, store=store)
    zoo.rollback(OBJECTS, reason="back", store=store)
    sent = [json.loads(body)["data"] for _, body in receiver.came]
    assert [(move["version"], move["previous"], move["how"]) for move in sent] == [
        (1, None, "promotion"), (2, 1, "promotion"), (1, 2, "rollback")
    ]  # fmt: skip
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 3


@pytest.mark.parametrize(("answer", "tries"), [(500, 3), (400, 1), (302, 1), (307, 1)])
def test_a_receiver_that_refuses_does_not_stop_the_promotion(
    receiver: Receiver, promote: Callable[[], str], caplog: pytest.LogCaptureFixture, answer: int, tries: int
) -> None:
    receiver.answers = [answer] * 5
    with caplog.at_level(logging.DEBUG):
        said = promote()
    assert f"127.0.0.1 answered {answer}" in said and len(receiver.came) == tries
    assert ("redirections are not followed" in said) == (answer < 400)
    assert said in caplog.text
    for hidden in (SECRET, "T0ken"):
        assert hidden not in said and hidden not in caplog.text


def test_a_receiver_that_is_not_there(
    promote: Callable[[], str], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(webhook.URL, "http://127.0.0.1:9/T0ken")
    said = promote()
    assert "127.0.0.1 cannot be reached (ConnectionRefusedError)" in said and "T0ken" not in said


def test_https_is_verified(
    promote: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with receiving(tls) as receiver:
        monkeypatch.setenv(webhook.URL, receiver.url)
        assert "cannot be reached (SSLCertVerificationError)" in promote()
        assert not receiver.came
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        back = zoo.promote(OBJECTS, 1, alias="staging", store=promote.store)  # type: ignore[attr-defined]
        assert back.notify_error == "" and len(receiver.came) == 1


def test_a_receiver_that_never_answers_is_given_up(
    receiver: Receiver, promote: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.wait_s = 3.0
    monkeypatch.setattr(webhook, "DEADLINE_S", 0.3)
    assert "it was given up" in promote()
    receiver.wait_s = 0.0


def test_an_answer_that_is_late_is_a_failed_try(
    receiver: Receiver, promote: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.wait_s = 1.0
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.1)
    assert "127.0.0.1 cannot be reached (TimeoutError)" in promote()
    assert len(receiver.came) == 3


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        (webhook.URL, "http://example.org/T0ken", "must be https"),
        (webhook.URL, "ftp://127.0.0.1/T0ken", "must be https"),
        (webhook.URL, "http://127.0.0.1.example.org/T0ken", "must be https"),
        (webhook.URL, "https://ada:T0ken@example.org/", "without a user"),
        (webhook.URL, "https:///T0ken", "no address such as"),
        (webhook.URL, "https://[::1/T0ken", "no address such as"),
        (webhook.SECRET, "", "16 bytes or more"),
        (webhook.SECRET, "T0ken", "16 bytes or more"),
        (webhook.SECRET, "whsec_T0ken!", "not base64"),
    ],
)
def test_nothing_is_sent_with_unsafe_settings(
    receiver: Receiver,
    promote: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(setting, value)
    said = promote()
    assert message in said and "T0ken" not in said and not receiver.came


def test_a_promotion_waits_for_no_heavy_import() -> None:
    assert subprocess.run(
        [sys.executable, "-c", "import sys, zoo.promotion; print({'numpy', 'scipy', 'mlflow', 'torch'} & {*sys.modules})"],
        capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=120,
    ).stdout == "set()\n"  # fmt: skip
