"""The `harness` command: runs the commands of `commands.py` and turns every way they can end into an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from harness.command.commands import commands
from harness.errors import HarnessError, RunInvalid, TargetUnavailable, UsageError
from harness.terminal import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_UNAVAILABLE, EXIT_USAGE, forget_stdout


def main() -> NoReturn:
    """The `harness` command."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - the shell closed it; what we say goes nowhere
    try:
        # Not `commands()`: click would answer a closed pipe with an exit code of its own.
        with commands.make_context("harness", sys.argv[1:]) as context:
            code = commands.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except UsageError as error:
        for mistake in error.mistakes:
            click.echo(f"harness: {mistake}", err=True)
        sys.exit(EXIT_USAGE)
    except (TargetUnavailable, RunInvalid) as error:
        click.echo(f"harness: {error}", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    except HarnessError as error:
        click.echo(f"harness: {error}", err=True)
        sys.exit(EXIT_HARNESS)
    except (KeyboardInterrupt, click.Abort):
        click.echo("harness: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        forget_stdout()
        code = EXIT_HARNESS
    except OSError as error:
        forget_stdout()
        click.echo(f"harness: {error.strerror}: {error.filename or 'standard output'}", err=True)
        code = EXIT_HARNESS
    except Exception:  # noqa: BLE001 - a bug of ours must not look like the target's failure, which is 1
        traceback.print_exc()
        click.echo("harness: this is a bug of the harness; the lines above say where", err=True)
        code = EXIT_HARNESS
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
