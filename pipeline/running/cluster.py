"""Runs on an existing Ray cluster: the second engine of `launch`. The only file that imports ray.

A run is one Ray task, which starts workers on its node as this machine would, hands on what they say,
and in the end the files of the run, so that the run store of this checkout is all that lasts. Ray gives
every node the code of this checkout; packages are the node's own, and a node whose torch is another one
is refused. A data set goes to a node once. A run that is killed, alone or with its node, starts again.
"""

import logging
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray  # pyright: ignore[reportMissingImports]  # an optional extra
import torch
from ray.exceptions import RayError, RayTaskError  # pyright: ignore[reportMissingImports]

from pipeline import paths
from pipeline.errors import UserError
from pipeline.images import prepared
from pipeline.params import planned
from pipeline.params.rows import Row
from pipeline.running import code, forkserver, parcels, store, workers
from pipeline.running.workers import Event, Events, Task
from pipeline.storage import write_atomically
from pipeline.text import one_line

LOSSES = 3
"""So often a run that was killed starts again: nodes are lost or asked back; later the run may be what ends them."""


@dataclass(frozen=True)
class Package:
    """What a node needs for a run beside its code and packages.

    Args:
        task: with the paths of the machine that launches.
        code, data: digests.
        torch: version.
        images: the prepared files by name, each a reference into Ray's object store.
    """

    task: Task
    code: str
    data: str
    torch: str
    images: dict[str, Any]


class Cluster:
    """A Ray cluster, as `train_rows` uses it.

    Args:
        address: HOST:PORT, or auto for the cluster that this machine is part of.
        cpus: that each device of a run reserves.
        gpus: that each device of a run reserves; rows whose accelerator is cpu reserve none.

    Raises:
        UserError: no cluster there.
    """

    here = False

    def __init__(self, address: str, cpus: float, gpus: float) -> None:
        if address != "auto":
            _check_address(address)
        self._cpus, self._gpus = cpus, gpus
        with TemporaryDirectory() as folder:
            for path in (path for pattern in parcels.CODE for path in paths.ROOT.glob(pattern)):
                copy = Path(folder) / path.relative_to(paths.ROOT)
                copy.parent.mkdir(exist_ok=True)
                shutil.copy(path, copy)
            try:
                ray.init(address, runtime_env={"working_dir": folder}, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(f"--address {address}: no Ray cluster ({one_line(error)})") from None
        self._images: dict[Path, tuple[str, dict[str, Any]]] = {}
        self._code = code.whole()

    def check(self, name: str, row: Row) -> None:
        if not self._gpus and (row.trainer.accelerator == "gpu" or row.trainer.precision == "16-mixed"):
            raise UserError(f"{planned.key(name)}.trainer: needs a GPU, but --num-gpus is 0")
        if row.trainer.devices > 1 and 0 < self._gpus < 1:
            raise UserError(
                f"{planned.key(name)}.trainer.devices: {row.trainer.devices}, each a GPU of its own: --num-gpus 1"
            )
        cpus, gpus = self._reserved(row)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            print(f"{name}: no node has {cpus:g} CPUs and {gpus:g} GPUs; waiting for one", file=sys.stderr)

    def _reserved(self, row: Row) -> tuple[float, float]:
        """The CPUs and GPUs that a run of a row reserves."""
        gpus = 0 if row.trainer.accelerator == "cpu" else self._gpus
        return self._cpus * row.trainer.devices, gpus * row.trainer.devices

    def do_all(self, tasks: Iterable[Task]) -> Events:
        """Does all tasks on the cluster, and says what happens."""
        streams: dict[Any, Task] = {self._send(task): task for task in tasks}
        lost = Counter[Path]()
        content: Any
        while streams:
            (stream, *_), _ = ray.wait(list(streams))
            task = streams[stream]
            try:
                kind, content = ray.get(next(stream))  # pyright: ignore[reportArgumentType]
            except StopIteration:
                del streams[stream]
                continue
            except RayTaskError as error:
                kind, content = "crash", str(error)
            except RayError as error:
                kind, content = "killed", f"lost with its node ({type(error).__name__})"
            if kind == "killed" and lost[task.folder] < LOSSES:
                lost[task.folder] += 1
                kind = "lost"
            if kind == "end":
                _unpack(content, task.folder)
                content = None
            if kind in ("crash", "killed", "lost"):
                del streams[stream]
            yield Event(task, kind, content)
            if kind == "lost":
                streams[self._send(task)] = task

    def _send(self, task: Task) -> Any:
        """Starts a task; what is said of it comes as a stream."""
        cpus, gpus = self._reserved(task.row)
        data, images = self._data(task.data)
        package = Package(task, self._code, data, torch.__version__, images)
        # A lost task is sent again by `do_all`, which says so; Ray would start it afresh in silence.
        remote = ray.remote(_work).options(num_cpus=cpus, num_gpus=gpus, max_retries=0, num_returns="streaming")
        return remote.remote(package)

    def _data(self, folder: Path) -> tuple[str, dict[str, Any]]:
        """The digest of prepared data, and its files in the object store."""
        if folder not in self._images:
            files = [folder / name for name in (prepared.FIT_FILE, prepared.TEST_FILE)]
            self._images[folder] = prepared.digest(folder), {file.name: ray.put(file.read_bytes()) for file in files}
        return self._images[folder]


def _check_address(address: str) -> None:
    """Whether somebody listens there; Ray itself would try for minutes.

    Raises:
        UserError: nobody does.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--address {address}: no Ray cluster; HOST:PORT of its head, or auto ({error})") from None


def _unpack(files: dict[str, bytes], folder: Path) -> None:
    """Writes a run's files; the result last, as a folder that has one is whole."""
    for name in sorted(files, key="result.json".__eq__):
        write_atomically(folder / name, files[name])


def _work(package: Package) -> Iterator[tuple[str, Any]]:
    """Runs on a node: what is said of the task, and as content of its end the files of the run by name."""
    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # those of the node are other runs'
    forkserver.start()
    here, task = socket.gethostname(), package.task
    if torch.__version__ != package.torch:
        yield "crash", f"{here} has torch {torch.__version__} and not {package.torch}: other numbers"
        return
    if code.whole() != package.code:
        yield "crash", f"{here} has other code than this checkout"
        return
    local = replace(task, data=_place(package), folder=store.run_folder(task.folder.name))
    for event in workers.do_all([local], jobs=1):
        if event.kind != "end":
            yield event.kind, event.content
            continue
        yield event.kind, {file.name: file.read_bytes() for file in local.folder.iterdir() if file.is_file()}
        shutil.rmtree(local.folder)


def _place(package: Package) -> Path:
    """The folder of the data on this node, which the first of its runs writes."""
    folder = paths.DATA / package.data
    with store.Lock(f"data-{package.data}", wait=True):
        if not folder.exists():
            draft = folder.with_name(f".{folder.name}.draft")
            for name, reference in package.images.items():
                write_atomically(draft / name, ray.get(reference))
            draft.replace(folder)
    return folder
