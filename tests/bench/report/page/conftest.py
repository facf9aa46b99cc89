"""Tables for a page: two data sets, one wide table, a failed run."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from bench.records.ledger import ledger
from bench.report.comparing import claims as claiming
from bench.report.comparing.results import Results
from bench.report.leaderboard import build
from bench.report.panels import Panel, Panels, Picture
from tests.bench.report.leaderboard.conftest import Bench, anomaly, closed_set

METHODS = {"softmax": 0.5, "gmmseg": 0.7, "segsort": 0.6}


@pytest.fixture(scope="session")
def records():
    bench = Bench()

    def run(method, seed, miou, data):
        found = {"closed-set": closed_set(miou + seed / 100)}
        found["closed-set"].targets["test"].per_class["iou"] = {"road": miou, "traffic sign": 0.25}
        scores = {"msp": {"auroc": 1 - miou, "ap": miou / 10, "fpr95": 0.5}}
        found["anomaly"] = anomaly(scores)
        for target in ("fishyscapes/val", "obstacle/val", "road_anomaly/all", "lost_and_found/test"):
            found["anomaly"].targets |= anomaly(scores, target).targets
        return bench.record(
            method, seed, protocols=found, data={"name": data}, recipe={"steps": 10}, checkpoint_hash="ab" * 32
        )

    made = [run(m, seed, v, data) for data in ("toyscapes", "camvid") for m, v in METHODS.items() for seed in (0, 1)]
    failed = bench.record("majority", protocols={}, status="failed", reason="the loss is not finite")
    return [*made, failed]


@pytest.fixture(scope="session")
def tables(records):
    return build(records, lambda run_id, under: {}, published="none")


@pytest.fixture(scope="session")
def panels():
    picture = Picture.of("gmmseg: mIoU 12.00", np.zeros((16, 32, 3), np.uint8))
    return [
        Panels(
            title="toyscapes", protocol="closed-set", target="test", rule="Of 3 images.",
            classes={"road": "#804080"}, runs={}, images=[Panel(heading="worst: <a>", columns=[[picture] * 2] * 4)],
        )
    ]  # fmt: skip


@pytest.fixture(scope="session")
def tested(records):
    claim = claiming.Claim(
        id="better", paper="Somebody <2020>", source="abstract", statement="It is better.", a="gmmseg", b="softmax",
        protocol="closed-set", metrics=["miou"],
    )  # fmt: skip
    found = claiming.verdicts(claiming.Claims(claims=[claim]), Results.made(ledger(records), lambda run, under: {}))
    others = [claiming.Tested(claim, "dense", verdict, "no runs") for verdict in get_args(claiming.Verdict)]
    return [*found, *others]
