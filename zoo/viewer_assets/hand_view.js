// One moving hand in a box: `new HandView(container, faces).show(clip)`.
//
// The scene's root is the camera frame of the first image (x right, y down, z forward, metres), turned by half a turn
// about x into three.js's y up. Drawn only when something changed.

import { Group, PerspectiveCamera, Scene, WebGLRenderer } from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { clipPieces } from "./clip_pieces.js";
import { unpackClip } from "./hand_clip.js";
import { unpackIntegers } from "./packed_numbers.js";
import { Playback } from "./playback.js";
import { Resolution } from "./resolution.js";
import { fitView, lookThroughCamera, moveByKey } from "./view_point.js";

export const TONES = {
  light: { background: 0xf1efea, truth: 0x1f77b4, lines: 0x55514a, point: 0x007a5e, object: 0xa9b0b5 },
  dark: { background: 0x1b1d20, truth: 0x6db3f2, lines: 0xb9b4aa, point: 0x2fd6a5, object: 0x80878d },
};
export const PARTS = ["truth", "photo", "object", "point", "path"];

export class HandView {
  /**
   * container: an element with a size. faces: zoo.viewer.faces_payload. options: dark (bool), parts (those shown at
   * first, of PARTS), label (what a screen reader says), onframe(frame, clip), onplay(playing).
   * Throws where the browser has no WebGL.
   */
  constructor(container, faces, options = {}) {
    this.container = container;
    this.faces = unpackIntegers(faces);
    this.onframe = options.onframe ?? (() => {});
    this.shown = new Set(options.parts ?? PARTS);
    this.clip = null;
    this.company = []; // other clips that a fitted view has room for, as where two views stand side by side
    this.pieces = [];

    const canvas = document.createElement("canvas");
    const context = canvas.getContext("webgl2", { antialias: true, alpha: false, powerPreference: "low-power" });
    if (!context) throw new Error("no WebGL 2");
    this.renderer = new WebGLRenderer({ canvas, context });
    this.resolution = new Resolution(this.renderer);
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", options.label ?? "Moving hand, three-dimensional view");
    container.append(canvas);

    this.scene = new Scene();
    this.root = new Group();
    this.root.rotation.x = Math.PI;
    this.camera = new PerspectiveCamera(40, 1, 0.005, 20);
    this.scene.add(this.root, this.camera);

    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enableDamping = false; // nothing moves by itself
    this.controls.addEventListener("change", () => this.invalidate());
    canvas.addEventListener("keydown", (event) => { if (this.key(event)) event.preventDefault(); });

    this.playback = new Playback({
      onframe: (frame) => this.#drawFrame(frame),
      onpicture: (seconds) => { if (this.resolution.picture(seconds)) this.invalidate(); },
      onplay: (playing) => {
        this.resolution.playing(playing);
        this.invalidate();
        options.onplay?.(playing);
      },
    });
    this.resizes = new ResizeObserver(() => this.#resize());
    this.resizes.observe(container);
    this.setDark(Boolean(options.dark));
  }

  /** Shows a clip (zoo.viewer.clip_payload) from its first frame, paused; the promise ends when it is drawn. */
  async show(payload, { keepView = false } = {}) {
    this.pause();
    this.wanted = payload;
    const [clip, faces] = await Promise.all([unpackClip(payload), this.faces]);
    if (this.wanted !== payload || this.disposed) return; // another one was asked for meanwhile
    this.clip = clip;
    this.#build(clip, faces);
    this.playback.load(clip.frames, payload.frames_per_s);
    this.#resize();
    if (!keepView) this.resetView();
    this.#render();
  }

  get frame() { return this.playback.frame; }
  get frames() { return this.clip ? this.clip.frames : 0; }
  get playing() { return this.playback.playing; }
  seek(frame) { if (this.clip) this.playback.seek(frame); }
  play() { if (this.clip) this.playback.play(); }
  pause() { this.playback.pause(); }
  /** How fast the clip runs: 1 is the speed it was recorded at. */
  speed(rate) { this.playback.rate = rate; }

  /** Shows or hides one of PARTS. */
  setShown(part, shown) {
    this.shown[shown ? "add" : "delete"](part);
    this.#applyShown();
    this.invalidate();
  }

  /** Whether the clip has this part at all. */
  has(part) { return this.pieces.some((piece) => piece.part === part); }

  /** All of the motion in the middle, seen from the camera's side. */
  resetView() { if (this.clip) fitView(this); }
  /** From where the photo was taken; false where that is not known. */
  cameraView() { return Boolean(this.clip) && lookThroughCamera(this); }

  /** Turns, moves or zooms by a key (see view_point.js); whether it was one of these. */
  key(event) { return moveByKey(this, event); }

  setDark(dark) {
    this.tones = dark ? TONES.dark : TONES.light;
    this.renderer.setClearColor(this.tones.background);
    for (const { tone, colour } of this.pieces) colour?.set(this.tones[tone]);
    this.invalidate();
  }

  invalidate() {
    if (!this.waiting && !this.disposed) this.waiting = requestAnimationFrame(() => this.#render());
  }

  dispose() {
    this.disposed = true;
    this.pause();
    cancelAnimationFrame(this.waiting);
    this.resizes.disconnect();
    this.controls.dispose();
    this.#clear();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.renderer.domElement.remove();
  }

  #clear() {
    for (const piece of this.pieces) piece.dispose();
    this.pieces = [];
  }

  #build(clip, faces) {
    this.#clear();
    this.pieces = clipPieces(clip, faces, this.tones, () => this.invalidate());
    this.root.add(...this.pieces.map(({ object }) => object));
    this.#applyShown();
  }

  #applyShown() {
    for (const { part, object } of this.pieces) object.visible = part === "hand" || this.shown.has(part);
  }

  #drawFrame(frame) {
    for (const piece of this.pieces) piece.seek(frame);
    this.#render();
    this.onframe(frame, this.clip);
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.container;
    if (!width || !height) return;
    const reshaped = this.camera.aspect !== width / height;
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.renderer.setSize(width, height);
    if (reshaped && this.clip && this.viewIsFitted) this.resetView();
    this.#render();
  }

  #render() {
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
    if (!this.clip || this.disposed) return;
    this.renderer.render(this.scene, this.camera);
    if (!this.drawn) {
      this.drawn = true;
      // What was drawn is on the screen when the next frame begins.
      requestAnimationFrame(() => {
        this.container.dataset.drawn = "true";
        performance.mark("hand-drawn");
      });
    }
  }
}
