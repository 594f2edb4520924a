"""The template of report.html. A constant, so that it is there however the package was installed."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Data report: {{ report.filename }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b1f24; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
th, td { border-bottom: 1px solid #d0d7de; padding: 0.3rem 1rem 0.3rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #f6f8fa; padding: 0.7rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.note { border-left: 4px solid #bf8700; padding-left: 0.8rem; }
</style>
</head>
<body>
<h1>Data report: {{ report.filename }}</h1>
<p>{{ report.rows.read }} rows read, {{ report.rows.kept }} kept ({{ report.kind }}), in the order of
{{ "their imports" if report.order == "imports" else "the upload" }}.</p>
<p class="note">{{ report.limits }}</p>
<p>They form {{ report.clusters.clusters }} clusters of near-duplicates; {{ report.clusters.alone }} rows are alone in theirs
and can be held out of training, the largest has {{ report.clusters.largest }} rows.</p>
{% if report.kind == "text" %}
{% macro numbers(counts) %}
{% for count in (counts.files, counts.bytes, counts.kept, counts.dropped) %}<td class="number">{{ count }}</td>{% endfor %}
{% endmacro %}
<h2>Languages</h2>
<table>
<tr><th>Language</th><th>Files</th><th>Bytes</th><th>Kept</th><th>Dropped</th></tr>
{% for counts in report.languages %}
<tr><td>{{ counts.language }}</td>{{ numbers(counts) }}</tr>
{% endfor %}
</table>
<h2>Licences</h2>
<p>Licence of the upload, by the licence file at its top: {{ report.licence_of_upload }}. Files under these were left out:
{{ report.unwanted_licences | join(", ") or "none asked for" }}.</p>
{% if report.licence_files_unread %}
<p class="note">{{ report.licence_files_unread }} licence files were too many to remember: what they rule may be counted
wrongly.</p>
{% endif %}
<table>
<tr><th>Licence</th><th>Family</th><th>Files</th><th>Bytes</th><th>Kept</th><th>Dropped</th></tr>
{% for counts in report.licences %}
<tr><td>{{ counts.licence }}</td><td>{{ counts.family | replace("_", " ") }}</td>{{ numbers(counts) }}</tr>
{% endfor %}
</table>
{% if report.other_licences %}
<h3>Under another licence than the upload's own</h3>
<table>
<tr><th>Directory</th><th>Licence</th><th>Files</th><th>Kept</th></tr>
{% for place in report.other_licences %}
<tr><td>{{ place.directory }}</td><td>{{ place.licence }}</td><td class="number">{{ place.files }}</td>
<td class="number">{{ place.kept }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% endif %}
<h2>Replaced</h2>
{% if report.replacements %}
<table>
<tr><th>Rule</th><th>Places</th><th>Different values</th></tr>
{% for rule, counts in report.replacements.items() %}
<tr><td>{{ rule }}</td><td class="number">{{ counts.replacements }}</td><td class="number">{{ counts.distinct }}</td></tr>
{% endfor %}
</table>
{% else %}
<p>Nothing.</p>
{% endif %}
{% if report.replaced_by_file %}
<h2>Replaced, by file</h2>
<table>
<tr><th>File</th><th>Places</th><th>Rules</th></tr>
{% for file in report.replaced_by_file %}
<tr><td>{{ file.name }}</td><td class="number">{{ "" if file.replacements is none else file.replacements }}</td>
<td>{% for rule, count in file.rules.items() %}{{ rule }} {{ count }}{{ "" if loop.last else ", " }}{% endfor %}</td></tr>
{% endfor %}
</table>
{% endif %}
<h2>Left out</h2>
<table>
<tr><th>By</th><th>Reason</th><th>Rows</th></tr>
{% for reason, count in report.skipped.items() %}
<tr><td>reading</td><td>{{ reason }}</td><td class="number">{{ count }}</td></tr>
{% endfor %}
{% for name, filter in report.filters.items() %}
{% for reason, count in filter.dropped.items() %}
<tr><td>{{ name }}</td><td>{{ reason }}</td><td class="number">{{ count }}</td></tr>
{% endfor %}
{% endfor %}
<tr><td>duplicates</td><td>exact</td><td class="number">{{ report.duplicates.exact_dropped }}</td></tr>
<tr><td>duplicates</td><td>near (of {{ report.duplicates.near }} found)</td>
<td class="number">{{ report.duplicates.near_dropped }}</td></tr>
{% for reason, count in report.left_out_by_cleaning.items() %}
<tr><td>cleaning</td><td>{{ reason }}</td><td class="number">{{ count }}</td></tr>
{% endfor %}
</table>
<h2>Samples of what was replaced</h2>
{% for sample in report.samples %}
<h3>Row {{ sample.row }}: {{ sample.rule }}</h3>
<pre>{{ sample.text }}</pre>
{% endfor %}
<h2>Residual samples: please read these</h2>
{% for sample in report.residual %}
<h3>Row {{ sample.row }}: {{ sample.why }}</h3>
<pre>{{ sample.text }}</pre>
{% endfor %}
<h2>Tools</h2>
<table>
{% for tool, number in report.versions.items() %}
<tr><td>{{ tool }}</td><td>{{ number }}</td></tr>
{% endfor %}
</table>
</body>
</html>
"""
