"""What a ledger of many records takes: `scripts/bench records [--counts 200000,1000000] [--scratch FOLDER]`.

Makes a ledger of so many records, opens and closes each as a job does, and then starts a station with it: time and memory
of the start, the time until the whole log is verified beside it, and the cost of what operators ask. Needs room for about 9 GB for each million, best in
memory (/dev/shm). What the log adds to closing a record is at most the difference between closing one and opening one:
both write the row in a transaction of their own, and only closing adds an entry.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

BUILT = pathlib.Path(__file__).resolve().parents[2] / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
MOST_MS = 1.0
MOST_START_S = {1_000_000: 10.0}


def timed(*words, **more):
    begin = time.monotonic()
    child = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, **more)
    size = 0
    while part := child.stdout.read(1 << 20):
        size += len(part)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, words
    return time.monotonic() - begin, usage.ru_maxrss / 1024, size


def peak(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def measure(work, count):
    key, ledger = work / "station.key", work / "ledger.db"
    subprocess.run([BUILT / "prestagectl", "key", "new", "--name", "bench", key], check=True, stdout=subprocess.DEVNULL)
    made = subprocess.run([BUILT / "examples/many-records", ledger, key, str(count)], check=True, stdout=subprocess.PIPE)
    figures = json.loads(made.stdout)
    size = sum(file.stat().st_size for file in work.glob("ledger.db*"))
    figures["bytes_a_record"] = size // count
    for folder in ("inbox", "store"):
        (work / folder).mkdir()
    config, socket = work / "prestaged.toml", work / "control.sock"
    config.write_text(f"""
[station]
name = "bench"
[media]
inbox = "{work}/inbox"
[store]
path = "{work}/store"
[ledger]
path = "{ledger}"
key = "{key}"
[control]
socket = "{socket}"
""")
    begin = time.monotonic()
    daemon = subprocess.Popen([BUILT / "prestaged", "--config", config], stderr=subprocess.DEVNULL)
    ctl = [BUILT / "prestagectl", "--socket", socket]
    try:
        while subprocess.run([*ctl, "status"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            assert daemon.poll() is None, "the station ended"
            time.sleep(0.02)
        figures["start_s"], figures["start_mb"] = time.monotonic() - begin, peak(daemon.pid)
        while "ledger" in json.loads(subprocess.check_output([*ctl, "--json", "status"])):
            time.sleep(0.1)
        figures["verified_s"] = time.monotonic() - begin
        for name, words in {
            "serial": ["--serial", f"SERIAL{count // 2:08}"],
            "last": ["--last", "20"],
            "csv": ["--csv"],
            "lines": ["--lines"],
        }.items():
            seconds, memory, length = timed(*ctl, "records", *words)
            figures[f"{name}_s"], figures[f"{name}_mb"], figures[f"{name}_bytes"] = seconds, memory, length
        figures["daemon_mb"] = peak(daemon.pid)
        backup = work / "backup.db"
        figures["backup_s"], _, _ = timed(*ctl, "ledger", "backup", backup)
    finally:
        daemon.terminate()
        daemon.wait()
    return figures


def judged(value, most):
    return f"{value:.2f}, target {most}: {'reached' if value <= most else 'NOT reached'}"


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench records")
    parser.add_argument("--counts", default="200000,1000000", help="how many records; default 200000,1000000")
    parser.add_argument("--scratch", default=None, help="where the work folder is made; default $TMPDIR or /tmp")
    arguments = parser.parse_args()
    for count in [int(count) for count in arguments.counts.split(",")]:
        work = pathlib.Path(tempfile.mkdtemp(prefix="prestaged-records-", dir=arguments.scratch))
        try:
            found = measure(work, count)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        print(f"\n{count:,} records, {found['bytes_a_record']:,} bytes each with log and indexes; made in {found['made_s']:.0f} s")
        start = found["start_s"]
        most = MOST_START_S.get(count)
        told = judged(start, most) if most else f"{start:.2f}"
        print(f"  start, until operators are answered (s)  {told}; {found['start_mb']:.0f} MB")
        print(f"  the whole log verified, since then (s)   {found['verified_s']:.2f}")
        for name in ("serial", "last", "csv", "lines"):
            print(f"  records --{name:6} (s)                     {found[name + '_s']:.2f}; {found[name + '_mb']:.0f} MB")
        print(f"  the station's memory afterwards (MB)     {found['daemon_mb']:.0f}")
        print(f"  already_passed, asked of the ledger (ms) {found['already_passed_ms']:.3f}")
        print(f"  opening / closing a record (ms)          {found['open_ms']:.3f} / {found['close_ms']:.3f}")
        print(f"  the log adds to closing one, at most (ms) {judged(found['close_ms'] - found['open_ms'], MOST_MS)}")
        print(f"  ledger backup (s)                        {found['backup_s']:.2f}")


if __name__ == "__main__":
    main()
