"""A run on Ray that loses its node goes on at another."""

from __future__ import annotations

import json
import signal
import time

import psutil
import pytest

from bench.common import claims
from bench.common.errors import UserError
from bench.records.store import Store
from bench.sweeps import launchers, plan, states

GRID = """
methods = ["softmax"]
datasets = ["toyscapes_mini"]
protocols = ["closed-set"]
set = ["recipe.steps=60", "recipe.batch_size=2", "recipe.workers=0", "recipe.checkpoint_every=1"]
"""


@pytest.fixture
def ray(monkeypatch):
    """Ray without any process: what it is asked for alone is looked at."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}])
    return ray


def test_what_ray_cannot_do_is_one_sentence(ray, monkeypatch):
    with pytest.raises(UserError, match=r"num_cpu .*correct \[ray\]"):
        launchers.Ray({"num_cpu": 1})

    def refuse(**_):
        raise ConnectionError("no cluster\nat that address")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match=r"\(no cluster at that address\); correct \$RAY_ADDRESS"):
        launchers.Ray({})


def test_runs_that_no_node_can_take_are_said_to_wait(ray, capsys):
    launchers.Ray({"num_cpus": 4})
    assert capsys.readouterr().err == ""
    launchers.Ray({"num_gpus": 2})
    assert "no node of Ray has 1 CPU, 2 GPU; the runs wait" in capsys.readouterr().err


def test_the_signal_handler_of_ray_does_not_take_the_place_of_ours(ray, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ray, "init", lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    launchers.Ray({})
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.long
def test_a_run_that_loses_its_node_goes_on_at_another(data_root, tmp_path):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    (run,) = plan.planned(plan.read(path))
    store = Store(tmp_path / "results")
    where = ["--results", str(store.root), "--data-root", str(data_root), "--device", "cpu"]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        node = cluster.add_node(num_cpus=1)
        import ray

        ray.init(address=cluster.address, log_to_driver=False)
        job = launchers.Ray({"num_cpus": 1}).start([*run.words, *where], tmp_path / "log")
        until = time.monotonic() + 120
        while not list(store.root.glob("runs/*/training.ckpt")):
            assert time.monotonic() < until, job.ended()
            time.sleep(0.1)
        (claim,) = store.run_folder(run.run).glob(f"{claims.PREFIX}[0-9]*")
        process = psutil.Process(json.loads(claim.read_text())["process"])
        for one in (process.parent(), process):  # which a machine that is gone takes with it
            one.kill()
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        while job.ended() is None and time.monotonic() < until:
            time.sleep(0.5)
        assert job.ended() == 0, (tmp_path / "log").read_text()
        assert states.state(store, run.run).state == "done"
        assert "resuming" in (tmp_path / "log").read_text()
    finally:
        ray.shutdown()
        cluster.shutdown()
