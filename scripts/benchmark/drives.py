"""Loop drives, the limit that is put on them, and the shell."""

import contextlib
import dataclasses
import fcntl
import itertools
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


class Cannot(Exception):
    """Something that this machine has not got; said loudly, and the rest goes on."""


def output(*words):
    """Runs a short command; returns what it prints."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def parallel(commands):
    """Runs shell commands at once; returns the seconds until the last one ended, and what each printed."""
    running, start = [], time.monotonic()
    try:
        for command in commands:
            out, err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
            words = ["bash", "-o", "errexit", "-o", "pipefail", "-c", command]
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            running.append((command, child, out, err))
        for _, child, *_ in running:
            child.wait()
    finally:
        for _, child, *_ in running:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    seconds, printed = time.monotonic() - start, []
    for command, child, out, err in running:
        with out, err:
            out.seek(0)
            err.seek(0)
            if child.returncode:
                raise RuntimeError(f"`{command}` failed ({child.returncode}): {err.read()[-2000:]}")
            printed.append(out.read())
    return seconds, printed


def busy_seconds():
    """How long this machine's cores have been busy, all together."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def mounted(kind, option):
    """Where a file system of a kind is mounted with an option."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, found, options, *_ = line.split()
        if found == kind and option in options.split(","):
            return Path(place)
    return None


class Throttle:
    """Holds devices to a rate by rules of the kernel's block I/O controller.

    The rules are those of one control group, and this process joins it with all that it starts. With cgroup v1 that
    is the root group: what tools write through the page cache is written out by kernel threads, which live
    there, and must not go around the limit. With v2 the page cache knows whose the bytes are.
    """

    def __init__(self, stack, folder, rate):
        self.rate = rate
        own = {}
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            own.update({name: path.lstrip("/") for name in names.split(",")})
        second = mounted("cgroup2", "rw")
        if place := mounted("cgroup", "blkio"):
            self._join(stack, place, place / own["blkio"])
        elif second and "io" in (second / "cgroup.controllers").read_text().split():
            group, switch = second / f"prestaged-bench-{os.getpid()}", second / "cgroup.subtree_control"
            if "io" not in switch.read_text().split():
                stack.callback(switch.write_text, "-io")
                switch.write_text("+io")
            stack.callback(lambda: group.exists() and group.rmdir())
            group.mkdir()
            self._join(stack, group, second / own[""])
        else:
            place = folder / "blkio"
            place.mkdir()
            stack.callback(lambda: place.is_mount() and output("umount", place))
            try:
                output("mount", "-t", "cgroup", "-o", "blkio", "prestaged-bench", place)
            except RuntimeError as error:
                raise Cannot(f"no control group for block I/O: {error}") from error
            self._join(stack, place, place)

    def _join(self, stack, group, home):
        self.group = group
        stack.callback((home / "cgroup.procs").write_text, str(os.getpid()))
        (group / "cgroup.procs").write_text(str(os.getpid()))

    def limit(self, device):
        self._rule(device, self.rate, self.rate)

    def lift(self, device):
        self._rule(device, 0, "max")

    def _rule(self, device, first, second):
        number = Path("/sys/class/block", Path(device).name, "dev").read_text().strip()
        if (both := self.group / "io.max").exists():
            both.write_text(f"{number} rbps={second} wbps={second}")
            return
        for what in "read", "write":
            (self.group / f"blkio.throttle.{what}_bps_device").write_text(f"{number} {first}")


LOOP, FIRST_NUMBER = "/dev/loop", 5000
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81  # <linux/loop.h>


def loop_control(request, number):
    with open("/dev/loop-control", "rb") as control:
        fcntl.ioctl(control, request, number)


def new_loop_device():
    for number in itertools.count(FIRST_NUMBER):
        with contextlib.suppress(FileExistsError):
            loop_control(LOOP_CTL_ADD, number)
            return f"{LOOP}{number}"


def patiently(action):
    """Does something that may have to wait for others to let go of a device."""
    until = time.monotonic() + 10
    while True:
        try:
            return action()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


@dataclasses.dataclass
class Drive:
    """A loop device and the file that it shows."""

    device: str
    file: Path

    def sysfs(self, name):
        return Path("/sys/class/block", Path(self.device).name, name)

    def is_attached(self):
        return self.sysfs("loop/backing_file").exists()

    def check_detached(self):
        if self.is_attached():
            raise BlockingIOError(f"{self.device} is still attached: something holds it open")

    def detach(self):
        if self.is_attached():
            output("losetup", "--detach", self.device)
            patiently(self.check_detached)


class Bays:
    """Loop drives that can be attached and detached. Each time they have new names, so that a station takes them for
    other drives.

    What is measured shall be drives, not how fast the kernel, or a hypervisor, finds room for them. So the files are
    written once from end to end and used again, and the devices do not discard, which would give the room back.
    Such a device cannot be told to discard again: so these are no devices that others could get, but new ones
    with high numbers, which are removed in the end.
    """

    def __init__(self, stack, folder, size, count, throttle):
        self.folder, self.size, self.throttle = folder, size, throttle
        self.names, self.direct, self.drives = 0, True, []
        folder.mkdir()
        for number in range(count):
            drive = Drive(new_loop_device(), folder / f"{number}.img")
            stack.callback(self._remove, drive)
            self._fill(drive)
            if throttle:
                throttle.limit(drive.device)
            self.drives.append(drive)
        with self.attached(count, "first-"):
            pass

    def _remove(self, drive):
        drive.detach()
        if self.throttle:
            self.throttle.lift(drive.device)
        patiently(lambda: loop_control(LOOP_CTL_REMOVE, int(drive.device.removeprefix(LOOP))))

    def _fill(self, drive):
        words = "dd", "if=/dev/zero", f"of={drive.file}", "bs=1M", f"count={self.size // MIB}", "conv=notrunc,fsync"
        output(*words, "status=none")

    def next_names(self, count, prefix):
        """The serial numbers of the drives that are attached next."""
        return [f"{prefix}{self.names + 1 + at:04}" for at in range(count)]

    @contextlib.contextmanager
    def attached(self, count, prefix):
        names, drives = self.next_names(count, prefix), self.drives[:count]
        self.names += count
        try:
            for name, drive in zip(names, drives):
                drive.file = drive.file.rename(self.folder / f"{name}.img")
                self._attach(drive)
            yield [drive.device for drive in drives]
        finally:
            for drive in drives:
                self._detach(drive)

    def _attach(self, drive):
        try:
            output("losetup", "--direct-io=on", drive.device, drive.file)
        except RuntimeError:
            # Files in a tmpfs of an older kernel have no direct I/O.
            output("losetup", drive.device, drive.file)
        self.direct &= drive.sysfs("loop/dio").read_text().strip() == "1"
        if int(drive.sysfs("queue/discard_max_bytes").read_text()):
            drive.sysfs("queue/discard_max_bytes").write_text("0")

    def _detach(self, drive):
        drive.detach()
        if drive.file.stat().st_blocks * 512 < self.size:
            # Older kernels forget at each attaching that there is to be no discarding, and one came first.
            self._fill(drive)
