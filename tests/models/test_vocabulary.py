"""Words are found by their files: the project's, a user's own, and what is wrong with one of them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from models import Sentence, WordError, build, vocabulary
from pipeline import network, paths
from pipeline.errors import UserError
from pipeline.params import references
from pipeline.params.rows import Row

ROOT = Path(__file__).parents[2]
OWN = """
from models import Word
WORDS = {"NAME": Word(lambda place: None)}
"""


def test_the_readmes_layer_from_outside_builds_and_trains(
    make_row: Callable[..., Row], own_words: Callable[..., Path]
) -> None:
    """Broken: a kind of layer would need more than the one file that the README shows."""
    readme = (ROOT / "README.md").read_text()
    example = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "WORDS =" in code)
    own_words(jitter=example)
    backbone, sentence = make_row(each="conv jitter act", head="dense jitter act", dropout=0.25).network()
    backbone.check(sentence)
    network = build(backbone, sentence, (1, 8, 8), 3)
    assert sum(type(layer).__name__ == "Jitter" for layer in network) == 3
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels = torch.randn(12, 1, 8, 8), torch.arange(12) % 3
    assert not torch.equal(network(images), network(images))
    losses = [nn.functional.cross_entropy(network.eval()(images), labels).item()]
    for _ in range(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.train()(images), labels).backward()
        optimizer.step()
    losses.append(nn.functional.cross_entropy(network.eval()(images), labels).item())
    assert losses[1] < losses[0]


def test_a_sentence_names_the_files_of_its_words_alone(own_words: Callable[..., Path]) -> None:
    """Broken: a new word would retrain rows that do not say it, or a changed one would not retrain those that do."""
    folder = own_words(
        mine="from words._half import half\n" + OWN.replace("NAME", "mine"),
        _half="half = 0.5",
        other=OWN.replace("NAME", "o"),
    )

    def files(sentence: Sentence) -> list[str]:
        return [path.name for path in sentence.sources()]

    assert files(Sentence("conv", "pool", "dense")) == []
    assert files(Sentence("conv act", "pool", "dense act", "elu")) == ["activations.py"]
    assert files(Sentence("conv bn act", "pool drop")) == ["activations.py", "batch_norm.py", "inverted_dropout.py"]
    assert files(Sentence(block="conv drop2d conv-valid none pool")) == [
        "channel_dropout.py",  # which imports the next
        "inverted_dropout.py",
        "none.py",
    ]
    assert Sentence("conv mine", "pool").sources() == [folder / "_half.py", folder / "mine.py"]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (
            {"w": OWN.replace("NAME", "bn")},
            r"own/w\.py: 'bn' is also a word of models/words/batch_norm\.py; rename one",
        ),
        (
            {"v": OWN.replace("NAME", "x"), "w": OWN.replace("NAME", "x")},
            r"own/w\.py: 'x' is also a word of .*own/v\.py",
        ),
        ({"w": OWN.replace("NAME", "pool")}, r"own/w\.py: 'pool' is taken"),
        ({"w": OWN.replace("NAME", "conv-valid")}, r"own/w\.py: 'conv-valid' is taken"),
        ({"w": OWN.replace("NAME", "act")}, r"own/w\.py: 'act' is taken"),
        ({"w": OWN.replace("NAME", "two words")}, r"own/w\.py: a word 'two words'; letters"),
        ({"w": "from models import Word\n\nclass A:\n    x = y\n"}, r"own/w\.py:4: NameError: name 'y' is not defined"),
        ({"w": "def f(:\n"}, r"own/w\.py:1: SyntaxError: "),
        ({"w": "import nowhere\n"}, r"own/w\.py:1: ModuleNotFoundError: No module named 'nowhere'"),
        ({"w": "raise ValueError('two\\nlines')\n"}, r"own/w\.py:1: ValueError: two lines"),
        ({"w": ""}, r"own/w\.py: no WORDS = "),
        ({"w": "WORDS = {'a': 3}"}, r"own/w\.py: WORDS\['a'\] is a int and not a Word"),
    ],
)
def test_a_file_of_words_that_cannot_be_used_is_named(
    files: dict[str, str], complaint: str, own_words: Callable[..., Path], make_row: Callable[..., Row]
) -> None:
    """Broken: a slip in one file would end every command in a traceback, or one word would take another's place."""
    own_words(**files)
    with pytest.raises(WordError, match=complaint) as caught:
        vocabulary.words()
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=complaint):  # a row that says none of its words hears of it too
        make_row().network()


OWN_LAYER = """
from torch import nn
from models import Dropout, Word

class Noise(Dropout):
    def noisy(self, x):
        return {noisy}

WORDS = {{"w": Word({word})}}
"""


@pytest.mark.parametrize(
    ("word", "noisy", "complaint"),
    [
        ("Noise, drops=True", "x", r"rows\.r: .*TypeError: "),
        ("5", "x", r"rows\.r: a word of words/: TypeError: 'int' object is not callable"),
        ("lambda place: Noise(place.rat), drops=True", "x", r"rows\.r: .*own/w\.py:9: AttributeError: "),
        ("lambda place: nn.ReLU", "x", r"rows\.r: .*TypeError: .*not a Module subclass"),
        (
            "lambda place: Noise(place.rate), drops=True",
            "x[:, :1]",
            r"own/w\.py: 'w' turns 2×16×8×8 to 2×1×8×8; a word",
        ),
        ("lambda place: Noise(place.rate), drops=True", "x + y", r"own/w\.py:7: NameError: name 'y' is not defined"),
        ("lambda place: Noise(place.rate)", "x", r"own/w\.py: 'w' is a dropout without a rate; say drops=True"),
        ("lambda place: nn.BatchNorm2d(place.features)", "x", r"rows\.r: .*ValueError: expected 4D input"),
    ],
)
def test_a_word_that_does_not_work_where_it_is_said_is_refused(
    word: str, noisy: str, complaint: str, own_words: Callable[..., Path], make_row: Callable[..., Row]
) -> None:
    """Broken: a slip in a word would be a traceback, or end a launch of days in its workers; and a dropout without a
    rate would train without noise and be compared as if it had some."""
    own_words(w=OWN_LAYER.format(word=word, noisy=noisy))
    row = make_row(each="conv w act", head="dense w act")
    with pytest.raises(UserError, match=complaint) as caught:
        references._check_network("rows.r", row)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["both", "--dropout", "0.9"], "--dropout: of a sentence; row 'both' says its own"),
        (["both", "--image", "3x99999x99999"], "--image: found '3x99999x99999'; 4,194,304 values at most"),
        (["both", "--classes", "1000000000"], r"--image, --classes: [\d,]+ weights; 1,000,000,000 at most"),
    ],
)
def test_what_would_not_count_is_refused(words: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an option would be taken and ignored, or fill the memory."""
    monkeypatch.setattr("sys.argv", ["network", *words])
    with pytest.raises(SystemExit, match=message):
        network.main()


def test_a_row_is_shown_for_its_own_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: in a fresh clone the layers of another network would be shown, for images that the row never sees."""
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr("sys.argv", ["network", "both"])
    network.main()
    assert capsys.readouterr().out.startswith("images of 1×8×8, 10 classes\n")


def test_models_need_torch_alone(tmp_path: Path) -> None:
    """Broken: `models` could not be copied into another project, or would look at that project's own `words`."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "pipeline.py").write_text("raise AssertionError")
    code = """
import sys, models
sentence = models.Sentence("conv bn act", "pool drop", "dense act")
models.build(models.PRESETS["vgg2"], sentence, (3, 32, 32), 10)
from models.vocabulary import words
known = {name.partition(".")[0] for name in sys.modules}
assert "drop2d" in words() and not known & {"numpy.random", "pydantic", "pipeline", "scipy", "pytorch_lightning"}
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_new_activation_can_be_said(own_words: Callable[..., Path]) -> None:
    """Broken: an activation would need a line in a table beside its file."""
    own_words(
        mish="""
from torch import nn
from models import Word
WORDS = {"mish": Word(lambda place: nn.Mish(), activation=True)}
"""
    )
    layers = build(network.PRESETS["vgg2"], Sentence("conv act relu", "pool", "dense", "mish"), (3, 8, 8), 3)
    assert [type(layer) for layer in layers[1:3]] == [nn.Mish, nn.ReLU]
