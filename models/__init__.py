"""Networks as sentences: a backbone gives depth and widths, a sentence gives the order of layers."""

from models.dropout import Dropout
from models.normalize import Normalize
from models.place import Norm, Place, SentenceError
from models.sentence import Sentence
from models.vgg import PRESETS, Backbone, build, initialize
from models.vocabulary import Word, WordError

__all__ = [
    "PRESETS",
    "Backbone",
    "Dropout",
    "Norm",
    "Normalize",
    "Place",
    "Sentence",
    "SentenceError",
    "Word",
    "WordError",
    "build",
    "initialize",
]
