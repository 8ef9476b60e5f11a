"""Training elsewhere: writes what studies still need trained as one file that Python runs, see `elsewhere`.

make bundle STUDY=vgg2          vgg2.pyz: code, plan, images, and which runs are missing
make bundle STUDY='vgg2 order'  the same of two studies, the first one's runs first
make results STUDY=vgg2         vgg2.results.tar: the finished runs, for somebody else's `make collect`
"""

import argparse
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline import paths
from pipeline.errors import UserError, command
from pipeline.images import archives, prepared
from pipeline.params import planned
from pipeline.running import parcels, rows, stages, store
from pipeline.running.logbook import LoggedRun
from pipeline.storage import draft_of

START = '''"""Unpacks the bundle beside itself, or, where that cannot be written, here, once, and starts it."""
import hashlib, importlib.util, os, pathlib, shutil, sys, zipfile

if sys.version_info < (3, 11):
    sys.exit("error: Python 3.11 or newer is needed, this is " + sys.version.split()[0])
needed = dict(torch="torch", pytorch_lightning="pytorch-lightning", safetensors="safetensors", numpy="numpy",
              pydantic="pydantic", filelock="filelock")
missing = [package for name, package in needed.items() if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(f"error: missing here: {', '.join(missing)}; run: {sys.executable} -m pip install {' '.join(missing)}")
bundle = pathlib.Path(sys.argv[0]).resolve()
work = (bundle.parent if os.access(bundle.parent, os.W_OK) else pathlib.Path.cwd()) / (bundle.stem + ".work")
with bundle.open("rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
mark = work / ".unpacked"
if not mark.exists() or mark.read_text() != digest:
    for name in ("pipeline", "models", "words", "plan", "tuned", "data", ".images"):
        shutil.rmtree(work / name, ignore_errors=True)
    zipfile.ZipFile(bundle).extractall(work)
    mark.write_text(digest)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(work), os.environ.get("PYTHONPATH")]))
for name in ("DVC_ROOT", "DISHARMONY_IMAGES"):
    os.environ.pop(name, None)
os.execv(sys.executable, [sys.executable, "-m", "pipeline.elsewhere", *sys.argv[1:]])
'''


def write(studies: Sequence[str], runs: list[LoggedRun], target: Path, pixels: bool = False) -> None:
    """Writes a bundle of runs, all or nothing.

    Args:
        studies: whose they are, the most wanted first; within one, the first seed of all rows comes first.
        runs: to be trained.
        target: the file.
        pixels: carries prepared images, also where the archive that they come from is smaller.
    """
    wanted = sorted(runs, key=lambda run: (studies.index(run.study), run.row.seeds.index(run.seed)))
    with (
        draft_of(target) as draft,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=6, strict_timestamps=False) as bundle,
    ):
        bundle.writestr("__main__.py", START)
        manifest = {"studies": studies, "runs": [[run.name, run.seed, run.key] for run in wanted]}
        bundle.writestr(parcels.MANIFEST, json.dumps(manifest))
        files = {name: path for path, name in map(_named, _files(runs))}
        for dataset in {run.row.dataset for run in runs}:
            files |= {name: path for path, name in _images(dataset, pixels)}
        for name, path in sorted(files.items()):
            bundle.write(path, name)


def _files(runs: list[LoggedRun]) -> Iterator[Path]:
    for pattern in parcels.CODE:
        yield from paths.ROOT.glob(pattern)
    for run in runs:
        if planned.is_tuned(run.name):
            yield paths.PLAN / "tuned" / f"{run.name}.json"
            yield from (paths.TUNED / run.name).iterdir()
        else:
            yield paths.PLAN / "rows" / f"{run.name}.json"


def _images(dataset: str, pixels: bool) -> list[tuple[Path, str]]:
    """The files of a data set and their names in a bundle: prepared ones, or the archive to prepare them from, which
    of CIFAR-10 as JPEG is a tenth."""
    folder = paths.prepared(dataset)
    ready = [folder / prepared.FIT_FILE, folder / prepared.TEST_FILE]
    if not pixels and (archive := _archive(dataset)) and _size(archive[0]) < sum(map(_size, ready)):
        return [archive, _named(paths.PLAN / "datasets" / f"{dataset}.json")]
    return [_named(path) for path in ready]


def _archive(dataset: str) -> tuple[Path, str] | None:
    """The archive of a data set, and its name where a bundle is unpacked; None where there is none, or it could not be
    found there by the path that params.yaml gives."""
    given: str | None = getattr(planned.read_dataset(dataset), "path", None)
    found = archives.find(f"datasets.{dataset}.path", given) if given else None
    if not given or not found or not found.is_file():
        return None
    within = PurePosixPath(given).with_name(found.name)
    return None if within.is_absolute() or {"..", "~"} & set(within.parts) else (found, f".images/{within}")


def _named(path: Path) -> tuple[Path, str]:
    return path, path.relative_to(paths.ROOT).as_posix()


def _size(path: Path) -> int:
    return path.stat().st_size


@command
def main() -> None:
    parser = argparse.ArgumentParser(prog="pipeline/python -m pipeline.bundle", description="Training elsewhere")
    parser.add_argument("studies", nargs="+", metavar="study", help="keys of studies, the most wanted first")
    parser.add_argument("--pixels", action="store_true", help="carry images as pixels, whose archive may be smaller")
    parser.add_argument("--results", action="store_true", help="write the finished runs, for somebody's make collect")
    arguments = parser.parse_args()
    stages.repro(["plan"])
    studies = list(dict.fromkeys(arguments.studies))
    name = "-".join(studies)
    # Rows that are the same network share their runs.
    runs = list({run.key: run for run in reversed(rows.of_studies(studies))}.values())[::-1]
    over = [run for run in runs if store.sound(run.folder) is not None]
    if arguments.results:
        target = Path(f"{name}.results.tar")
        parcels.write(target, [run.folder for run in over])
        print(f"{target}: {len(over)} of {len(runs)} runs; elsewhere: make collect FILE={target}")
        return
    missing = [run for run in runs if run not in over]
    if not missing:
        hint = "all are trained" if runs else "no row has its images yet; .venv/bin/dvc repro prepare"
        raise UserError(f"{name}: no run to bundle: {hint}")
    target = Path(f"{name}.pyz")
    write(studies, missing, target, arguments.pixels)
    print(f"{target}: {len(missing)} of {len(runs)} runs, {target.stat().st_size / 1e6:.1f} MB; python {target} --help")


if __name__ == "__main__":
    main()
