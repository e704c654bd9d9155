"""The page's template (jinja2) and style. No script, and a policy that lets the page fetch nothing."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #1d1c1a; --soft: #66625b; --line: #e2ddd4;
  --bar: #3f6ea6; --median: #ffffff; --error: #b3261e; --warning: #9a6700; --note: #4d6a8a; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181a; --card: #202225; --ink: #eae7e1; --soft: #a39e95;
  --line: #363a3f; --bar: #7fa8d9; --median: #17181a; --error: #ff8a80; --warning: #e3b341; --note: #9db8d6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; }
h3 { font-size: 14px; margin: 0 0 6px; } p { margin: 4px 0; } code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { white-space: pre-wrap; margin: 6px 0; color: var(--soft); } .soft { color: var(--soft); }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 14px 0 0; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; }
.numbers { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; }
.numbers b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; }
.finding { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--tone); border-radius: 6px;
  padding: 8px 14px 10px; margin: 8px 0; }
.error { --tone: var(--error); } .warning { --tone: var(--warning); } .note { --tone: var(--note); }
.finding .kind { color: var(--tone); font-weight: 600; } summary { cursor: pointer; color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; vertical-align: bottom; }
th, td { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); } td { vertical-align: top; }
.n { text-align: right; white-space: nowrap; } .keep { white-space: nowrap; overflow-wrap: normal; }
td.name { min-width: 120px; } tr.first td { border-top: 2px solid var(--line); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); gap: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; min-width: 0; }
.sheet { grid-template-columns: repeat(auto-fill, minmax(min(540px, 100%), 1fr)); }
.card img { display: block; width: 100%; height: auto; } .card img.seen { margin-top: 4px; border-radius: 4px; }
.card .id { font-weight: 600; } .why { color: var(--warning); font-weight: 600; }
.tag { display: inline-block; border: 1px solid var(--line); border-radius: 10px; padding: 0 8px; margin: 2px 4px 0 0;
  font-size: 13px; } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } .bar { fill: var(--bar); } .grid { stroke: var(--line); }
.mark { stroke: var(--error); stroke-dasharray: 4 3; } .rod { stroke: var(--bar); stroke-width: 1.5; }
.median { stroke: var(--median); stroke-width: 2; } .none { color: var(--soft); }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin: 0 4px 0 10px; vertical-align: -1px; }
@media (max-width: 600px) { body { padding: 16px 14px 40px; } dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: 6px; } h1 { font-size: 22px; } }
"""

PAGE = (
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ manifest.name }} {{ digest[:12] }}</title>
<style>"""
    + STYLE
    + """</style>
</head>
<body>
{% macro figures_of(row) %}
<td class="n">{{ row.clips | whole }}</td><td class="n">{{ row.frames | whole }}</td>
<td class="n">{{ row.seconds | duration }}</td><td class="n">{{ row.windows | whole }}</td>
<td class="n">{{ row.contact_frames | share }}</td><td class="n">{{ row.contact_windows | share }}</td>
{% endmacro %}
{% macro figures_head() %}
<th class="n">clips</th><th class="n">frames</th><th class="n">time</th><th class="n">windows</th>
<th class="n">frames with<br>contact</th><th class="n">windows that<br>start in it</th>
{% endmacro %}
<header id="data">
<h1>{{ manifest.name }}</h1>
<p class="soft"><code>{{ digest }}</code></p>
<div class="numbers">
<div><b>{{ all.clips | whole }}</b>clips</div><div><b>{{ all.frames | whole }}</b>frames</div>
<div><b>{{ all.seconds | duration }}</b>of motion</div>
<div><b>{{ all.windows | whole }}</b>windows of {{ window }}</div>
<div><b>{{ all.contact_frames | share }}</b>of frames in contact</div>
<div><b>{{ all.contact_windows | share }}</b>of windows start in it</div>
</div>
<dl class="facts">
<dt>read from</dt><dd><code>{{ place }}</code></dd>
<dt>hand model</dt><dd>{{ hand_words }}</dd>
<dt>schema</dt><dd>{{ manifest.schema }}{% if "migrated_from" in manifest %}, migrated from schema
{{ manifest.migrated_from.schema }} (digest <code>{{ manifest.migrated_from.digest[:12] }}</code>){% endif %}</dd>
<dt>shards</dt><dd>{{ manifest.shards | length }}</dd>
<dt>contact radius</dt><dd>{{ manifest.get("contact_radius_m", "unknown") }} m</dd>
<dt>pictures</dt><dd>{{ manifest.counts.get("images", 0) | whole }}{% if manifest.counts.get("hand_free_images") %}, and
{{ manifest.counts.hand_free_images | whole }} without the hand{% endif %}</dd>
{% if "features" in manifest %}<dt>features</dt><dd>{% for kind, about in manifest.features | dictsort %}{{ kind }}:
{{ about.encoder }} {% endfor %}</dd>{% endif %}
<dt>source</dt><dd><details><summary>what the importer was given</summary><pre>{{ source }}</pre></details></dd>
</dl>
</header>

<section id="findings">
<h2>Findings</h2>
<p class="soft">{% for name, count in severities %}{{ count }} {{ name }}{{ "" if count == 1 else "s" }}{{ "" if loop.last else ", " }}{% endfor %}</p>
{% for finding in findings %}
<div class="finding {{ finding.severity }}">
<p><span class="kind">{{ finding.severity }}: {{ finding.check }}</span> · <code>{{ finding.field }}</code></p>
<p>{{ finding.what }}: <b>{{ finding.count | whole }}</b></p>
<p class="soft">Remedy: {{ finding.remedy }}.</p>
{% if finding.examples %}<details{% if finding.severity == "error" %} open{% endif %}>
<summary>which{% if finding.count > most_examples %} (the worst {{ finding.examples | length }} of {{ finding.count | whole }}){% endif %}</summary>
<table>{% for name, value in finding.examples %}<tr><td>{{ name }}</td><td class="n">{{ value }}</td></tr>{% endfor %}</table>
</details>{% endif %}
</div>
{% else %}<p>Nothing was found.</p>{% endfor %}
</section>

<section id="splits">
<h2>Settings and parts</h2>
<p class="soft">Windows are {{ window }} frames at 30 fps, one begins at every frame.</p>
<div class="wide"><table>
<tr><th>setting</th><th>part</th><th class="n">groups</th>{{ figures_head() }}</tr>
{% for row in splits %}<tr{% if loop.first or splits[loop.index0 - 1].setting != row.setting %} class="first"{% endif %}>
<td class="keep">{{ row.setting }}</td><td class="keep">{{ row.part }}</td><td class="n">{{ row.groups }}</td>{{ figures_of(row) }}</tr>
{% else %}<tr><td colspan="9">no setting</td></tr>{% endfor %}
</table></div>
</section>

<section id="ranges">
<h2>Ranges</h2>
<div class="wide"><table>
<tr><th>of every clip</th><th class="n">least</th><th class="n">1 %</th><th class="n">median</th><th class="n">99 %</th><th class="n">greatest</th><th></th></tr>
{% for row in ranges %}<tr><td class="name">{{ row.name }}</td><td class="n">{{ row.least }}</td><td class="n">{{ row.p1 }}</td>
<td class="n">{{ row.median }}</td><td class="n">{{ row.p99 }}</td><td class="n">{{ row.most }}</td><td class="keep soft">{{ row.unit }}</td></tr>{% endfor %}
</table></div>
</section>

<section id="histograms">
<h2>Histograms</h2>
<div class="cards">
{% for title, svg in charts %}<div class="card"><h3>{{ title }}</h3>{{ svg }}</div>{% endfor %}
{% if heat %}<div class="card"><h3>Where the hand touches</h3><img src="{{ heat | picture }}" alt="contact frequency of each vertex on the palm and the back of the hand">
<p class="soft">palm and back; darkest: {{ most_touched | share }} of frames</p></div>{% endif %}
</div>
</section>

<section id="groups">
<h2>Groups</h2>
{% for name, (rows, count) in groups.items() %}
<details{% if loop.first %} open{% endif %}><summary>{{ count | whole }} × {{ name }}{% if count > most_groups %}, the largest {{ most_groups }}{% endif %}</summary>
<div class="wide"><table>
<tr><th>{{ name }}</th><th>part</th>{{ figures_head() }}</tr>
{% for row in rows %}<tr><td class="name">{{ row.name }}</td><td class="keep soft">{{ row.parts }}</td>{{ figures_of(row) }}</tr>{% endfor %}
</table></div></details>
{% else %}<p class="soft">No clip has a group.</p>{% endfor %}
</section>

<section id="sheet">
<h2>Contact sheet</h2>
<p class="soft">{{ frames_a_strip }} frames of a clip from its own camera, the view following the hand; below, the pictures that came with it.
<span class="keep"><span class="swatch" style="background:#df2e1a"></span>touching</span>
<span class="keep"><span class="swatch" style="background:#1478ff"></span>contact point</span>
<span class="keep"><span class="swatch" style="background:#a8b3c7"></span>contact unknown</span></p>
<div class="cards sheet">
{% for clip in shown %}<div class="card">
<img src="{{ clip.strip | picture }}" alt="frames {{ clip.frames | join(", ") }} of {{ clip.clip_id }}">
{% if clip.pictures %}<img class="seen" src="{{ clip.pictures | picture }}" alt="pictures of {{ clip.clip_id }}">{% endif %}
{% if clip.why %}<p class="why">{{ clip.why }}</p>{% endif %}
<p><span class="id">{{ clip.clip_id }}</span> <span class="soft">frames {{ clip.frames | join(", ") }} of {{ clip.facts }}</span></p>
<p>{{ clip.texts | join(" · ") }}</p>
<p>{% for group, value in clip.groups.items() %}<span class="tag">{{ group }}: {{ value }}</span>{% endfor %}</p>
</div>{% endfor %}
</div>
</section>
</body>
</html>
"""
)
