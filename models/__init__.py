"""Networks as sentences: a backbone gives depth and widths, a sentence gives the order of layers."""

from models.normalize import Normalize
from models.sentence import Sentence, SentenceError
from models.vgg import PRESETS, Backbone, build, initialize

__all__ = ["PRESETS", "Backbone", "Normalize", "Sentence", "SentenceError", "build", "initialize"]
