"""Which file system a folder is on, and whom its file locks keep out: every machine, or only processes of this one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

LOCAL = frozenset(
    "ext2 ext3 ext4 xfs btrfs zfs f2fs jfs nilfs2 bcachefs tmpfs ramfs overlay vfat exfat ntfs3 fuseblk apfs hfsplus".split()
)
"""Disks of this machine: nobody else sees them."""
EVERYWHERE = frozenset("nfs nfs4 lustre ceph gpfs gfs2 ocfs2 cifs smb3 fuse.glusterfs fuse.ceph-fuse".split())
"""Shared file systems whose locks keep other machines out, unless they were mounted otherwise."""
HERE_ONLY = {
    "nfs": re.compile(r"nolock|local_lock=(all|flock)"),
    "nfs4": re.compile(r"local_lock=(all|flock)"),
    "lustre": re.compile(r"localflock"),
    "cifs": re.compile(r"nobrl"),
    "smb3": re.compile(r"nobrl"),
}
"""Mount options that keep locks on this machine (nfs(5), mount.lustre(8), mount.cifs(8))."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of the mount table.

    Attributes:
        place: The folder it is mounted at.
        kind: The file system's name.
        options: Its options, separated by commas.
        source: What is mounted.
    """

    place: str
    kind: str
    options: str = ""
    source: str = ""

    @property
    def local(self) -> bool:
        """Whether it is a disk of this machine."""
        return self.kind in LOCAL

    @property
    def here_only(self) -> str | None:
        """The option that keeps its locks on this machine; None where there is none, or it is not known.

        >>> Mount("/lab", "nfs4", "rw,vers=4.2,local_lock=none").here_only
        >>> Mount("/lab", "nfs", "rw,vers=3,nolock,local_lock=all").here_only
        'nolock'
        """
        rule = HERE_ONLY.get(self.kind)
        return next((one for one in self.options.split(",") if rule and rule.fullmatch(one)), None)

    @property
    def unknown(self) -> bool:
        """Whether nothing tells if its locks keep other machines out: most of what is mounted through FUSE."""
        return not self.local and self.kind not in EVERYWHERE


def mount_of(folder: Path, table: str | None = None) -> Mount | None:
    r"""The mount that a folder is on; None where the system does not tell.

    Args:
        folder: The folder; links in it are followed.
        table: The mount table in the form of ``/proc/self/mountinfo`` (proc(5)); the system's own by default.

    >>> mount_of(Path("/lab/x"), "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / /lab rw - nfs4 s:/lab rw,local_lock=none").kind
    'nfs4'
    """
    if table is None:
        try:
            table = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    place = os.path.realpath(folder)
    found: Mount | None = None
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields, told = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(told) < 3:
            continue
        where = _plain(fields[4])
        inside = place == where or place.startswith(where.rstrip("/") + "/")
        if inside and (found is None or len(where) >= len(found.place)):  # of two at one place the later one is seen
            found = Mount(where, told[0], f"{fields[5]},{told[2]}", _plain(told[1]))
    return found


def _plain(text: str) -> str:
    r"""A path of the mount table, in which blanks are written as ``\040``.

    >>> _plain(r"/my\040disk")
    '/my disk'
    """
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)
