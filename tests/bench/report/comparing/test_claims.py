"""Claims: what a file may say, which runs test it, and when a verdict is given."""

from __future__ import annotations

import pytest

from bench.common.errors import UserError
from bench.report.comparing import claims as claiming
from bench.report.comparing.claims import Claims
from tests.bench.report.leaderboard.conftest import anomaly

GAIN = {
    "id": "gain",
    "paper": "GMMSeg",
    "source": "abstract",
    "statement": "Better.",
    "a": "gmmseg",
    "b": "softmax",
    "protocol": "closed-set",
    "metrics": ["miou"],
}


def checked(results, recipes=(), **changes):
    claims = Claims.model_validate({"recipes": list(recipes), "claims": [{**GAIN, **changes}]})
    return [*claiming.verdicts(claims, results)]


@pytest.fixture
def runs(made):
    return [made.scored(m, seed, accuracy) for m, accuracy in (("gmmseg", 0.8), ("softmax", 0.7)) for seed in (0, 1, 2)]


def test_a_claim_holds_is_contradicted_or_is_undecided_by_its_interval(results, runs):
    everything = results(runs)
    (row,) = checked(everything)
    assert row.verdict == "holds"
    gain = row.found.estimate
    assert gain.low > 0
    for threshold, verdict in (
        (gain.value, "undecided"),
        (gain.high + 0.01, "contradicted"),
        (gain.low - 0.01, "holds"),
    ):
        (row,) = checked(everything, threshold=threshold)
        assert row.verdict == verdict
    (row,) = checked(everything, a="softmax", b="gmmseg")
    assert row.verdict == "contradicted"


def test_one_seed_leaves_a_claim_undecided(results, runs):
    (row,) = checked(results([runs[0], runs[3]]))
    assert (row.verdict, row.why) == ("undecided", "one seed")


def test_a_claim_without_runs_is_not_checked(results, runs):
    for a, b in (("agmm", "softmax"), ("gmmseg", "agmm")):
        (row,) = checked(results(runs), a=a, b=b)
        assert (row.verdict, row.why, row.found) == ("not tested", "no runs of both sides", None)
    (row,) = checked(results(runs), protocol="boundary", metrics=["boundary_iou"])
    assert row.verdict == "not tested"


def test_a_claim_of_several_configurations_is_not_tested_and_says_why(results, made, runs):
    others = [made.scored("gmmseg", seed, 0.8, config={"preset": "paper"}) for seed in (0, 1, 2)]
    for record in runs[:3]:
        record.configuration = "gmmseg (components=3)"
    (row,) = checked(results([*runs, *others]), a="gmmseg")
    assert row.verdict == "not tested"
    assert "gmmseg is 2 configurations" in row.why
    (row,) = checked(results([*runs, *others]), a="gmmseg (components*")
    assert row.verdict == "holds"


def test_each_metric_and_supervision_is_tested_by_itself(results, made, runs):
    points = {"data": {"supervision": "points"}}
    few = [made.scored(m, s, a, **points) for m, a in (("gmmseg", 0.6), ("softmax", 0.7)) for s in (0, 1, 2)]
    rows = checked(
        results([*runs, *few]), supervision=["dense", "points", "clicks-20"], metrics=["miou", "pixel_accuracy"]
    )
    assert [(row.supervision, row.found and row.found.metric.key, row.verdict) for row in rows] == [
        ("dense", "miou", "holds"),
        ("dense", "pixel_accuracy", "holds"),
        ("points", "miou", "contradicted"),
        ("points", "pixel_accuracy", "contradicted"),
        ("clicks-20", None, "not tested"),
    ]


def test_the_split_that_a_protocol_is_judged_on_counts(results, made):
    runs = [
        made.scored(m, s, a, targets=("test", "val")) for m, a in (("gmmseg", 0.8), ("softmax", 0.7)) for s in (0, 1)
    ]
    assert [row.found.target for row in checked(results(runs))] == ["test"]


def test_a_summary_over_targets_is_one_row_and_a_metric_of_each_target_several(results, made):
    cross = {"protocol": "cross-domain", "targets": ("toyscapes/night", "toyscapes/fog")}
    everything = results(
        [made.scored(m, s, a, **cross) for m, a in (("gmmseg", 0.8), ("softmax", 0.7)) for s in (0, 1)]
    )
    (row,) = checked(everything, protocol="cross-domain", metrics=["harmonic_mean"])
    assert row.found.target == "2 targets"
    rows = checked(everything, protocol="cross-domain", metrics=["miou"])
    assert {row.found.target for row in rows} == {"toyscapes/night", "toyscapes/fog"}


def test_a_gain_is_positive_on_the_better_side(results, made):
    records = [
        made.record(m, s, protocols={"anomaly": anomaly({score: {"fpr95": v + 0.01 * s, "ap": v}})})
        for m, score, v in (("gmmseg", "gmm_nll", 0.2), ("softmax", "msp", 0.4))
        for s in (0, 1, 2)
    ]
    settings = {"a": "gmmseg@gmm_nll", "b": "softmax@msp", "protocol": "anomaly", "metrics": ["fpr95", "ap"]}
    fpr95, ap = checked(results(records), **settings)
    assert fpr95.found.estimate.value == pytest.approx(0.2)
    assert ap.found.estimate.value == pytest.approx(-0.2)
    assert (fpr95.found.a, fpr95.found.b) == pytest.approx((0.21, 0.41))


def test_of_groups_with_enough_seeds_the_longest_training_counts(results, made, runs):
    def trained(steps, seeds):
        return [made.scored(m, s, 0.7, recipe={"steps": steps}) for m in ("gmmseg", "softmax") for s in range(seeds)]

    (row,) = checked(results([*trained(450, 4), *trained(3600, 3), *trained(9000, 2)]))
    assert row.pair.steps == 3600


def test_the_preferred_recipe_counts_and_then_the_most_seeds(results, made, runs):
    settled = {"recipe": {"name": "settled"}}
    long = [made.scored(m, 0, 0.7, **settled) for m in ("gmmseg", "softmax")]
    short = [made.scored(m, s, 0.7, recipe={"steps": 9}) for m in ("gmmseg", "softmax") for s in (0, 1)]
    everything = results([*runs, *long, *short])
    (row,) = checked(everything, recipes=["settled", "quick"])
    assert row.pair.group["recipe"] == "settled"
    (row,) = checked(everything, recipes=["quick", "settled"])
    assert row.pair.seeds == 3


def test_a_share_may_be_of_the_same_method_from_other_labels(results, made, runs):
    blind = [
        made.scored("gmmseg", s, 0.6, data={"supervision": "points"}, supervision={"source": "derived: points@1"})
        for s in (0, 1, 2)
    ]
    everything = results([*runs, *blind])
    share = {"b": "gmmseg", "supervision": ["points"], "supervision_of_b": "dense", "measure": "ratio"}
    (row,) = checked(everything, **share, threshold=0.5)
    assert row.verdict == "holds"
    assert row.found.estimate.value == pytest.approx(row.found.a / row.found.b, abs=0.01)
    (row,) = checked(everything, **share, threshold=0.99)
    assert row.verdict == "contradicted"
    other = [made.scored("gmmseg", s, 0.6, data={"supervision": "points"}, recipe={"steps": 9}) for s in (0, 1)]
    (row,) = checked(results([*runs, *other]), **share)
    assert row.verdict == "not tested"
    assert "settings differ" in row.why


def test_the_page_names_the_runs_behind_every_row_once(results, runs):
    claims = Claims.model_validate({"claims": [GAIN, {**GAIN, "id": "again"}, {**GAIN, "id": "other", "a": "agmm"}]})
    page = claiming.markdown([*claiming.verdicts(claims, results(runs))])
    assert page.count("\n| ") == 5
    assert page.count(runs[0].run_id) == 1
    assert "Not tested: other (no runs of both sides)." in page
    assert "- **gain**: Better. A is gmmseg, B is softmax (abstract)." in page


def test_what_runs_were_trained_and_scored_on_heads_their_rows_once(results, made, runs):
    long = [made.scored(m, s, 0.7, data={"name": "camvid"}) for m in ("gmmseg", "softmax") for s in (0, 1)]
    claims = Claims.model_validate({"claims": [GAIN, {**GAIN, "id": "again", "threshold": -0.01}]})
    page = claiming.markdown([*claiming.verdicts(claims, results([*runs, *long]))])
    table = [line.strip("| ").split(" | ")[0] for line in page.splitlines() if line.startswith("|")]
    assert [text.partition("<br>")[2] or text for text in table[2:]] == ["on test", "gain", "again"] * 2
    assert table[2].startswith("**camvid: ")
    assert table[5].startswith("**toyscapes: ")
    assert "B is softmax (abstract). It holds above -1.00." in page


def test_in_brief_each_claim_is_told_by_its_first_metric_under_its_verdict(results, runs):
    claims = Claims.model_validate(
        {"claims": [{**GAIN, "metrics": ["miou", "pixel_accuracy"]}, {**GAIN, "id": "b|c", "a": "agmm"}]}
    )
    tested = [*claiming.verdicts(claims, results(runs))]
    told = claiming.line(tested[0])
    holds, untested = claiming.brief(tested).splitlines()[-2:]
    assert holds == f"- **holds**: gain {told.gain} ({told.interval}) on toyscapes."
    assert untested == "- **not tested**: b\\|c."


def test_text_of_a_file_is_no_markup(results, runs):
    claims = Claims.model_validate({"claims": [{**GAIN, "id": "a|b", "paper": "<b>", "statement": "x | *y* \x1b[31m"}]})
    page = claiming.markdown([*claiming.verdicts(claims, results(runs))])
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "| a\\|b |" in page


def file(tmp_path, text):
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return path


ENTRY = "[[claims]]\n" + "".join(f"{key} = {value!r}\n".replace("'", '"') for key, value in GAIN.items())


def test_a_good_file_is_read(tmp_path):
    (claim,) = Claims.read(file(tmp_path, ENTRY)).claims
    assert (claim.id, claim.threshold, claim.supervision) == ("gain", 0.0, ["dense"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[claims", "cannot be read as TOML"),
        ("", "claims: field required"),
        ("claims = []", "claims: list should have at least 1 item"),
        (ENTRY + "colour = 1", "claims.1.colour: extra inputs are not permitted"),
        (ENTRY.replace('a = "gmmseg"\n', ""), "claims.1.a: field required"),
        (ENTRY + ENTRY, "there are 2 claims 'gain'"),
        (ENTRY.replace('"closed-set"', '"closed"'), "there is no protocol 'closed': did you mean closed-set"),
        (ENTRY.replace("miou", "mIoU"), "did you mean miou"),
        (ENTRY + "threshold = nan", "claims.1.threshold: input should be a finite number"),
        (ENTRY + 'measure = "share"', "claims.1.measure: input should be 'difference' or 'ratio'"),
        (ENTRY.replace("closed-set", "calibration").replace("miou", "ece") + 'measure = "ratio"', "ratio of 'ece'"),
    ],
)
def test_a_broken_file_is_one_sentence_that_says_what_to_correct(tmp_path, text, said):
    path = file(tmp_path, text)
    with pytest.raises(UserError) as error:
        Claims.read(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert str(error.value).endswith("; correct it")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"there is no claims file .*; name one with --claims"):
        Claims.read(tmp_path / "claims.toml")
