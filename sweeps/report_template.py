"""The report's template (jinja2)."""

from sweeps.report_style import POLICY, SCRIPT, STYLE

PAGE = (
    f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{{{{ view.name }}}}</title>
<style>{STYLE}</style>
</head>
"""
    + """<body>
<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs><pattern id="hatch" width="6" height="6"
patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6"/></pattern></defs></svg>
{% macro cards(found, kind="") %}
<div class="cards {{ kind }}">
{% for card in found %}<div class="card"><h3>{{ card.title }}</h3>{{ card.chart }}
{% if card.note %}<p class="soft">{{ card.note }}.</p>{% endif %}</div>{% endfor %}
</div>
{% endmacro %}
{% macro keys() %}{% for setting in view.settings %}<span class="keep"><span class="swatch" style="background:var(--s{{ view.colours[setting] }})"></span>{{ setting }}</span>{% endfor %}{% endmacro %}
{% macro board_rows(rows) %}
{% for row in rows %}<tr data-t="{{ row.number }}" data-told="{{ row.title }}"{% if "chosen" in row.badges %} class="chosen"{% endif %}>
<td class="n">{{ row.rank }}</td><td>{% for badge in row.badges %}<span class="badge {{ badge }}">{{ badge }}</span> {% endfor %}</td>
{% for value in row.params %}<td class="n">{{ value }}</td>{% endfor %}
<td class="n"><b>{{ row.mpjpe }}</b></td><td class="n">{{ row.spread }}</td>
<td>{% for span in row.intervals %}{{ span }}{% if not loop.last %}<br>{% endif %}{% endfor %}</td><td>{{ row.plot }}</td>
{% for cell in row.cells %}<td class="n">{{ cell }}</td>{% endfor %}
<td class="n">{{ row.seeds }}</td><td class="n">{{ row.epochs }}</td><td>{{ row.status }}</td></tr>
{% endfor %}
{% endmacro %}
{% macro board_head(board) %}<tr><th class="n">rank</th><th></th>{% for name in board.fields %}<th class="n">{{ name | called }}</th>{% endfor %}
<th class="n">MPJPE, cm</th><th class="n">sd over<br>seeds, cm</th><th>95% interval, cm</th><th class="keep">{{ "MPJPE, " ~ board.scale if board.scale else "" }}</th>
{% for name in board.columns %}<th class="n">{{ name }}</th>{% endfor %}
<th class="n">seeds</th><th class="n">epochs</th><th>status</th></tr>{% endmacro %}
{% macro befell(trouble, what, kind) %}
<div class="finding {{ kind }}"><p><span class="kind">{{ trouble.count }} {{ what }}</span> {{ trouble.reason }}</p>
<details><summary>which</summary>{% for name in trouble.trials %}<p>{{ name }}</p>{% endfor %}{% if trouble.left_out %}<p class="soft">and {{ trouble.left_out }} more</p>{% endif %}</details></div>
{% endmacro %}
<header id="top">
<h1>{{ view.name }}</h1>
<p>{{ question }}</p>
<p class="soft">Data {{ plan.data }}, protocol {{ plan.protocol }}{% if plan.mode %}, mode {{ plan.mode }}{% endif %}.
Written {{ written }}.</p>
{% if stand_in %}<p class="notice"><b>{{ stand_in }}</b></p>{% endif %}
<div class="answers">
{% for board in boards %}<div class="finding{{ " decided" if board.decided }}"><p><b>{{ board.setting }}</b> {{ board.answer }}</p></div>
{% else %}<p>The plan names no setting.</p>{% endfor %}
</div>
<div class="numbers">
{% for value, what in tiles %}<div><b>{{ value }}</b>{{ what }}</div>{% endfor %}
</div>
<nav aria-label="sections">{% for name, title in sections %}<a href="#{{ name }}">{{ title }}</a>{% endfor %}</nav>
<p class="soft">Point at a mark to see which configuration it is and where else it appears; with the keyboard, step to a chart and use
the arrows.</p>
</header>

<section id="leaderboard">
<h2>Leaderboard</h2>
<p class="soft">Validation figures. A configuration repeated over more seeds comes before the others; its figure is the mean
over its seeds. Dots are trials, bars their 95% intervals.{% if objectives | length > 1 %} Front: no other finished configuration is better in one of the objectives without being worse in another.{% endif %}</p>
{% for board in boards %}
<h3>{{ board.setting }}</h3>
{% if board.rows %}
<div class="wide" tabindex="0" role="region" aria-label="leaderboard of {{ board.setting }}"><table class="board">
{{ board_head(board) }}
{{ board_rows(board.rows) }}
</table></div>
{% if board.folded %}<details><summary>{{ board.folded | length }} more{% if board.left_out %}; another {{ board.left_out }} are not in this page{% endif %}</summary>
<div class="wide" tabindex="0" role="region" aria-label="more of {{ board.setting }}"><table class="board">{{ board_head(board) }}{{ board_rows(board.folded) }}</table></div></details>{% endif %}
{% else %}<p class="soft">Nothing was begun.</p>{% endif %}
{% if board.tests %}<details><summary>the verdict's comparisons</summary><div class="wide" tabindex="0"><table>
<tr>{% for name in board.tests[0] %}<th>{{ name }}</th>{% endfor %}</tr>
{% for test in board.tests %}<tr>{% for value in test.values() %}<td>{{ value }}</td>{% endfor %}</tr>{% endfor %}
</table></div></details>{% endif %}
{% if board.lines %}<details><summary>what was published</summary><pre>{{ board.lines | join("\n") }}</pre></details>{% endif %}
{% endfor %}
</section>

<section id="map">
<h2>{{ heat_title }}</h2>
<p class="soft">Validation MPJPE in cm, the mean over seeds; the stronger the colour the better. Hatched: stopped at that epoch, or without a figure.
Dotted: not tried. Thick edge: chosen.</p>
{{ cards(heat, "two") }}
{% if not heat %}<p class="soft">Nothing was begun.</p>{% endif %}
</section>

<section id="parallel">
<h2>Configurations and figures</h2>
<p class="soft">A line is a configuration; on the figures' axes better is higher. Strong: the best tenth; dashed: stopped early, with its figures at
that point; orange: chosen.</p>
<div class="cards broad">{% for card in parallel %}<div class="card"><h3>{{ card.title }}</h3><div class="wide scroll">{{ card.chart }}</div>
{% if card.note %}<p class="soft">{{ card.note }}.</p>{% endif %}</div>{% else %}<p class="soft">No trial has a figure.</p>{% endfor %}</div>
</section>

<section id="importance">
<h2>Importance</h2>
<p class="soft">How much of the differences in a figure each searched field explains by itself, averaged over the others (fANOVA over the
finished configurations). A search that has gone after the best has seen less of the rest, and says less about it.</p>
<div class="cards">{% for setting, metric, chart, why in importances %}<div class="card"><h3>{{ setting }}: {{ metric }}</h3>
{% if chart %}{{ chart }}{% else %}<p class="soft">{{ why }}</p>{% endif %}</div>{% endfor %}</div>
</section>

<section id="curves">
<h2>Learning curves</h2>
<p class="soft">Dashed with a ring: stopped early, there; cross: failed; orange: chosen.</p>
{{ cards(curves, "two") }}
{% if not curves %}<p class="soft">No trial has reached the first epoch of its predictor.</p>{% endif %}
{% if losses %}<h3>Training loss of the stages</h3><p class="soft">{{ keys() }}</p>{{ cards(losses) }}{% endif %}
</section>

<section id="front">
<h2>Pareto fronts</h2>
<p class="soft">Finished configurations, mean over seeds. Filled: no other is better in one of the two figures without being worse in the
other; orange: chosen.{% if objectives | length > 1 %} The sweep's objectives: {{ objectives | join(", ") }}.{% endif %}</p>
{% for setting, found in fronts %}{% if found %}<h3>{{ setting }}</h3>{{ cards(found) }}{% endif %}{% endfor %}
{% if not fronts | selectattr(1) | list %}<p class="soft">No finished trial reports parameters, contact F1 or latency.</p>{% endif %}
</section>

<section id="codebooks">
<h2>Codebook usage</h2>
{% if books %}
<p class="soft">Figures of the epoch whose weights were kept, over validation windows. A stronger line is a larger codebook; its size stands beside it.</p>
{{ cards(code_cards) }}
<div class="wide" tabindex="0" role="region" aria-label="codebooks by size"><table class="narrow">
<tr><th class="n">codes</th><th class="n">codebooks</th><th class="n">perplexity,<br>codes</th><th class="n">live codes,<br>share</th><th class="n">reconstruction<br>MPJPE, cm</th></tr>
{% for codes, count, perplexity, live, reconstruction in sizes %}<tr><td class="n">{{ codes }}</td><td class="n">{{ count }}</td>
<td class="n">{{ perplexity | number("%.1f") }}</td><td class="n">{{ live | number("%.2f") }}</td><td class="n">{{ reconstruction | number("%.2f") }}</td></tr>{% endfor %}
</table></div>
<details><summary>every codebook</summary><div class="wide" tabindex="0" role="region" aria-label="codebooks"><table class="board">
<tr><th>codebook</th><th class="n">codes</th><th class="n">perplexity, codes</th><th class="n">live codes, share</th>
<th class="n">reconstruction<br>MPJPE, cm</th><th class="n">kept epoch</th><th class="n">trials on it</th><th>trained by</th></tr>
{% for book in books[:most_books] %}<tr{% if book.trainer %} data-t="{{ view.number(book.trainer) }}"{% endif %}><td><code>{{ book.identity[:8] }}</code></td>
<td class="n">{{ book.codes or "–" }}</td><td class="n">{{ book.perplexity | number("%.1f") }}</td><td class="n">{{ book.live | number("%.2f") }}</td>
<td class="n">{{ book.reconstruction_cm | number("%.2f") }}</td><td class="n">{% if book.epochs %}{{ book.kept_epoch }} of {{ book.epochs }}{% else %}–{% endif %}</td>
<td class="n">{{ book.users | length }}</td><td>{{ book.trained_by }}</td></tr>{% endfor %}
</table></div>
{% if books | length > most_books %}<p class="soft">{{ most_books }} of {{ books | length }} codebooks.</p>{% endif %}</details>
{% else %}<p class="soft">No trial stands on a codebook.</p>{% endif %}
</section>

<section id="cluster">
<h2>Timeline of the cluster</h2>
{% if timeline %}
<p>{{ idle_words }}</p>
<p class="soft">{{ keys() }}<br>Pale: stopped early. Palest, with a cross: failed. Earlier attempts of a trial are not drawn.</p>
<div class="wide scroll far">{{ timeline }}</div>
{% else %}<p class="soft">No trial of this sweep has a known place and time.</p>{% endif %}
{% if untimed %}<p class="soft">{{ untimed }}</p>{% endif %}
{% if runs %}<details><summary>sessions</summary><div class="wide" tabindex="0"><table>
<tr><th>joined</th><th>device</th><th class="n">trials at once</th><th class="n">workers a trial</th><th class="n">USD an hour<br>of a worker</th>
<th class="n">until the first<br>trial began</th><th class="n">first to last trial</th><th class="n">trials</th><th class="n">idle</th></tr>
{% for run in runs %}<tr>{% for cell in run %}<td class="{{ "" if loop.index < 3 else "n" }} keep">{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</table></div></details>{% endif %}
</section>

<section id="cost">
<h2>Cost</h2>
{% for line in cost_lines %}<p>{{ line }}</p>{% endfor %}
<div class="wide" tabindex="0" role="region" aria-label="seconds by stage"><table>
<tr><th>trained by this sweep</th>{% for stage in stages %}<th class="n">{{ stage }}</th>{% endfor %}<th class="n">in all</th></tr>
{% for name, cells in cost_rows %}<tr><td class="name">{{ name }}</td>{% for cell in cells %}<td class="n">{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</table></div>
{% if saved %}<h3>Where the difference to naive training comes from</h3>
<table class="narrow">{% for name, time, part in saved %}<tr><td>{{ name }}</td><td class="n">{{ time }}</td><td class="n">{{ part }}</td></tr>{% endfor %}</table>
<p class="soft">Naive: every finished or stopped trial of this sweep from scratch, all its stages, for all {{ view.budget }} epochs of the predictor, at
its own measured seconds an epoch. A stage it did not train itself counts what it took where it was trained. Estimates.</p>{% endif %}
</section>

<section id="failures">
<h2>Failures and remarks</h2>
{% for trouble in failures %}{{ befell(trouble, "failed", "error") }}{% else %}<p>No trial failed.</p>{% endfor %}
{% for trouble in remarks %}{{ befell(trouble, "ended well", "note") }}{% endfor %}
</section>

<section id="again">
<h2>How to do it again</h2>
{% for command in commands %}<pre>{{ command }}</pre>{% endfor %}
<p class="soft">The same command on the same data, code and device trains nothing again: it finds every trial below by its
identity. Without the store it trains the same trials anew.</p>
<dl class="facts">{% for name, value in plan_facts %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
</section>

<section id="words">
<h2>What the figures mean</h2>
<dl class="facts">{% for name, meaning in definitions %}<dt>{{ name }}</dt><dd>{{ meaning }}</dd>{% endfor %}</dl>
</section>
<p id="told" role="status" aria-live="polite" hidden></p>
"""
    + f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
)
