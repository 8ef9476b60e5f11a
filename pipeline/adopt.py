"""Takes over runs of older code that give the same numbers with today's, as far as a sample of them shows.

    pipeline/python -m pipeline.adopt quickstart

For code that changed without changing numbers: a refactoring, a faster kernel, another torch. Of the runs that the
store holds of older code alone, those that differ in seed, epochs and learning rate alone are a kind. One of each kind
trains again, or with --all every run; only if all come out the same to the byte, all get today's key, and `dvc repro`
picks them up.
"""

import argparse

from pipeline.errors import UserError, command
from pipeline.running import adoption, rows, stages
from pipeline.running.pool import ThisMachine

WHAT = "Takes over runs of older code that give the same numbers with today's, as far as a sample of them shows."


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.adopt", description=WHAT)
    parser.add_argument("studies", nargs="*", help="studies whose runs are adopted; none for all")
    parser.add_argument("--all", action="store_true", help="train every run again, not one of each kind")
    arguments = parser.parse_args()
    stages.repro(["plan"])
    found = adoption.candidates(rows.of_studies(arguments.studies))
    if not found:
        print("nothing to adopt: the store holds no run that differs from a missing one in its code alone")
        return
    chosen = found if arguments.all else adoption.samples(found)
    print(f"{len(found)} runs of older code; training {len(chosen)} of them again")
    if problems := adoption.differences(chosen, ThisMachine()):
        raise UserError(f"nothing adopted: {len(problems)} of {len(chosen)} came out otherwise; {'; '.join(problems)}")
    adoption.adopt(found)
    print(f"{len(found)} runs adopted, {len(chosen)} of them trained again and the same to the byte")


if __name__ == "__main__":
    main()
