"""`zoo predict --click`: the server refuses whoever does not know its address; a click in a browser is predicted."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from photo_zoo import HEIGHT_PX, OBJECTS, TEXT, WIDTH_PX, photo, publish

from tests.browser import chromium, page
from tests.named_zoo import zoo_in_folder
from tests.photo_command import clicking
from zoo.click_page import click_page
from zoo.click_server import ClickServer
from zoo.photo_camera import camera_of, open_photo


@pytest.fixture
def server() -> Iterator[ClickServer]:
    def ask(question: Mapping) -> tuple[dict, str]:
        if question.get("x") == 0:
            return {"problem": "no"}, ""
        return {"files": "out", "notes": []}, "<p>seen</p>"

    with ClickServer("<p>page</p>", ask) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def request(
    server: ClickServer, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_only_who_knows_the_address_is_served(server: ClickServer) -> None:
    top, json_type = f"/{server.token}", {"Content_Type": "application/json"}
    assert server.server_address[0] == "127.0.0.1" and len(server.token) >= 20
    assert request(server, "GET", f"{top}/") == (200, "<p>page</p>")
    click = json.dumps({"x": 1}).encode()
    assert request(server, "POST", f"{top}/predict", click, **json_type)[0] == 200
    assert request(server, "GET", f"{top}/view/1") == (200, "<p>seen</p>")
    assert json.loads(request(server, "POST", f"{top}/predict", b'{"x": 0}', **json_type)[1]) == {
        "problem": "no"
    }
    for path in (
        "/",
        "/wrong/",
        f"{top}x/",
        "//",
        "/view/1",
        f"{top}/view/2",
        f"{top}/view/0",
        f"{top}/../etc/passwd",
    ):
        assert request(server, "GET", path)[0] == 404, path
    # Another site that has led the browser here by a name of its own, and a form of another page.
    assert request(server, "GET", f"{top}/", Host=f"evil.example:{server.server_port}")[0] == 404
    assert request(server, "POST", "/wrong/predict", click, **json_type)[0] == 404
    assert request(server, "POST", f"{top}/predict", click, Content_Type="text/plain")[0] == 415
    assert request(server, "POST", f"{top}/predict", b"{" + b" " * 5000, **json_type)[0] == 413
    for body in (b"{", b"[1]", b"\xff"):
        assert request(server, "POST", f"{top}/predict", body, **json_type)[0] == 400
    assert len(server.views) == 1


@pytest.mark.timeout(120)
def test_the_page_asks_its_own_server(server: ClickServer) -> None:
    seen = open_photo(np.zeros((240, 320, 3), np.uint8))
    server.page = click_page(
        seen, camera_of(seen), model="m", image="Ann's mug.jpg", text=TEXT, options="--focal-px 300"
    )
    address = server.address.replace("127.0.0.1", "localhost")  # as a browser may be told, through ssh say
    with chromium() as browser, page(browser, address, allowed=[address]) as shown:
        shown.wait_for_function("document.getElementById('picture').naturalWidth > 0")
        shown.fill("#x", "0")
        shown.fill("#y", "7")
        assert shown.inner_text("#command") == (
            rf"zoo predict m --image 'Ann'\''s mug.jpg' --text '{TEXT}' --contact-pixel 0,7 --depth 0.5 --focal-px 300"
        )
        shown.click("#go")
        shown.wait_for_selector("#problem:not([hidden])")
        assert shown.inner_text("#problem") == "no"
        shown.locator("#photo").click(position={"x": 50, "y": 60})
        shown.click("#go")
        shown.wait_for_url("**/view/1")
        assert shown.inner_text("p") == "seen"


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_click_in_a_browser_is_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo_in_folder(tmp_path, monkeypatch)
    publish(tmp_path)
    out = tmp_path / "out"
    with (
        clicking(f"{OBJECTS}@1", photo(tmp_path), TEXT, out) as address,
        chromium() as browser,
        page(browser, address, width=390, dark=True, allowed=[address]) as shown,
    ):
        shown.wait_for_function("document.getElementById('picture').naturalWidth > 0")
        box = shown.locator("#picture").bounding_box()
        assert box is not None
        shown.locator("#photo").click(position={"x": box["width"] / 4, "y": box["height"] / 2})
        assert abs(float(shown.input_value("#x")) - WIDTH_PX / 4) < 3
        assert abs(float(shown.input_value("#y")) - HEIGHT_PX / 2) < 3
        shown.focus("#photo")
        before = float(shown.input_value("#x"))
        shown.keyboard.press("Shift+ArrowRight")
        assert float(shown.input_value("#x")) == before + 10
        assert re.search(r"--contact-pixel \d+,\d+ --depth 0.5", shown.inner_text("#command"))
        shown.fill("#text", "prends la tasse")
        shown.click("#go")
        shown.wait_for_selector("#problem:not([hidden])")
        assert "none of the words" in shown.inner_text("#problem")
        shown.fill("#text", TEXT)
        shown.click("#go")
        shown.wait_for_url("**/view/1")
        shown.wait_for_selector("canvas")
        shown.go_back()
        shown.wait_for_selector("#made:not([hidden])")
        assert TEXT in shown.inner_text("#list")
    assert (out / "photo-push-the-mug-left" / "trajectory.npz").is_file()
