"""`orchestrator compare`: two reports, or two settings of one, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import experiments_extra
from orchestrator.cli.rows import table_of
from orchestrator.cli.terminal import REFUSED, AsJson, err, out, show_json, show_table

if TYPE_CHECKING:
    from orchestrator.reports.comparison import Comparison
    from orchestrator.reports.report import Report

app = typer.Typer()


@app.command()
def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="A report, of `simulate --out` or `replay --out`.")
    ],
    second: Annotated[
        Path | None,
        typer.Argument(metavar="B", help="Another one; left out: settings of A."),
    ] = None,
    *,
    label_a: Annotated[
        str | None, typer.Option("--a", metavar="LABEL", help="Only this setting of A.")
    ] = None,
    label_b: Annotated[
        str | None, typer.Option("--b", metavar="LABEL", help="Only this setting of B.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Write them there as a page, with figures.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare two reports: metric by metric, with their ratio.

    Settings of the same label are compared with each other; --a and --b choose others. A
    difference is beyond the seeds' spread where its 95 % confidence interval leaves out 0.
    Reports of different traffic are compared all the same, with a warning.
    """
    from orchestrator.reports.report import ReportError  # noqa: PLC0415 - not for `--help`

    try:
        a, b = _reports(first, second, label_a, label_b)
        comparisons = _compared(a, b, label_a, label_b)
        if page is not None:
            _write(page, a, b, comparisons)
    except ReportError as error:
        err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(REFUSED) from error
    if json:
        _show_json(comparisons)
    else:
        _show(comparisons)


def _reports(
    first: Path, second: Path | None, label_a: str | None, label_b: str | None
) -> tuple["Report", "Report"]:
    from orchestrator.reports.report import ReportError, load  # noqa: PLC0415

    a = load(first)
    if second is not None:
        return a, load(second)
    if label_a is None or label_b is None:
        raise ReportError(
            "with one report, --a and --b say which of its settings to compare; it has "
            + ", ".join(repr(label) for label in dict.fromkeys(run.label for run in a.runs))
        )
    return a, a


def _compared(
    a: "Report", b: "Report", label_a: str | None, label_b: str | None
) -> list["Comparison"]:
    from orchestrator.reports.comparison import compare, pairs  # noqa: PLC0415

    return [compare(*pair) for pair in pairs(a, b, label_a, label_b)]


def _write(page: Path, a: "Report", b: "Report", comparisons: Sequence["Comparison"]) -> None:
    experiments_extra.require()
    from orchestrator.reports.comparison import joined  # noqa: PLC0415
    from orchestrator.reports.page import save  # noqa: PLC0415

    save(joined(a, b), page, comparisons)
    err.print(f"page: {page}", markup=False)


def _show(comparisons: Sequence["Comparison"]) -> None:
    from orchestrator.reports.tables import differences  # noqa: PLC0415

    for number, comparison in enumerate(comparisons):
        if number:
            out.print()
        for warning in comparison.warnings:
            err.print(f"warning: {warning}", style="yellow", markup=False)
        show_table(table_of(differences(comparison)))


def _show_json(comparisons: Sequence["Comparison"]) -> None:
    from orchestrator.reports.tables import as_json  # noqa: PLC0415

    show_json({"comparisons": [as_json(comparison) for comparison in comparisons]})
