"""Stage `primer`: a page on what the layers of this project do, computed by these layers, without training.

pipeline/python -m pipeline.primer      writes reports/primer.md, .html, and the pictures beside them
"""

if __name__ == "__main__":
    from pipeline import arithmetic

    arithmetic.settle()  # first: NumPy looks at it when it is imported

import shutil
import sys
from pathlib import Path

import torch

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.reporting.page import render
from pipeline.reporting.primer.lesson import FOLDER
from pipeline.reporting.primer.lessons import LEAD, TITLE, sections
from pipeline.storage import write_atomically


def write(reports: Path) -> None:
    """Writes the page as Markdown and as HTML; of pictures that were there none is left."""
    torch.set_num_threads(1)  # sums are split by the number of threads, hence of cores
    made = sections()
    shutil.rmtree(reports / FOLDER, ignore_errors=True)
    (reports / FOLDER).mkdir(parents=True)
    for picture in (picture for section in made for picture in section.pictures):
        write_atomically(reports / picture.path, picture.svg.encode())
    text = "\n\n".join([f"# {TITLE}", LEAD, *(section.markdown() for section in made)])
    write_atomically(reports / "primer.md", f"{text}\n".encode())
    write_atomically(reports / "primer.html", render(TITLE, LEAD, made).encode())


@command
def main() -> None:
    if sys.argv[1:]:
        raise UserError("usage: pipeline/python -m pipeline.primer")
    write(paths.REPORTS)
    print(paths.shown(paths.REPORTS / "primer.md"))


if __name__ == "__main__":
    main()
