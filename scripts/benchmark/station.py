"""The station under measurement: the real daemon, with folders and bays of its own."""

import contextlib
import datetime
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import time
from pathlib import Path

from drives import TICKS, busy_seconds, output, parallel

CONFIGURATION = """
[station]
name = "bench"
[media]
inbox = "{inbox}"
[store]
path = "{folder}/store"
press_ahead = false
[ledger]
path = "{folder}/ledger.db"
[control]
socket = "{folder}/socket"
view_socket = "{folder}/view.sock"
[admission]
armed = true
buses = ["loop"]
bays = ["loop-{prefix}*"]
overwrite = "any"
[replicate]
memory = "512MiB"
[[layout]]
name = "bench"
boot = "prestaged"
partitions = [ {{ type = "esp", size = "100MiB" }}, {{ type = "msr", size = "16MiB" }},
    {{ type = "windows", size = "rest" }} ]
"""


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


class Station:
    """The daemon, while it runs."""

    def __init__(self, programs, folder, inbox, bays):
        # No station but this one has bays that match, and this one has no others.
        self.programs, self.bays, self.prefix = programs, bays, f"bench{os.getpid()}-"
        self.socket, self.log, self.configuration = folder / "socket", folder / "log", folder / "station.toml"
        text = CONFIGURATION.format(folder=folder, inbox=inbox, prefix=self.prefix)
        self.configuration.write_text(text)

    def __enter__(self):
        words = [self.programs / "prestaged", "--config", self.configuration]
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_):
        # The first signal lets drives finish, the second stops them.
        for number, patience in (signal.SIGTERM, 1), (signal.SIGTERM, 15), (signal.SIGKILL, None):
            if self.daemon.poll() is None:
                self.daemon.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.daemon.wait(patience)

    def control(self, *words):
        return json.loads(output(self.programs / "prestagectl", "--socket", self.socket, "--json", *words))

    def status(self):
        """What `prestagectl status` shows. Asked for directly: a program started for every look costs too much."""
        connection = Unix(str(self.socket))
        try:
            connection.request("GET", "/v1/status")
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def watch(self, done):
        """Looks at the status until `done(status)`. Returns when a press began, had applied, and ended, and the most
        memory its worker had."""
        press, until = {}, time.monotonic() + 3600
        while True:
            time.sleep(0.05)
            if self.daemon.poll() is not None or time.monotonic() > until:
                raise self.failure("the daemon has ended, or nothing has come of it for an hour")
            try:
                status = self.status()
            except OSError:
                # It is still starting.
                continue
            for found in status["presses"]:
                if found["state"] == "failed":
                    raise self.failure(found["error"])
                press.setdefault("began", time.monotonic())
                press["peak"] = max(press.get("peak", 0), *map(peak_bytes, children(self.daemon.pid)), 0)
                if found["step"] == "hashing":
                    press.setdefault("applied", time.monotonic())
            if press and not status["presses"]:
                press.setdefault("ended", time.monotonic())
            if done(status):
                return press

    def failure(self, what):
        return RuntimeError(f"prestaged: {what}\n{self.log.read_text()[-3000:]}")

    def prepare(self, media):
        """Waits for the media, presses a master, and returns how many bytes it puts on a drive."""

        def valid(status):
            for found in status["media"]:
                if found["state"] == "invalid":
                    raise self.failure(found["problems"])
            return [found["state"] for found in status["media"]] == ["valid"]

        self.watch(valid)
        self.control("master", "press", "--media", media, "--size", str(self.bays.size))
        own = lambda status: [m for m in status["masters"] if m["size_bytes"] == self.bays.size]
        self.watch(lambda status: own(status) and not status["presses"])
        return own(self.status())[0]["payload_bytes"]

    def remove(self, master):
        """Removes a master. One that was derived may be gone with its base."""
        with contextlib.suppress(RuntimeError):
            self.control("master", "remove", master["id"])

    def derive(self, media):
        """Has a master made for a drive of another size than there are; how long that takes, and what it takes of the
        store."""

        def make(size):
            start = time.monotonic()
            self.control("master", "press", "--media", media, "--size", str(size))
            self.watch(lambda status: any(master["size_bytes"] == size for master in status["masters"]))
            return time.monotonic() - start

        names = lambda: {master["id"] for master in self.status()["masters"]}
        own = names()
        # The bench's drives may be smaller than the base of all larger ones, which is pressed for the first of those.
        make(self.bays.size + 2**30)
        earlier = names()
        seconds, masters = make(self.bays.size + 77 * 512 + 2 * 2**30), self.status()["masters"]
        for master in masters:
            if master["id"] not in own:
                self.remove(master)
        return {
            "derive_seconds": seconds,
            "derived_bytes": sum(master["allocated_bytes"] for master in masters if master["id"] not in earlier),
            "base_bytes": max(master["allocated_bytes"] for master in masters),
        }

    def audit(self, media, payload):
        """Compares a drive with the media, and reads as many bytes of it as the media put there."""
        bays = self.bays
        serials = set(bays.next_names(1, self.prefix))
        with bays.attached(1, self.prefix) as [device]:
            self.watch(lambda status: judged(status, waiting=False) >= serials)
            start = time.monotonic()
            found = self.control("audit", device, "--media", media)
            seconds = time.monotonic() - start
            if found["verdict"] != "same":
                raise self.failure(json.dumps(found))
            words = f"dd if={device} iflag=direct,count_bytes bs=4M count={payload} of=/dev/null status=none"
            read, _ = parallel([words])
        return {"audit_seconds": seconds, "read_seconds": read}

    def measure(self, count, first):
        """Images some drives at once, with a master at hand or with pressing one first."""
        bays, pid = self.bays, self.daemon.pid
        if first:
            # What is derived goes with its base, so the base, which is the smallest, goes last.
            for master in sorted(self.status()["masters"], key=lambda master: -master["size_bytes"]):
                self.remove(master)
        serials = set(bays.next_names(count, self.prefix))
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # starts VmHWM anew
        # All at once, as the others: drives wait until the station is armed.
        self.control("disarm")
        with bays.attached(count, self.prefix):
            self.watch(lambda status: judged(status) >= serials)
            before, start = Counters(pid, self.status()), time.time()
            self.control("arm")
            press = self.watch(lambda status: judged(status, waiting=False) >= serials)
            after, peak = Counters(pid, self.status()), peak_bytes(pid)
            records = [record for record in self.control("records") if record["serial"] in serials]
        for record in records:
            if record["verdict"] != "passed":
                raise self.failure(record["reason"])
        figures = phases(records, start)
        gigabytes = sum(record["written_bytes"] for record in records) / 1e9
        figures["cpu_seconds_per_gb"] = (after.cpu - before.cpu) / gigabytes
        figures["busy_seconds_per_gb"] = (after.busy - before.busy) / gigabytes
        figures["peak_bytes"] = peak
        if first:
            figures["press_seconds"] = press["ended"] - press["began"]
            figures["applied_seconds"] = press.get("applied", press["ended"]) - press["began"]
            figures["worker_peak_bytes"] = press["peak"]
        elif after.store is not None:
            figures["store_bytes"] = after.store - before.store
        else:
            verified = sum(record["verified_bytes"] for record in records)
            figures["store_bytes"] = after.read - before.read - verified
        return figures


def judged(status, waiting=True):
    """The serial numbers of drives with a verdict, those included or not that wait for the station to be armed."""
    found = [d for d in status["drives"] if d["verdict"]]
    return {d["serial"] for d in found if waiting or (d["reason"] or {}).get("code") != "not_armed"}


class Counters:
    """What the kernel and the daemon have counted so far."""

    def __init__(self, pid, status):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu = sum(map(int, fields[11:15])) / TICKS  # user and system time, also of children that have ended
        self.busy = busy_seconds()
        self.read = int(re.search(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text())[1])
        self.store = status.get("store_read_bytes")


def phases(records, start):
    """What the records of one measurement say of its phases. Between read-back and closing a drive is committed, which
    takes but a moment, and the same one for all."""
    write_begin, read_begin, closed, alone = [], [], [], []
    for record in records:
        opened, end = (datetime.datetime.fromisoformat(record[key]).timestamp() for key in ("opened", "closed"))
        closed.append(end)
        read_begin.append(end - record["verified_bytes"] / record["verify_bytes_per_second"])
        write_begin.append(read_begin[-1] - record["written_bytes"] / record["write_bytes_per_second"])
        alone.append(end - opened)
    write, read = max(read_begin) - min(write_begin), max(closed) - min(read_begin)
    return {
        "write_seconds": write,
        "readback_seconds": read,
        "whole_seconds": max(closed) - start,
        "write_rate": sum(record["written_bytes"] for record in records) / write,
        "readback_rate": sum(record["verified_bytes"] for record in records) / read,
        "drive_seconds": statistics.mean(alone),
    }


def children(pid):
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from task.read_text().split()


def peak_bytes(pid):
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()):
            return int(found[1]) * 1024
    return 0
