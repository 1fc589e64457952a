"""The commands `invoices list` and `invoices show`: a tenant's invoices, on the terminal or as files. Not their making."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.context import Context
from server.cli.show import note, plain, table

if TYPE_CHECKING:
    from control_plane.billing.invoice_document import InvoiceDocument
    from control_plane.domain.invoice import Invoice

_SHOWN_MAX = 1_000
_NOT_EARLIER = "Write it to this new file"

app = typer.Typer(help="Invoices: list a tenant's, show one, write it down.", no_args_is_help=True)


@app.command(name="list")
def list_invoices(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    limit: Annotated[int, typer.Option(min=1, max=_SHOWN_MAX, help="How many at most.")] = 50,
) -> None:
    """Show a tenant's invoices, the newest first."""
    from server import invoice_papers  # `--help` must be fast

    with Context.of(ctx).store() as store, store.read() as connection:
        invoices = invoice_papers.listed(connection, tenant, limit)
    table(
        f"Invoices of {tenant}",
        ("number", "date", "state", "total", "due", "id"),
        [_row(one) for one in invoices],
    )


@app.command()
def show(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    invoice: Annotated[
        str, typer.Argument(help="The number or id of an invoice or a credit note.")
    ],
    html: Annotated[Path | None, typer.Option(help=f"{_NOT_EARLIER}, as a page.")] = None,
    pdf: Annotated[Path | None, typer.Option(help=f"{_NOT_EARLIER}, as a PDF.")] = None,
) -> None:
    """Show one invoice or credit note as its customer sees it; with --html or --pdf, write it to a file."""
    from server import invoice_papers  # `--help` must be fast

    context = Context.of(ctx)
    with context.store() as store, store.read() as connection:
        document = invoice_papers.paper(connection, context.workspace, tenant, invoice)
    if html is not None:
        from control_plane.billing.invoice_page import render_page

        _write(html, render_page(document).encode(), "--html")
    if pdf is not None:
        from control_plane.billing.invoice_pdf import render_pdf

        _write(pdf, render_pdf(document), "--pdf")
    if html is None and pdf is None:
        _print(document)


def _row(one: Invoice) -> tuple[str, ...]:
    from control_plane.billing.amounts import day_text, money_text
    from control_plane.domain.money import Money

    def text(minor: int) -> str:
        return money_text(Money(minor=minor, currency=one.currency))

    at = "" if one.finalized_at is None else day_text(one.finalized_at, "UTC")
    number = one.number or ""
    return number, at, one.state, text(one.total_minor), text(one.due_minor), one.id


def _print(document: InvoiceDocument) -> None:
    mark = f" ({document.mark.lower()})" if document.mark else ""
    typer.echo(plain(f"{document.heading} {document.number}{mark}"))
    for side, block in (("from", document.seller), ("to", document.customer)):
        typer.echo(plain(", ".join((f"{side} {block.name}", *block.lines))))
    for fact in document.facts:
        typer.echo(plain(f"{fact.label}: {fact.value}"))
    table(
        f"Amounts in {document.currency}",
        ("#", "description", "quantity", "unit price", "amount"),
        [
            (
                str(row.position),
                "; ".join((row.description, *row.details)),
                row.quantity,
                row.unit_price,
                row.amount,
            )
            for row in document.rows
        ],
    )
    for total in document.totals:
        typer.echo(plain(f"{total.label}: {total.amount}"))
    for line in (*document.payment,):
        typer.echo(plain(f"{line.label}: {line.value}"))
    for said in document.notes:
        typer.echo(plain(said))


def _write(file: Path, content: bytes, option: str) -> None:
    from control_plane.errors import BadInput
    from server.private_files import write_new_file

    try:
        write_new_file(file, content)
    except OSError as error:
        raise BadInput(option, f"must be a new file ({error.strerror})") from None
    note(f"written to {file}")
