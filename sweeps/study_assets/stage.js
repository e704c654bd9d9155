// Two hands side by side that move, turn and repeat together.
"use strict";

const HOLD_MS = 700; // the last frame stands, so that the end is seen as one

class Stage {
  /** left, right: elements. faces: the hand's triangles. onplayed: told how often the pair was seen to the end. */
  constructor(left, right, faces, onplayed) {
    this.onplayed = onplayed;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    const view = (box, label) => new LatentAct.HandView(box, faces, { dark: this.dark.matches, parts: ["object"], label });
    this.views = [view(left, "Left motion"), view(right, "Right motion")];
    this.dark.addEventListener("change", () => { for (const one of this.views) one.setDark(this.dark.matches); });
    this.views.forEach((one, i) => one.controls.addEventListener("change", () => this.#follow(one, this.views[1 - i])));
  }

  /** Shows two motions (zoo.viewer.clip_payload) in one frame of view, and plays them. */
  async show(left, right) {
    this.stop();
    await Promise.all([this.views[0].show(left), this.views[1].show(right)]);
    this.views.forEach((one, i) => { one.company = [this.views[1 - i].clip]; });
    this.following = true; // each is fitted for itself
    for (const one of this.views) one.resetView();
    this.following = false;
    this.frames = left.vertices.shape[0];
    this.rate = left.frames_per_s;
    this.plays = 0;
    this.began = performance.now();
    this.restart();
  }

  get seen_ms() { return performance.now() - this.began; }

  restart() {
    this.stop();
    let place_ms = 0;
    let before = null;
    let shown = -1;
    const length_ms = (1000 * this.frames) / this.rate;
    const step = (now) => {
      place_ms += before === null ? 0 : Math.min(now - before, 100); // a hidden page's time does not count
      before = now;
      if (place_ms >= length_ms + HOLD_MS) {
        place_ms = 0;
        this.plays += 1;
        this.onplayed(this.plays);
      }
      const frame = Math.min(this.frames - 1, Math.floor((place_ms * this.rate) / 1000));
      if (frame !== shown) for (const one of this.views) one.seek(frame);
      shown = frame;
      this.request = requestAnimationFrame(step);
    };
    this.request = requestAnimationFrame(step);
  }

  stop() { cancelAnimationFrame(this.request); }

  #follow(from, to) {
    if (this.following) return;
    this.following = true;
    to.camera.position.copy(from.camera.position);
    to.controls.target.copy(from.controls.target);
    to.controls.update();
    to.invalidate();
    this.following = false;
  }
}
