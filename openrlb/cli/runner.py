"""``openrlb runner list|new|add|remove|install|bundle|unbundle|lock|check``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openrlb.cli import options as flag
from openrlb.cli.app import app, talk
from openrlb.cli.render import chosen_format, emit_json, emit_rows
from openrlb.errors import UsageError

if TYPE_CHECKING:
    from openrlb.types import Finding

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at, lock, build and check what trains.")
app.add_typer(group, name="runner")

SHOWN = ("name", "torch", "python", "lock", "packages", "built", "size_mb", "conformance", "hyperparameters", "algorithms")


def _names(incomplete: str) -> list[str]:
    """Shell completion: the runners' names."""
    from openrlb_runners.spec import own_folders, reference_runners

    names = [*(runner.name for runner in reference_runners()), *(folder.name for folder in own_folders())]
    return [name for name in names if name.startswith(incomplete)]


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


@group.command(
    epilog="Examples: openrlb runner new mine   |   openrlb runner new theirs --from-git https://example.org/lab/project@1a2b3c4"
)
def new(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The runner's name; its folder is written to ./NAME.")],
    from_git: Annotated[
        str | None,
        typer.Option("--from-git", metavar="URL@COMMIT", help="Wrap a script of this repository (an address or a folder)."),
    ] = None,
    example: Annotated[
        str | None, typer.Option("--example", metavar="NAME", help="Copy an example: stream_x (streaming Q and AC).")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PATH", help="Take these paths of the repository only. Repeatable.")
    ] = None,
    as_json: flag.Json = False,
) -> None:
    """Write the folder of a runner of your own: an example that trains, to be changed, or a script's wrapping."""
    from openrlb.api.runner_own import new_runner

    made = new_runner(name, example=example, from_git=from_git, only=only or ())
    say = talk(ctx).say
    for note in made.notes:
        talk(ctx).warn(note)
    if as_json:
        emit_json(asdict(made))
    else:
        emit_rows([{"file": f"{made.folder}/{file}"} for file in made.files], ("file",), flag.Format.tsv)
    say(f"change {name}/run.py and {name}/lock/in.txt, then: openrlb runner add {name}")


@group.command(epilog="Example: openrlb runner add ./mine")
def add(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The runner's folder.", exists=True, file_okay=False)],
    torch: Torch = None,
    torch_source: TorchSource = None,
    force: Annotated[bool, typer.Option("--force", help="Register it although it fails a line of the suite.")] = False,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Register a runner of your own: lock it, build its environment, and put it through the conformance suite."""
    from openrlb.api.runner_own import add_runner

    chosen = chosen_format(as_json, format_, output)
    say = talk(ctx).say
    added = add_runner(path, torch=torch, torch_source=torch_source, force=force, say=say, on_finding=lambda one: say(_line(one)))
    if chosen is flag.Format.json:
        emit_json({"runner": added.name, "registered": added.registered, **asdict(added)}, output)
    else:
        emit_rows([_shown(one) for one in added.findings], FINDINGS, chosen, output)
    if added.not_part:
        say(f"no part of it, and not there when it runs (unless runner.toml's files names it): {', '.join(added.not_part)}")
    if not added.registered:
        say(f"{added.name} was not registered: mend what failed, or use --force")
    else:
        say(f"{added.name} is registered; next: openrlb run {added.algo} --impl {added.name} --env {added.env}")
    if not all(one.ok for one in added.findings):
        raise typer.Exit(1)


@group.command(epilog="Example: openrlb runner remove mine")
def remove(ctx: typer.Context, name: Name, as_json: flag.Json = False) -> None:
    """Take a runner of your own off the list; its folder, its runs and its environments stay."""
    from openrlb.api.runner_own import remove_runner

    folder = remove_runner(name)
    if as_json:
        emit_json({"runner": name, "folder": str(folder)})
    talk(ctx).say(f"{name} is no runner any more; its folder stays: {folder}")


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


@group.command(epilog="Example: openrlb runner bundle sb3 --torch cpu -o sb3.tar")
def bundle(
    ctx: typer.Context,
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file, a tar.", dir_okay=False)],
    torch: Torch = None,
    torch_source: TorchSource = None,
    as_json: flag.Json = False,
) -> None:
    """Write a runner with every wheel of its lock into one file, for machines like this one that have no network."""
    from openrlb.api.runner_bundle import bundle_runner

    made = bundle_runner(name, output, torch=torch, torch_source=torch_source, say=talk(ctx).say)
    if as_json:
        emit_json({**asdict(made), "path": str(made.path)})
    talk(ctx).say(f"{made.path}: {made.bytes / 1e6:,.0f} MB for {made.machine}; there: openrlb runner unbundle {made.path.name}")


@group.command(epilog="Example: openrlb runner unbundle sb3.tar")
def unbundle(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What openrlb runner bundle wrote.")],
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Build a runner's environment from such a file, without a network; a runner of your own is registered too."""
    from openrlb.api.runner_bundle import unbundle_runner

    row = asdict(unbundle_runner(file, say=talk(ctx).say))
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


@group.command(
    epilog="Examples: openrlb runner check sb3 --platforms   |   openrlb runner check mine --conformance"
    "   |   openrlb runner check sb3 --conformance --algo sac --env Pendulum-v1 --steps 600"
)
def check(
    ctx: typer.Context,
    name: Name,
    torch: Torch = None,
    no_train: Annotated[bool, typer.Option("--no-train", help="Do not train, however little.")] = False,
    platforms: Annotated[
        bool, typer.Option("--platforms", help="Resolve every variant for Linux and macOS too, without installing.")
    ] = False,
    conformance: Annotated[
        bool, typer.Option("--conformance", help="Put it through the conformance suite, about ten tiny trainings.")
    ] = False,
    algo: Annotated[str | None, typer.Option("--algo", help="For --conformance: the algorithm, instead of [check]'s.")] = None,
    env: Annotated[str | None, typer.Option("--env", help="For --conformance: the environment, instead of [check]'s.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", parser=flag.whole_number, metavar="N", help="For --conformance: how many steps.")
    ] = None,
    torch_source: TorchSource = None,
    as_json: flag.Json = False,
    format_: flag.As = None,
    output: flag.Output = None,
) -> None:
    """Look a runner over: locks, environment, imports, and a tiny training in two processes; exit 1 where something is wrong."""
    from openrlb.api.runner import check_runner
    from openrlb.api.runner_own import check_conformance

    say = talk(ctx).say
    if not conformance and (algo or env or steps):
        raise UsageError(
            "--algo, --env and --steps choose what --conformance trains", "it was not asked for", "add --conformance"
        )
    tried: list[Finding] = []
    if conformance:  # first, for it builds the environment that is then looked at
        probe = {"algo": algo, "env": env, "steps": steps}
        told = {"torch": torch, "torch_source": torch_source, "say": say}
        tried = check_conformance(name, **probe, **told, on_finding=lambda one: say(_line(one)))  # type: ignore[arg-type]
    train = not no_train and not conformance
    findings = check_runner(name, torch=torch, train=train, platforms=platforms, torch_source=torch_source) + tried
    good = all(finding.ok for finding in findings)
    chosen = chosen_format(as_json, format_, output)
    if chosen is flag.Format.json:
        emit_json({"runner": name, "ok": good, "findings": [asdict(finding) for finding in findings]}, output)
    else:
        emit_rows([_shown(one) for one in findings], FINDINGS, chosen, output)
    if not good:
        say("something is wrong; the fix column says what to do")
        raise typer.Exit(1)


FINDINGS = ("ok", "what", "detail", "fix")


def _shown(finding: Finding) -> dict[str, Any]:
    """A finding as a row."""
    return {**asdict(finding), "ok": "ok" if finding.ok else "PROBLEM"}


def _line(finding: Finding) -> str:
    """A finding as a line of talk while the suite runs; its detail comes with the table."""
    return f"{'ok     ' if finding.ok else 'PROBLEM'} {finding.what}"
