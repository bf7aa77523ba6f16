"""Stop all processes of a run when one of them has ended, instead of waiting for it forever.

Every rank keeps a connection to rank 0, on which nothing is sent during normal operation. When a process is
killed, its operating system closes the connection at once; when a machine is lost, TCP keepalive detects it
within half a minute. As there is no other timer, a long evaluation or a busy process is never mistaken for a
dead one. Rank 0 informs the other ranks.
"""

import atexit
import os
import signal
import socket
import sys
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

# TCP keepalive: a machine counts as lost after 30 s
PROBES = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))
NOTICED = 40  # seconds to wait for the reason of a broken exchange
GRACE = 10  # seconds for an orderly exit once a rank is lost
WATCH, DONE = "lookonce/watch", "done"
GONE = "killed, crashed, or its machine is lost; resume from the last checkpoint"


class Watch:
    """Connection between the processes of a run that ends this process when another one has ended early.

    After a failed exchange, `verdict` returns the reason; a process that is stuck or busy is terminated.
    """

    def __init__(self, rank: int, size: int, store: "Store", joining: float) -> None:
        """Connect to rank 0 or, as rank 0, wait until all others have connected, for `joining` seconds.

        Raises:
            OSError: a rank did not connect.
            RuntimeError: the store cannot be reached.
        """
        self._name = f"rank {rank} of {size}"
        self._verdict, self._lock = "", Lock()
        self._known, self._left = Event(), Event()
        self._peers: list[socket.socket] = []
        if rank == 0:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            with socket.create_server(
                ("", 0), family=family, dualstack_ipv6=both, backlog=size - 1
            ) as server:
                server.settimeout(joining)
                store.set(WATCH, str(server.getsockname()[1]))
                self._peers += [server.accept()[0] for _ in range(size - 1)]
        else:
            first = os.environ["MASTER_ADDR"], int(store.get(WATCH))
            self._peers.append(socket.create_connection(first, joining))
            self._peers[0].settimeout(None)
        here = f"{self._name} (process {os.getpid()} on {socket.gethostname()})"
        for peer in self._peers:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in PROBES:
                if hasattr(socket, option):
                    peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            peer.sendall(f"{here}\n".encode())
            Thread(target=self._listen, args=(peer,), daemon=True).start()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._left.set()
        if error is None:
            self._tell(DONE)
        else:
            self._tell(f"{self._name} ended: {error or type(error).__name__}")
            if hasattr(signal, "alarm"):  # at exit, Python would wait for an exchange without a peer
                atexit.register(signal.alarm, GRACE)

    def verdict(self) -> str:
        """Return which process ended and why; empty if this is not known within `NOTICED` seconds."""
        self._known.wait(NOTICED)
        return self._verdict

    def _listen(self, peer: socket.socket) -> None:
        """Wait until a peer ends, and end this process if the peer failed. Runs in a thread."""
        name, last_words = "a rank", ""
        with suppress(OSError), peer, peer.makefile(encoding="utf-8") as words:
            name = words.readline().strip() or name
            last_words = words.read()
        if last_words != DONE:
            self._end(last_words or f"{name} is gone: {GONE}")

    def _end(self, verdict: str) -> None:
        with self._lock:
            if self._verdict or self._left.is_set():
                return
            self._verdict = verdict
        self._tell(verdict)
        self._known.set()
        if not self._left.wait(GRACE):
            print(f"lookonce: {self._verdict}", file=sys.stderr, flush=True)
            os._exit(2)

    def _tell(self, words: str) -> None:
        """Send a final message to all peers, unless one was sent before."""
        for peer in self._peers:
            with suppress(OSError):
                peer.sendall(words.encode())
                peer.shutdown(socket.SHUT_WR)
