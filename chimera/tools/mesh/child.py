"""Start a tool server that cannot outlive Chimera: ``python -I -S child.py PARENT_PID LOG MEMORY_MB COMMAND...``.

Runs as a plain file on the standard library alone, so that it costs about 20 ms. On Linux it starts the server and
stays beside it: the kernel tells it when the thread that started it is gone (prctl(2), PR_SET_PDEATHSIG), and makes
what the server started and left behind its own children (PR_SET_CHILD_SUBREAPER), so that it can end all of them, and
does when the server has ended. Elsewhere it becomes the server by exec, which has to notice the end of its input by
itself. The server's standard error goes to LOG. Each of its processes may use so much memory, on Linux.
"""

import ctypes
import os
import resource
import signal
import sys
import time

LOG_MAX_BYTES = 1_000_000
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 1.5
"""After so long a server that was asked to end is made to; the SDK, which asks, kills us half a second later."""
_GENERATIONS = 100
_ENDINGS = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
_HEARD = {*_ENDINGS, signal.SIGCHLD}
CANNOT_EXECUTE = 127


def tie_to(parent: int, told_by: int) -> None:
    """Ask the kernel for the signal ``told_by`` when ``parent`` ends.

    Raises:
        OSError: the kernel refused.
        SystemExit: the parent was gone before the tie was made.
    """
    ask_kernel(PR_SET_PDEATHSIG, told_by)
    if os.getppid() != parent:
        raise SystemExit(CANNOT_EXECUTE)


def ask_kernel(option: int, value: int) -> None:
    """Set an attribute of this process (prctl(2)).

    Raises:
        OSError: the kernel refused.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


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
    """Redirect, start the command, and see to its end. Does not return."""
    parent, log, megabytes, command = int(arguments[0]), arguments[1], int(arguments[2]), arguments[3:]
    send_errors_to(log)
    limit_memory(megabytes)
    if sys.platform == "linux":
        attend(parent, command)
    if os.getppid() != parent:
        raise SystemExit(CANNOT_EXECUTE)
    become(command)


def become(command: list[str]) -> None:
    """Be the server. Does not return."""
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and what is ignored stays ignored across exec
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        raise SystemExit(CANNOT_EXECUTE) from None


def attend(parent: int, command: list[str]) -> None:
    """Start the server and stay until nothing of it is left. Does not return."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    ask_kernel(PR_SET_CHILD_SUBREAPER, 1)
    tie_to(parent, signal.SIGTERM)
    own = os.getpid()
    server = os.fork()
    if server == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        tie_to(own, signal.SIGKILL)
        become(command)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for end in (0, 1):  # else the end of the server would not be the end of its output
        os.dup2(nowhere, end)
    code = until_over(parent, server)
    end_all()
    raise SystemExit(code)


def until_over(parent: int, server: int) -> int:
    """Wait until the server has ended, or has to: its exit code, or the signal's as a shell writes it."""
    deadline: float | None = None
    while True:
        left = 3_600.0 if deadline is None else max(0.0, deadline - time.monotonic())
        heard = signal.sigtimedwait(_HEARD, left)
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == server:
                code = os.waitstatus_to_exitcode(ended[1])
                return code if code >= 0 else 128 - code
        if heard is not None and heard.si_signo in _ENDINGS:
            if os.getppid() != parent:
                return 128 + signal.SIGKILL
            deadline = deadline or time.monotonic() + GRACE_S
        if deadline is not None and time.monotonic() >= deadline:
            return 128 + signal.SIGKILL


def end_all() -> None:
    """Kill all children, then theirs, which are ours by then, until there are none that may be killed."""
    for _ in range(_GENERATIONS):
        if not [child for child in children() if killed(child)]:
            return
        os.waitpid(-1, 0)


def killed(process: int) -> bool:
    """Whether a process could be killed."""
    try:
        os.kill(process, signal.SIGKILL)
    except OSError:
        return False
    return True


def children() -> list[int]:
    """The processes whose parent is this one (proc_pid_stat(5))."""
    own, found = str(os.getpid()).encode(), list[int]()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = file.read().rpartition(b")")[2].split()[1]
        except OSError:
            continue  # it has ended meanwhile
        if parent == own:
            found.append(int(name))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
