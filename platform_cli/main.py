"""The `platform` command. Errors are printed, and the exit code chosen, here and nowhere else."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

from platform_cli.commands import (
    check,
    coder,
    credentials,
    demo,
    down,
    images,
    install,
    keys,
    logs,
    models,
    new,
    restart,
    run,
    runs,
    score,
    status,
    test,
    trace,
    up,
    users,
    workspace,
)
from platform_cli.commands import open as open_command
from platform_cli.errors import PlatformError
from platform_cli.output import err

app = typer.Typer(
    name="platform",
    help="A self-hosted MLOps platform: ingest, train, register, serve and watch models on one machine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    _State.debug = debug


class _State:
    debug = False


app.command("up")(up.up)
app.command("install")(install.install)
app.command("down")(down.down)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("restart")(restart.restart)
app.command("credentials")(credentials.credentials)
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(coder.app, name="coder")
app.add_typer(images.app, name="images")
app.add_typer(workspace.app, name="workspace")
app.command("open")(open_command.open_service)
app.command("new")(new.new)
app.command("check")(check.check)
app.command("test")(test.test)
app.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run.run)
app.command("score")(score.score)
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")
app.command("trace")(trace.trace)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line and exit with its code: 0 done, 1 failed, 2 wrong call, 130 interrupted."""
    try:
        app()
    except PlatformError as error:
        if _State.debug:
            raise
        if error.detail:
            err.print(escape(error.detail), style="dim", highlight=False)
        first, *rest = error.lines()
        err.print(f"[bold red]error:[/] {escape(first)}", highlight=False)
        for line in rest:
            err.print(escape(line), highlight=False)
        sys.exit(error.exit_code)
    except (OSError, ValueError, LookupError) as error:
        if _State.debug:
            raise
        err.print(f"[bold red]error:[/] {escape(f'{type(error).__name__}: {error}')}", highlight=False)
        err.print("  do:    run it again with --debug to see where (`platform --debug …`)", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("interrupted; what has started keeps running (`platform status`, `platform down`)")
        sys.exit(130)


if __name__ == "__main__":
    main()
