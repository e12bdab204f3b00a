"""Measures `prestagectl media create` beside what a person types: export, update, and verification before and after.

scripts/bench create starts this. Every round makes the same media of the same parts in each way, one after the other;
what is printed is the median of all rounds.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
MIB = 1 << 20
GONE = ["/EFI", "/SMS", "/_SMSTaskSequence", "/sources", "/boot"]


def run(*words, **options):
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, **options)


def make_parts(work, files, megabytes, added):
    """An operating system image, a boot image, and a package of which half can be compressed."""
    whole = work / "whole.wim"
    run(PROGRAMS / "examples/sample-media", whole, files, megabytes)
    run("wimlib-imagex", "extract", whole, "1", "/sources/boot.wim", "/boot/boot.sdi", f"--dest-dir={work}")
    commands = "".join(f"delete --force --recursive {path}\n" for path in GONE)
    run("wimlib-imagex", "update", whole, input=commands.encode())
    run("wimlib-imagex", "export", whole, "1", work / "os.wim", "--compress=LZX", "--recompress")
    whole.unlink()
    package = work / "package"
    package.mkdir()
    for number in range(added):
        text = f"line {number} of a package\r\n".encode() * (MIB // 2 // 20)
        (package / f"{number}.bin").write_bytes(os.urandom(MIB // 2) + text[: MIB // 2])
    (work / "recipe.toml").write_text(
        '[os]\nwim = "os.wim"\n[boot]\nwim = "boot.wim"\nsdi = "boot.sdi"\n'
        '[[package]]\nid = "PRE00001"\npath = "package"\n'
    )


def by_hand(work, out):
    """Export and update alone: damage in a source goes into the media, and nobody notices."""
    run("wimlib-imagex", "export", work / "os.wim", "1", out)
    adds = f"add {work}/package /_SMSTaskSequence/Packages/PRE00001\n"
    adds += f"add {work}/boot.wim /sources/boot.wim\nadd {work}/boot.sdi /boot/boot.sdi\n"
    run("wimlib-imagex", "update", out, "--check", "--config=/dev/null", input=adds.encode())


def with_care(work, out):
    """The same, with the checks that the station makes: sources and result are verified, and the digest is computed."""
    for source in ("os.wim", "boot.wim"):
        run("wimlib-imagex", "verify", work / source)
    by_hand(work, out)
    run("wimlib-imagex", "verify", out)
    run("sha256sum", out)


def ours(work, out):
    run(PROGRAMS / "prestagectl", "media", "create", work / "recipe.toml", "--out", out)


WAYS = {"export + update": by_hand, "the same, verified": with_care, "media create": ours}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench create")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=8000)
    parser.add_argument("--megabytes", type=int, default=900)
    parser.add_argument("--added", type=int, default=200, help="mebibytes of packages")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="prestaged-bench-"))
    try:
        make_parts(work, options.files, options.megabytes, options.added)
        seconds = {name: [] for name in WAYS}
        for _ in range(options.runs):
            for name, way in WAYS.items():
                out = work / "out.wim"
                begun = time.monotonic()
                way(work, out)
                seconds[name].append(time.monotonic() - begun)
                out.unlink()
    finally:
        shutil.rmtree(work)
    medians = {name: statistics.median(all_) for name, all_ in seconds.items()}
    for name, median in medians.items():
        spread = f"{min(seconds[name]):.1f} to {max(seconds[name]):.1f}"
        share = " ".join(f"{median / medians[other]:.2f} x {other}" for other in list(WAYS)[:2])
        print(f"{name:20} {median:6.1f} s ({spread})  {share}")


if __name__ == "__main__":
    main()
