"""Networks as sentences: a backbone gives depth and widths, a sentence gives the order of layers."""

from models.normalize import Normalize
from models.place import Norm, Place, SentenceError
from models.sentence import WORDS, Sentence, Word
from models.vgg import PRESETS, Backbone, build, initialize

__all__ = [
    "PRESETS",
    "WORDS",
    "Backbone",
    "Norm",
    "Normalize",
    "Place",
    "Sentence",
    "SentenceError",
    "Word",
    "build",
    "initialize",
]
