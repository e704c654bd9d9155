"""The script of the codebook explorer's page: cards are made as the reader comes to them, and only seen ones are drawn."""

SCRIPT = r"""
"use strict";
const data = JSON.parse(document.getElementById("page-data").textContent);
const bytes = (text) => Int8Array.from(atob(text), (c) => c.charCodeAt(0));
const NEAR = bytes(data.near), MOTION = bytes(data.motion);
const JOINTS = 63, MOMENTS = data.offsets.length, MIDDLE = data.offsets.indexOf(0);
const DRAWN = MOTION.length / (JOINTS * MOMENTS), NEAR_EACH = DRAWN ? NEAR.length / (JOINTS * DRAWN) : 0;
const CHAINS = [0, 1, 2, 3, 4].map((f) => [0, 4 * f + 1, 4 * f + 2, 4 * f + 3, 4 * f + 4]);
const STEP_S = 0.1, AT_ONCE = 24;
const still = matchMedia("(prefers-reduced-motion: reduce)");

const make = (tag, given = {}, children = []) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "text") made.textContent = value; else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};
const percent = (share) => share >= 0.0995 ? `${Math.round(100 * share)}%` : share > 0 ? `${(100 * share).toPrecision(2)}%` : "0%";

const codes = data.rows.map(([q, code, train, val, touching, fingers, words, near], place) => ({
  q, code, train, val, touching, fingers, near, place,
  share: train / Math.max(1, data.levels[q].train.frames), valShare: val / Math.max(1, data.levels[q].val.frames),
  words: words.map(([n, share]) => ({ word: data.words[n], share, times: share / Math.max(1e-9, data.word_share[n]) })),
  found: [String(code), ...words.map(([n]) => data.words[n]), ...near.map(([clip]) => data.clips[clip])].join(" ").toLowerCase(),
}));

// Drawing: joints in camera axes (x right, y down), as bones whose width and tone follow depth.
const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return { fingers: [0, 1, 2, 3, 4].map((f) => style.getPropertyValue(`--f${f}`).trim()), soft: style.getPropertyValue("--line").trim(), path: style.getPropertyValue("--soft").trim() };
};
let ink = colours();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { ink = colours(); shown.forEach(draw); });

const fit = (canvas) => {
  const size = Math.max(32, Math.round(canvas.clientWidth * Math.min(devicePixelRatio || 1, 2)));
  if (canvas.width !== size) canvas.width = canvas.height = size;
  const brush = canvas.getContext("2d");
  brush.clearRect(0, 0, size, size);
  brush.lineCap = brush.lineJoin = "round";
  return [brush, size];
};
const bounds = (source, from, points) => {
  let low = [1e9, 1e9], high = [-1e9, -1e9];
  for (let p = 0; p < points; p++) for (let a = 0; a < 2; a++) {
    const value = source[from + 3 * p + a];
    low[a] = Math.min(low[a], value); high[a] = Math.max(high[a], value);
  }
  return { x: (low[0] + high[0]) / 2, y: (low[1] + high[1]) / 2, span: Math.max(high[0] - low[0], high[1] - low[1]) };
};
const hand = (brush, size, source, from, view, faint = false) => {
  const scale = 0.86 * size / view.span;
  const at = (j) => [(source[from + 3 * j] - view.x) * scale + size / 2, (source[from + 3 * j + 1] - view.y) * scale + size / 2];
  const depth = (f) => source[from + 3 * (4 * f + 3) + 2];
  const order = CHAINS.map((_, f) => f).sort((a, b) => depth(b) - depth(a));
  const palm = [0, 1, 5, 9, 13, 17].map(at);
  brush.fillStyle = ink.soft;
  brush.globalAlpha = faint ? 0.3 : 0.9;
  brush.beginPath();
  palm.forEach(([x, y], i) => i ? brush.lineTo(x, y) : brush.moveTo(x, y));
  brush.closePath(); brush.fill();
  for (const f of order) {
    brush.strokeStyle = ink.fingers[f];
    brush.globalAlpha = faint ? 0.18 : 1;
    brush.lineWidth = Math.max(1.5, size / 34);
    brush.beginPath();
    CHAINS[f].map(at).forEach(([x, y], i) => i ? brush.lineTo(x, y) : brush.moveTo(x, y));
    brush.stroke();
  }
  brush.globalAlpha = 1;
};
const mixed = new Float32Array(JOINTS);
const drawMotion = (canvas, place, time) => {
  const [brush, size] = fit(canvas), from = place * MOMENTS * JOINTS;
  const view = bounds(MOTION, from, MOMENTS * 21);
  view.span = Math.max(view.span, 200 / data.motion_step_mm);
  const scale = 0.86 * size / view.span;
  brush.strokeStyle = ink.path; brush.lineWidth = Math.max(1, size / 110);
  brush.beginPath();
  for (let m = 0; m < MOMENTS; m++) {
    const x = (MOTION[from + m * JOINTS] - view.x) * scale + size / 2, y = (MOTION[from + m * JOINTS + 1] - view.y) * scale + size / 2;
    m ? brush.lineTo(x, y) : brush.moveTo(x, y);
  }
  brush.stroke();
  if (still.matches) {
    hand(brush, size, MOTION, from, view, true);
    hand(brush, size, MOTION, from + (MOMENTS - 1) * JOINTS, view, true);
    return hand(brush, size, MOTION, from + MIDDLE * JOINTS, view);
  }
  const moment = Math.min(time / STEP_S, MOMENTS - 1.001), first = Math.floor(moment), share = moment - first;
  for (let i = 0; i < JOINTS; i++) {
    const a = from + first * JOINTS + i;
    mixed[i] = MOTION[a] * (1 - share) + MOTION[a + JOINTS] * share;
  }
  hand(brush, size, mixed, 0, view);
};
const drawNear = (canvas, place, i) => {
  const [brush, size] = fit(canvas), from = (place * NEAR_EACH + i) * JOINTS, view = bounds(NEAR, from, 21);
  view.span = Math.max(view.span, 120 / data.near_step_mm);
  hand(brush, size, NEAR, from, view);
};

const shown = new Set(), clock = () => { const t = (performance.now() / 1000) % ((MOMENTS + 3) * STEP_S); return Math.max(0, t - 1.5 * STEP_S); };
const draw = (card) => {
  const code = codes[card.dataset.place];
  const [motion, ...near] = card.querySelectorAll("canvas");
  if (!motion) return;
  drawMotion(motion, code.place, clock());
  near.forEach((canvas, i) => drawNear(canvas, code.place, i));
};
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { shown.add(target); draw(target); } else shown.delete(target);
  }
}, { rootMargin: "80px" });
let last = 0;
const tick = (now) => {
  if (!still.matches && now - last > 40) {
    last = now;
    const time = clock();
    for (const card of shown) { const canvas = card.querySelector("canvas"); if (canvas) drawMotion(canvas, codes[card.dataset.place].place, time); }
  }
  requestAnimationFrame(tick);
};

const figure = (what, words) => make("figure", {}, [what, make("figcaption", { text: words })]);
const cardOf = (code) => {
  const card = make("article", { class: "code", tabindex: "0", id: `code-${code.q + 1}-${code.code}`, "data-place": code.place });
  const many = data.levels.length > 1 ? `${code.q + 1} / ` : "";
  card.append(make("h3", {}, [
    make("b", { class: `q${Math.min(code.q, 5)}`, text: `${many}${code.code}` }),
    make("span", { text: `train ${percent(code.share)} · val ${percent(code.valShare)}` }),
  ]));
  const row = make("div", { class: "row" });
  if (data.pictures[code.place]) {
    row.append(figure(make("img", {
      src: `data:image/webp;base64,${data.pictures[code.place]}`, width: data.picture_px, height: data.picture_px, loading: "lazy",
      alt: `mean pose of code ${code.code}, coloured by contact`,
    }), "mean pose, seen on the palm"));
  }
  if (code.place < DRAWN) {
    row.append(figure(make("canvas", { role: "img", "aria-label": `mean decoded motion around code ${code.code}` }),
      `mean decoded motion, ${(data.offsets[MOMENTS - 1] / 30).toFixed(1)} s before and after`));
  }
  if (row.childElementCount) card.append(row);
  const bars = data.fingers.map((name, f) => {
    const bar = make("i");
    bar.style.height = `${Math.min(100, code.fingers[f])}%`;
    return make("span", { title: `${name} touches in ${code.fingers[f]}% of its frames` }, [make("div", {}, [bar]), name]);
  });
  card.append(make("div", { class: "fingers", role: "img", "aria-label": data.fingers.map((name, f) => `${name} ${code.fingers[f]}%`).join(", ") }, bars));
  card.append(make("p", { class: "soft small", text: `touches in ${code.touching}% of its frames` }));
  card.append(make("div", { class: "tags" }, code.words.map(({ word, share, times }) =>
    make("span", { title: `${percent(share)} of its frames, ${times.toFixed(1)} times as often as in all`, text: `${word || "no text"} ${percent(share)} ×${times.toFixed(1)}` }))));
  const near = code.near.map(([clip, time, distance]) => {
    const words = `${data.clips[clip]} · ${time.toFixed(2)} s · ${distance.toFixed(2)}`;
    return code.place < DRAWN ? figure(make("canvas", { role: "img", "aria-label": words }), words) : make("p", { class: "soft", text: words });
  });
  card.append(make("div", { class: "near", "aria-label": "nearest training windows" }, near));
  return card;
};

// The page's parts.
const about = data.about;
document.getElementById("top").append(
  make("h1", { text: `Codebook of ${about.reference}` }),
  make("p", { text: `Setting ${about.setting}. Clips ${about.data}: ${about.looked}.` }),
  ...about.notes.map((text) => make("p", { class: "notice", text })),
  make("p", { class: "soft", text: "Of each code: how often frames choose it; the mean pose of those frames, redder where they touch more often; the "
    + "motion decoded around them, on average; the share of them in which each finger touches; the actions they belong to, and how many "
    + "times as often as all frames do; and the nearest frames of different training clips, with their time and distance (1 is the size "
    + "of a code). Thumb to little finger: pink, blue, green, orange, red." }),
  make("p", { class: "soft", text: "Holds poses and clip names of the data set: pass it on only as its licence allows." }),
);
const head = ["quantizer", "codes", "perplexity, train", "val", "live, train", "val", "never chosen, train", "val"];
const cell = (value) => make("td", { text: value === null ? "" : String(value) });
document.getElementById("levels").append(make("table", {}, [
  make("tr", {}, head.map((text) => make("th", { text }))),
  ...data.levels.map((level, q) => make("tr", {}, [
    make("td", {}, [make("span", { class: `swatch q${Math.min(q, 5)}` }), String(q + 1)]), cell(level.codes),
    cell(level.train.perplexity), cell(level.val.perplexity), cell(percent(level.train.live)), cell(percent(level.val.live)),
    cell(level.train.never), cell(level.val.never),
  ])),
]));

const ORDERS = {
  "use in training": (a, b) => b.train - a.train || a.place - b.place,
  "use in validation": (a, b) => b.val - a.val || a.place - b.place,
  "rarest in training": (a, b) => a.train - b.train || a.place - b.place,
  "validation over training": (a, b) => b.valShare / b.share - a.valShare / a.share || a.place - b.place,
  "contact": (a, b) => b.touching - a.touching || a.place - b.place,
  "one action": (a, b) => (b.words[0]?.times ?? 0) - (a.words[0]?.times ?? 0) || a.place - b.place,
  "number": (a, b) => a.q - b.q || a.code - b.code,
};
const chooser = (words, options) => {
  const select = make("select", {}, options.map(([value, text]) => make("option", { value, text })));
  document.getElementById("controls").append(make("label", {}, [words, select]));
  return select;
};
const level = chooser("Quantizer", [...data.levels.map((_, q) => [String(q + 1), String(q + 1)]), ...(data.levels.length > 1 ? [["all", "all"]] : [])]);
const order = chooser("Order", Object.keys(ORDERS).map((name) => [name, name]));
const search = make("input", { type: "search", placeholder: "number, action or clip", autocomplete: "off" });
document.getElementById("controls").append(make("label", {}, ["Search", search]));

const cards = document.getElementById("cards"), more = document.getElementById("more");
let left = [];
const extend = () => {
  for (const code of left.splice(0, AT_ONCE)) { const card = cardOf(code); cards.append(card); seen.observe(card); }
};
const list = () => {
  const asked = search.value.trim().toLowerCase(), number = /^\d+$/.test(asked);
  const found = codes.filter((code) => (level.value === "all" || code.q + 1 === Number(level.value))
    && (!asked || (number ? String(code.code) === asked || code.near.some(([clip]) => data.clips[clip].includes(asked)) : code.found.includes(asked))));
  found.sort(ORDERS[order.value]);
  if (number) found.sort((a, b) => (String(b.code) === asked) - (String(a.code) === asked));
  seen.disconnect(); shown.clear(); cards.replaceChildren();
  left = found;
  document.getElementById("count").textContent = `${found.length} ${found.length === 1 ? "code" : "codes"} that training frames choose`;
  extend();
};
new IntersectionObserver((entries) => { if (entries[0].isIntersecting) { let n = 0; while (left.length && n++ < 3) extend(); again(); } }, { rootMargin: "900px" }).observe(more);
// A sentinel that stays in view tells nothing anew.
const again = () => requestAnimationFrame(() => { if (left.length && more.getBoundingClientRect().top < innerHeight + 900) { extend(); again(); } });
for (const control of [level, order]) control.addEventListener("change", list);
search.addEventListener("input", list);
addEventListener("resize", () => shown.forEach(draw));
list();
requestAnimationFrame(tick);
"""
