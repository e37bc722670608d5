"""Loads Chimera once, and forks a process for each order: ``nursery.py DESCRIPTOR``; nobody waits for it twice.

DESCRIPTOR is one end of a pair of sockets. An order is a line of JSON: ``{"program": PATH, "order": ORDER}`` has
``live(ORDER, say)`` of that file called, ``{"chimera": ARGUMENTS}`` has the command line run; ``environment`` and
``folder`` are the process's, and descriptors that come with an order are its stdin, stdout and stderr. Each process
leads a group of its own. What is answered are lines of JSON, each with a ``pid``: that it was ``born``, the exit
``code`` that it ``ended`` with, and whatever a program has to ``say``.
"""

import fcntl
import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import sys
import termios
import traceback
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

LOADED = (
    "chimera.cli.main",
    "chimera.cli.commands.run",
    "chimera.cli.working",
    "chimera.fleet.nats_engine",
    "chimera.models.scripted",
    "chimera.swarm",
)


def say(channel: socket.socket, **what: Any) -> None:
    """One line, in one write."""
    channel.sendall(json.dumps(what).encode() + b"\n")


def woken_up(_number: int, _frame: object) -> None:
    """Be told of children that ended: without a handler there is nothing to wake up for."""


def reap(channel: socket.socket) -> None:
    """Tell who has ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            say(channel, pid=ended[0], ended=True, code=os.waitstatus_to_exitcode(ended[1]))


def main(channel: socket.socket) -> None:
    """Fork for each order, until nobody gives any."""
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, woken_up)
    for name in LOADED:
        importlib.import_module(name)
    say(channel, pid=os.getpid(), ready=True)
    unread, received = b"", list[int]()
    while True:
        ready, _, _ = select.select([channel, woken], [], [])
        if woken in ready:
            os.read(woken, 1_000)
            reap(channel)
        if channel not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(channel, 1_000_000, 3)
        if not data:
            return
        unread, received = unread + data, received + descriptors
        if not unread.endswith(b"\n"):
            continue
        asked, unread = json.loads(unread), b""
        if pid := os.fork():
            say(channel, pid=pid, born=True)
        else:
            for end in (woken, waker):
                os.close(end)
            live(channel, asked, received)
        for descriptor in received:
            os.close(descriptor)
        received = []


def live(channel: socket.socket, asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be the process that was asked for."""
    settle(asked, descriptors)
    if "chimera" in asked:
        channel.close()
        sys.argv = ["chimera", *asked["chimera"]]
        runpy.run_module("chimera", run_name="__main__", alter_sys=True)
        sys.exit(0)
    try:
        program(asked["program"]).live(asked["order"], partial(say, channel, pid=os.getpid()))
    except BaseException:  # noqa: BLE001 - it ends here, and must not go on as the process that forks
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def settle(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Give a process what it would have if it had been started by itself."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if descriptors:
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - open until it ends
        if os.isatty(0):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if "environment" in asked:
        os.environ.clear()
        os.environ.update(asked["environment"])
    os.chdir(asked.get("folder", "."))


def program(path: str) -> Any:
    """The module of a file."""
    spec = importlib.util.spec_from_file_location("program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["program"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
