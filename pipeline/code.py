"""Stage `code`: one file that stands for all code that can change a run's numbers.

A row then depends on this file and not on a dozen, which DVC would check for every row again.
"""

from pipeline import paths
from pipeline.errors import command
from pipeline.running import store
from pipeline.storage import write_json


@command
def main() -> None:
    write_json(paths.PLAN / "code.json", {name: store.digest(paths.ROOT / name) for name in store.code_files()})


if __name__ == "__main__":
    main()
