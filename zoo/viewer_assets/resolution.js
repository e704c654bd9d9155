// Fewer pixels while a clip plays on a machine that cannot keep up; all of them again once it stands.

const SHARES = [1, 0.7, 0.5, 0.35]; // of the screen's pixels, along each side
const SLOW_S = 0.038; // between two pictures: less than 30 a second, with some room
const PICTURES = 8; // that are slow on average before it is coarser

export class Resolution {
  constructor(renderer) {
    this.renderer = renderer;
    this.full = Math.min(devicePixelRatio, 2);
    this.level = 0; // learned, and kept for the next time
    this.times = [];
    renderer.setPixelRatio(this.full);
  }

  playing(playing) {
    this.times = [];
    this.renderer.setPixelRatio(this.full * (playing ? SHARES[this.level] : 1));
  }

  /** Told the seconds between two pictures of a clip that plays; whether it must be drawn anew. */
  picture(seconds) {
    this.times.push(seconds);
    if (this.times.length < PICTURES) return false;
    const mean = this.times.reduce((sum, time) => sum + time, 0) / PICTURES;
    this.times = [];
    if (mean <= SLOW_S || this.level === SHARES.length - 1) return false;
    this.level += 1;
    this.playing(true);
    return true;
  }
}
