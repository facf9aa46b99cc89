"""Commands that ask whether what is said holds: of a difference, of what papers claim, of a record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands import options
from bench.commands.completion import named
from bench.commands.options import EXIT_FAILED, Command, Place, fail, say, say_json, say_written
from bench.common.errors import UserError
from bench.common.text import lines

if TYPE_CHECKING:
    from bench.records.store import Store


@click.command(cls=Command)
@click.argument("a", metavar="A", required=False, shell_complete=named("method", "run"))
@click.argument("b", metavar="B", required=False, shell_complete=named("method", "run"))
@options.read_results_argument()
@click.option(
    "--all", "everyone", is_flag=True, help="All pairs instead of A and B, with p corrected for their number."
)
@click.option("--ranks", "rankings", is_flag=True, help="Instead: how the methods' order changes with the protocol.")
@click.option("--dataset", help="Only runs trained on this data set.", shell_complete=named("dataset"))
@click.option("--supervision", help="Only runs trained from these labels.")
@click.option("--recipe", help="Only runs of this recipe.", shell_complete=named("recipe"))
@click.option("--protocol", help="Only this protocol.", shell_complete=named("protocol"))
@options.json_option
@click.option("--out", type=Place(dir_okay=False), help="Picture of the ranks that --all or --ranks gives.")
@options.plugins
def compare(
    a: str | None,
    b: str | None,
    results: Path,
    everyone: bool,
    rankings: bool,
    as_json: bool,
    out: Path | None,
    **only: str | None,
) -> None:
    """Say by how much A is better than B, and how sure that is: differences with intervals over seeds and images.

    A and B are methods, configurations as tables show them, or runs; NAME@READING is an anomaly score or another
    reading of the checkpoint, such as gmmseg@gmm_nll. Only runs that agree in everything but the method are compared.
    """
    from bench.common.console import Output, note
    from bench.records import remote
    from bench.records.store import Store
    from bench.report.comparing import differences as comparing
    from bench.report.comparing import show as showing
    from bench.report.comparing.results import Results

    if everyone and rankings:
        raise UserError("--all and --ranks are two questions; ask one")
    if everyone or rankings:
        option = "--all" if everyone else "--ranks"
        if b is not None:
            raise UserError(f"{option} compares all methods; leave out A and B")
        ask = _compare_all if everyone else _compare_ranks
        with remote.at_hand(results if a is None else a) as folder:
            ask(Store(folder), only, as_json, out)
        return
    if out is not None:
        raise UserError("--out is for a picture of ranks; add --all or --ranks")
    if a is None or b is None:
        raise UserError("give two methods, configurations or runs to compare, or --all or --ranks")
    comparisons = comparing.compared(Results.of(Store(results)).only(**only), a, b)
    if all(pair.is_of_itself for pair, _ in comparisons.found):
        raise UserError(f"{a} and {b} are the same runs; name two methods, configurations or readings")
    for sentence in comparisons.left_out:
        note(f"left out: {sentence}")
    if as_json:
        say_json([showing.as_json(*found) for found in comparisons.found])
        return
    for pair, found in comparisons.found:
        showing.show(pair, found, Output())


def _compare_all(store: Store, only: dict[str, str | None], as_json: bool, out: Path | None) -> None:
    from bench.common.console import Output
    from bench.report.comparing import diagrams
    from bench.report.comparing import show as showing
    from bench.report.comparing.all_pairs import all_pairs
    from bench.report.comparing.ranks import ranks
    from bench.report.comparing.results import Results
    from bench.report.leaderboard import figures

    results = Results.of(store).only(**only)
    families, ranked = all_pairs(results), ranks(results)
    if out is not None:
        if ranked is None:
            raise UserError("ranks need three data sets with three methods in common; leave out --out, or run more")
        figures.write(diagrams.critical_difference(ranked), out)
    if as_json:
        made = [showing.family_as_json(family) for family in families]
        say_json({"families": made, "ranks": ranked and ranked._asdict()})
        return
    for family in families:
        showing.show_family(family, Output())
    say(showing.HOLM_RULE)
    if ranked is not None:
        say(showing.ranks_text(ranked))
    if out is not None:
        say(out)


def _compare_ranks(store: Store, only: dict[str, str | None], as_json: bool, out: Path | None) -> None:
    from bench.common.console import Output
    from bench.report import leaderboard
    from bench.report.comparing import diagrams
    from bench.report.comparing import show as showing
    from bench.report.comparing.rank_changes import rank_changes
    from bench.report.comparing.results import Results
    from bench.report.leaderboard import figures

    if only["protocol"] is not None:
        raise UserError("--ranks compares protocols; leave out --protocol")
    runs = {*Results.of(store).only(**only).runs["run"]}
    records = [record for record in store.records() if record.run_id in runs]
    tables = leaderboard.build(records, lambda run, under: {}, leaderboard.View(), published="none", resamples=0)
    found = [*rank_changes(tables)]
    if not found:
        raise UserError("no three methods were trained alike and scored under the same two protocols; run more")
    if out is not None:
        figures.write(diagrams.changes(found), out)
    if as_json:
        say_json([one._asdict() for one in found])
        return
    for one in found:
        showing.show_changes(one, Output())
    say(showing.RANKS_RULE)
    if out is not None:
        say(out)


@click.command(cls=Command)
@options.read_results_argument()
@click.option("--claims", "file", type=Place(dir_okay=False), help="TOML; default RESULTS/claims.toml.")
@options.json_option
@click.option("--out", type=Place(dir_okay=False), help="File to write; default: print.")
@options.plugins
def claims(results: Path, file: Path | None, as_json: bool, out: Path | None) -> None:
    """Test what papers claim on the runs of RESULTS: a table of gains with intervals, verdicts, and the runs behind."""
    from bench.common import files
    from bench.records.store import Store
    from bench.report.comparing import claims as claiming
    from bench.report.comparing.results import Results

    read = claiming.Claims.read(file or results / claiming.FILE)
    tested = [*claiming.verdicts(read, Results.of(Store(results)))]
    text = options.as_json(claiming.as_json(tested)) if as_json else claiming.markdown(tested)
    if out is None:
        click.echo(lines(text), nl=False)
    else:
        files.write(out, text)
        say_written(out)


@click.command(cls=Command)
@click.argument("name", metavar="RECORD|RUN", shell_complete=named("run", "file"))
@click.option("--retrain", is_flag=True, help="Train again too, and compare the weights.")
@click.option("--encoder-weights", type=Place(), help="To train again: the file from which the run began, if any.")
@click.option("--tolerance", type=click.FloatRange(0), help="Of a share.  [default: 1e-06]")
@options.data_root
@options.results
@options.plugins
@options.device
def verify(
    name: str,
    retrain: bool,
    encoder_weights: Path | None,
    tolerance: float | None,
    data_root: tuple[Path, ...],
    results: Path,
    device: str,
) -> None:
    """Score a finished run again and say number by number whether its record holds; exit code 1 if one does not.

    RECORD is a file, RUN an id or the beginning of one. Nothing of the run is overwritten.
    """
    from bench.common.console import note
    from bench.records.store import Store
    from bench.runs import verify as verification

    path = Path(name)
    store = Store(path.parent.parent if path.suffix == ".json" and path.is_file() else results)
    record = store.find(name)
    if encoder_weights is not None and not retrain:
        raise UserError("--encoder-weights is for training again; add --retrain, or leave it out")
    tolerance = verification.TOLERANCE if tolerance is None else tolerance
    if retrain:
        now = verification.retrained(record, store, data_root, device, encoder_weights)
    else:
        now = verification.rescored(record, store, data_root, device)
    numbers = [*verification.compared(record, now, tolerance)]
    for number in (number for number in numbers if not number.part or number.holds is False):
        word = {True: "holds", False: "DIFFERS", None: "not scored"}[number.holds]
        values = f"{number.recorded:.6f}" if number.holds is None else f"{number.recorded:.6f}, now {number.now:.6f}"
        say(f"{word:<10}  {number.where}: {' of '.join(filter(None, (number.metric, number.part)))} {values}")
    wrong, unscored = (sum(number.holds is value for number in numbers) for value in (False, None))
    said = f"{len(numbers) - wrong - unscored} of {len(numbers)} numbers hold within {tolerance:g}"
    said += f", {unscored} could not be scored here" * bool(unscored)
    if retrain:
        same = record.checkpoint_hash == now.checkpoint_hash
        said += "; the weights are the same" if same else "; the weights are others"
    say(said)
    environment = now.scoring_environment or now.environment
    before = record.environment if retrain else record.scoring_environment or record.environment
    if differences := verification.changed(before, environment):
        note(f"what may round otherwise: {'; '.join(differences)}")
    if wrong or (retrain and not same):
        fail(f"record {record.run_id} does not hold", EXIT_FAILED)
