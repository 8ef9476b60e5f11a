"""`none`, no layer: a study that varies one word can leave it out."""

from models.vocabulary import Word

WORDS = {"none": Word(lambda place: None)}
