"""`harness faults`: everything that a scenario can break."""

from __future__ import annotations

import click

from harness.errors import UsageError, unknown_name
from harness.fault import FAULTS


@click.command()
@click.argument("kind", required=False)
def faults(kind: str | None) -> None:
    """List what a scenario can break, or say all of one KIND, with its parameters."""
    from harness.fault.documentation import described, summary

    if kind is None:
        width = max(map(len, FAULTS))
        for name in FAULTS:
            click.echo(f"{name:{width}}  {summary(name, FAULTS)}")
        return
    if kind not in FAULTS:
        raise UsageError(unknown_name("kind of fault", kind, FAULTS))
    for line in described(kind, FAULTS):
        click.echo(line)
