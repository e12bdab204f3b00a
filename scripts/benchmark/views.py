"""What viewers cost: `scripts/bench views [--viewers N] [--seconds N] [--drives N] [--rounds N] [--scratch FOLDER]`.

First the gate alone, with a stand-in in the daemon's place that tells of 24 drives being written, five times a second: the
gate's processor time and what each viewer gets, with so many viewers less with none. Then a station that images drives in
memory, in turns without and with so many viewers. Viewers only read, in one process, which is on the same machine and counts
for the slow-down, too. Needs root, as loop drives do, and a machine that has nothing else to do.
"""

import argparse
import contextlib
import json
import os
import pathlib
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from drives import MIB, TICKS, Bays, output
from station import Station

BUILT = pathlib.Path(__file__).resolve().parents[2] / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
MOST_CPU_PERCENT, MOST_KIB, MOST_SLOWER_PERCENT = 0.5, 20, 1.0
RACK = 24


def snapshot(step):
    """A station with 24 drives at work, a moment later with each step."""
    drives = [
        {
            "serial": f"S4EVNX0MA{at:03}", "bay": f"bay {at + 1}", "device": f"/dev/sd{at}", "model": "Samsung SSD 870",
            "bus": "ata", "size_bytes": 512110190592, "state": "writing", "attempt": 1,
            "percent": (step / 7 + 3 * at) % 100, "bytes_per_second": 480000000 + 1000000 * ((step + at) % 40),
            "eta_seconds": 60 - (step + at) % 60, "verdict": None, "reason": None, "warnings": [],
            "job": f"01989a3c-5a7e-7c3f-9d11-0242ac1200{at:02}",
        }
        for at in range(RACK)
    ]  # fmt: skip
    bays = [{"name": f"bay {at + 1}", "path": f"pci-0000:03:00.0-ata-{at + 1}"} for at in range(RACK)]
    return {
        "station": "rack-03", "version": "bench", "armed": True, "draining": False, "media": [], "masters": [],
        "presses": [], "drives": drives, "devices": [], "bays": bays,
    }  # fmt: skip


def teller(path):
    """Answers on a socket as the daemon does."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer(stream):
        with stream, contextlib.suppress(OSError):
            asked = stream.recv(65536).split(b" ")[1]
            head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n"
            if asked != b"/v1/events":
                body = json.dumps(snapshot(0)).encode() if asked == b"/v1/status" else b"[]"
                stream.sendall(head + f"content-length: {len(body)}\r\n\r\n".encode() + body)
                return
            stream.sendall(head + b"\r\n")
            step = 0
            while True:
                stream.sendall(json.dumps(snapshot(step)).encode() + b"\n")
                step += 1
                time.sleep(0.2)

    def accept():
        while True:
            threading.Thread(target=answer, args=[listener.accept()[0]], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def gate(folder, view):
    """A gate that looks through this socket; its process and its port."""
    port, config = free_port(), folder / "gate.toml"
    config.write_text(f'[control]\nview_socket = "{view}"\n[gate]\nlisten = "127.0.0.1:{port}"\n')
    program = subprocess.Popen([BUILT / "prestaged-gate", "--config", config], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield program, port
    finally:
        program.terminate()
        program.wait()


class Viewers:
    """So many pages that follow the station: a process of its own, which says at its end how much it has read."""

    def __init__(self, port, count):
        words = [sys.executable, "-B", __file__, "--follow", str(port), "--viewers", str(count)]
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.child.stdout.readline()  # All are connected.

    def end(self):
        told, _ = self.child.communicate()
        return int(told)


def follow(port, count):
    streams = selectors.DefaultSelector()
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(f"GET /live?wall=true HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n".encode())
        streams.register(stream, selectors.EVENT_READ)
    print("connected", flush=True)
    streams.register(sys.stdin, selectors.EVENT_READ)
    read = 0
    while True:
        for key, _ in streams.select():
            if key.fileobj is sys.stdin:
                print(read)
                return
            read += len(key.fileobj.recv(1 << 16))


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


def cost(options, folder):
    """What each viewer takes of the gate: percent of a core, and KiB a second."""
    view = folder / "teller.sock"
    teller(view)
    with gate(folder, view) as (program, port):
        time.sleep(2)
        took = {}
        for viewers in (0, options.viewers):
            audience = Viewers(port, viewers) if viewers else None
            time.sleep(2)
            before, start = cpu(program.pid), time.monotonic()
            time.sleep(options.seconds)
            took[viewers] = (cpu(program.pid) - before) / (time.monotonic() - start)
            read = audience.end() if audience else 0
        # The connections were open for two seconds before.
        rate = read / options.viewers / (options.seconds + 2) / 1024
        return 100 * took[0], 100 * (took[options.viewers] - took[0]) / options.viewers, rate


def slower(options, folder):
    """How long imaging takes without viewers and with them, in turns."""
    inbox = folder / "inbox"
    inbox.mkdir()
    media = inbox / "sample.wim"
    output(BUILT / "examples/sample-media", media, "2000", str(options.megabytes))
    size = (options.megabytes * 115 // 100 + 512) * MIB
    with contextlib.ExitStack() as stack:
        bays = Bays(stack, folder / "drives", size, options.drives, None)
        station = stack.enter_context(Station(BUILT, folder, inbox, bays))
        station.prepare(media.name)
        _, port = stack.enter_context(gate(folder, folder / "view.sock"))
        station.measure(options.drives, first=False)
        seconds = {False: [], True: []}
        for number in range(options.rounds):
            # Whoever is second finds a warmer machine.
            for watched in (False, True) if number % 2 == 0 else (True, False):
                audience = Viewers(port, options.viewers) if watched else None
                seconds[watched].append(station.measure(options.drives, first=False)["whole_seconds"])
                if audience:
                    audience.end()
        return seconds


def judged(value, most):
    return f"{value:.2f}, target {most}: {'reached' if value <= most else 'NOT reached'}"


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench views")
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--drives", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--scratch", default=None, help="where the work folder is made; default $TMPDIR or /tmp")
    parser.add_argument("--follow", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        return follow(options.follow, options.viewers)
    with tempfile.TemporaryDirectory(prefix="prestaged-views-", dir=options.scratch) as work:
        os.chmod(work, 0o755)
        alone, each, rate = cost(options, pathlib.Path(work))
        print(f"gate at {RACK} drives, {options.viewers} viewers; on this machine, with a load of {os.getloadavg()[0]:.1f}")
        print(f"  without viewers (% of a core)            {alone:.2f}")
        print(f"  a viewer (% of a core)                   {judged(each, MOST_CPU_PERCENT)}")
        print(f"  a viewer (KiB/s)                         {judged(rate, MOST_KIB)}", flush=True)
        if options.rounds:
            seconds = slower(options, pathlib.Path(work))
            without, watched = (statistics.median(seconds[key]) for key in (False, True))
            print(f"imaging {options.drives} drives, {options.rounds} rounds in turns: least, median, greatest")
            for key, name in (False, "without viewers (s)"), (True, f"with {options.viewers} viewers (s)"):
                told = min(seconds[key]), statistics.median(seconds[key]), max(seconds[key])
                print(f"  {name:40} {told[0]:.2f}, {told[1]:.2f}, {told[2]:.2f}")
            print(f"  slower by (%)                            {judged(100 * (watched / without - 1), MOST_SLOWER_PERCENT)}")


if __name__ == "__main__":
    main()
