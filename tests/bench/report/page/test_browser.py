"""The page in a browser: what its script does, how wide it is, and whether it can be read."""

from __future__ import annotations

import re
import shutil

import pytest

from bench.report.leaderboard import View, build
from bench.report.page import page
from bench.schema.record import Training
from tests.bench.report.leaderboard.conftest import Bench

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        try:
            found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except playwright.Error as error:  # half installed, say
            pytest.skip(f"{CHROMIUM} does not start: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tables, records, tested, panels, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(tables, records, tested=tested, panels=panels), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def visit(browser, address):
    """Open the page at a place in it; what goes wrong there, or is asked for, fails the test."""
    contexts, troubles = [], []

    def opened(place="", at=address, **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("request", lambda request: troubles.append(request.url) if request.url != at else None)
        tab.goto(at + place)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def methods(tab):
    """Of the rows that are seen, in their order."""
    return tab.locator(".view section.table table:not(.paper) tbody:not(.incomplete) th:visible").all_inner_texts()


def follow(link):
    """Click a link to a view. The browser tells the page so in its own time."""
    link.click()
    playwright.expect(link).to_have_attribute("aria-current", re.compile("."))


def heading(tab, name):
    return tab.locator("thead button:visible", has_text=name).first


def test_one_view_is_seen_and_a_link_leads_to_another(visit):
    tab = visit()
    assert tab.locator(".view h2:visible").all_inner_texts() == ["Closed-set segmentation"]
    follow(tab.get_by_role("link", name="Anomaly segmentation", exact=True))
    assert tab.locator(".view h2:visible").all_inner_texts() == ["Anomaly segmentation"]
    assert tab.locator("nav a[aria-current]").all_inner_texts() == ["Anomaly segmentation"]
    assert tab.evaluate("scrollY") == 0


def test_a_click_sorts_the_best_first_then_the_worst_and_then_as_it_was(visit):
    tab = visit("#?data=camvid")
    assert methods(tab) == ["gmmseg", "segsort", "softmax"]
    seen = []
    for _ in range(3):
        heading(tab, "mIoU").click()
        seen.append((methods(tab), tab.locator("th[aria-sort]:visible").count()))
    assert seen == [
        (["gmmseg", "segsort", "softmax"], 1),
        (["softmax", "segsort", "gmmseg"], 1),
        (["gmmseg", "segsort", "softmax"], 0),
    ]


def test_the_keyboard_sorts_too(visit):
    tab = visit("#?data=camvid")
    heading(tab, "Method").focus()
    for expected in ("ascending", "descending"):
        tab.keyboard.press("Enter")
        assert tab.locator("th[aria-sort]:visible").get_attribute("aria-sort") == expected
    assert methods(tab) == ["softmax", "segsort", "gmmseg"]


def test_the_address_gives_back_view_filter_data_set_and_order(visit):
    tab = visit()
    follow(tab.get_by_role("link", name="Anomaly segmentation", exact=True))
    tab.get_by_label("Filter rows").fill("s")
    tab.get_by_label("Data set").select_option("camvid")
    heading(tab, "AUROC").click()
    place, seen = tab.evaluate("location.hash"), methods(tab)
    assert seen == ["softmax", "segsort", "gmmseg"]
    other = visit(place)
    assert other.locator(".view h2:visible").all_inner_texts() == ["Anomaly segmentation"]
    assert methods(other) == seen
    assert other.get_by_label("Filter rows").input_value() == "s"
    assert other.get_by_label("Data set").input_value() == "camvid"
    assert other.locator("th[aria-sort]:visible").get_attribute("aria-sort") == "descending"


def test_a_row_opens_how_its_runs_were_made_and_the_address_does_too(visit):
    tab = visit("#?filter=softmax&data=camvid")
    tab.locator("a.run:visible").click()
    shown = tab.locator("dialog")
    assert "camvid" in shown.locator("pre").first.inner_text()
    assert shown.locator("thead th").all_inner_texts() == ["Seed", "0", "1"]
    place = tab.evaluate("location.hash")
    assert "run=" in place
    tab.keyboard.press("Escape")
    playwright.expect(tab).not_to_have_url(re.compile("run="))  # the dialog says that it is closed in its own time
    assert not shown.is_visible()
    other = visit(place)
    assert other.locator("dialog").is_visible()
    assert methods(other) == ["softmax"]


@pytest.mark.parametrize("place", ["#nowhere", "#?sort=a", "#%00?filter=%00&data=<b>&sort=::", "#?sort=x:99:ascending"])
def test_a_hostile_address_shows_the_page(visit, place):
    assert visit(place).locator(".view h2:visible").count() == 1


def test_the_filter_keeps_rows_with_all_words_and_counts_them(visit):
    tab = visit()
    tab.get_by_label("Filter rows").fill("camvid seg")
    assert methods(tab) == ["gmmseg", "segsort"]
    assert tab.locator("output").inner_text() == "2 of 6 rows"


@pytest.mark.parametrize("place", ["", "#view-anomaly", "#view-pictures"])
@pytest.mark.parametrize("options", [{}, {"java_script_enabled": False}])
def test_a_phone_shows_the_page_at_its_width(visit, place, options):
    tab = visit(place, viewport={"width": 390, "height": 844}, **options)
    right = tab.locator("body").bounding_box()
    assert right["x"] + right["width"] <= 390
    assert options or tab.evaluate("document.documentElement.scrollWidth") == 390


def test_without_a_script_every_table_is_seen(visit, tables):
    tab = visit(java_script_enabled=False)
    assert tab.locator("section.table:visible").count() == len(tables)
    assert tab.locator("form:visible").count() == 0
    tab.locator("a.run").first.click()
    assert tab.locator("details.run[open]").count() == 1


def test_the_first_column_and_the_heading_stay_while_a_table_scrolls(visit):
    tab = visit("#view-anomaly", viewport={"width": 390, "height": 844})
    box = tab.locator(".box:visible").first
    box.evaluate("box => { box.scrollLeft = 400; }")
    assert box.evaluate("box => box.scrollLeft") > 300
    pinned = box.locator("tbody th").first.bounding_box()
    assert pinned["x"] - box.bounding_box()["x"] < 2


LUMINANCES = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => channels(colour).slice(0, 3).map((c) => colour.startsWith("color(") ? c : c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const worst = {};
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.closest("svg, script")) continue;
    const style = getComputedStyle(node);
    const [a, b] = [luminance(style.color), luminance(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) worst[node.tagName + "." + node.className + ": " + node.textContent.slice(0, 30)] = ratio;
  }
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(visit, scheme):
    tab = visit("#view-anomaly", color_scheme=scheme)
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    tab.locator(".claims summary").first.click()
    assert tab.locator(".verdict:visible").count() > 3
    assert tab.evaluate(LUMINANCES) == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_a_reader_out(visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    tab = visit(color_scheme=scheme)
    tab.locator(".claims summary").first.click()
    faults = {}
    for link in tab.locator("nav a").all():
        follow(link)
        tab.locator("details.figure").evaluate_all("found => found.forEach((one) => { one.open = true; })")
        for fault in axe.run(tab).response["violations"]:
            faults[fault["id"]] = [node["html"] for node in fault["nodes"]]
    assert faults == {}


def test_a_dialog_passes_axe_too(visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    tab = visit()
    tab.locator("a.run:visible").first.click()
    assert [fault["id"] for fault in axe.run(tab).response["violations"]] == []


def test_print_shows_all_columns_within_the_page(visit):
    tab = visit("#view-anomaly", viewport={"width": 1030, "height": 700})  # A4 across, less its margins
    tab.emulate_media(media="print")
    assert tab.locator("nav:visible, form:visible, table.screen:visible").count() == 0
    widths = tab.locator("table:visible").evaluate_all("found => found.map((table) => table.scrollWidth)")
    assert len(widths) > 1
    assert max(widths) <= 1030


def test_print_shows_what_claims_and_marks_mean_and_nothing_that_can_only_be_opened(visit, records, tested, tmp_path):
    path = tmp_path / "report.html"
    tables = build(records, lambda run_id, under: {}, View(), published="none")
    path.write_text(page(tables, records, tested=tested), encoding="utf-8")
    tab = visit(at=path.as_uri())
    tab.emulate_media(media="print")
    closed = "details:not([open]) > summary:visible"
    assert tab.locator(f".claims > {closed}").count() == 1
    assert tab.get_by_text("better: It is better. Somebody <2020>").is_visible()
    assert tab.locator(".claims td summary:visible").first.inner_text() == "2"  # seeds
    assert tab.locator(".claims li:visible", has_text="toyscapes").count() == 0
    assert tab.locator(f".view {closed}").count() == 0
    assert tab.locator(".view h2:visible").all_inner_texts() == ["Overview", "How to read"]


def test_print_keeps_the_list_of_runs(visit):
    tab = visit("#view-runs")
    tab.emulate_media(media="print")
    assert tab.locator(".run summary:visible").count() > 3
    assert tab.locator(".view h2:visible").all_inner_texts() == ["Runs"]


def test_numbers_of_classes_stay_as_they_are_while_their_table_is_sorted_and_filtered(visit):
    tab = visit("#?filter=softmax")
    heading(tab, "Method").click()
    tab.locator("summary:visible", has_text="Numbers of each class").first.click()
    numbers = tab.locator("table.heat:visible").first
    assert numbers.locator("tbody th:visible").all_inner_texts() == ["road", "traffic sign"]
    assert "undefined" not in numbers.inner_text()


def test_a_condensed_table_is_seen_in_a_browser_with_what_was_left_out_said_below(visit, tmp_path):
    bench = Bench()
    cost = {"steps": 10, "parameters": 4_220_000, "images_per_second": 3.0, "peak_memory_mb": 1600.0}
    records = [
        bench.record(
            method, miou=miou, config=config, checkpoint_hash=digest, training=Training(seconds=seconds, **cost)
        )
        for method, miou, config, digest, seconds in (
            ("gss", 0.5, {"samples": 1}, "a", 60.0),
            ("gss", 0.5, {"samples": 2}, "a", 60.0),
            ("softmax", 0.4, {}, "b", 90.0),
        )
    ]
    path = tmp_path / "report.html"
    path.write_text(page(build(records, bench.statistics, published="none", resamples=0), records), encoding="utf-8")
    tab = visit(at=path.as_uri())
    assert methods(tab) == ["gss (samples=1) = gss (samples=2)", "softmax"]
    assert tab.locator("th.number:visible").all_inner_texts() == ["mIoU ↑", "Training (min)"]
    heading(tab, "Training (min)").click()
    heading(tab, "Training (min)").click()
    assert methods(tab) == ["softmax", "gss (samples=1) = gss (samples=2)"]
    said = "The same in all rows: Parameters (M) 4.22; Training images/s 3.0; Peak memory (MB) 1600."
    assert tab.get_by_text(said).is_visible()
    assert tab.locator("output").inner_text() == "2 of 2 rows"
    tab.get_by_label("Filter rows").fill("samples=2")
    assert methods(tab) == ["gss (samples=1) = gss (samples=2)"]
    tab.locator("a.run:visible").click()
    assert tab.locator("dialog pre").first.is_visible()
