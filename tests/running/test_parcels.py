"""A parcel of runs: what was trained comes back to the byte, and what is hostile is refused in a line."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from pipeline import collect, elsewhere, paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.params import planned
from pipeline.params.rows import Row, TunedRow
from pipeline.running import code, cost, parcels, slots, store
from pipeline.running.logbook import LoggedRun
from pipeline.running.rows import describe
from pipeline.running.workers import Task
from pipeline.storage import SEALS, write_json
from pipeline.training import run
from pipeline.training.columns import CURVES
from pipeline.tuning import tuned
from pipeline.tuning.tuned import Trial

CODE = "0" * 32
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def trained(data: Path, make_row: Callable[..., Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as a bundle leaves it."""
    row = make_row(epochs=1)
    spec = store.run_spec(row, 0, "1" * 32, CODE)
    folder = tmp_path_factory.mktemp("trained") / store.run_key(spec)
    folder.mkdir()
    write_json(folder / store.SPEC, spec)
    run.train(row, 0, data, folder, lambda _: None)
    return folder


@pytest.fixture
def parcel(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "STORE", tmp_path / "store")
    parcels.write(tmp_path / "results.tar", [trained])
    return tmp_path / "results.tar"


def members(parcel: Path) -> Members:
    with tarfile.open(parcel) as tar:
        return [(member, getattr(tar.extractfile(member), "read", bytes)()) for member in tar]


def rewrite(parcel: Path, content: Members) -> None:
    with tarfile.open(parcel, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, some in content:
            member.size = len(some) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(some))


def stored(trained: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (paths.STORE / "runs" / trained.name).iterdir()}


def test_a_run_trained_elsewhere_says_how_many_trained_beside_it(
    trained: Path, data: Path, make_row: Callable[..., Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a study's hours, which count runs side by side once, would be too many by the number of cores."""
    monkeypatch.setattr(slots, "cores", lambda: 3)
    folder = shutil.copytree(trained, tmp_path / "run")
    elsewhere.train(
        {folder: ("a seed 0", Task(make_row(epochs=1), 0, data, folder))}, None, tmp_path / "results.tar", []
    )
    assert cost.read(folder).machine["jobs"] == "3"


def test_runs_come_back_to_the_byte_and_once(parcel: Path, trained: Path) -> None:
    """Broken: results would change on their way, or be taken over again and again."""
    assert collect.collect(parcel, {CODE}) == {"new": 1}
    assert stored(trained) == {path.name: path.read_bytes() for path in trained.iterdir()}
    (paths.STORE / "collect-killed").mkdir()
    assert collect.collect(parcel, {CODE}) == {"stored": 1}
    assert [path for path in paths.STORE.iterdir() if path.name.startswith("collect-")] == []


def test_a_stored_run_is_not_replaced_by_other_bytes(
    parcel: Path, trained: Path, data: Path, make_row: Callable[..., Row], capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: what others send would replace what was trained here, in silence."""
    mine = store.run_folder(trained.name)
    write_json(mine / store.SPEC, json.loads((trained / store.SPEC).read_text()))
    run.train(make_row(epochs=1), 5, data, mine, lambda _: None)
    before = stored(trained)
    assert collect.collect(parcel, {CODE}) == {"other": 1}
    assert "weights.safetensors, result.json differ from the stored run, which stays" in capsys.readouterr().out
    assert stored(trained) == before


def test_a_row_with_tuned_words_is_trained_elsewhere(
    data: Path, make_row: Callable[..., Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a bundle with a row whose words were tuned would be taken for one of other code, and train nothing."""
    for name in ("PLAN", "TUNED", "DATA"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
    monkeypatch.setattr(paths, "STORE", tmp_path / "store")
    shutil.copytree(data, paths.DATA / "stripes")
    space = {"each": {"choices": ["conv bn act", "conv act"]}}
    tuning = {"trials": 1, "epochs": 1, "seeds": [100], "space": space}
    row = TunedRow.model_validate(make_row().model_dump(exclude={"bases"}) | {"tuning": tuning})
    tuned.write("t", row, [Trial(0, "complete", 0.5, 1, 96, None, {"each": "conv act"})], paths.TUNED / "t")
    write_json(paths.PLAN / "tuned" / "t.json", {"row": row.model_dump(), "code": code.of_run(row), "search": "s"})
    ((name, seed, key),) = [(run.name, run.seed, run.key) for run in of_planned("t")]
    ((told, task),) = elsewhere.tasks([(name, seed, key)]).values()
    assert (told, task.row.each) == ("t seed 0", "conv act")


def of_planned(name: str) -> list[LoggedRun]:
    plan = planned.read_row(name)
    return describe(name, plan.row, prepared.digest(paths.prepared(plan.row.dataset)), plan.code)


def renamed(name: str) -> Callable[[Members, str], None]:
    def change(content: Members, key: str) -> None:
        content[0][0].name = name.format(key=key)

    return change


def changed(name: str, some: Callable[[bytes], bytes]) -> Callable[[Members, str], None]:
    def change(content: Members, key: str) -> None:
        content[:] = [(member, some(old) if member.name.endswith(name) else old) for member, old in content]

    return change


def linked(content: Members, key: str) -> None:
    content[0][0].type, content[0][0].linkname = tarfile.SYMTYPE, "/etc/passwd"


def sealed(name: str) -> Callable[[bytes], bytes]:
    """A result that names another file among those that it stands for."""

    def change(old: bytes) -> bytes:
        result: dict[str, Any] = json.loads(old)
        result["sealed"][name] = "0" * 32
        return json.dumps(result).encode()

    return change


def resealed(**numbers: Any) -> Callable[[bytes], bytes]:
    """A result with other numbers, and with a seal that fits; ... leaves one out."""

    def change(old: bytes) -> bytes:
        result = {key: value for key, value in (json.loads(old) | numbers).items() if value is not ...}
        seals = result.pop(SEALS)
        own = hashlib.md5(json.dumps(result, sort_keys=True).encode()).hexdigest()
        return json.dumps({**result, SEALS: seals | {"result.json": own}}).encode()

    return change


def sparse(content: Members, key: str) -> None:
    content[0][0].type = tarfile.GNUTYPE_SPARSE


def sparse_by_header(content: Members, key: str) -> None:
    content[0][0].pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(10**9)}


def refilled(name: str, some: bytes) -> Callable[[Members, str], None]:
    """A run with another content of a file, and with seals that fit."""

    def change(content: Members, key: str) -> None:
        changed(name, lambda old: some)(content, key)
        changed("result.json", fitting)(content, key)

    def fitting(old: bytes) -> bytes:
        result: dict[str, Any] = json.loads(old)
        result[SEALS][name] = hashlib.md5(some).hexdigest()
        return json.dumps(result).encode()

    return change


NO_LOGITS = save({"others": np.zeros((33, 3), np.float32)})
OTHER_LOGITS = save({"logits": np.zeros((33, 4), np.float32)})
HEAD = ",".join(CURVES)


HOSTILE: dict[str, tuple[Callable[[Members, str], None], str]] = {
    "above": (renamed("../{key}/result.json"), "no file of a run"),
    "above, by the key": (renamed("../../result.json"), "no file of a run"),
    "absolute": (renamed("/tmp/spec.json"), "no file of a run"),
    "a pickle": (renamed("{key}/resume.ckpt"), "no file of a run"),
    "a link": (linked, "no file of a run"),
    "twice": (renamed("{key}/result.json"), "no file of a run"),
    "weights": (changed("weights.safetensors", lambda old: old[:-1] + bytes([old[-1] ^ 1])), "not as it was written"),
    "a number": (changed("result.json", lambda old: old.replace(b'"epochs": 1', b'"epochs": 2')), "not as it was"),
    "no JSON": (changed("result.json", lambda old: old[:-9]), "no JSON"),
    "deep": (changed("result.json", lambda old: b"[" * 10**5), "damaged, no JSON"),
    "a seal of a path": (changed("result.json", sealed("..")), "not as a run writes it"),
    "no number": (changed("result.json", resealed(test_accuracy="abc")), "not as a run writes it"),
    "numbers missing": (changed("result.json", resealed(test_loss=...)), "lacks numbers"),
    "holes": (sparse, "no file of a run"),
    "holes by a header": (sparse_by_header, "no file of a run"),
    "failed for no reason": (changed("result.json", resealed(status="failed")), "not as a run writes it"),
    "true": (changed("result.json", resealed(test_accuracy=True)), "not as a run writes it"),
    "nothing": (changed("result.json", resealed(test_accuracy=None)), "not as a run writes it"),
    "more than all": (changed("result.json", resealed(test_accuracy=7)), "not as a run writes it"),
    "a number beyond all": (changed("result.json", resealed(test_loss=10**400)), "not as a run writes it"),
    "a seed": (changed("result.json", resealed(seed=99)), "not as a run writes it"),
    "classes": (changed("result.json", resealed(class_accuracy=[0.5])), "logits.safetensors: not as a run writes it"),
    "other logits": (refilled("logits.safetensors", OTHER_LOGITS), "logits.safetensors: not as a run writes it"),
    "no logits": (refilled("logits.safetensors", NO_LOGITS), "logits.safetensors: not as a run writes it"),
    "no text": (refilled("curves.csv", HEAD.encode() + b"\n\xff"), "not as a run writes it"),
    "words for numbers": (refilled("curves.csv", f"{HEAD}\n1{',a' * 7}\n".encode()), "not as a run writes it"),
    "no epochs": (refilled("curves.csv", HEAD.encode()), "curves.csv: not as a run writes it"),
    "another row": (changed("spec.json", lambda old: old.replace(b'"seed": 0', b'"seed": 1')), "not of this run"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_results_are_refused_in_a_line(case: str, parcel: Path) -> None:
    """Broken: a file from anybody could write where it likes, or pass for results."""
    change, reason = HOSTILE[case]
    content = members(parcel)
    change(content, content[0][0].name.partition("/")[0])
    rewrite(parcel, content)
    with pytest.raises(UserError, match=reason) as refused:
        collect.collect(parcel, {CODE})
    assert "\n" not in str(refused.value) and "nothing collected" in str(refused.value)
    assert [path.name for path in paths.STORE.iterdir()] == ["locks"]
    assert sorted(path.name for path in parcel.parent.iterdir()) == ["results.tar", "store"]


def test_a_run_that_is_trained_here_meanwhile_stays(
    parcel: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a file from somebody would replace what this machine has just trained."""
    held = store.held

    @contextmanager
    def late(name: str, doing: str) -> Iterator[None]:
        with held(name, doing):
            target = paths.STORE / "runs" / trained.name
            shutil.copytree(trained, target, dirs_exist_ok=True)
            (target / "spec.json").write_text("ours")
            yield

    monkeypatch.setattr(store, "held", late)
    collect.collect(parcel, {CODE})
    assert stored(trained)["spec.json"] == b"ours"


ODD_NOTES = (
    b'{"other": 1, "measured": {"seconds": "x", "test_accuracy": 0.99}, "machine": {"cpu": "x", "row": "other"}}'
)


@pytest.mark.parametrize("notes", [b"[" * 10**5, b'{"machine": 3}', ODD_NOTES])
def test_odd_notes_cost_no_more_than_themselves(notes: bytes, parcel: Path, trained: Path) -> None:
    """Broken: what somebody wrote into the notes of a run would end every command that reads them in a traceback."""
    content = members(parcel)
    member = tarfile.TarInfo(f"{trained.name}/cost.json")
    rewrite(parcel, [*content, (member, notes)])
    collect.collect(parcel, {CODE})
    assert cost.read(paths.STORE / "runs" / trained.name) == cost.Cost()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_a_truncated_file_is_refused(share: float, parcel: Path) -> None:
    """Broken: half a download would pass for all results."""
    whole = parcel.read_bytes()
    parcel.write_bytes(whole[: int(share * len(whole.rstrip(b"\0")))])
    with pytest.raises(UserError, match="nothing collected"):
        collect.collect(parcel, {CODE})


def test_results_of_other_code_are_refused(parcel: Path) -> None:
    """Broken: numbers of two versions would stand in one table."""
    with pytest.raises(UserError, match="other code"):
        collect.collect(parcel, {"2" * 32})


def test_a_run_that_lacks_a_file_is_refused(parcel: Path, trained: Path, tmp_path: Path) -> None:
    """Broken: a run without its network would count as finished."""
    copy = tmp_path / trained.name
    shutil.copytree(trained, copy)
    (copy / "logits.safetensors").unlink()
    parcels.write(parcel, [copy])
    shutil.rmtree(copy)
    with pytest.raises(UserError, match=r"logits.safetensors: missing"):
        collect.collect(parcel, {CODE})


def test_a_file_that_ends_between_two_members_is_refused(tmp_path: Path) -> None:
    """Broken: a download that stops there, where tarfile itself sees nothing, would pass for all results."""
    runs = [tmp_path / ("0" * 31 + last) for last in "ab"]
    for folder in runs:
        write_json(folder / "spec.json", {})
    parcels.write(tmp_path / "results.tar", runs)
    whole = (tmp_path / "results.tar").read_bytes()
    (tmp_path / "results.tar").write_bytes(whole[: 2 * tarfile.BLOCKSIZE])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="unexpected end of data"):
        parcels.unpack(tmp_path / "results.tar", tmp_path / "empty", {CODE})


def test_a_parcel_does_not_depend_on_the_order_of_its_runs(tmp_path: Path) -> None:
    """Broken: the same results would be another file each time."""
    runs = [tmp_path / ("0" * 31 + last) for last in "ab"]
    for folder in runs:
        write_json(folder / "spec.json", {})
    parcels.write(tmp_path / "one", runs)
    parcels.write(tmp_path / "other", runs[::-1])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
