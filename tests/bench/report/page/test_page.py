"""The page as text: what it is made of, and what holds without a script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from bench.records.ledger import ledger
from bench.report.leaderboard import View, build
from bench.report.leaderboard.tables import build_views
from bench.report.page import page
from bench.report.panels import Panel, Picture
from tests.bench.report.leaderboard.conftest import Bench


@pytest.fixture(scope="module")
def text(tables, records):
    return page(tables, records)


def tags(text):
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(text)
    return found


def test_the_browser_may_run_the_one_script_and_load_nothing(text):
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    policy = next(a["content"] for tag, a in tags(text) if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy


def test_every_link_leads_to_one_place_of_the_page(text):
    places = Counter(a["id"] for _, a in tags(text) if "id" in a)
    links = [a["href"][1:] for tag, a in tags(text) if tag == "a"]
    assert len(links) > 8
    assert {name for name in links if places[name] != 1} == set()
    rows = re.findall(r'<a class="run" href="#(run-\w+)">', text)
    assert len(rows) == 12
    assert len({*rows}) == 6, "rows of the same runs share what is said of them"


def test_of_a_row_it_says_how_its_runs_were_made(text):
    made = re.findall(r'<div id="run-.*?</div>\n</details>', text, re.DOTALL)[0]
    for said in ("0123456789abcdef", "ab" * 32, "CPU", "bench run --method", "--seed 0", "&#34;steps&#34;: 10"):
        assert said in made
    assert re.findall(r'<th scope="col">(\d)</th>', made) == ["0", "1"]


def test_each_protocol_has_a_view(tables, text):
    titles = re.findall(r"<h2 [^>]*>(.*?)</h2>", text)
    assert titles == ["Closed-set segmentation", "Anomaly segmentation", "Without scores", "Runs"]
    assert len(re.findall(r'<section class="table"', text)) == len(tables)


def test_tables_have_captions_and_headings_with_scope(text):
    grids = re.findall(r"<table.*?</table>", text, re.DOTALL)
    assert grids
    for grid in grids:
        assert "<caption>" in grid
        assert all("scope=" in tag for tag in re.findall(r"<th\b[^>]*>", grid))
        assert '<th scope="row"' in grid


def test_a_table_wider_than_paper_is_there_in_parts_with_every_column_once(tables, text):
    wide = max(tables, key=lambda table: len(table.shown))
    whole = text[text.index(f'id="{wide.slug}"') :]
    parts = re.findall(r'<table class="paper">.*?</table>', whole[: whole.index("</section>")], re.DOTALL)
    assert len(parts) > 1
    headings = sum(len(re.findall(r'<th scope="col" class="number"', part)) for part in parts)
    assert headings == len(wide.shown)


def test_claims_stand_before_the_tables_with_their_verdict_in_words(tables, records, tested):
    text = page(tables, records, tested=tested)
    assert text.index("What papers claim") < text.index('class="view"')
    assert "– 1 not tested" in text
    assert "</span> not tested: no runs</td>" in text
    assert "Somebody &lt;2020&gt;" in text
    assert [row.found for row in tested if row.found and row.verdict == "undecided"]
    assert "What papers claim" not in page(tables, records)


def test_pictures_are_in_the_page_as_far_as_there_is_room(tables, records, panels):
    (one,) = panels
    large = Panel(heading="best: b", columns=[[Picture(caption="gmmseg", webp="A" * 1_000_000)]])
    others = [one.model_copy(update={"target": name, "images": [large]}) for name in ("night", "fog", "rain")]
    text = page(tables, records, panels=[one, *others])
    assert len(text) < 5_000_000
    images = [a for tag, a in tags(text) if tag == "img"]
    assert [a["alt"] for a in images] == ["worst: <a>, gmmseg: mIoU 12.00"] * 8 + ["best: b, gmmseg"] * 2
    assert images[0]["src"] == f"data:image/webp;base64,{one.images[0].columns[0][0].webp}"
    assert "There was no room for toyscapes, closed-set on rain;" in text
    assert "view-pictures" not in page(tables, records)


def test_a_page_without_tables_says_so():
    assert "There are no runs to compare" in page([])


def test_views_have_runs_in_the_order_of_the_overviews(records):
    def run(dataset, seed):
        miou = {"camvid": 0.4, "toyscapes": 0.5}[dataset]
        return Bench().record(
            "softmax", seed, miou, data={"name": dataset}, recipe={"steps": 10}, run_id=f"{dataset}-{seed}"
        )

    records = [run("camvid", 0), run("toyscapes", 0), run("toyscapes", 1)]
    views = [View(), View(protocols=("closed-set",))]
    overviews, tables = build_views(ledger(records), lambda run_id, under: {}, views, published="none", resamples=0)
    titles = re.findall(r"<h3>(.*?) <a", page([*overviews, *tables], records))
    assert [title.partition(":")[0] for title in titles if title.startswith(("camvid", "toyscapes"))] == [
        "toyscapes",
        "camvid",
    ]
    assert [title.split(": ")[1] for title in titles if title.startswith("Closed-set")] == ["toyscapes", "camvid"]


def test_marks_are_explained_where_there_are_tables(records):
    tables = build(records, lambda run_id, under: {}, View(), published="none")
    text = page(tables, records)
    assert text.count('<a href="#view-rules">How to read</a>.</p>') == 1
    assert 'id="view-rules"' in text
