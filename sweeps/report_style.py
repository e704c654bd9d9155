"""The report's style, on top of the data page's, and its one small script."""

import base64
import hashlib

from trainables.inspect_template import STYLE as BASE_STYLE

# Colours of settings after Okabe and Ito, which colour-blind readers tell apart; darker or lighter with the paper.
STYLE = (
    BASE_STYLE
    + """
:root { --pick: #b85c00; --strong: #ffffff; --heat: #1f4e86;
  --s0: #2f6db0; --s1: #b06a00; --s2: #00806a; --s3: #a94a82; --s4: #6b6f76; --s5: #b23c17; }
@media (prefers-color-scheme: dark) { :root { --pick: #ffb454; --strong: #101113; --heat: #8fb8ea;
  --s0: #7db2ea; --s1: #e8a33d; --s2: #3fc4a4;
  --s3: #e08bc0; --s4: #a6adb5; --s5: #f08660; } }
nav { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 14px 0 0; font-size: 14px; }
a { color: var(--bar); } h2 { scroll-margin-top: 12px; }
.answers { margin: 14px 0 0; } .answers .finding { --tone: var(--line); } .answers .decided { --tone: var(--pick); }
.answers b { margin-right: 6px; } .notice { border-left: 4px solid var(--warning); padding: 6px 12px; margin: 12px 0 0;
  background: var(--card); }
.cards.two { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
.cards.broad { grid-template-columns: repeat(auto-fill, minmax(min(560px, 100%), 1fr)); }
.wide { -webkit-overflow-scrolling: touch; } .wide:focus-visible, svg:focus-visible { outline: 2px solid var(--bar); outline-offset: 2px; }
svg:focus:not(:focus-visible) { outline: none; }
.scroll svg { min-width: 460px; } .scroll.far svg { min-width: 860px; } table.board { width: 100%; }
table.board td, th.keep { white-space: nowrap; } table.board th.n { white-space: normal; min-width: 40px; }
table.board th, table.board td { padding-right: 9px; overflow-wrap: normal; word-break: normal; }
.badge { border-radius: 9px; padding: 0 7px;
  font-size: 12px; border: 1px solid var(--line); color: var(--soft); } .badge.chosen { background: var(--pick);
  border-color: var(--pick); color: var(--paper); font-weight: 600; } tr.chosen td { background: color-mix(in srgb, var(--pick) 9%, transparent); }
section > h3 { margin: 20px 0 6px; font-size: 15px; } section > h3:first-of-type { margin-top: 10px; }
svg.plot { display: inline-block; height: auto; vertical-align: middle; } svg text.small { font-size: 9.5px; }
table.narrow { width: auto; } table.narrow td, table.narrow th { padding-right: 22px; }
.dot { fill: var(--bar); } .rod { stroke: var(--bar); stroke-width: 2; }
.cell { fill: var(--heat); } .edge { fill: none; stroke: var(--line); } .edge.chosen { stroke: var(--pick); stroke-width: 3; }
text.value { fill: var(--ink); font-size: 12px; font-variant-numeric: tabular-nums; }
text.value.small { font-size: 9.5px; } text.deeper { fill: var(--strong); }
@media (prefers-color-scheme: dark) { text.deep { fill: var(--strong); } }
.untried { fill: none; stroke: var(--line); stroke-dasharray: 2 3; } .hatched { fill: url(#hatch); stroke: var(--line); }
#hatch line { stroke: var(--line); stroke-width: 3; } text.head { fill: var(--ink); font-weight: 600; }
.curve { fill: none; stroke: var(--bar); stroke-width: 1.4; stroke-opacity: .6; stroke-linejoin: round; }
.curve.stopped, .curve.failed, .curve.unfinished { stroke: var(--soft); stroke-dasharray: 3 2.5; stroke-opacity: .55; stroke-width: 1.1; }
.curve.many { stroke-width: 1; stroke-opacity: .28; }
.curve.best, .curve.best.many { stroke: var(--pick); stroke-width: 2.4; stroke-opacity: 1; stroke-dasharray: none; }
.curve.good, .curve.good.many { stroke-width: 1.8; stroke-opacity: .95; } .end { fill: var(--card); stroke: var(--soft); stroke-width: 1.2; }
.cross { fill: none; stroke: var(--error); stroke-width: 1.8; } .axis { stroke: var(--soft); }
.halo { paint-order: stroke; stroke: var(--card); stroke-width: 3px; } .front { fill: none; stroke: var(--bar); stroke-width: 1.6; }
.onfront { fill: var(--bar); stroke: var(--card); } .dominated { fill: none; stroke: var(--soft); stroke-opacity: .7; }
.onfront.best, .dominated.best { fill: var(--pick); } .held { fill: var(--line); fill-opacity: .45; }
.curve.s0 { stroke: var(--s0); } .curve.s1 { stroke: var(--s1); } .curve.s2 { stroke: var(--s2); } .curve.s3 { stroke: var(--s3); }
.curve.s4 { stroke: var(--s4); } .curve.s5 { stroke: var(--s5); }
.run { stroke: none; } .run.s0 { fill: var(--s0); } .run.s1 { fill: var(--s1); } .run.s2 { fill: var(--s2); } .run.s3 { fill: var(--s3); }
.run.s4 { fill: var(--s4); } .run.s5 { fill: var(--s5); } .run.stopped, .run.unfinished { fill-opacity: .5; } .run.failed { fill-opacity: .22; }
[data-t] { cursor: default; } [data-t].lit .curve.curve { stroke: var(--pick); stroke-width: 3; stroke-opacity: 1; stroke-dasharray: none; }
g.lit circle, g.lit .edge, g.lit rect { stroke: var(--pick); stroke-width: 2.5; } tr.lit td { background: color-mix(in srgb, var(--pick) 16%, transparent); }
#told { position: fixed; left: 12px; right: 12px; bottom: 12px; margin: 0 auto; max-width: 900px; background: var(--card); color: var(--ink);
  border: 1px solid var(--pick); border-radius: 8px; padding: 6px 12px; font-size: 14px; pointer-events: none; }
#told[hidden] { display: none; } @media print { #told, nav { display: none; } }
"""
)

# Whatever belongs to one configuration lights up together; in a chart that has the focus the arrows step through it.
SCRIPT = """
(() => {
  const told = document.getElementById("told");
  let now = null, lit = [];
  const show = (mark) => {
    if (mark === now) return;
    now = mark;
    for (const one of lit) one.classList.remove("lit");
    lit = mark ? [...document.querySelectorAll(`[data-t="${mark.dataset.t}"]`)] : [];
    for (const one of lit) one.classList.add("lit");
    const words = mark && (mark.dataset.told || mark.querySelector("title")?.textContent);
    told.textContent = words || "";
    told.hidden = !words;
  };
  const under = (event) => event.target.closest ? event.target.closest("[data-t]") : null;
  document.addEventListener("pointerover", (event) => show(under(event)));
  document.addEventListener("click", (event) => show(under(event)));
  document.addEventListener("focusin", (event) => { if (!under(event)) show(null); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return show(null);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const chart = step && event.target.closest ? event.target.closest("svg.steps") : null;
    if (!chart) return;
    const marks = [...chart.querySelectorAll("[data-t]")];
    if (!marks.length) return;
    event.preventDefault();
    const at = marks.indexOf(now);
    show(marks[at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length]);
  });
})();
"""

# The page may fetch nothing, and run this script alone, whatever stands in a trial's name.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"
    + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    + "'"
)
