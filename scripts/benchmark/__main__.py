"""Measures prestaged beside what users do today and beside the drives' own limit.

scripts/bench starts this and lists the options. Every round measures each contender once, one after the other, on loop
drives that are made anew for it; what is reported is the median of all rounds, with the least and the greatest.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import report
from contenders import CONTENDERS, contend, fio, fio_sweep, hash_rate, make_source, wimlib
from drives import MIB, Bays, Cannot, Throttle, output
from station import Station

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
HASH_HELPER = PROGRAMS / "examples/hash-rate"
BACKINGS = ["disk", "memory", "throttled"]
PARTS = ["fio", "prestaged", "wimlib", *CONTENDERS]


def say(text=""):
    print(text, flush=True)


def field(path, name):
    """A number of a file such as /proc/meminfo."""
    return int(re.search(rf"^{name}:\s+(\d+)", Path(path).read_text(), re.MULTILINE)[1])


def make_media(options, work):
    """The media, and the size of a drive for it: little more than its contents, so that dd writes little in vain."""
    media = options.media
    if not media:
        say(f"making a sample prestaged WIM: {options.files} files, {options.megabytes} MiB")
        media = work / "sample.wim"
        output(PROGRAMS / "examples/sample-media", media, str(options.files), str(options.megabytes))
    info = output("wimlib-imagex", "info", media, "1")
    total, links = (int(re.search(rf"{key}:\s+(\d+)", info)[1]) for key in ("Total Bytes", "Hard Link Bytes"))
    return media, ((total - links) * 115 // 100 // MIB + 256) * MIB


@contextlib.contextmanager
def backing_folder(backing, work, needed):
    """A folder on the backing, and what the backing is in words."""
    folder = work / backing
    folder.mkdir()
    if backing == "disk":
        kind = output("findmnt", "--noheadings", "--output", "FSTYPE", "--target", work)
        free = shutil.disk_usage(work).free
        if kind == "tmpfs":
            raise Cannot("the scratch folder is in memory; name one on a disk with --scratch")
        if free < needed:
            raise Cannot(f"{needed // MIB} MiB of disk are needed, {free // MIB} free; use --scratch or fewer --drives")
        yield folder, f"files on {kind}"
        return
    free = field("/proc/meminfo", "MemAvailable") * 1024
    if free < needed:
        raise Cannot(f"{needed // MIB} MiB of memory are needed, {free // MIB} free; use fewer --drives")
    try:
        output("mount", "-t", "tmpfs", "-o", f"size={needed}", "prestaged-bench", folder)
        yield folder, "files in memory"
    finally:
        if folder.is_mount():
            output("umount", folder)


def measure(options, backing, work, media, size):
    """All rounds on one backing: what is to know of it, and a list of figures by (contender, drives, metric)."""
    with contextlib.ExitStack() as stack:
        needed = max(options.drives) * size + 5 * size + media.stat().st_size
        folder, words = stack.enter_context(backing_folder(backing, work, needed))
        throttle = None
        if backing == "throttled":
            throttle = Throttle(stack, work, options.rate * MIB)
            words += f", {options.rate} MiB/s per drive"
        say(f"\n{backing}: {words}; preparing")
        inbox = folder / "inbox"
        inbox.mkdir()
        media = Path(shutil.copy(media, inbox))
        source = make_source(folder, media, size)
        bays = Bays(stack, folder / "drives", size, max(options.drives), throttle)
        station = stack.enter_context(Station(PROGRAMS, folder, inbox, bays))
        payload = station.prepare(media.name)
        best, rounds = {}, []
        if "fio" in options.only:
            for count in {min(options.drives), min(4, max(options.drives))}:
                best[count] = fio_sweep(bays, count, min(payload, 256 * MIB), options.small)
        for number in range(options.runs):
            say(f"  round {number + 1} of {options.runs}")
            figures = {}

            def keep(contender, count, found, figures=figures):
                figures.update({(contender, count, metric): value for metric, value in found.items()})

            keep("hash", 0, hash_rate(HASH_HELPER))
            if "wimlib" in options.only:
                keep("wimlib", 1, wimlib(source, folder, size))
            for count in options.drives:
                if "fio" in options.only:
                    keep("fio", count, fio(bays, count, payload, best.get(count) or best[max(best)]))
                if "prestaged" in options.only:
                    keep("first", count, station.measure(count, first=True))
                    keep("next", count, station.measure(count, first=False))
                    if count == min(options.drives):
                        keep("sizes", 1, station.derive(media.name))
                        keep("audit", 1, station.audit(media.name, payload))
                for name in CONTENDERS:
                    if name in options.only:
                        keep(name, count, contend(name, bays, count, source, payload))
            rounds.append(figures)
        return {
            "words": words,
            "rounds": options.runs,
            "drive_bytes": size,
            "payload_bytes": payload,
            "raw_image_allocated_bytes": source.raw_allocated,
            "direct_io": bays.direct,
            "fio_block_mebibytes_and_depth": best,
        }, rounds


def machine():
    """What the figures hold for."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    packages = ["fio", "wimtools", "ntfs-3g", "bmap-tools", "partclone", "coreutils"]
    versions = output("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *packages)
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": field("/proc/meminfo", "MemTotal") * 1024,
        "kernel": platform.release(),
        "packages": dict(line.split() for line in versions.splitlines()),
    }


def bench(options, work):
    options.out.mkdir(parents=True, exist_ok=True)
    media, size = make_media(options, work)
    whole = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "media_bytes": media.stat().st_size,
        "hash": "hash-rate" if HASH_HELPER.exists() else "OpenSSL, one thread per core",
        "backings": {},
        "figures": [],
        "ratios": [],
        "notes": report.NOTES.splitlines(),
    }
    kept = options.out / "bench.json"
    if options.add and kept.exists():
        whole = report.joined(json.loads(kept.read_text()), whole)
    for backing in options.backings:
        try:
            about, rounds = measure(options, backing, work, media, size)
        except Cannot as error:
            say(f"*** CANNOT MEASURE: {backing}: {error} ***")
            continue
        found = {"backings": {backing: about}, "figures": [], "ratios": list(report.judge(backing, rounds))}
        for key in rounds[0]:
            row = dict(zip(("contender", "drives", "metric"), key), backing=backing)
            found["figures"].append(row | report.spread([figures[key] for figures in rounds]))
        whole = report.joined(whole, found)
        say("\n".join(report.table(whole["figures"], whole["ratios"], backing)))
        if not about["direct_io"]:
            say("  The loop devices of this backing have no direct I/O: reads come from the page cache.")
        # After each backing, so that what was measured is kept if the next one cannot be.
        kept.write_text(json.dumps(whole, indent=1) + "\n")
        counts = {row["drives"] for row in whole["figures"]}
        count = 4 if 4 in counts else max(counts)
        (options.out / "bench.svg").write_text(report.chart(whole["figures"], whole["backings"], count))
    say(f"\n{report.NOTES}\n\nAll of it is in bench.json and bench.svg in {options.out}")


def parse():
    def some(known):
        def split(text):
            if unknown := set(text.split(",")) - set(known):
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
            return text.split(",")

        return split

    def counts(text):
        return sorted({max(1, int(number)) for number in text.split(",")})

    parser = argparse.ArgumentParser(prog="scripts/bench", add_help=False, allow_abbrev=False)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--drives", type=counts, default=[1, 2, 4, 8])
    parser.add_argument("--backings", type=some(BACKINGS), default=BACKINGS)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--files", type=int)
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--only", type=some(PARTS), default=PARTS)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, default=ROOT / "target/bench")
    parser.add_argument("--add", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        sys.exit()
    options.runs = max(1, options.runs)
    options.files = options.files or (400 if options.small else 8000)
    options.megabytes = options.megabytes or (60 if options.small else 900)
    if options.small or options.runs < 5:
        say("*** For a look only: the media is too small, or the rounds are too few, for figures to rely on ***")
    return options


SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def interrupted(number, _frame):
    """The first signal ends the run; further ones do not disturb the cleaning up."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def work_folder(scratch):
    with tempfile.TemporaryDirectory(prefix="prestaged-bench.", dir=scratch) as work:
        # Media is read and masters are pressed by a user without rights.
        os.chmod(work, 0o755)
        try:
            yield Path(work)
        finally:
            # Where an interruption has hit the taking away itself, or the sample's maker, which mounts a volume.
            for line in output("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines():
                if line.split(maxsplit=1)[1].startswith(work + "/"):
                    output("losetup", "--detach", line.split()[0])
            for line in Path("/proc/mounts").read_text().splitlines():
                if line.split()[1].startswith(work + "/"):
                    output("umount", "--lazy", line.split()[1])


def main():
    options = parse()
    for number in SIGNALS:
        signal.signal(number, interrupted)
    with work_folder(options.scratch.resolve()) as work:
        bench(options, work)


main()
