"""What is made of the figures: ratios, a table, a chart."""

import statistics
import typing

NOTES = """\
Drives are loop devices with direct I/O. Their files are written from end to end before the first measurement and used
again in all of them; the devices do not discard, so that no room has to be found for them again. What is copied from
(media, store, raw image) lies on the same backing and has been read before. Rates are of all drives together.
  hash       SHA-256 of all cores together on the fastest path, H in the ratios; fio's read is R.
  fio        Sequential, O_DIRECT, libaio, as many bytes as prestaged writes, flushed; block size and depth are the best
             of a sweep.
  wimlib     `wimlib-imagex apply` of the same media into a fresh NTFS image file beside the store, flushed.
  first      prestaged, which presses a master before it writes.
  next       prestaged with the master at hand.
  sizes      a master for a drive that is a gibibyte larger, while the store has one for these drives.
  audit      `prestagectl audit` of a drive, beside dd iflag=direct of as many bytes of the same drive, not hashed.
  apply      mkntfs, then wimlib-imagex apply, on each drive at once.
  dd         dd of a raw image onto the whole drive. bmaptool and partclone copy what that image holds; partclone does
             not wait for the screen (-f 0) and leaves out the copy of the boot sector at the volume's end.
These four lay down one bare NTFS volume, no partition table, boot files or BCD: less than prestaged does. Each ends
with a flush; when all have ended, the drives are read back with dd iflag=direct | sha256sum, as many bytes as prestaged
reads back (after dd: the whole drive). Their rate of writing counts what prestaged writes, whatever they write.
prestaged starts on all drives at once, when the station is armed with all of them attached. A phase lasts from the first
drive's start to the last one's end, by the records' rates and times of closing; the whole, from before the station is
armed until the last record is closed.
CPU is user and system time of the daemon and its ended workers, busy is what all cores spent on anything: kernel
threads copy for loop devices. Both per GB written. Store bytes are what the daemon's read calls returned (rchar) less
what it read back, unless its status counts them; peaks are VmHWM of the daemon and of the worker that presses.
A press is timed by looking at the station's status every 50 ms: "applied" until it begins to map and hash.
Ratios are taken round by round. A growth is judged only where the drives are the limit: where fio on so many drives
has at least 0.95 times so many times the rate of one."""


def bound(get, count):
    """What bytes that are both read and hashed can come to, if nothing else takes time."""
    return 1 / (1 / get("hash", 0, "hash_rate") + 1 / get("fio", count, "readback_rate"))


def growth(count):
    """How much longer one drive takes among many than alone."""
    return lambda get: get("next", count, "drive_seconds") / get("next", 1, "drive_seconds")


def drives_are_the_limit(count):
    def holds(get):
        metrics = "write_rate", "readback_rate"
        return all(get("fio", count, metric) >= 0.95 * count * get("fio", 1, metric) for metric in metrics)

    return holds


class Ratio(typing.NamedTuple):
    """A ratio: its value in one round, whether more of it is better, its targets by backing. It is judged only where
    its condition holds for the medians of all rounds."""

    title: str
    value: typing.Callable
    more: bool
    targets: dict
    condition: typing.Callable = lambda get: True


AT_LEAST, AT_MOST = True, False
RATIOS = [
    Ratio("write phase : fio write, 4 drives",
          lambda get: get("next", 4, "write_rate") / get("fio", 4, "write_rate"),
          AT_LEAST, {"throttled": 0.97, "memory": 0.90}),
    Ratio("read-back : fio read, 4 drives",
          lambda get: get("next", 4, "readback_rate") / get("fio", 4, "readback_rate"),
          AT_LEAST, {"throttled": 0.97}),
    Ratio("read-back : 1/(1/H+1/R), 4 drives",
          lambda get: get("next", 4, "readback_rate") / bound(get, 4),
          AT_LEAST, {"memory": 0.90}),
    Ratio("read-back : dd | sha256sum per drive, 4 drives",
          lambda get: get("next", 4, "readback_rate") / get("apply", 4, "readback_rate"),
          AT_LEAST, {"memory": 4}),
    Ratio("apply with read-back : next drives, 4 drives",
          lambda get: get("apply", 4, "whole_seconds") / get("next", 4, "whole_seconds"),
          AT_LEAST, {"memory": 6.5}),
    Ratio("apply with read-back : first drives, 8 drives",
          lambda get: get("apply", 8, "whole_seconds") / get("first", 8, "whole_seconds"),
          AT_LEAST, {"memory": 4}),
    Ratio("press until applied : wimlib",
          lambda get: get("first", 1, "applied_seconds") / get("wimlib", 1, "apply_seconds"),
          AT_MOST, {"memory": 1.15}),
    Ratio("press with mapping and hashing : wimlib",
          lambda get: get("first", 1, "press_seconds") / get("wimlib", 1, "apply_seconds"),
          AT_MOST, {"memory": 1.5}),
    Ratio("sizes: a master for a further size : the press",
          lambda get: get("sizes", 1, "derive_seconds") / get("first", 1, "press_seconds"),
          AT_MOST, {"memory": 0.05}),
    Ratio("sizes: store bytes of a further size : those of the base",
          lambda get: get("sizes", 1, "derived_bytes") / get("sizes", 1, "base_bytes"),
          AT_MOST, {"memory": 0.02}),
    Ratio("audit: comparing a drive with the media : reading as much of it",
          lambda get: get("audit", 1, "audit_seconds") / get("audit", 1, "read_seconds"),
          AT_MOST, {"throttled": 1.5}),
    Ratio("hash paths: AVX2 : sha2 without SHA extensions, one core",
          lambda get: get("hash", 0, "avx2_one_core_rate") / get("hash", 0, "soft_one_core_rate"),
          AT_LEAST, {"memory": 4}),
    Ratio("hash paths: AVX-512 : two by SHA extensions, one core",
          lambda get: get("hash", 0, "avx512_one_core_rate") / get("hash", 0, "pair_one_core_rate"),
          AT_LEAST, {"memory": 1.15}),
    *(Ratio(f"growth: a drive's time among {count} : alone", growth(count),
            AT_MOST, {"throttled": 1.10}, drives_are_the_limit(count)) for count in (2, 4, 8)),
]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def judge(backing, rounds):
    """All ratios of one backing. `rounds` are figures by contender, number of drives and metric."""
    medians = {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}
    for ratio in RATIOS:
        row, target = {"ratio": ratio.title, "backing": backing}, ratio.targets.get(backing)
        try:
            if ratio.condition(lambda *key: medians[key]):
                row |= spread([ratio.value(lambda *key, figures=figures: figures[key]) for figures in rounds])
            else:
                row["missing"] = "the drives are not the limit"
        except KeyError:
            row["missing"] = "not measured"
        if target:
            row |= {"target": target, "better": "more" if ratio.more else "less"}
            if "median" in row:
                row["reached"] = row["median"] >= target if ratio.more else row["median"] <= target
        if target or "median" in row:
            yield row


def joined(before, after):
    """What two runs have measured; where both have measured the same, the later one counts."""
    whole = before | after
    whole["backings"] = before["backings"] | after["backings"]
    names = {"figures": ("backing", "drives", "contender", "metric"), "ratios": ("backing", "ratio")}
    for part, name in names.items():
        rows = {}
        for row in before[part] + after[part]:
            key = tuple(row[word] for word in name)
            # A ratio that one run could not give may be known from another.
            if "median" in row or "median" not in rows.get(key, {}):
                rows[key] = row
        whole[part] = list(rows.values())
    whole["figures"].sort(key=lambda row: (row["backing"], row["drives"]))
    return whole


UNITS = [("_per_gb", 1, "s/GB", 2), ("_seconds", 1, "s", 2), ("rate", 1e6, "MB/s", 0), ("bytes", 1e6, "MB", 0)]
COLUMNS = {"write_rate": "write", "readback_rate": "read-back", "whole_seconds": "whole", "busy_seconds_per_gb": "busy"}
# These are in the JSON only.
UNSHOWN = ["write_seconds", "readback_seconds", "drive_seconds"]


def shown(row):
    factor, unit, digits = next(rest for end, *rest in UNITS if row["metric"].endswith(end))
    median, least, most = (f"{row[key] / factor:.{digits}f}" for key in ("median", "min", "max"))
    return f"{median} {unit} ({least}..{most})"


def table(figures, ratios, backing):
    """The lines of one backing's table."""
    found = {}
    for row in figures:
        if row["backing"] == backing and row["metric"] not in UNSHOWN:
            found.setdefault((row["drives"], row["contender"]), {})[row["metric"]] = shown(row)
    yield " " * 12 + "".join(f"{title:26}" for title in COLUMNS.values())
    before = None
    for (drives, contender), metrics in found.items():
        if drives and drives != before:
            yield f"  {drives} at once"
        before = drives
        cells = "".join(f"{metrics.pop(metric, ''):26}" for metric in COLUMNS)
        others = "; ".join(f"{metric.rpartition('_')[0] or metric} {text}" for metric, text in metrics.items())
        if cells.strip():
            yield f"  {contender:10}{cells}".rstrip()
            contender = ""
        if others:
            yield f"  {contender:10}{others.replace('_seconds_per', ' time')}"
    yield f"\n  Ratios, {backing}: median (least..greatest)"
    for row in ratios:
        if row["backing"] != backing:
            continue
        value = row.get("missing") or f"{row['median']:.2f} ({row['min']:.2f}..{row['max']:.2f})"
        target = ""
        if "target" in row:
            verdict = {True: "reached", False: "MISSED", None: "OPEN"}[row.get("reached")]
            target = f"{verdict}: at {'least' if row['better'] == 'more' else 'most'} {row['target']}"
        yield f"  {row['ratio']:48} {value:32} {target}".rstrip()


OURS, THEIRS = ("#1a7f37", "#6fcf8b"), ("#57606a", "#afb8c1")
BARS = {
    "next": ("prestaged, master at hand", OURS),
    "first": ("prestaged, pressing first", OURS),
    "partclone": ("partclone", THEIRS),
    "bmaptool": ("bmaptool copy", THEIRS),
    "dd": ("dd of a raw image", THEIRS),
    "apply": ("mkntfs + wimlib-imagex apply", THEIRS),
}


def chart(figures, backings, count):
    """An SVG image: horizontal bars, how long it took until so many drives at once were written and read back."""

    def text(x, y, size, words, more=""):
        return f'<text x="{x:.0f}" y="{y}" font-size="{size}" fill="#24292f"{more}>{words}</text>'

    def bar(x, y, width, colour):
        return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>'

    found = {(row["backing"], row["contender"], row["metric"]): row for row in figures if row["drives"] == count}
    bold, left, y = ' font-weight="bold"', 230, 66
    parts = [
        text(16, 24, 15, f"Seconds until {count} drives at once are written and read back", bold),
        text(16, 42, 12, "dark: until written; light: read back and hashed; line: least to greatest of all rounds"),
    ]
    for backing, about in backings.items():
        names = [name for name in BARS if (backing, name, "whole_seconds") in found]
        scale = 430 / max((found[backing, name, "whole_seconds"]["max"] for name in names), default=1)
        parts.append(text(16, y, 13, about["words"], bold))
        y += 8
        for name in names:
            (label, colours), whole = BARS[name], found[backing, name, "whole_seconds"]
            end = left + whole["median"] * scale
            middle = max(left, end - found[backing, name, "readback_seconds"]["median"] * scale)
            least, most = left + whole["min"] * scale, left + whole["max"] * scale
            parts += [
                text(left - 8, y + 13, 12, label, ' text-anchor="end"'),
                bar(left, y, middle - left, colours[0]),
                bar(middle, y, end - middle, colours[1]),
                f'<path d="M{least:.1f} {y + 8}H{most:.1f}" stroke="#24292f"/>',
                text(most + 6, y + 13, 12, f"{whole['median']:.1f} s"),
            ]
            y += 22
        y += 24
    size = f'viewBox="0 0 760 {y - 16}" width="760" height="{y - 16}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    return "\n".join([start, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>\n"])
