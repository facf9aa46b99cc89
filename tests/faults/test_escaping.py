"""Text from records, file names and plugins reaches no terminal, page, table or spreadsheet as anything but text."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from importlib import resources
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from bench.common import console as common_console
from bench.common.console import ProgressBar, note
from bench.common.text import cell, drawn, lines, visible
from bench.plugins import registry
from bench.records.store import Store
from bench.report import leaderboard
from bench.report.leaderboard import curves
from bench.report.leaderboard.latex import _SPECIAL, tex
from bench.report.page import page
from bench.schema.record import DatasetInfo, ProtocolResult, Record, Scores
from bench.training.loss_log import LossLog
from methods.softmax import Softmax
from tests.bench.report.leaderboard.conftest import Bench, info
from tests.command_line import call

pytestmark = pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")

SEQUENCES = {
    "colour": "\x1b[31m",
    "clear screen": "\x1b[2J\x1b[H",
    "cursor up and erase": "\x1b[1A\x1b[2K",
    "title": "\x1b]0;owned\x07",
    "hyperlink": "\x1b]8;;http://example.org\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "device status": "\x1b[6n",
    "answerback": "\x05",
    "device control": "\x1bP+q544e\x1b\\",
    "privacy message": "\x1b^text\x1b\\",
    "application command": "\x1b_Gf=100;AAAA\x1b\\",
    "single shift": "\x1bN\x1bO",
    "reset": "\x1bc",
    "alternate screen": "\x1b[?1049h",
    "mouse": "\x1b[?1000h",
    "hide cursor": "\x1b[?25l",
    "character set": "\x1b(0",
    "escape alone": "\x1b",
    "NUL": "\x00",
    "bell": "\x07",
    "backspace": "abc\x08\x08\x08xyz",
    "tab": "\t=1+1",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "carriage return": "good\rbad",
    "line feed": "one\nerror: two",
    "both": "one\r\n## two",
    "shift out and in": "\x0e\x0f",
    "file separator": "\x1c\x1d\x1e\x1f",
    "delete": "\x7f",
    "C1 control sequence": "\x9b31m",
    "C1 operating system command": "\x9d0;owned\x9c",
    "C1 device control": "\x90q\x9c",
    "C1 next line": "one\x85two",
    "C1 reverse index": "\x8d",
    "right-to-left override": "\u202egnp.exe",
    "left-to-right override": "\u202d",
    "embeddings": "\u202a\u202b\u202c",
    "isolates": "\u2066\u2067\u2068\u2069",
    "marks of direction": "\u200e\u200f\u061c",
    "zero-width space": "mi\u200bou",
    "zero-width joiners": "\u200c\u200d",
    "word joiner": "\u2060\u2061\u2062\u2063\u2064",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "line separator": "one\u2028two",
    "paragraph separator": "one\u2029two",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "interlinear annotation": "\ufff9\ufffa\ufffb",
    "deprecated formats": "\u206a\u206f",
    "musical formats": "\U0001d173\U0001d17a",
    "private use": "\ue000\U0010ffff",
    "no-break spaces": "\u00a0\u202f\u2007",
    "script": "<script>alert(1)</script>",
    "image": "<img src=x onerror=alert(1)>",
    "end of attribute": "\"' onload=alert(1) x='",
    "entity of an escape": "&#27;[31m &#x202e; &Tab; &lt;b&gt;",
    "template": "{{ 7 * 7 }} {% raw %}",
    "cell of a table": "a | b | c",
    "link": "[click](javascript:alert(1)) `code` **bold** ![x](y)",
    "formula": "=HYPERLINK(\"http://example.org\",\"x\")",
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "at": "@SUM(1+1)",
    "full-width formula": "＝1+1",
    "markup of rich": "[bold red]x[/] [link=http://example.org]y",
    "mathematics": "$x^{$ $\\frac$",
    "LaTeX": "\\input{/etc/passwd} % \\write18{id} ~ ^ _ & #",
    "full-width LaTeX": "＼input｛x｝ ％ ＄ ＃",
    "quotes": "a\",\"b\n\"c",
}  # fmt: skip
SURROGATES = {"undecodable byte": "caf\udce9", "half a pair": "\ud800", "undecodable escape": "\udc9b31m"}


def harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def loaded(payload: str) -> Record:
    """A record with ``payload`` wherever a record holds free text: not in names, which have a pattern."""
    scores = {
        "metrics": {"miou": 0.5, payload: 0.5},
        "per_class": {"iou": {payload: 0.5, "road": 0.5}},
        "by_reading": {payload: {"miou": 0.4, "pixel_accuracy": 0.4}},
        "notes": [payload],
    }
    ranked = {"by_score": {payload: {"ap": 0.5, "auroc": 0.5}}, "metrics": {"prevalence": 0.1}}
    data = DatasetInfo(name=payload, split=payload, images=1, fingerprint=payload, content=payload)
    protocols = {
        "closed-set": ProtocolResult(
            version=payload, targets={payload: Scores(dataset=data, **scores)}, summary={"miou": 0.5}
        ),
        "anomaly": ProtocolResult(version="1", targets={"a/b": Scores(dataset=info(), **ranked)}),
        payload: ProtocolResult(version=payload, status="skipped", reason=payload),
        "cross-domain": ProtocolResult(version="1", status="failed", reason=payload),
    }
    return Bench().record(
        protocols=protocols,
        config={"setting": payload, payload: payload},
        method_version=payload,
        environment={"hardware": payload, "commit": payload, "device": payload},
        recipe={"description": payload},
        network={"encoder": payload},
        seen=data,
        run_id="loaded",
        supervision={"source": payload},
        encoder_weights=payload,
        inference=payload,
        method_facts={payload: payload},
        reason=payload,
        created=payload,
    )


def failed(payload: str) -> Record:
    return Bench().record("broken", 1, protocols={}, status="failed", reason=payload, run_id="failed", seen=None)


@pytest.fixture(scope="module", params=SEQUENCES, ids=str)
def tables(request):
    payload = SEQUENCES[request.param]
    records = [loaded(payload), loaded(payload).model_copy(update={"run_id": "second"}), failed(payload)]
    return SimpleNamespace(payload=payload, records=records, built=leaderboard.build(records, lambda run_id, under: {}))


def test_terminal(tables):
    for terminal in (False, True):
        out = io.StringIO()
        leaderboard.show(tables.built, Console(file=out, width=200, force_terminal=terminal, color_system=None))
        assert harmless(re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()) if terminal else out.getvalue())


def test_markdown(tables):
    text = "\n".join(leaderboard.render(table, "md") for table in tables.built)
    assert harmless(text)
    assert not re.search(r"<(?!br>|u>|/u>)|&(?!lt;|gt;|amp;)#?\w+;", text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[\[`]", text)
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_html(tables, tmp_path):
    (path,) = leaderboard.write(tables.built, ["html"], tmp_path, lambda built: page(built, tables.records))
    text = path.read_text(encoding="utf-8")
    assert harmless(text)
    opened: list[tuple[str, list]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: opened.append((tag, attributes))  # type: ignore[method-assign]
    parser.feed(text)
    assert not {tag for tag, _ in opened} & {"img", "b", "object", "iframe"}
    assert not [name for _, attributes in opened for name, _ in attributes if name.startswith("on")]
    assert not [
        value
        for _, attributes in opened
        for name, value in attributes
        if name in ("href", "xlink:href") and not (value or "").startswith(("#", "data:,"))
    ]
    # One script, and no letter in it is of the payload: the browser runs none but that of the hash.
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert [tag for tag, _ in opened].count("script") == 1
    assert script == resources.files("bench.report.page").joinpath("page.js").read_text(encoding="utf-8")
    assert "49" not in re.findall(r"<h[23][^>]*>(.*?)[ <]", text)


def test_csv(tables):
    text = "".join(leaderboard.render(table, "csv") for table in tables.built)
    assert harmless(text)
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1
    for value in (value for row in rows for value in row):
        is_number = re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", value)
        assert is_number or not value.lstrip().startswith(tuple("=+-@\t\r＝＋－＠")), value


def test_latex(tables):
    text = "\n".join(leaderboard.render(table, "tex") for table in tables.built)
    assert harmless(text)
    assert text.isascii()
    for word in (r"\input", r"\write", "\\frac"):
        assert word not in text
    assert not re.search(r"(?<!\\)%", text)


@pytest.mark.parametrize("name", [*SEQUENCES, *SURROGATES])
def test_lines_on_the_terminal(name, capsys):
    payload = {**SEQUENCES, **SURROGATES}[name]
    note(payload)
    common_console.remark(payload)
    with ProgressBar(payload, 1) as bar:
        assert harmless(bar.description)
    out = capsys.readouterr()
    assert harmless(out.out + out.err)
    assert out.err.count("\n") <= 2


@pytest.mark.parametrize("name", [*SEQUENCES, *sorted(SURROGATES.keys() - {"half a pair"})])  # which is no file name
def test_error_lines(name, tmp_path):
    payload = {**SEQUENCES, **SURROGATES}[name].replace("\0", "")
    for arguments in (
        ["leaderboard", str(tmp_path / payload)],
        ["show", f"x{payload}", "--results", str(tmp_path)],
        ["check", f"x{payload}"],
        ["evaluate", f"x{payload}", "--results", str(tmp_path / payload)],
        ["list", "methods", "--plugin", str(tmp_path / f"{payload}.py")],
        ["curve", str(tmp_path), "--x", payload],
    ):
        outcome = call(*arguments)
        assert outcome.exit_code == 2, outcome.output
        assert harmless(outcome.output)
        assert len(outcome.output.splitlines()) == 1, outcome.output


EVERYTHING = "".join(SEQUENCES.values())


@pytest.fixture
def results(tmp_path):
    store = Store(tmp_path / "results")
    (tmp_path / "results" / "records").mkdir(parents=True)
    for i, record in enumerate([loaded(EVERYTHING), failed(EVERYTHING)]):
        path = store.record_path(f"record{i}")
        path.write_text(json.dumps({**record.model_dump(mode="json"), "run_id": f"record{i}"}))
    return store.root


def test_commands_that_show_records(results):
    for arguments in (
        ["leaderboard", str(results), *(a for kind in leaderboard.FILES for a in ("--format", kind))],
        ["show", "record0", "--results", str(results)],
        ["show", "record1", "--results", str(results)],
    ):
        outcome = call(*arguments)
        assert outcome.exit_code == 0, outcome.output
        assert harmless(outcome.output)
        assert "error: two" not in outcome.output.splitlines()
    for path in (results / "leaderboard").iterdir():
        assert harmless(path.read_text(encoding="utf-8")), path


PLUGIN = """
from methods.softmax import Softmax

class Loud(Softmax):
    name = "loud"
    reference = {payload!r}

Loud.__doc__ = {payload!r} + " first.\\n\\nMore " + {payload!r}
"""


def test_what_a_plugin_says_of_itself(tmp_path, monkeypatch):
    path = tmp_path / "loud.py"
    payload = EVERYTHING.replace("\n", " ").replace("\r", " ")
    path.write_text(PLUGIN.format(payload=payload), encoding="utf-8")
    monkeypatch.setattr(registry.methods, "_classes", dict.fromkeys(registry.methods.names(), Softmax))
    for arguments in (["list", "methods"], ["list", "methods", "--json"], ["show", "loud"]):
        outcome = call(*arguments, "--plugin", str(path))
        assert outcome.exit_code == 0, outcome.output
        assert harmless(outcome.output)
        if "--json" in arguments:
            summaries = {row["name"]: row["summary"] for row in json.loads(outcome.output)}
            assert "\x1b[31m" in summaries["loud"]  # programs get the text itself


@pytest.mark.parametrize("name", SEQUENCES)
def test_curves(name, tmp_path):
    payload = SEQUENCES[name]
    made = Bench()
    records = [
        made.record(config={"k": k, "other": payload}, network={"encoder": payload}, run_id=f"run{i}")
        for i, k in enumerate((payload, "2"))
    ]
    panels = curves.build(records, "method.k")
    out = io.StringIO()
    curves.show(panels, Console(file=out, width=200))
    assert harmless(out.getvalue())
    picture, numbers = curves.write(panels, tmp_path / "curve.svg")
    assert harmless(picture.read_text(encoding="utf-8"))
    rows = list(csv.reader(io.StringIO(numbers.read_text(encoding="utf-8"))))
    assert harmless(numbers.read_text(encoding="utf-8"))
    assert not [value for row in rows[1:] for value in row if value.startswith(("=", "+", "@", "-"))]


def test_names_of_loss_terms_are_no_formulas(tmp_path):
    log = LossLog(tmp_path, "csv", 0)
    log.add({"=1+1": 0.5, "\x1b[31m": -0.5})
    log.flush(1, 0.1)
    header, line = (tmp_path / "losses.csv").read_text().splitlines()
    assert header == "step,lr,'=1+1,\\x1b[31m"
    assert line == "1,0.1,0.5,-0.5"


@pytest.mark.parametrize("name", [*SEQUENCES, *SURROGATES])
def test_visible_text_is_printable_and_says_the_same(name):
    text = {**SEQUENCES, **SURROGATES}[name]
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)
    assert harmless(lines(text))
    if text.isprintable():
        assert visible(text) == text


def test_every_character_without_a_glyph_is_escaped():
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert visible(character).isascii(), hex(code)


@pytest.mark.parametrize("text", ["Grün", "мост", "道路", "é", "±", "🚗", "a b", "", "mIoU ↑", "\\x1b"])
def test_other_text_stays_as_it_is(text):
    assert visible(text) == text
    assert cell(text) == text


@pytest.mark.parametrize("number", ["-1", "+1", "-0.5", "-1e-05", "-.5", "1", "0.25", 3, -2, -0.5])
def test_numbers_stay_numbers(number):
    assert cell(number) == str(number)


@pytest.mark.parametrize("text", ["=1", "+1+1", "-1-1", "@a", " =1", "-a", "--1", "-1 0", "=", "-", "＝1"])
def test_formulas_become_text(text):
    assert cell(text) == f"'{text}"


def test_mathematics_is_drawn_as_it_is_written():
    figure = Figure()
    figure.text(0, 0, drawn("$x^{$"))
    figure.savefig(io.BytesIO())


def test_latex_has_no_way_round_the_table_of_special_characters():
    known = {*_SPECIAL.values()}
    for code in range(0x80, 0x110000):
        character = chr(code)
        if 0xD800 <= code < 0xE000 or character in _SPECIAL or not character.isprintable():
            continue
        rest = tex(character)
        for special in sorted(known, key=len, reverse=True):
            rest = rest.replace(special, "")
        assert not set(rest) & set("\\%&$#_{}~^<>|\n"), hex(code)
