// Joint error over time as a curve, with the frame that is shown.

import { element, svg } from "./elements.js";

const WIDTH = 320;
const HEIGHT = 120;
const LEFT = 30;
const BOTTOM = 20;
const TOP = 8;
const RIGHT = 8;

/** {root, show(errors_cm, framesPerSecond), seek(frame)}; onseek(frame) when the curve is clicked or dragged. */
export function errorCurve(onseek) {
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const root = element("figure", { class: "curve" }, [element("figcaption", {}, "Joint error (cm) over time (s)"), picture]);
  let errors = [];
  let cursor = null;
  let dot = null;
  let most = 1;
  const x = (frame) => LEFT + ((WIDTH - LEFT - RIGHT) * frame) / Math.max(errors.length - 1, 1);
  const y = (error) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - error / most);

  function seekTo(event) {
    const box = picture.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * WIDTH;
    const share = (place - LEFT) / (WIDTH - LEFT - RIGHT);
    onseek(Math.round(Math.min(Math.max(share, 0), 1) * (errors.length - 1)));
  }
  picture.addEventListener("pointerdown", (event) => {
    picture.setPointerCapture(event.pointerId);
    seekTo(event);
  });
  picture.addEventListener("pointermove", (event) => {
    if (picture.hasPointerCapture(event.pointerId)) seekTo(event);
  });

  return {
    root,
    show(values, framesPerSecond) {
      root.hidden = !values;
      if (!values) return;
      errors = values;
      most = niceTop(Math.max(...errors));
      const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
      picture.setAttribute("aria-label",
        `Joint error from ${errors[0].toFixed(2)} cm in the first frame to ${errors.at(-1).toFixed(2)} cm in the last, mean ${mean.toFixed(2)} cm`);
      const parts = [0, most / 2, most].flatMap((tick) => [
        svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }),
        svg("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, trimmed(tick)),
      ]);
      for (const share of [0, 0.5, 1]) {
        const frame = share * (errors.length - 1);
        const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
        parts.push(svg("text", { x: x(frame), y: HEIGHT - 4, "text-anchor": anchor }, (frame / framesPerSecond).toFixed(2)));
      }
      parts.push(svg("line", { class: "mean", x1: LEFT, x2: WIDTH - RIGHT, y1: y(mean), y2: y(mean) }));
      parts.push(svg("polyline", { class: "errors", points: errors.map((error, i) => `${x(i)},${y(error)}`).join(" ") }));
      cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
      dot = svg("circle", { class: "dot", r: 4 });
      picture.replaceChildren(...parts, cursor, dot);
      this.seek(0);
    },
    seek(frame) {
      if (root.hidden || !cursor) return;
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(frame));
      dot.setAttribute("cx", x(frame));
      dot.setAttribute("cy", y(errors[frame]));
    },
  };
}

function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].map((step) => step * power).find((top) => top >= value);
}

const trimmed = (value) => String(Number(value.toPrecision(3)));
