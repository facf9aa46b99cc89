"""How a run was made is said in one way."""

from __future__ import annotations

from bench.commands import catalogue
from bench.report.circumstances import costs, surroundings
from bench.report.leaderboard import build
from bench.report.page.details import details
from bench.schema.record import Environment, Training
from tests.bench.report.leaderboard.conftest import Bench


def test_the_terminal_and_the_page_have_the_same_words():
    bench = Bench()
    training = Training(steps=1500, seconds=90.0, images_per_second=1.0, parameters=2_500_000, peak_memory_mb=1.0)
    training = training.model_copy(update={"bytes_a_step": {"gradients": 17_400_000}})
    environment = {"hardware": "a machine", "dirty": True, "threads": 2, "ranks": 2}
    record = bench.record("softmax", training=training, inference_seconds=0.012, environment=environment)
    (table, *_) = build([record], bench.statistics, published="none")
    ((made,), *_) = [one.blocks for one in details(table.rows, [record]).values()]
    shown = " ".join(catalogue._circumstances(record))
    for name in ("commit", "hardware", "training", "exchange"):
        assert made.facts[name][0] in shown
    assert made.facts["commit"] == ["0123456789abcdef with changes"]
    assert made.facts["hardware"] == ["a machine, 2 threads"]
    assert made.facts["training"] == ["1,500 steps in 1.5 min, 2.50 M parameters, 12 ms a prediction"]


def test_what_is_not_known_is_not_said():
    assert surroundings(Environment()) == {"commit": "unknown", "hardware": "cpu", "device": "cpu, 1 process"}
    assert dict(costs(Bench().record())) == {}
