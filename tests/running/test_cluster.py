"""Runs on a real Ray cluster, whose nodes are processes of this machine."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from pipeline.errors import UserError
from pipeline.params.rows import Row
from pipeline.running import workers
from pipeline.running.workers import Event, Task

ray = pytest.importorskip("ray", reason="Ray is not installed; it comes with the extra `cluster`")
MakeRow = Callable[..., Row]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose head computes nothing; nodes are added as processes of this machine."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with TemporaryDirectory() as folder:  # a short path: sockets lie in it
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "temp_dir": folder}
        )
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """Adds a node of one CPU with a folder of its own, as a machine has it; by default Ray lets all share the head's,
    and a new one empties what is there."""
    folder = Path(cluster.head_node.get_temp_dir_path()) / str(len(cluster.worker_nodes))
    return cluster.add_node(num_cpus=1, temp_dir=str(folder))


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def kill_a_run(node: Any) -> None:
    """As the kernel does where memory is short."""
    processes = psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
    forked = [process for process in processes if "forkserver" in " ".join(process.cmdline())]
    next(process for process in forked if not process.children()).kill()


def test_a_lost_node_and_a_killed_run_lose_nothing(
    cluster: Any, worker_server: None, data: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: a run on a cluster would differ from one at home, or vanish with its node."""
    from pipeline.running.cluster import Cluster

    row = make_row(epochs=100)
    at_home = [Task(row, seed, data, tmp_path / f"home{seed}") for seed in range(3)]
    away = [Task(row, seed, data, tmp_path / f"away{seed}") for seed in range(3)]
    for task in (*at_home, *away):
        task.folder.mkdir()
    assert [event.kind for event in workers.do_all(at_home)].count("end") == 3
    lossy, kinds, lost = add_node(cluster), list[str](), list[Event]()
    lasting, killed = None, False
    for event in Cluster(cluster.address, cpus=0.5, gpus=0).do_all(away):
        kinds.append(event.kind)
        if kinds == ["start"]:
            lasting = add_node(cluster)
            cluster.remove_node(lossy, allow_graceful=False)
        elif event.kind == "lost":
            lost.append(event)
        elif event.kind == "report" and not killed and event.task in [other.task for other in lost]:
            kill_a_run(lasting)  # where what was lost runs now
            killed = True
    assert sum(event.content.startswith("lost with its node") for event in lost) in (1, 2)
    assert any("killed" in event.content for event in lost)
    assert kinds.count("end") == 3
    assert [digests(task.folder) for task in away] == [digests(task.folder) for task in at_home]


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    """Broken: a wrong address would be a traceback, or minutes of silence."""
    from pipeline.running.cluster import Cluster

    for address in ("ray://127.0.0.1:1", "127.0.0.1:1", "nowhere"):
        with pytest.raises(UserError, match=f"--address {address}: no Ray cluster; HOST:PORT of its head"):
            Cluster(address, 1, 0)
