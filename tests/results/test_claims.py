"""The committed page of claims says what the committed records say."""

from __future__ import annotations

from bench.report.comparing.claims import FILE, Claims
from results import summary
from tests.command_line import call

RESULTS = summary.ROOT / "results"


def test_the_page_is_what_the_command_writes():
    outcome = call("claims", str(RESULTS))
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout == (RESULTS / "claims.md").read_text(), "run bench claims results --out results/claims.md"


def test_rows_of_the_page_fit_a_line_as_they_are_written():
    lines = [line for line in (RESULTS / "claims.md").read_text().splitlines() if line.startswith("|")]
    assert max(map(len, lines)) <= 120


def test_every_paper_behind_a_method_has_a_claim():
    papers = {claim.paper.partition(" ")[0] for claim in Claims.read(RESULTS / FILE).claims}
    assert papers == {"GMMSeg", "SegSort", "AGMM", "GSS"}
