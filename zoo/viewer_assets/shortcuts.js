// The keys of the viewer, and the page that lists them.

import { button, element } from "./elements.js";
import { SPEEDS } from "./playback.js";

// [keys as event.key, how they are written, what they do, action(viewer)]
const KEYS = [
  [[" ", "k"], "space", "play or pause", (viewer) => viewer.toggle()],
  [["ArrowLeft", ","], "← ,", "frame before", (viewer) => viewer.step(-1)],
  [["ArrowRight", "."], "→ .", "next frame", (viewer) => viewer.step(1)],
  [["Home"], "Home", "first frame", (viewer) => viewer.seek(0)],
  [["End"], "End", "last frame", (viewer) => viewer.seek(viewer.view.frames - 1)],
  [["ArrowUp", "["], "↑ [", "clip before", (viewer) => viewer.choose(viewer.chosen - 1)],
  [["ArrowDown", "]"], "↓ ]", "next clip", (viewer) => viewer.choose(viewer.chosen + 1)],
  [["<"], "<", "slower", (viewer) => faster(viewer, -1)],
  [[">"], ">", "faster", (viewer) => faster(viewer, 1)],
  [["g"], "g", "truth on or off", (viewer) => viewer.flip("truth")],
  [["p"], "p", "photo and its camera on or off", (viewer) => viewer.flip("photo")],
  [["o"], "o", "object on or off", (viewer) => viewer.flip("object")],
  [["x"], "x", "contact point on or off", (viewer) => viewer.flip("point")],
  [["l"], "l", "path of the wrist on or off", (viewer) => viewer.flip("path")],
  [["c"], "c", "look from where the photo was taken", (viewer) => viewer.view.cameraView()],
  [["0", "r"], "0", "see all of the motion", (viewer) => viewer.view.resetView()],
  [["t"], "t", "light or dark", (viewer) => viewer.setDark(!viewer.dark)],
  [["?"], "?", "this list", (viewer) => viewer.help.showModal()],
];
const VIEW_KEYS = [
  ["Shift + arrows", "turn"],
  ["w a s d", "move"],
  ["+ −", "zoom"],
  ["drag; right drag; wheel", "turn; move; zoom"],
  ["one finger; two fingers", "turn; move and zoom"],
];

function faster(viewer, steps) {
  const at = SPEEDS.indexOf(viewer.rate) + steps;
  if (SPEEDS[at]) viewer.setRate(SPEEDS[at]);
}

export function helpDialog() {
  const rows = [...KEYS.map(([, keys, words]) => [keys, words]), ...VIEW_KEYS];
  const dialog = element("dialog", { "aria-label": "Keyboard and touch" }, [
    element("h2", {}, "Keyboard and touch"),
    element("dl", {}, rows.flatMap(([keys, words]) => [element("dt", {}, keys), element("dd", {}, words)])),
    button("Close", "Close", () => dialog.close()), // first in the dialog, so that it gets the focus
  ]);
  return dialog;
}

export function listenToKeys(viewer) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || viewer.help.open) return;
    // A slider and a list use these keys themselves; a button is pressed by the space bar.
    const own = event.target.matches("select") || (event.target.matches("input") && /^(Arrow|Home|End)/.test(event.key));
    if (own || (event.key === " " && event.target.matches("button"))) return;
    const found = KEYS.find(([keys]) => keys.includes(event.key));
    if (found && !(event.shiftKey && event.key.startsWith("Arrow"))) { // these turn the view
      event.preventDefault();
      found[3](viewer);
    } else if (event.target !== viewer.view.renderer.domElement) {
      if (viewer.view.key(event)) event.preventDefault();
    }
  });
}
