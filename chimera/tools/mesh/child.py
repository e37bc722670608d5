"""Start a tool server that cannot outlive Chimera: ``python -I -S child.py PARENT_PID LOG MEMORY_MB COMMAND...``.

Runs as a plain file on the standard library alone, so that it costs about 20 ms, and then becomes the server by exec.
On Linux the kernel kills the server when the thread that started it is gone (prctl(2), PR_SET_PDEATHSIG); elsewhere
a server has to notice the end of its input by itself. The server's standard error goes to LOG. Each of its processes
may use so much memory, on Linux.
"""

import ctypes
import os
import resource
import signal
import sys

LOG_MAX_BYTES = 1_000_000
PR_SET_PDEATHSIG = 1
CANNOT_EXECUTE = 127


def tie_to(parent: int) -> None:
    """Ask the kernel to kill this process when ``parent`` ends.

    Raises:
        OSError: the kernel refused.
        SystemExit: the parent was gone before the tie was made.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    if os.getppid() != parent:
        raise SystemExit(CANNOT_EXECUTE)


def limit_memory(megabytes: int) -> None:
    """Bound what the server and each process it starts can allocate.

    RLIMIT_DATA and not RLIMIT_AS: runtimes such as Node reserve far more addresses than they ever use. The kernel
    counts private writable memory by it (getrlimit(2), since Linux 4.7).
    """
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = megabytes * 1024 * 1024
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def send_errors_to(log: str) -> None:
    """Make ``log`` the standard error, emptied when it has grown too large; nowhere if it cannot be written."""
    try:
        os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        if os.fstat(target).st_size > LOG_MAX_BYTES:
            os.ftruncate(target, 0)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, 2)


def main(arguments: list[str]) -> None:
    """Tie, redirect, and become the command. Does not return."""
    parent, log, megabytes, command = int(arguments[0]), arguments[1], int(arguments[2]), arguments[3:]
    send_errors_to(log)
    limit_memory(megabytes)
    tie_to(parent)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and what is ignored stays ignored across exec
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        raise SystemExit(CANNOT_EXECUTE) from None


if __name__ == "__main__":
    main(sys.argv[1:])
