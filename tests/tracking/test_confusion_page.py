"""The confusion matrix of a run."""

import re

import torch

from pipeline.tracking.confusion_page import confusion_page


def test_a_cell_is_as_dark_as_its_share_of_the_true_class() -> None:
    """Broken: the table would be turned round, a class without test images would end in a division by zero, or a
    name could bring markup of its own."""
    page = confusion_page(torch.tensor([[3, 1], [0, 0]]), ["<b>", "b"])
    assert re.findall(r"<th[^>]*>(.*?)</th>", page) == ["", "&lt;b&gt;", "b", "&lt;b&gt;", "b"]
    assert re.findall(r"/ (\d+)%\); color: (#\w+)\">(\d+)<", page) == [
        ("75", "#fff", "3"),
        ("25", "#000", "1"),
        ("0", "#000", "0"),
        ("0", "#000", "0"),
    ]
