"""The style of the codebook explorer's page."""

# Colours of quantizers and fingers after Okabe and Ito, which colour-blind readers tell apart.
STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #1d1c1a; --soft: #66625b; --line: #e2ddd4;
  --bar: #3f6ea6; --pick: #b85c00; --warning: #9a6700; --f0: #a94a82; --f1: #2f6db0; --f2: #00806a; --f3: #b06a00; --f4: #b23c17;
  --f5: #6b6f76; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181a; --card: #202225; --ink: #eae7e1; --soft: #a39e95;
  --line: #363a3f; --bar: #7fa8d9; --pick: #ffb454; --warning: #e3b341; --f0: #e08bc0; --f1: #7db2ea; --f2: #3fc4a4; --f3: #e8a33d;
  --f4: #f08660; --f5: #a6adb5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1320px; padding: 24px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 24px; line-height: 1.3; margin: 0 0 4px; } h2 { font-size: 19px; margin: 30px 0 10px; } p { margin: 4px 0; }
.soft { color: var(--soft); } .notice { border-left: 4px solid var(--warning); padding: 6px 12px; margin: 10px 0 0; background: var(--card); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--soft); font-size: 13px; vertical-align: bottom; }
th, td { padding: 4px 18px 4px 0; border-bottom: 1px solid var(--line); white-space: nowrap; } td { text-align: right; }
th:first-child, td:first-child { text-align: left; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; background: currentColor; }
.q0 { color: var(--f1); } .q1 { color: var(--f3); } .q2 { color: var(--f2); } .q3 { color: var(--f0); } .q4 { color: var(--f4); } .q5 { color: var(--f5); }
figure { margin: 0; } .chart { margin: 14px 0 0; overflow-x: auto; } .chart svg { display: block; width: 100%; max-width: 760px; min-width: 520px; height: auto; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } svg .grid { stroke: var(--line); }
.curve { fill: none; stroke: currentColor; stroke-width: 2; } .even { fill: none; stroke: var(--soft); stroke-dasharray: 4 3; }
#controls { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: end; position: sticky; top: 0; z-index: 1; padding: 8px 0; background: var(--paper); }
label { display: grid; gap: 2px; font-size: 13px; color: var(--soft); }
select, input { font: inherit; font-size: 15px; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 6px 8px; min-height: 38px; } input { width: 220px; max-width: 100%; }
select:focus-visible, input:focus-visible, .code:focus-visible { outline: 2px solid var(--bar); outline-offset: 1px; }
#cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 12px; }
.code { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; min-width: 0; contain: content; }
.code h3 { display: flex; justify-content: space-between; gap: 8px; margin: 0 0 6px; font-size: 16px; font-variant-numeric: tabular-nums; }
.code h3 span { font-weight: 400; font-size: 13px; color: var(--soft); }
.row { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; } .row figure, .near figure { min-width: 0; }
.row img, .row canvas { display: block; width: 100%; height: auto; aspect-ratio: 1; border-radius: 6px; background: var(--paper); object-fit: contain; }
figcaption, .small { font-size: 12px; line-height: 1.35; color: var(--soft); } .near { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; margin-top: 8px; }
.near canvas { display: block; width: 100%; aspect-ratio: 1; border-radius: 6px; background: var(--paper); }
.fingers { display: grid; grid-template-columns: repeat(6, 1fr); gap: 4px; margin: 8px 0 2px; font-size: 11px; color: var(--soft); text-align: center; }
.fingers div { position: relative; height: 26px; border-radius: 3px; background: var(--paper); overflow: hidden; }
.fingers i { position: absolute; left: 0; right: 0; bottom: 0; background: var(--bar); opacity: .75; } .tags { display: flex; flex-wrap: wrap; gap: 4px; margin-top: 6px; }
.tags span { border: 1px solid var(--line); border-radius: 10px; padding: 0 8px; font-size: 13px; }
@media (max-width: 600px) { body { padding: 16px 14px 40px; } h1 { font-size: 20px; } #controls { position: static; }
  label { flex: 1 1 140px; } input, select { width: 100%; } }
"""
