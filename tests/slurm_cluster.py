"""A real SLURM of two virtual nodes on this machine, in a temporary folder and on ports of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
NODES = ("n1", "n2")

CONFIGURATION = """
ClusterName=openrlb
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
PlugStackConfig={folder}/plugstack.conf
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
{accounting}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
InactiveLimit=0
KillWait=1
MinJobAge={remembered}
SlurmdTimeout=5
SlurmctldTimeout=10
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=2000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""

DATABASE_DAEMON = """
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[3]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[4]}
StorageUser=slurm
StoragePass=x
StorageLoc=slurm_acct
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""

ACCOUNTING = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[3]}
AccountingStorageUser=root
AccountingStoragePass={folder}/munge.sock"""


class SlurmCluster:
    """The cluster's daemons, each a child of this process and ended by its own id.

    Args:
        folder: An empty folder with a short path: sockets lie in it.
        accounting: Whether a slurmdbd with a MariaDB of its own stands behind it.
        remembered: For how many seconds the controller remembers a job that is over.
    """

    def __init__(self, folder: Path, *, accounting: bool = False, remembered: int = 600) -> None:
        self.folder, self.accounting = folder, accounting
        self.configuration = folder / "slurm.conf"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._variables = {**os.environ, "SLURM_CONF": str(self.configuration)}
        words = {"host": socket.gethostname().split(".")[0], "folder": folder, "ports": _free_ports(5)}
        told = ACCOUNTING.format(**words) if accounting else "AccountingStorageType=accounting_storage/none"
        self.configuration.write_text(CONFIGURATION.format(**words, accounting=told, remembered=remembered))
        (folder / "plugstack.conf").touch()
        (folder / "state").mkdir()
        for node in NODES:
            (folder / f"spool.{node}").mkdir()
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        if accounting:
            (folder / "slurmdbd.conf").write_text(DATABASE_DAEMON.format(**words))
            (folder / "slurmdbd.conf").chmod(0o600)
        self.database_port = words["ports"][4]

    def start(self) -> None:
        """Starts all daemons, and waits until both nodes are idle."""
        files = {name: str(self.folder / f"munge{suffix}") for name, suffix in _MUNGE_FILES.items()}
        self._start("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items()))
        self._until(lambda: (self.folder / "munge.sock").exists(), "munged")
        if self.accounting:
            self._start_accounting()
        self._start("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        self._until(lambda: self.states() == {"idle": 2}, "the nodes")

    def _start_accounting(self) -> None:
        """MariaDB and slurmdbd."""
        data, sock = self.folder / "mysql", self.folder / "my.sock"
        data.mkdir()
        made = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db"]
        subprocess.run([*made, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
        words = ["--no-defaults", "--user=root", f"--datadir={data}", f"--socket={sock}", "--bind-address=127.0.0.1"]
        small = ["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0"]
        self._start("mariadbd", *words, *small, f"--port={self.database_port}")
        client = ["mariadb", "--no-defaults", "-uroot", "-S", str(sock)]
        self._until(lambda: subprocess.run([*client, "-e", "select 1"], capture_output=True).returncode == 0, "mariadbd")
        who = ("slurm@localhost", "slurm@'127.0.0.1'")
        for one in who:
            subprocess.run([*client, "-e", f"create user {one} identified by 'x'; grant all on *.* to {one}"], check=True)
        self._start("slurmdbd", "-D")
        self._until(lambda: self.ask("sacctmgr", "-n", "show", "cluster").returncode == 0, "slurmdbd")
        assert self.ask("sacctmgr", "-i", "add", "cluster", "openrlb").returncode == 0

    def start_node(self, node: str) -> None:
        """Starts a node's daemon."""
        self._start("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> None:
        """Ends a node as a power cut does: its daemon and everything that runs there, at once."""
        import psutil

        daemon = self.daemons.pop(node)
        daemon.kill()
        daemon.wait()
        self.kill_step_daemons(node)  # first: one that outlives its job tells how that ended
        marks = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.configuration}".encode()}
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError, psutil.Error):
                if marks <= set(path.read_bytes().split(b"\0")):
                    psutil.Process(int(path.parent.name)).kill()

    def kill_step_daemons(self, *nodes: str) -> int:
        """Ends the daemons of job steps, and nothing of the jobs themselves; returns how many there were.

        Args:
            *nodes: On which nodes; on all by default.
        """
        import psutil

        count = 0
        for process in psutil.process_iter(["cmdline"]):
            command = (process.info["cmdline"] or [""])[0]
            if "slurmstepd" in command and any(self._is_mine(process.pid, node) for node in nodes or NODES):
                with suppress(psutil.Error):
                    process.kill()
                    count += 1
        return count

    def _is_mine(self, pid: int, node: str) -> bool:
        """Whether a step daemon belongs to a node of this cluster: it holds a file of the node's spool open."""
        with suppress(OSError):
            places = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
            return any(place.startswith(str(self.folder / f"spool.{node}")) or f"slurmd.{node}." in place for place in places)
        return False

    def states(self) -> dict[str, int]:
        """How many nodes are in which state."""
        rows = self.ask("sinfo", "-h", "-p", "main", "-o", "%T %D").stdout.split()
        return {state: int(count) for state, count in zip(rows[::2], rows[1::2], strict=True)}

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of SLURM's commands."""
        return subprocess.run(words, capture_output=True, text=True, env=self._variables, timeout=60)

    def stop(self) -> None:
        """Ends every job, then every daemon, the last one first."""
        if "slurmctld" in self.daemons:
            with suppress(subprocess.TimeoutExpired):
                self.ask("scancel", "--full", "--signal=KILL", "--user=root")
                self.ask("scancel", "--user=root")
        for name in reversed(list(self.daemons)):
            daemon = self.daemons.pop(name)
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start(self, program: str, *words: str, name: str = "") -> None:
        """Starts a daemon in the foreground, as a child in a session of its own."""
        with (self.folder / f"{name or program}.out").open("ab") as out:
            self.daemons[name or program] = subprocess.Popen(
                [_program(program) or program, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._variables,
                start_new_session=True,
                cwd=self.folder,
            )

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until something holds; says what the logs say where it never does."""
        deadline = time.monotonic() + 60
        while not holds():
            ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = [path.read_text(errors="replace")[-600:] for path in self.folder.glob("*.log")]
                outs = [path.read_text(errors="replace")[-600:] for path in self.folder.glob("*.out")]
                raise RuntimeError(f"{what}: not there; ended: {ended}\n" + "\n".join(logs + outs))
            time.sleep(0.05)


_MUNGE_FILES = {
    "key-file": ".key",
    "socket": ".sock",
    "pid-file": "d.pid",
    "log-file": "d.log",
    "seed-file": ".seed",
}


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _program(name: str) -> str | None:
    """Where a program lies; daemons are not on every path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


@contextmanager
def slurm_cluster(*, accounting: bool = False, remembered: int = 600) -> Iterator[SlurmCluster]:
    """A running cluster; the test is skipped, with the reason, where there can be none.

    Args:
        accounting: Whether a slurmdbd with a MariaDB of its own stands behind it.
        remembered: For how many seconds the controller remembers a job that is over.
    """
    wanted = (*PROGRAMS, *(("slurmdbd", "mariadbd", "mariadb-install-db") if accounting else ()))
    if missing := [name for name in wanted if _program(name) is None]:
        pytest.skip(f"SLURM is not installed here: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("SLURM's daemons start jobs as root, and this is another user")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munged refuses a socket that others cannot reach
    cluster = SlurmCluster(folder, accounting=accounting, remembered=remembered)
    before = {name: os.environ.get(name) for name in ("SLURM_CONF",)}
    try:
        try:
            cluster.start()
        except RuntimeError as error:
            pytest.skip(f"SLURM does not start here: {error}")
        os.environ["SLURM_CONF"] = str(cluster.configuration)
        yield cluster
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
