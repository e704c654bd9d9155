"""The style of a card as a page: light and dark, from a phone's width on."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #1d1c1a; --soft: #66625b; --line: #e2ddd4;
  --test: #b85c00; --val: #2f6db0; --warning: #9a6700; --link: #2f5f96; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181a; --card: #202225; --ink: #eae7e1; --soft: #a39e95;
  --line: #363a3f; --test: #ffb454; --val: #7db2ea; --warning: #e3b341; --link: #9dc0ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; } h2 { font-size: 19px; margin: 34px 0 10px; }
h3 { font-size: 15px; margin: 20px 0 6px; } p, ul { margin: 6px 0; } ul { padding-left: 20px; }
code, pre { font: 13px/1.45 ui-monospace, monospace; } a { color: var(--link); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; overflow-x: auto; }
.soft { color: var(--soft); } .badge { display: inline-block; border-radius: 9px; padding: 0 8px; margin-left: 8px; font-size: 13px;
  font-weight: 600; background: var(--test); color: var(--paper); vertical-align: 3px; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 16px 0 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; }
.numbers b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; } .numbers i { font-style: normal; color: var(--soft); display: block; }
.notice { border-left: 4px solid var(--warning); padding: 6px 12px; margin: 14px 0 0; background: var(--card); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 8px 0; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; vertical-align: bottom; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); overflow-wrap: normal; } td { vertical-align: top; }
.n { text-align: right; white-space: nowrap; } dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 8px 0; }
dt { color: var(--soft); } dd { margin: 0; } details { margin: 10px 0; } summary { cursor: pointer; color: var(--soft); }
img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; margin: 10px 0; }
iframe { display: block; width: 100%; height: 860px; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
svg { display: block; width: 100%; max-width: 760px; min-width: 560px; height: auto; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg text.name { fill: var(--ink); } .grid { stroke: var(--line); } .test { stroke: var(--test); fill: var(--test); }
.val { stroke: var(--val); fill: var(--val); } svg text.test, svg text.val { stroke: none; } .rod { stroke-width: 2; fill: none; }
svg text.test { fill: var(--test); } svg text.val { fill: var(--val); }
@media (max-width: 600px) { body { padding: 16px 14px 40px; } h1 { font-size: 21px; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 6px; } iframe { height: 920px; margin: 0 -10px; width: calc(100% + 20px); } }
"""
