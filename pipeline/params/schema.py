"""What the parts of params.yaml are made of."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
"""Of a row, a study or a data set: a name of files and of DVC stages."""


class Model(BaseModel):
    """Unknown keys, silent conversions, infinities and changes after reading are all refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _every_once(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("every seed once")
    return seeds


Name = Annotated[str, Field(pattern=NAME, max_length=100)]
"""100 letters leave room for the names of files that are made of it, which may have 255."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1), AfterValidator(_every_once)]
"""Seeds of runs, all different."""
