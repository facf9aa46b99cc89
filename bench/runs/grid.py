"""The runs of a grid, one after another: one that fails leaves a row, and the others go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.common import interruption
from bench.common.console import note, remark
from bench.common.errors import RankLost, RunFailed, UserError, describe_os_error, disk_is_full
from bench.config.tables import RunConfig
from bench.records.store import Store
from bench.runs import execute as runs
from bench.schema.record import Record
from bench.scoring.score import located
from datasets.base import Roots
from methods.base import Method


@dataclass(frozen=True)
class Results:
    """What came of the runs, in their order."""

    records: list[Record] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Ids of the runs that failed, some of which have a record nevertheless."""
    mistaken: list[str] = field(default_factory=list)
    """Ids of the runs that a mistake of the user's kept from being made."""


def execute(
    grid: Sequence[tuple[type[Method], RunConfig]],
    store: Store,
    root: Roots,
    device: str,
    protocols: Iterable[str],
    force: bool,
) -> Results:
    """Train and score each run of ``grid``, as ``execute.execute`` does.

    Raises UserError and OSError of a run that is the only one, or that met a full disk, as every other would.
    """
    results = Results()
    for method_class, config in grid:
        interruption.check()
        run_id = config.run_id()
        remark(run_id)
        try:
            results.records.append(runs.execute(method_class, config, store, root, device, protocols, force))
        except runs.ProtocolFailed as error:
            results.failed.append(run_id)
            results.records.append(error.record)
        except (UserError, OSError) as error:
            if len(grid) == 1 or disk_is_full(error):
                raise
            results.mistaken.append(run_id)
            if isinstance(error, OSError):
                note(f"{run_id} failed: {describe_os_error(error)}")
            else:
                runs.fail(store, config, str(error))
        except RankLost as error:
            if error.__cause__ is not None:  # what this rank alone failed of
                runs.fail(store, config, _reason(error.__cause__))
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything, and the grid goes on
            results.failed.append(run_id)
            runs.fail(store, config, _reason(error))
    return results


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, RunFailed | UserError) else located(error)
