"""Measures parcels: `scripts/bench parcel [--megabytes N]`.

Makes two media, a month apart, out of files of many sizes, half of them compressible: of the second, 15 % of the files have
changed, 4 % are new, and one of six packages is another. The second is exported from a new capture, as a site would make it,
so that its resources lie elsewhere. Then it packs, receives and sends the difference, beside what sha256sum and cp take.
Needs wimtools.
"""

import argparse
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

CTL = pathlib.Path(__file__).resolve().parents[2] / os.environ.get("CARGO_TARGET_DIR", "target") / "release/prestagectl"


def content(chance, size):
    half = chance.randbytes(size // 2)
    return half + half[:64] * (size // 128 + 1)


def sizes(chance, total):
    """As in an image: most files are small, most bytes are in large ones."""
    while total > 0:
        size = int(min(chance.lognormvariate(9.5, 1.9), 20e6)) + 1
        yield size
        total -= size


def fill(folder, seed, total, packages):
    chance = random.Random(seed)
    for number, size in enumerate(sizes(chance, total * 2 // 3)):
        path = folder / f"Windows/{number % 97}/{number}.dll"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(chance, size))
    for package in packages:
        chance = random.Random(package)
        path = folder / f"_SMSTaskSequence/Packages/{package}"
        path.mkdir(parents=True)
        for number, size in enumerate(sizes(chance, total // 18)):
            (path / f"{number}.cab").write_bytes(content(chance, size))


def month_later(folder, seed):
    """Changes 15 of 100 files, and adds 4, over all sizes: the largest few must not decide what the share is."""
    chance = random.Random(seed)
    files = [path for path in (folder / "Windows").rglob("*") if path.is_file()]
    for number, path in enumerate(sorted(files, key=lambda path: (path.stat().st_size, path.name))):
        size = path.stat().st_size
        if number * 15 % 100 < 15:
            path.write_bytes(content(chance, size))
        if (number + 50) * 4 % 100 < 4:
            path.with_suffix(".new").write_bytes(content(chance, size))


def run(*words, **more):
    begin = time.monotonic()
    result = subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more)
    return time.monotonic() - begin, result.stdout


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench parcel")
    parser.add_argument("--megabytes", type=int, default=600, help="size of the files; default 600")
    total = parser.parse_args().megabytes * 1_000_000
    work = pathlib.Path(tempfile.mkdtemp(prefix="prestaged-parcel-"))
    try:
        tree, old, new = work / "tree", work / "media-1.wim", work / "media-2.wim"
        fill(tree, 1, total, "ABCDEF")
        run("wimlib-imagex", "capture", tree, old, "--compress=LZX")
        shutil.rmtree(tree / "_SMSTaskSequence/Packages/C")
        fill(tree / "fresh", 2, 0, "G")
        fresh = tree / "fresh/_SMSTaskSequence/Packages/G"
        if not any(fresh.iterdir()):
            chance = random.Random("G")
            for number, size in enumerate(sizes(chance, total // 18)):
                (fresh / f"{number}.cab").write_bytes(content(chance, size))
        shutil.move(fresh, tree / "_SMSTaskSequence/Packages/G")
        shutil.rmtree(tree / "fresh")
        month_later(tree, 3)
        run("wimlib-imagex", "capture", tree, work / "capture.wim", "--compress=LZX")
        run("wimlib-imagex", "export", work / "capture.wim", "1", new)
        size = new.stat().st_size
        run(CTL, "key", "new", "--name", "bench", work / "key")
        pub = work / "key.pub"
        pub.write_bytes(run("openssl", "pkey", "-in", work / "key", "-pubout")[1])
        for name in ("full", "delta", "inbox", "inbox2"):
            (work / name).mkdir()
        pack = ["media", "pack", new, "--key", work / "key", "--product", "p", "--sequence", "1"]
        hashed, _ = run("sha256sum", new)
        copied, _ = run("cp", new, work / "copy")
        packed, _ = run(CTL, *pack, "--to", work / "full")
        received, _ = run(CTL, "media", "receive", work / "full/media-2.parcel", "--key", pub, "--to", work / "inbox")
        (work / "have.json").write_bytes(run(CTL, "media", "have", old)[1])
        against, _ = run(CTL, *pack, "--against", work / "have.json", "--to", work / "delta")
        sent = sum(path.stat().st_size for path in (work / "delta/media-2.parcel").iterdir())
        shutil.copy(old, work / "inbox2/media-1.wim")
        taken, _ = run(CTL, "media", "receive", work / "delta/media-2.parcel", "--key", pub, "--to", work / "inbox2")
        for inbox in ("inbox", "inbox2"):
            run("cmp", new, work / inbox / "media-2.wim")
        rate = lambda seconds: f"{size / seconds / 1e6:8.0f} MB/s"
        print(f"media of {size / 1e6:.0f} MB, a month after one of {old.stat().st_size / 1e6:.0f} MB")
        print(f"sha256sum           {rate(hashed)}")
        print(f"cp                  {rate(copied)}")
        print(f"pack                {rate(packed)}")
        print(f"receive             {rate(received)}")
        print(f"pack --against      {rate(against)}")
        print(f"receive the delta   {rate(taken)}")
        share = 100 * sent / size
        print(f"sent                {sent / 1e6:8.1f} MB, {share:.1f} % (target: under 20 %, {'reached' if share < 20 else 'missed'})")
    finally:
        shutil.rmtree(work)


main()
