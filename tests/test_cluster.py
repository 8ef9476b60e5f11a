"""Runs on a Ray cluster of two nodes, which are processes of this machine."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import workers
from pipeline.config import Row
from pipeline.errors import UserError
from pipeline.workers import Task

ray = pytest.importorskip("ray", reason="Ray is not installed; it comes with the extra `cluster`")
MakeRow = Callable[..., Row]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, list[Any]]]:
    """A cluster whose head computes nothing, and its two nodes of one core."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield cluster, [cluster.add_node(num_cpus=1) for _ in range(2)]
    finally:
        ray.shutdown()
        cluster.shutdown()


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_a_lost_node_loses_nothing(
    nodes: tuple[Any, list[Any]], worker_server: None, data: Path, make_row: MakeRow, tmp_path: Path
) -> None:
    """Broken: a run on a cluster would differ from one at home, or vanish with its node."""
    from pipeline.cluster import Cluster

    row = make_row(epochs=60)
    at_home = [Task(row, seed, data, tmp_path / f"home{seed}") for seed in range(3)]
    away = [Task(row, seed, data, tmp_path / f"away{seed}") for seed in range(3)]
    for task in (*at_home, *away):
        task.folder.mkdir()
    assert [event.kind for event in workers.do_all(at_home)].count("end") == 3
    cluster, (first, _) = nodes
    kinds = []
    for event in Cluster(cluster.address, cpus=1, gpus=0).do_all(away):
        kinds.append(event.kind)
        if kinds == ["start", "start"]:
            cluster.remove_node(first, allow_graceful=False)
    assert kinds.count("lost") == 1
    assert kinds.count("end") == 3
    assert [digests(task.folder) for task in away] == [digests(task.folder) for task in at_home]


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    """Broken: a wrong address would be a traceback."""
    from pipeline.cluster import Cluster

    with pytest.raises(UserError, match=r"--address ray://host: Ray clients"):
        Cluster("ray://host", 1, 0)
    with pytest.raises(UserError, match=r"--address 127\.0\.0\.1:1: no Ray cluster"):
        Cluster("127.0.0.1:1", 1, 0)
