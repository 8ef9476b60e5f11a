"""Prints every key of params.yaml with its default and its meaning: `python -m pipeline.params`."""

from pipeline.errors import command
from pipeline.params.complaints import reference
from pipeline.params.studies import Params


@command
def main() -> None:
    for key, default, meaning in reference(Params):
        print(f"{key:48} {default:14} {meaning}")


if __name__ == "__main__":
    main()
