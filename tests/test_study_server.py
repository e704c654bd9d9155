"""The server of a user study: what it takes, what it refuses, and that no acknowledged answer is ever lost."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from sweeps.study_server import Rates
from sweeps.study_store import Full, VoteStore, read_database
from tests import study_folders as small
from tests.study_process import serving


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Path:
    """What is copied to a server: no key."""
    copy = tmp_path / "on-a-server"
    copy.mkdir()
    (copy / "design.json").write_bytes((built / "design.json").read_bytes())
    (copy / "public").symlink_to(built / "public")
    return copy


def test_twenty_raters_at_once(built: Path, study: Path) -> None:
    design, _ = small.read(built)
    with serving(study) as server:

        def answer_all(number: int) -> int:
            rater = small.rater_id(number)
            slot = server.join(design, rater)
            assert server.join(design, rater) == slot  # asked again, for instance after a reload
            for vote in small.votes_of(built, rater, slot, small.careful(0.6)):
                server.keep(vote)
            return slot

        with ThreadPoolExecutor(20) as pool:
            slots = list(pool.map(answer_all, range(20)))
        progress = json.loads(server.get("api/progress")[1])
        assert progress == {
            "study": design.study, "raters": 20, "finished": 20, "votes": 20 * small.SCREENS, "screens": small.SCREENS,
        }  # fmt: skip
    # Sequences are dealt out evenly, whoever comes first.
    assert sorted(slots.count(slot) for slot in range(small.SLOTS)) == [3, 3, 3, 3, 4, 4]
    kept = read_database(study / "votes.sqlite", design)
    assert len({(vote.rater, vote.position) for vote in kept}) == len(kept) == 20 * small.SCREENS


def test_what_was_acknowledged_survives_kill_9(built: Path, study: Path) -> None:
    design, _ = small.read(built)
    acknowledged: list[tuple[str, int]] = []
    with serving(study) as server:
        slots = {number: server.join(design, small.rater_id(number)) for number in range(4)}

        def answer(number: int) -> None:
            with suppress(OSError, ValueError):  # the server is killed under it
                for vote in small.votes_of(built, small.rater_id(number), slots[number], small.careful(0.6)):
                    if server.post("api/votes", vote)[0] == 200:
                        acknowledged.append((vote["rater"], vote["position"]))

        threads = [threading.Thread(target=answer, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 10:
            time.sleep(0.005)
        server.kill()
        for thread in threads:
            thread.join()
    kept = {(vote.rater, vote.position) for vote in read_database(study / "votes.sqlite", design)}
    assert len(acknowledged) >= 10 and set(acknowledged) <= kept
    with serving(study) as server:  # and sent again, all of it, as a page does that got no reply
        for number, slot in slots.items():
            assert server.join(design, small.rater_id(number)) == slot
            for vote in small.votes_of(built, small.rater_id(number), slot, small.careful(0.6)):
                server.keep(vote)
    assert len(read_database(study / "votes.sqlite", design)) == 4 * small.SCREENS


def test_what_does_not_fit_is_refused_and_what_stands_stands(built: Path, study: Path) -> None:
    design, _ = small.read(built)
    rater, stranger = small.rater_id(1), small.rater_id(2)
    with serving(study, "--most-raters", "1") as server:
        slot = server.join(design, rater)
        vote, other, *_ = small.votes_of(built, rater, slot, small.careful(1.0))
        assert server.post("api/votes", vote)[0] == 200
        assert server.post("api/votes", vote)[0] == 200
        changed = vote | {"choice": "left" if vote["choice"] == "right" else "right"}
        status, said = server.post("api/votes", changed)
        assert status == 409 and "which stands" in said["error"]
        wrong = [
            other | {"left": vote["left"]},
            other | {"pair": vote["pair"]},
            other | {"slot": (slot + 1) % small.SLOTS},
            other | {"position": small.SCREENS},
            other | {"position": True},
            other | {"choice": "same"},  # a forced choice
            other | {"plays": 0},
            other | {"answer_ms": -1},
            other | {"rater": stranger},
            other | {"rater": "me"},
            other | {"study": "0" * 12},
            other | {"name": "somebody"},
            {},
            [],
            b"{",
            b"[" * 2000,
        ]
        for sent in wrong:
            status, said = server.post("api/votes", sent)
            assert status == 422 and said["error"], sent
        assert server.post("api/votes", b" " * 5000)[0] == 413
        status, said = server.post("api/raters", {"study": design.study, "rater": stranger})
        assert status == 403 and "takes no more" in said["error"]
        assert json.loads(server.get("api/progress")[1])["votes"] == 1
        assert server.get("api/votes")[0] in (404, 405)
    assert [vote.choice for vote in read_database(study / "votes.sqlite", design)] == [vote["choice"]]


def test_only_the_page_is_served(built: Path) -> None:
    """From the folder it was built in, with the key beside."""
    with serving(built) as server:
        status, page = server.get("")
        assert status == 200 and b'name="study-endpoint" content="api"' in page
        assert (
            server.get("study.js")[0] == server.get("viewer.min.js")[0] == server.get("design.js")[0] == 200
        )
        (pair, *_) = sorted((built / "public" / "pairs").iterdir())
        assert server.get(f"pairs/{pair.name}") == (200, pair.read_bytes())
        for path in (
            "key.json", "design.json", "votes.sqlite", "../key.json", "%2e%2e/key.json", "..%2fkey.json", "public/../key.json",
            "pairs/", "pairs", "//key.json",
        ):  # fmt: skip
            assert server.get(path)[0] in (404, 405), path
        assert 'content=""' in (built / "public" / "index.html").read_text()  # of a page from a disk


def test_pages_of_another_server_need_leave(study: Path) -> None:
    with serving(study, "--allow-origin", "https://study.example.org") as server:
        request = urllib.request.Request(
            server.url + "api/progress", headers={"origin": "https://study.example.org"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert reply.headers["access-control-allow-origin"] == "https://study.example.org"
        request = urllib.request.Request(
            server.url + "api/progress", headers={"origin": "https://else.example.org"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert reply.headers["access-control-allow-origin"] is None


def test_too_many_at_once_are_put_off() -> None:
    rates = Rates(burst=3, per_s=2, addresses=2)
    assert [rates.allows("a", 0) for _ in range(4)] == [True, True, True, False]
    assert rates.allows("b", 0) and not rates.allows("a", 0.4) and rates.allows("a", 0.6)
    assert rates.allows("a", 100) and rates.allows("c", 100)  # and not all addresses are remembered
    assert len(rates._left) == 2


def test_a_sequence_that_was_left_is_given_to_others(built: Path, tmp_path: Path) -> None:
    design, _ = small.read(built)
    path = tmp_path / "votes.sqlite"
    store = VoteStore(path, design, most_raters=small.SLOTS + 2)
    slots = [store.join(small.rater_id(number)) for number in range(small.SLOTS)]
    assert slots == list(range(small.SLOTS))
    with sqlite3.connect(path) as connection:  # the rater of sequence 4 goes away after an answer
        connection.execute("UPDATE raters SET seen_s = seen_s - 7200 WHERE slot = 4")
    assert store.join("f" * 32) == 4
    assert store.join("e" * 32) == 0
    with pytest.raises(Full):
        store.join("d" * 32)
    store.close()


def test_a_database_of_another_study_is_not_written_to(built: Path, study: Path, tmp_path: Path) -> None:
    design, _ = small.read(built)
    VoteStore(study / "votes.sqlite", design).close()
    other = json.loads((study / "design.json").read_text()) | {"study": "0" * 12}
    (study / "design.json").write_text(json.dumps(other))
    assert f"holds answers of study {design.study}" in small.refusal("serve", study, "--port", 0)
    assert "holds no design.json" in small.refusal("serve", tmp_path, "--port", 0)
    (study / "votes.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 100)
    for leftover in ("votes.sqlite-wal", "votes.sqlite-shm"):
        (study / leftover).unlink(missing_ok=True)
    assert "cannot be opened as a database" in small.refusal("serve", study, "--port", 0)
