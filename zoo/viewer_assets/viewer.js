// The page of zoo.viewer.viewer_page: a HandView with its controls, clips, photo, error and figures.

import { CONTACT_GRADIENT } from "./contact_colours.js";
import { button, element } from "./elements.js";
import { errorCurve } from "./error_curve.js";
import { unpackClip, verticesInContact } from "./hand_clip.js";
import { HandView, TONES } from "./hand_view.js";
import { SPEEDS } from "./playback.js";
import { photoPanel } from "./photo_panel.js";
import { helpDialog, listenToKeys } from "./shortcuts.js";

const PART_WORDS = { truth: "Truth", photo: "Photo", object: "Object", point: "Contact point", path: "Wrist path" };
const PART_TONES = { path: "lines", photo: "lines" };
const still = matchMedia("(prefers-reduced-motion: reduce)");
const darkWished = matchMedia("(prefers-color-scheme: dark)");

/** Builds the page in document.body from the data in the element `page-data`. */
export function startViewer() {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  return new Viewer(data, document.body);
}

class Viewer {
  constructor(data, body) {
    this.data = data;
    this.chosen = -1;
    this.dark = darkWished.matches;
    this.rate = 1;
    this.help = helpDialog();
    this.curve = errorCurve((frame) => this.seek(frame));
    this.photo = photoPanel();
    this.#build(body);
    try {
      this.view = new HandView(this.box, data.faces, {
        dark: this.dark,
        label: "Moving hand in three dimensions. Shift and arrows turn, w a s d move, plus and minus zoom.",
        onframe: (frame, clip) => this.#onframe(frame, clip),
        onplay: (playing) => this.#onplay(playing),
      });
    } catch (error) {
      this.#fail(`This browser cannot draw in three dimensions: ${error.message}. ` +
        "Switch hardware acceleration on, or use another browser.");
    }
    if (this.view) listenToKeys(this);
    darkWished.addEventListener("change", () => this.setDark(darkWished.matches));
    addEventListener("hashchange", () => this.choose(clipOfAddress()));
    this.choose(clipOfAddress());
  }

  /** Says why there is no motion; what the page knows besides stays readable. */
  #fail(sentence) {
    this.view = null;
    this.stage.classList.add("failed");
    this.box.replaceChildren(element("p", { role: "alert" }, sentence));
  }

  #build(body) {
    const { title, clips } = this.data;
    this.box = element("div", { class: "box" });
    this.scrub = element("input", {
      type: "range", class: "scrub", min: 0, max: 0, step: 1, value: 0, "aria-label": "Frame",
      oninput: () => this.seek(Number(this.scrub.value)),
    });
    this.playButton = button("Play (space)", "▶", () => this.toggle(), { class: "play" });
    this.speedChoice = element("select", { "aria-label": "Speed", onchange: () => this.setRate(Number(this.speedChoice.value)) },
      SPEEDS.map((rate) => element("option", { value: rate, selected: rate === 1 }, `${rate}×`)));
    this.readout = element("p", { class: "readout" });
    this.parts = Object.entries(PART_WORDS).map(([part, word]) =>
      button(`Show: ${word.toLowerCase()}`, [element("i"), word], () => this.flip(part), { "aria-pressed": "true", "data-part": part }));
    this.themeButton = button("Light or dark (t)", "◐", () => this.setDark(!this.dark));
    this.cameraButton = button("Look from where the photo was taken (c)", "Photo's view", () => this.view.cameraView());
    this.scale = element("div", { class: "scale" });
    this.scale.style.background = CONTACT_GRADIENT;
    this.tick = element("i");
    this.scale.append(this.tick);
    this.threshold = element("span", { class: "threshold" });
    this.clipButtons = clips.map((clip, i) =>
      element("button", { type: "button", onclick: () => this.choose(i) }, [element("b", {}, clip.title), element("span", {}, clip.text)]));
    this.heading = element("h2", { "aria-live": "polite" });
    this.action = element("p", { class: "action" });
    this.note = element("p", { class: "note" });
    this.figures = element("table", { class: "figures" });

    this.stage = element("section", { class: "stage", "aria-label": "Motion" }, [
      element("div", { class: "screen" }, [
        this.box,
        element("div", { class: "parts" }, this.parts),
        element("div", { class: "legend" }, [
          "contact probability", this.scale,
          element("div", { class: "ends" }, [element("span", {}, "0"), this.threshold, element("span", {}, "1")]),
        ]),
        element("div", { class: "views" }, [
          this.cameraButton, button("See all of the motion (0)", "Reset view", () => this.view.resetView()),
        ]),
      ]),
      element("div", { class: "controls" }, [
        button("Frame before (left arrow)", "◂", () => this.step(-1)),
        this.playButton,
        button("Next frame (right arrow)", "▸", () => this.step(1)),
        this.scrub,
        this.speedChoice,
      ]),
      this.readout,
    ]);
    body.append(
      element("header", {}, [
        element("h1", {}, title),
        this.themeButton,
        button("Keyboard and touch (?)", "?", () => this.help.showModal()),
      ]),
      element("main", { class: clips.length > 1 ? "many" : "one" }, [
        element("nav", { "aria-label": "Clips" }, this.clipButtons),
        this.stage,
        element("aside", { "aria-label": "Clip" }, [
          this.heading, this.action, this.note, this.curve.root, this.figures, this.photo.root,
        ]),
      ]),
      this.help,
    );
    this.setDark(this.dark);
  }

  /** Shows clip `i`; plays it unless less motion is wished for. */
  async choose(i) {
    const { clips } = this.data;
    const next = (i + clips.length) % clips.length;
    if (next === this.chosen) return;
    const playing = this.chosen < 0 ? !still.matches : this.view?.playing;
    const byReader = this.chosen >= 0;
    this.chosen = next;
    const clip = clips[next];
    this.clipButtons.forEach((made, at) => made.setAttribute("aria-current", at === next ? "true" : "false"));
    // Not at the start: inside of another page it would scroll that.
    if (byReader) this.clipButtons[next].scrollIntoView({ block: "nearest", inline: "nearest" });
    this.heading.textContent = clip.title;
    this.action.textContent = clip.text;
    this.note.textContent = clip.note;
    this.note.hidden = !clip.note;
    this.figures.hidden = !clip.figures.length;
    this.figures.replaceChildren(element("tbody", {}, clip.figures.map(([name, value]) =>
      element("tr", {}, [element("th", { scope: "row" }, name), element("td", {}, value)]))));
    for (const mark of [this.tick, this.threshold]) mark.style.left = `${100 * clip.contact_threshold}%`;
    this.threshold.textContent = clip.contact_threshold;
    this.threshold.hidden = clip.contact_threshold < 0.1 || clip.contact_threshold > 0.9;
    this.curve.show(clip.joint_error_cm, clip.frames_per_s);
    this.scrub.max = clip.vertices.shape[0] - 1;
    try {
      this.photo.show(await unpackClip(clip));
      await this.view?.show(clip);
    } catch (error) {
      this.#fail(`This clip cannot be shown: ${error.message}. A browser of 2023 or later is needed.`);
    }
    if (!this.view || clips[this.chosen] !== clip) return;
    for (const made of this.parts) made.hidden = !this.view.has(made.dataset.part);
    this.cameraButton.hidden = !this.view.has("photo");
    if (playing) this.view.play();
  }

  #onframe(frame, clip) {
    const { frames_per_s: rate, joint_error_cm: errors } = clip.payload;
    this.scrub.value = frame;
    this.scrub.setAttribute("aria-valuetext", `frame ${frame + 1} of ${clip.frames}`);
    this.readout.textContent = [
      `frame ${frame + 1} of ${clip.frames}`,
      `${(frame / rate).toFixed(2)} s`,
      `${verticesInContact(clip, frame)} of ${clip.vertexCount} vertices in contact`,
      ...(errors ? [`joint error ${errors[frame].toFixed(2)} cm`] : []),
    ].join(" · ");
    this.curve.seek(frame);
    this.photo.seek(frame);
  }

  #onplay(playing) {
    this.playButton.textContent = playing ? "❚❚" : "▶";
    const label = playing ? "Pause (space)" : "Play (space)";
    this.playButton.setAttribute("aria-label", label);
    this.playButton.title = label;
  }

  toggle() {
    if (this.view.playing) this.view.pause();
    else this.view.play();
  }

  seek(frame) {
    if (!this.view) return;
    this.view.pause();
    this.view.seek(frame);
  }

  step(frames) {
    const { frames: count, frame } = this.view;
    if (count) this.seek((frame + frames + count) % count);
  }

  setRate(rate) {
    this.rate = rate;
    this.speedChoice.value = String(rate);
    this.view.speed(rate);
  }

  flip(part) {
    if (!this.view.has(part)) return;
    const shown = !this.view.shown.has(part);
    this.view.setShown(part, shown);
    this.parts.find((made) => made.dataset.part === part).setAttribute("aria-pressed", String(shown));
  }

  setDark(dark) {
    this.dark = dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    this.themeButton.setAttribute("aria-pressed", String(dark));
    this.view?.setDark(dark);
    const tones = dark ? TONES.dark : TONES.light;
    for (const made of this.parts) {
      const { part } = made.dataset;
      made.firstChild.style.background = `#${tones[PART_TONES[part] ?? part].toString(16).padStart(6, "0")}`;
    }
  }
}

/** page.html#3 opens at the third clip. */
function clipOfAddress() {
  return Math.max(Number.parseInt(location.hash.slice(1), 10) || 1, 1) - 1;
}
