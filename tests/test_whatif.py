"""Values that are tried beside a study."""

import pytest

from pipeline import whatif
from pipeline.errors import UserError
from pipeline.params.reading import read_params
from pipeline.params.studies import Params


@pytest.fixture(scope="module")
def params() -> Params:
    return read_params()


def test_values_are_changed_as_params_yaml_would(params: Params) -> None:
    """Broken: another row would be trained than the one that was asked for."""
    both = params.rows["both"]
    row = whatif.changed(params, "both", "optimizer.lr=0.01 dropout=0.4 each='conv act bn'")
    assert (row.optimizer.lr, row.dropout, row.each) == (0.01, 0.4, "conv act bn")
    assert row.model_copy(update={"optimizer": both.optimizer, "dropout": both.dropout, "each": both.each}) == both
    other = whatif.changed(params, "both", "optimizer.name=sgd optimizer.lr=0.1")
    assert (other.optimizer.name, other.optimizer.lr) == ("sgd", 0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("optimizer.lr", "SET: found 'optimizer.lr'; usage:"),
        ("optimizer.lt=0.01", "SET: optimizer.lt: unknown key; did you mean 'lr'?"),
        ("dropout=high", "SET: dropout: found 'high'"),
        ("seeds=[7]", "SET: seeds: is the same for both"),
        ("each='conv bm act'", "SET: each: "),
        ("dropout={", "SET: found 'dropout={'; usage:"),
    ],
)
def test_what_a_row_cannot_have_is_one_line(words: str, message: str, params: Params) -> None:
    """Broken: a misspelt value would be a traceback, or be trained for nothing."""
    with pytest.raises(UserError) as caught:
        whatif.changed(params, "both", words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
