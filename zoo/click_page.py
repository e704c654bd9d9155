"""The page of `zoo predict --click`: a photo to point at, a depth, a sentence."""

from __future__ import annotations

import base64
import io

from PIL import Image

from zoo.inline_page import inline_page
from zoo.photo_camera import Camera, Photo

SHOWN_PX = 1280  # of the photo's longer side
USUAL_DEPTH_M = 0.5

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #fff; --ink: #1d1c1a; --soft: #66625b; --line: #d8d2c7; --accent: #8c2981;
  --on: #fff; --error: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181a; --card: #202225; --ink: #eae7e1; --soft: #a39e95; --line: #41464c;
  --accent: #e58fb8; --on: #17181a; --error: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 1400px; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif;
  display: grid; gap: 20px; grid-template-columns: minmax(0, 1fr) 320px; align-items: start; overflow-wrap: anywhere; }
h1 { font-size: 18px; margin: 0 0 4px; } p { margin: 0; color: var(--soft); }
#photo { position: relative; width: fit-content; max-width: 100%; cursor: crosshair; line-height: 0; touch-action: manipulation; }
#photo img { max-width: 100%; max-height: calc(100dvh - 32px); border-radius: 8px; } #photo:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
#mark { position: absolute; width: 22px; height: 22px; margin: -11px 0 0 -11px; border: 3px solid #007a5e; border-radius: 50%;
  box-shadow: 0 0 0 2px #fff, inset 0 0 0 2px #fff; pointer-events: none; }
form { display: grid; gap: 12px; } label { display: grid; gap: 4px; } .row { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; }
input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px; width: 100%; }
button { font: inherit; font-weight: 600; color: var(--on); background: var(--accent); border: 0; border-radius: 8px; padding: 11px; cursor: pointer; }
button:disabled { opacity: .5; cursor: default; } :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#problem { color: var(--error); } ol { margin: 0; padding-left: 22px; } a { color: var(--accent); } [hidden] { display: none; }
code { display: block; font: 12px/1.5 ui-monospace, monospace; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px; }
@media (max-width: 760px) { body { grid-template-columns: minmax(0, 1fr); } #photo img { max-height: 60dvh; } }
"""

_BODY = """
<div id="photo" tabindex="0" role="application" aria-label="Photo: click the contact point, or move it with the arrow keys">
<img id="picture" alt="The photo" draggable="false"><div id="mark" hidden></div></div>
<form id="form"><div><h1>Where will the hand touch?</h1>
<p>Click the place in the photo, or move the mark with the arrow keys (Shift: by ten pixels).</p></div>
<label>What will it do? <input id="text" required maxlength="200" autocomplete="off" spellcheck="false"></label>
<div class="row"><label>x, pixels <input id="x" type="number" step="any" required></label>
<label>y, pixels <input id="y" type="number" step="any" required></label></div>
<label>How far from the camera is it, in metres? <input id="depth" type="number" step="any" min="0.01" max="5" required></label>
<p id="camera"></p>
<button id="go">Predict</button>
<p id="problem" role="alert" hidden></p>
<p id="notes" role="status" hidden></p>
<div id="made" hidden><p>Predictions</p><ol id="list"></ol></div>
<div><p>The same in the shell:</p><code id="command"></code></div></form>
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById("page-data").textContent);
const get = (id) => document.getElementById(id);
const [photo, picture, mark, x, y, depth, text] = ["photo", "picture", "mark", "x", "y", "depth", "text"].map(get);
const clamp = (value, most) => Math.min(Math.max(value, 0), most - 1);
const quoted = (word) => /^[\\w@.,:\\/-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\\\''") + "'";
picture.src = data.photo; text.value = data.text; depth.value = data.depth; get("camera").textContent = data.camera;
document.title = data.model;
function show() {
  const set = x.value !== "" && y.value !== "";
  mark.hidden = !set;
  mark.style.left = `${(+x.value + 0.5) / data.width * 100}%`;
  mark.style.top = `${(+y.value + 0.5) / data.height * 100}%`;
  get("command").textContent = ["zoo predict", quoted(data.model), "--image", quoted(data.image), "--text", quoted(text.value),
    set ? `--contact-pixel ${x.value},${y.value} --depth ${depth.value}` : "", data.options].filter(Boolean).join(" ");
}
const made = JSON.parse(sessionStorage.getItem(location.pathname) ?? "[]");
function list() {
  get("made").hidden = !made.length;
  get("list").replaceChildren(...made.map(({ view, said, files }) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = view; link.textContent = said; item.append(link, ` (${files})`);
    return item;
  }));
}
function place(column, row) {
  x.value = Math.round(clamp(column, data.width)); y.value = Math.round(clamp(row, data.height)); show();
}
photo.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  const box = picture.getBoundingClientRect();
  place((event.clientX - box.left) / box.width * data.width - 0.5, (event.clientY - box.top) / box.height * data.height - 0.5);
});
photo.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter") get("form").requestSubmit();
  if (!step) return;
  event.preventDefault();
  const far = event.shiftKey ? 10 : 1, set = x.value !== "";
  place((set ? +x.value : data.width / 2) + step[0] * far, (set ? +y.value : data.height / 2) + step[1] * far);
});
for (const field of [x, y, depth, text]) field.addEventListener("input", show);
get("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const go = get("go"), problem = get("problem"), notes = get("notes");
  go.disabled = true; go.textContent = "Predicting ..."; problem.hidden = notes.hidden = true;
  try {
    const asked = { x: +x.value, y: +y.value, depth_m: +depth.value, text: text.value };
    const answer = await (await fetch("predict", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked) })).json();
    if (answer.problem) { problem.textContent = answer.problem; problem.hidden = false; }
    else {
      made.push({ view: answer.view, said: `${asked.text} at ${asked.x}, ${asked.y}`, files: answer.files });
      sessionStorage.setItem(location.pathname, JSON.stringify(made)); list();
      notes.textContent = answer.notes.join(" "); notes.hidden = !answer.notes.length;
      if (!answer.notes.length) location.assign(answer.view);
    }
  } catch { problem.textContent = "zoo predict no longer answers: start it again in its terminal."; problem.hidden = false; }
  go.disabled = false; go.textContent = "Predict";
});
show(); list();
"""


def click_page(photo: Photo, camera: Camera, *, model: str, image: str, text: str, options: str) -> str:
    """The page, which asks its own server for predictions. options: of the command, to repeat it."""
    picture = Image.fromarray(photo.pixels)
    picture.thumbnail((SHOWN_PX, SHOWN_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    data = {
        "photo": "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(),
        "width": photo.width,
        "height": photo.height,
        "depth": USUAL_DEPTH_M,
        "camera": f"Focal length {camera.fx:.0f} pixels ({camera.source}).",
        "model": model,
        "image": image,
        "text": text,
        "options": options,
    }
    return inline_page(title=model, style=_STYLE, script=_SCRIPT, body=_BODY, data=data, connect=["'self'"])
