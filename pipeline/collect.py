"""Puts runs that were trained elsewhere into the run store, from which `dvc repro` goes on.

    make collect FILE=results.tar

All of the file is checked before anything is taken over; what the store holds already stays.
"""

import argparse
import shutil
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.params import planned
from pipeline.running import parcels, stages, store

DRAFT = "collect-"
"""What folders of the run store begin with in which a file is unpacked."""


def collect(parcel: Path, codes: set[str]) -> Counter[str]:
    """Takes over the runs of a file; how many were new, and how many the store held.

    Args:
        parcel: the file.
        codes: digests of the code that runs may come from.

    Raises:
        UserError: the file is not as it was written, or of other code; nothing is taken over.
    """
    counts = Counter[str]()
    paths.STORE.mkdir(parents=True, exist_ok=True)
    with store.held("collect", "collecting runs"), TemporaryDirectory(dir=paths.STORE, prefix=DRAFT) as draft:
        for left in set(paths.STORE.glob(f"{DRAFT}*")) - {Path(draft)}:  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        for folder in parcels.unpack(parcel, Path(draft), codes):
            found = parcels.deliver(folder)
            if found not in ("new", "stored"):
                print(f"{folder.name}: {found}")
                found = "other"
            counts[found] += 1
    return counts


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.collect", description="Takes over runs")
    parser.add_argument("file", type=Path, help="results.tar of a bundle, or of `make results`")
    arguments = parser.parse_args()
    stages.repro(["plan"])
    names = [path.stem for kind in ("rows", "tuned") for path in (paths.PLAN / kind).glob("*.json")]
    codes = set()
    for name in names:
        try:
            codes.add(planned.read_row(name).code)
        except UserError:  # a tuning that is still to come
            continue
    counts = collect(arguments.file, codes)
    differ = f", {counts['other']} of other bytes than the stored ones and left out" if counts["other"] else ""
    print(f"{arguments.file}: {counts['new']} new runs, {counts['stored']} already here{differ}; dvc repro goes on")


if __name__ == "__main__":
    main()
