"""Keep one daemon and everything that it starts, until a line on standard input or the owner's death: then kill it all.

Linux hands orphans to their nearest ancestor that asked for them. So whatever a node starts, however detached, stays
below its keeper, and ending the keeper is pulling the node's plug.

    python keeper.py LINK COMMAND...     LINK is removed at the end; "-" for none
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36


def end_when_told(link: Path, folder: Path) -> None:
    """Wait for the owner's word or end, then kill until nothing is left."""
    sys.stdin.readline()
    # By now it may lead to another cluster.
    with suppress(OSError):
        if link.readlink().parent == folder:
            link.unlink()
    while descendants := psutil.Process().children(recursive=True):
        for process in descendants:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def main() -> None:
    """Adopt, start, and bury the dead: the last one ends this process."""
    link, folder, *command = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=end_when_told, args=[Path(link), Path(folder)], daemon=True).start()
    with suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
