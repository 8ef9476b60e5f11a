"""How to read a report: what its numbers, intervals and verdicts mean, and what they leave out."""

from collections.abc import Iterator

from pipeline.findings import answers
from pipeline.findings.decisions import ALPHA, level
from pipeline.findings.findings import Findings
from pipeline.findings.wording import coverage
from pipeline.params.quantities import QUANTITIES
from pipeline.reporting.section import Section, Words

NUMBERS = (
    "Means over seeds; ± is half the 95 % interval of the mean (Student's t). {coverage} That the best of several rows"
    " was picked afterwards is not covered. Differences are paired: the mean over common seeds.\n\n"
    "A run that failed counts as a guess in accuracies, losses, AUCs, their differences and the answer: accuracy 1/K"
    " and loss log K of K classes, AUC ½; means of other numbers leave it out.\n\n"
    "Test, validation and training images are looked at in test mode, with the weights that are kept. AUC is the area"
    " under the ROC curve, one-vs-rest: of all decisions in one pool (micro), or the mean over classes (macro). ECE is"
    " the expected calibration error over 15 bins of equal width. The gap is that between training and validation"
    " images."
)


def _matters(name: str) -> str:
    found = QUANTITIES[name]
    size = found.base**found.matters - 1 if found.base else found.matters
    unit = "%" if found.base else f"{found.unit} of {name}" if found.unit == "points" else found.unit or name.upper()
    return f"{(100 if found.base else found.scale) * size:.2g} {unit}"


CLAIMS = (
    "A claim is a contrast of rows, evaluated within each seed; over zero, right in the pictures, is in its favour."
    " Every dot is a seed, the bar the 95 % interval of their mean (Student's t); a bar that reaches the edge goes on"
    f" beyond it.\n\nOne interval decides, at {100 * ALPHA:.0f} % and corrected for the number of claims (Holm):"
    " supported or contradicted if all of it lies on that side of zero, negligible if all of it lies nearer to zero"
    f" than what matters ({', '.join(map(_matters, ('accuracy', 'loss', 'auc', 'best_epoch', 'shift')))}), else"
    " undecided. A claim with a margin is judged by its side of the margin alone. Values in steps, such as epochs, are"
    " taken to vary at least as much as rounding does. Seeds are always taken as pairs; the interval without that"
    " stands beside it. A run that failed counts as one epoch more than it may train where epochs are counted; for"
    " numbers that it does not have its seed is left out. The seeds that are missing are an estimate for one more look,"
    " with a chance of 80 %: looking after each seed would decide too often."
)


def reading(found: Findings) -> Iterator[Section]:
    """What the answer, the numbers and the verdicts mean."""
    yield Section("The answer", [Words(answers.NOTE)])
    yield Section("Numbers and intervals", [Words(NUMBERS.format(coverage=coverage(found.results)))])
    if found.verdicts:
        parts, looks = [CLAIMS], found.study.study.looks
        if looks:
            seeds, share = ", ".join(map(str, looks)), f"{100 * level(looks):.3g}"
            each = f"each time at {share} % and not {100 * ALPHA:.0f} %"
            parts.append(f"They are judged at {seeds} seeds, {each}, unless a note says otherwise.")
        yield Section("Verdicts on claims", [Words(part) for part in parts])
