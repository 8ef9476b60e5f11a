"""The confusion matrix of a run as a page: MLflow shows it among the run's files."""

from jinja2 import Environment
from torch import Tensor

PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<meta charset="utf-8">
<title>Confusion matrix</title>
<style>
  table { border-collapse: collapse; font: 13px sans-serif }
  caption { text-align: left; padding-bottom: 8px }
  th, td { padding: 4px 8px; text-align: right; font-weight: normal; white-space: nowrap }
  td { border: 1px solid #ddd }
</style>
<table>
<caption>Test images by their class, a row, and by the class that they were taken for, a column. The darker a cell,
  the larger its share of the row.</caption>
<tr><th></th>{% for name in classes %}<th scope="col">{{ name }}</th>{% endfor %}</tr>
{% for name, line in lines %}
<tr><th scope="row">{{ name }}</th>
{% for count, share in line %}
<td style="background: rgb(8 48 107 / {{ share }}%); color: {{ "#fff" if share > 45 else "#000" }}">{{ count }}</td>
{% endfor %}
</tr>
{% endfor %}
</table>
""")


def confusion_page(counts: Tensor, classes: list[str]) -> str:
    """The page.

    Args:
        counts: K×K images, true classes as rows.
        classes: K names.
    """
    percents = (100 * counts / counts.sum(1, keepdim=True).clamp(min=1)).round().int()
    lines = [
        list(zip(count, percent, strict=True))
        for count, percent in zip(counts.tolist(), percents.tolist(), strict=True)
    ]
    return PAGE.render(classes=classes, lines=zip(classes, lines, strict=True))
