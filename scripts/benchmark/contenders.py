"""What prestaged is compared with: what users do today, and what the drives and the processor can do at most."""

import dataclasses
import hashlib
import json
import os
import threading
import time
from pathlib import Path

from drives import MIB, busy_seconds, output, parallel


@dataclasses.dataclass
class Source:
    """What is laid down, in every form that a contender wants."""

    media: Path
    raw: Path
    bmap: Path
    clone: Path
    sha256: str = ""
    raw_allocated: int = 0


def make_source(folder, media, size):
    """Applies the media to a raw image, and makes of that what the contenders copy; outside of all measurements."""
    source = Source(media, *(folder / f"raw.{end}" for end in ("ntfs", "bmap", "clone")))
    make_volume(source.raw, size)
    output("wimlib-imagex", "apply", media, "1", source.raw)
    output("bmaptool", "-q", "create", "-o", source.bmap, source.raw)
    output("partclone.ntfs", "-c", "-f", "0", "-L", "/dev/null", "-s", source.raw, "-o", source.clone)
    output("sync", media, source.raw, source.clone)
    source.sha256 = output("sha256sum", source.raw).split()[0]
    source.raw_allocated = source.raw.stat().st_blocks * 512
    return source


def make_volume(path, size):
    with path.open("xb") as file:
        file.truncate(size)
    output("mkntfs", "-Q", "-F", "-q", path)


# What users do today: one shell command per drive.


def apply(source, device):
    return f"mkntfs -Q -F -q {device}; wimlib-imagex apply {source.media} 1 {device}; sync {device}"


def dd(source, device):
    return f"dd if={source.raw} of={device} bs=4M oflag=direct conv=fsync status=none"


def bmaptool(source, device):
    return f"bmaptool -q copy --bmap {source.bmap} {source.raw} {device}; sync {device}"


def partclone(source, device):
    return f"partclone.ntfs -r -f 0 -L /dev/null -s {source.clone} -o {device}; sync {device}"


def read_back(device, length):
    return f"dd if={device} iflag=direct,count_bytes bs=4M count={length} status=none | sha256sum"


# Of the names of their drives: the station's bays do not match it.
PREFIX = "bench-other-"
CONTENDERS = {function.__name__: function for function in (apply, dd, bmaptool, partclone)}


def contend(name, bays, count, source, payload):
    """One contender on some drives at once, then the read-back."""
    with bays.attached(count, PREFIX) as devices:
        before, length = busy_seconds(), bays.size if name == "dd" else payload
        write, _ = parallel([CONTENDERS[name](source, device) for device in devices])
        read, printed = parallel([read_back(device, length) for device in devices])
        busy = busy_seconds() - before
        if name == "dd" and any(text.split()[0] != source.sha256 for text in printed):
            raise RuntimeError("dd: what was read back is not what was written")
    return {
        "write_seconds": write,
        "readback_seconds": read,
        "whole_seconds": write + read,
        "write_rate": count * payload / write,
        "readback_rate": count * length / read,
        "busy_seconds_per_gb": busy / (count * payload / 1e9),
    }


def wimlib(source, folder, size):
    """wimlib alone, into a file: what a press is compared with."""
    volume = folder / "fresh.ntfs"
    try:
        make_volume(volume, size)
        seconds, _ = parallel([f"wimlib-imagex apply {source.media} 1 {volume}; sync {volume}"])
        return {"apply_seconds": seconds}
    finally:
        volume.unlink(missing_ok=True)


# What can be done at most.


def fio_pass(devices, direction, length, block, depth):
    """One pass over all drives at once; returns the rate of all together."""
    words = f"fio --ioengine=libaio --direct=1 --thread --end_fsync=1 --output-format=json --rw={direction}"
    words += f" --bs={block}M --iodepth={depth} --size={length - length % (block * MIB)}"
    for device in devices:
        words += f" --name={Path(device).name} --filename={device}"
    _, [text] = parallel([words])
    jobs = [job[direction] for job in json.loads(text[text.index("{"):])["jobs"]]
    return sum(job["io_bytes"] for job in jobs) / max(0.001, *(job["runtime"] / 1000 for job in jobs))


def fio_sweep(bays, count, length, small):
    """The block size in mebibytes and the depth that are best for writing, and those for reading."""
    blocks, depths = ([4], [1, 4]) if small else ([1, 4, 16], [1, 4, 16])
    best = {"write": (0, None), "read": (0, None)}
    with bays.attached(count, PREFIX) as devices:
        for block in blocks:
            for depth in depths:
                for direction in best:
                    rate = fio_pass(devices, direction, length, block, depth)
                    best[direction] = max(best[direction], (rate, (block, depth)))
    return {direction: setting for direction, (_, setting) in best.items()}


def fio(bays, count, length, best):
    with bays.attached(count, PREFIX) as devices:
        return {
            "write_rate": fio_pass(devices, "write", length, *best["write"]),
            "readback_rate": fio_pass(devices, "read", length, *best["read"]),
        }


def hash_rate(helper):
    """SHA-256 of all cores together: by the project's own implementation if its helper is there, else by OpenSSL. Of the
    helper, also what each path does on one core; "soft" is the sha2 crate without SHA extensions."""
    if helper.exists():
        found = json.loads(output(helper, "--json"))
        paths = {f"{path}_one_core_rate": rate * 1e9 for path, rate in found["one_thread"].items()}
        return {"hash_rate": max(found["all_cores"].values()) * 1e9, **paths}
    data, start, hashed = bytes(4 * MIB), time.monotonic(), []

    def work():
        while time.monotonic() < start + 2:
            hashlib.sha256(data).digest()
            hashed.append(len(data))

    threads = [threading.Thread(target=work) for _ in os.sched_getaffinity(0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"hash_rate": sum(hashed) / (time.monotonic() - start)}
