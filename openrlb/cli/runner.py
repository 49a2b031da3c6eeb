"""``openrlb runner list|install|lock|check``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app, talk
from openrlb.cli.render import chosen_format, emit_json, emit_rows

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at, lock, build and check what trains.")
app.add_typer(group, name="runner")

SHOWN = ("name", "torch", "python", "lock", "packages", "built", "size_mb", "hyperparameters", "algorithms")


def _names(incomplete: str) -> list[str]:
    """Shell completion: the runners' names."""
    from openrlb.errors import OpenrlbError
    from openrlb_runners.spec import known_runners

    try:
        return [runner.name for runner in known_runners() if runner.name.startswith(incomplete)]
    except OpenrlbError:
        return []


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_names, help="The runner; openrlb runner list names them.")]
Torch = Annotated[
    str | None, typer.Option("--torch", help="cpu or cuda; by default cuda where an NVIDIA driver is seen, else cpu.")
]
TorchSource = Annotated[
    str | None,
    typer.Option(
        "--torch-source",
        envvar="OPENRLB_TORCH_SOURCE",
        help="Where torch's CPU wheel for Linux is: a folder, or the address of an index or a page of links.",
    ),
]


@group.command("list", epilog="Example: openrlb runner list --json")
def list_(as_json: flag.Json = False, format_: flag.As = None, output: flag.Output = None) -> None:
    """List the implementations that can train, with their locks and environments."""
    from openrlb.api.runner import list_runners

    rows: list[dict[str, Any]] = [asdict(row) for row in list_runners()]
    chosen = chosen_format(as_json, format_, output)
    if chosen is flag.Format.table:
        rows = [{**row, "lock": row["lock"][:12] if row["lock"] else row["problem"]} for row in rows]  # as folders name it
    emit_rows(rows, SHOWN if chosen is flag.Format.table else tuple(rows[0]), chosen, output)


@group.command(epilog="Example: openrlb runner install sb3 --torch cpu --torch-source ~/wheels")
def install(
    ctx: typer.Context,
    name: Name,
    torch: Torch = None,
    torch_source: TorchSource = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, build nothing.")] = False,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Build a runner's environment from its lock, where it is missing; a run builds it by itself."""
    from openrlb.api.runner import install_runner

    done = install_runner(name, torch=torch, torch_source=torch_source, dry_run=dry_run, say=talk(ctx).say)
    environment = done.environment
    row = {
        "name": done.name,
        "torch": done.torch,
        "lock": done.lock,
        "packages": done.packages,
        "built": environment is not None,
        "built_before": done.built,
        "size_mb": environment.size_bytes / 1e6 if environment else None,
        "python": str(environment.python) if environment else None,
    }
    chosen = chosen_format(as_json, format_, output)
    emit_json(row, output) if chosen is flag.Format.json else emit_rows([row], tuple(row), chosen, output)


@group.command(epilog="Example: openrlb runner lock sb3 --check")
def lock(
    ctx: typer.Context,
    name: Name,
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit 1 where the lock would change.")] = False,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Take the newest versions, not those of the present lock.")] = False,
    torch_source: TorchSource = None,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Make a runner's lock files from its lock/in.txt, and show what became of each package."""
    from openrlb.api.runner import lock_runner

    say = talk(ctx).say
    chosen = chosen_format(as_json, format_, output)

    def review(changes: Any) -> None:  # noqa: ANN401 - a tuple of Change; its module is imported when it is needed
        if chosen is not flag.Format.json and changes:
            emit_rows([asdict(one) for one in changes], ("file", "package", "before", "after"), chosen, output)

    made = lock_runner(name, check=check, upgrade=upgrade, torch_source=torch_source, review=review)
    if chosen is flag.Format.json:
        emit_json(asdict(made), output)
    state = "is up to date" if made.equal else "would change" if check else "was replaced"
    digests = ", ".join(f"{variant} {digest[:12]}" for variant, digest in made.locks.items())
    say(f"the lock of {made.name} {state}: {len(made.changes)} packages differ; {digests}")
    if check and not made.equal:
        raise typer.Exit(1)


@group.command(epilog="Example: openrlb runner check sb3 --platforms")
def check(
    ctx: typer.Context,
    name: Name,
    torch: Torch = None,
    no_train: Annotated[bool, typer.Option("--no-train", help="Do not train, however little.")] = False,
    platforms: Annotated[
        bool, typer.Option("--platforms", help="Resolve every variant for Linux and macOS too, without installing.")
    ] = False,
    torch_source: TorchSource = None,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Look a runner over: locks, environment, imports, and a tiny training in two processes; exit 1 where something is wrong."""
    from openrlb.api.runner import check_runner

    findings = check_runner(name, torch=torch, train=not no_train, platforms=platforms, torch_source=torch_source)
    good = all(finding.ok for finding in findings)
    chosen = chosen_format(as_json, format_, output)
    if chosen is flag.Format.json:
        emit_json({"runner": name, "ok": good, "findings": [asdict(finding) for finding in findings]}, output)
    else:
        rows = [{**asdict(finding), "ok": "ok" if finding.ok else "PROBLEM"} for finding in findings]
        emit_rows(rows, ("ok", "what", "detail", "fix"), chosen, output)
    if not good:
        talk(ctx).say("something is wrong; the fix column says what to do")
        raise typer.Exit(1)
