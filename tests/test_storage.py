"""Files on disks that are full, and output that nobody reads."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage import Damaged, draft_of, read_sealed, write_sealed

ROOT = Path(__file__).parent.parent

WRITE = """
import resource, sys
from pathlib import Path
from pipeline.errors import command
from pipeline.storage import write_atomically

@command
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    write_atomically(Path(sys.argv[1]), bytes(1000))

main()
"""


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    """Broken: a stage would end in a traceback, or leave half a file in place of a whole one."""
    file = tmp_path / "file"
    file.write_bytes(b"before")
    done = subprocess.run([sys.executable, "-c", WRITE, file], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {file}: file too large; what was there is kept, and the next start goes on\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == b"before"


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    """Broken: of a copy, the target would be said to be missing."""
    with pytest.raises(FileNotFoundError, match="source"), draft_of(tmp_path / "target") as draft:
        draft.write((tmp_path / "source").read_bytes())
    assert not list(tmp_path.iterdir())


def test_who_reads_no_further_ends_a_command_in_silence() -> None:
    """Broken: `pipeline/python -m pipeline.params | head` would print a traceback."""
    command = f"{sys.executable} -m pipeline.params | head -n 1"
    done = subprocess.run(command, cwd=ROOT, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_sealed_file_knows_damage(tmp_path: Path) -> None:
    """Broken: a number that a disk has changed would pass for a result."""
    (tmp_path / "beside").write_bytes(b"numbers")
    content = {"a": [0.1, None], "b": {"c": "d"}}
    write_sealed(tmp_path / "file.json", content, ["beside"])
    assert read_sealed(tmp_path / "file.json") == content
    whole = (tmp_path / "file.json").read_text()
    for text in ("", "null", "[]", "{}", whole.replace("0.1", "0.2"), whole[:-9]):
        (tmp_path / "file.json").write_text(text)
        with pytest.raises(Damaged, match=r"file\.json: damaged"):
            read_sealed(tmp_path / "file.json")
    (tmp_path / "file.json").write_text(whole)
    (tmp_path / "beside").unlink()
    with pytest.raises(Damaged, match="beside: missing"):
        read_sealed(tmp_path / "file.json")
    assert read_sealed(tmp_path / "absent.json") is None
