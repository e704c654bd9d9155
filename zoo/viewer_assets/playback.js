// Which frame is shown when: whole frames, as they were recorded, over and over.

export const SPEEDS = [0.25, 0.5, 1, 1.5, 2];

export class Playback {
  /** onframe(frame), onplay(playing), onpicture(seconds since the last one, while it plays) */
  constructor({ onframe, onplay, onpicture }) {
    Object.assign(this, { onframe, onplay, onpicture });
    this.rate = 1;
    this.frame = 0;
    this.frames = 0;
    this.playing = false;
  }

  load(frames, framesPerSecond) {
    this.frames = frames;
    this.framesPerSecond = framesPerSecond;
    this.place = 0; // in frames, with a fraction
    this.#show(0);
  }

  seek(frame) {
    this.place = Math.min(Math.max(Math.round(frame), 0), this.frames - 1);
    this.#show(this.place);
  }

  play() {
    if (this.playing || this.frames < 2) return;
    this.playing = true;
    this.onplay(true);
    let last = null;
    const tick = (now) => {
      if (!this.playing) return;
      const elapsed = last === null ? 0 : Math.min((now - last) / 1000, 0.25); // a hidden page's time does not count
      if (last !== null) this.onpicture(elapsed);
      last = now;
      this.place = (this.place + elapsed * this.framesPerSecond * this.rate) % this.frames;
      const frame = Math.floor(this.place);
      if (frame !== this.frame) this.#show(frame);
      this.request = requestAnimationFrame(tick);
    };
    this.request = requestAnimationFrame(tick);
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.request);
    this.onplay(false);
  }

  #show(frame) {
    this.frame = frame;
    this.onframe(frame);
  }
}
