//! Every key with its kind, its default and what it does: for checking files, prestaged.toml(5) and `daemon/manual/configuration.md`.
//!
//! The texts are Markdown of the simplest kind: back quotes only. A test compares the keys and the defaults with what
//! the configuration really knows, so that neither can be forgotten here.

mod gate;
mod key;
mod kind;
mod names;

pub use key::Key;
pub(super) use key::key;
pub use kind::{Fallback, Kind};
pub use names::near;
pub(super) use names::{names, nearest, path, required};

use Fallback::{Absent, Required, Value};
use Kind::{
    AttributeBits, Count, Dates, Mode, Offers, OneOf, PartitionSize, Path, Rate, Share, Signers,
    Size, Sizes, Switch, Tables, Text, Texts, Time,
};

/// A limit of drives' health.
const fn limit(name: &'static str, text: &'static str) -> Key {
    key("health", name, Count, Absent("no limit"), text)
}

/// Every key of the configuration, in the order in which they are explained.
pub const KEYS: [Key; 108] = joined([&FIRST, &gate::GATE, &LAST]);

/// Lists as one.
const fn joined<const N: usize>(lists: [&[Key]; 3]) -> [Key; N] {
    let mut all = [lists[0][0]; N];
    let (mut list, mut to) = (0, 0);
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            all[to] = lists[list][at];
            (at, to) = (at + 1, to + 1);
        }
        list += 1;
    }
    assert!(to == N, "the count of the keys");
    all
}

const FIRST: [Key; 26] = [
    key("station", "name", Text, Absent("host name"), "name of the station in every record"),
    key(
        "media",
        "inbox",
        Path,
        Value("\"/srv/prestaged/media\""),
        "folder that is watched for media",
    ),
    key(
        "media",
        "image",
        Count,
        Value("1"),
        "index of the image in the WIM that is applied, counted from 1",
    ),
    key(
        "media",
        "offer",
        OneOf(&["automatic", "by_hand", "hidden"]),
        Value("\"automatic\""),
        "[to which drives](media.md#several-media) media is made available of which nothing else is said: `automatic`, `by_hand` or `hidden`",
    ),
    key(
        "media",
        "offers",
        Offers,
        Absent("none"),
        "the same for single media, by file name: `\"win11.wim\" = \"by_hand\"`. What `prestagectl media offer` has said counts more",
    ),
    key(
        "media",
        "expires",
        Dates,
        Absent("none"),
        "last day on which each media's certificate is valid, by file name: `\"win11.wim\" = \"2027-06-30\"`. The certificate is encrypted inside the media, so take the day from the order. Where a signed manifest has a last day, that counts instead",
    ),
    key(
        "media",
        "signers",
        Signers,
        Absent("none"),
        "whose signatures media needs, a table `[[media.signers]]` each. As soon as there is one, media without a [signed manifest](media.md#who-vouches-for-media) is not used",
    ),
    key(
        "media",
        "signer_lists",
        Path,
        Absent("none"),
        "folder with [signed lists of signers](media.md#exchanging-keys), `*.json`, that take the place of `[[media.signers]]`; read at the start",
    ),
    key("media.signers", "name", Text, Required, "name of the signer in messages"),
    key(
        "media.signers",
        "key",
        Text,
        Required,
        "public Ed25519 key of the signer: its PEM, or the path of a file that holds it",
    ),
    key(
        "media.signers",
        "products",
        Texts,
        Absent("all"),
        "products that the signer may vouch for, as glob patterns",
    ),
    key(
        "media.signers",
        "threshold",
        Count,
        Value("1"),
        "how many of the signers who may vouch for one of these products must do so",
    ),
    key(
        "store",
        "path",
        Path,
        Value("\"/var/lib/prestaged/masters\""),
        "folder of the masters. A master is a file as long as the drive, with holes; on ext4 files end at 16 TiB",
    ),
    key(
        "store",
        "budget",
        Size,
        Value("\"100GiB\""),
        "disk space that masters may take; beyond it, the least recently used are removed",
    ),
    key(
        "store",
        "press_ahead",
        Switch,
        Value("true"),
        "press new media without waiting for a drive: once for all capacities, with `derive = false` for every drive geometry seen before",
    ),
    key("store", "derive", Switch, Value("true"), "press media once for all capacities of drives"),
    key(
        "ledger",
        "path",
        Path,
        Value("\"/var/lib/prestaged/ledger.db\""),
        "database file of the records",
    ),
    key(
        "ledger",
        "key",
        Path,
        Absent(
            "`/etc/prestaged/keys/station.key` if it is there, or `station.key` beside the ledger",
        ),
        "the station's own secret key, which signs the [log](records.md); it is made at the first start where there is none",
    ),
    key(
        "orders",
        "inbox",
        Path,
        Absent("none"),
        "folder that is watched for [orders](orders.md), such as `/var/lib/prestaged/orders`",
    ),
    key(
        "orders",
        "results",
        Path,
        Absent("none"),
        "folder that gets a JSON file for each closed record, such as `/var/lib/prestaged/results`; whoever uses them takes them away",
    ),
    key(
        "labels",
        "template",
        Path,
        Absent("one for labels of 3 by 2 inches at 203 dpi"),
        "file with the template of [labels](records.md#labels), in ZPL; read whenever a label is printed",
    ),
    key(
        "control",
        "socket",
        Path,
        Value("\"/run/prestaged/control.sock\""),
        "Unix socket on which the daemon answers prestagectl, with HTTP",
    ),
    key("control", "mode", Mode, Value("\"0660\""), "permissions of the socket, in octal"),
    key(
        "control",
        "group",
        Text,
        Absent("none"),
        "group whose members may use prestagectl; the package sets it to `\"prestaged\"`",
    ),
    key(
        "control",
        "view_socket",
        Path,
        Absent("none"),
        "a second socket, on which everything can be looked at and nothing be asked for; [the gate](gate.md) needs it, and the package sets it to `\"/run/prestaged/view.sock\"`",
    ),
    key(
        "control",
        "view_group",
        Text,
        Absent("none"),
        "group whose members may use that socket; the package sets it to `\"prestaged-view\"`",
    ),
];

const LAST: [Key; 51] = [
    key(
        "lamps",
        "passed",
        OneOf(&["off", "ok", "locate"]),
        Value("\"off\""),
        "which [lamp](lamps.md) of a bay is lit when its drive has passed: none, `ok` where there is one, or `locate`",
    ),
    key(
        "lamps",
        "locate_for",
        Time,
        Value("\"2m\""),
        "how long the lamp of a bay blinks that somebody looks for",
    ),
    key("lamps", "sysfs", Path, Value("\"/sys\""), "where lamps are looked for"),
    key(
        "lamps",
        "state",
        Path,
        Value("\"/var/lib/prestaged-lamps/lamps.json\""),
        "file in which `prestaged-lamps` keeps which bay has which lamps, so that it can switch off what it has lit",
    ),
    key(
        "lamps",
        "user",
        Text,
        Absent("`prestaged-lamps`"),
        "user who switches the lamps; nobody else but root tells the daemon how they are",
    ),
    key(
        "admission",
        "armed",
        Switch,
        Value("false"),
        "whether the station may write as soon as it starts",
    ),
    key(
        "admission",
        "buses",
        Texts,
        Absent("none"),
        "buses whose drives may be imaged, by udev's names: `ata`, `scsi`, `nvme`, `usb`, `virtio`; `loop` for loop devices. What is behind USB or a network is on that bus, whatever udev calls it",
    ),
    key(
        "admission",
        "bays",
        Texts,
        Absent("none"),
        "bays whose drives may be imaged: their names, or glob patterns over udev's `ID_PATH`; a loop device's path is `loop-<file name>`",
    ),
    key("admission", "models", Texts, Absent("all"), "models that may be imaged, as glob patterns"),
    key(
        "admission",
        "serials",
        Texts,
        Absent("all"),
        "serial numbers that may be imaged, as glob patterns",
    ),
    key(
        "admission",
        "sizes",
        Sizes,
        Absent("all"),
        "capacities that may be imaged, as sold: `\"512GB\"`",
    ),
    key(
        "admission",
        "size_tolerance",
        Share,
        Value("\"1%\""),
        "how far a capacity may differ from a listed one",
    ),
    key(
        "admission",
        "min_size",
        Size,
        Absent("none"),
        "capacity of the smallest drive that may be imaged",
    ),
    key(
        "admission",
        "max_size",
        Size,
        Absent("none"),
        "capacity of the largest drive that may be imaged",
    ),
    key(
        "admission",
        "overwrite",
        OneOf(&["blank_or_ours", "blank_only", "any"]),
        Value("\"blank_or_ours\""),
        "which drives may be overwritten, by what they are proven to hold: blank ones and those that are as this station left them; `blank_only`; or `any`. [What is proven](drives.md#what-is-proven-of-a-drive)",
    ),
    key(
        "admission",
        "blank_check",
        OneOf(&["sample", "deep"]),
        Value("\"sample\""),
        "how closely a drive is looked at that seems blank: at its ends and in 256 places drawn at random; or `deep`, every byte of it before the first is written, which takes as long as reading the whole drive. Nothing is looked at with `overwrite = \"any\"`",
    ),
    key(
        "admission",
        "reimage",
        Switch,
        Value("false"),
        "image a drive again even if it has passed with the same media",
    ),
    key("bay", "name", Text, Required, "name that people call the bay"),
    key("bay", "path", Text, Required, "the bay's `ID_PATH`, as a glob pattern"),
    key(
        "bay",
        "lamp",
        Text,
        Absent("where the drive in it is"),
        "where the bay's [lamps](lamps.md) are: `\"ses:0x500304801f2c8f3f/Slot 04\"`, `\"ahci:0000:00:17.0/3\"` or `\"npem:0000:3b:00.0\"`",
    ),
    key(
        "health",
        "socket",
        Path,
        Absent("none: no drive is asked"),
        "socket on which drives' [health](drives.md#health) is asked for; the package's is `/run/prestaged-health.sock`",
    ),
    key(
        "health",
        "timeout",
        Time,
        Value("\"5s\""),
        "how long a drive may take to answer; then its health is unknown",
    ),
    key(
        "health",
        "require",
        Switch,
        Value("false"),
        "refuse drives whose self-assessment is unknown, or a number that has a limit and that drives of their kind tell",
    ),
    key(
        "health",
        "refuse_failed_assessment",
        Switch,
        Value("true"),
        "refuse drives that say themselves that they fail",
    ),
    limit("max_hours", "most hours that a drive may have been running"),
    limit("max_reallocated", "most sectors, or blocks of flash memory, that were replaced"),
    limit("max_pending", "most sectors that wait to be replaced"),
    limit("max_uncorrectable", "most sectors that the drive's own scan could not read"),
    limit("max_media_errors", "most requests that the drive could not answer with right data"),
    limit("max_percentage_used", "most wear, in percent of what the maker allows for"),
    limit("min_available_spare", "least spare, in percent of what a new drive has"),
    key(
        "replicate",
        "memory",
        Size,
        Value("\"1GiB\""),
        "memory for the data in flight to all drives together",
    ),
    key(
        "replicate",
        "min_write_rate",
        Rate,
        Absent("none"),
        "a drive that writes or reads more slowly fails: `\"5MB/s\"`",
    ),
    key(
        "replicate",
        "min_batch_share",
        Share,
        Absent("none"),
        "a drive fails if its rate is below this share of the median of the other drives of its model: `\"25%\"`",
    ),
    key(
        "replicate",
        "rate_window",
        Time,
        Value("\"10s\""),
        "time over which a drive's rate is measured for both; only time that the drive itself takes counts",
    ),
    key(
        "replicate",
        "stall_timeout",
        Time,
        Value("\"2m\""),
        "a drive that leaves one request unanswered for this long fails",
    ),
    key(
        "replicate",
        "rewrites",
        Count,
        Value("0"),
        "how often a range that reads back wrong may be written again; afterwards the whole drive is read once more",
    ),
    key(
        "replicate",
        "old_data",
        OneOf(&["discard", "overwrite", "leave"]),
        Value("\"discard\""),
        "what is done about the data that a drive held where the media writes nothing: the drive is told to discard it; `overwrite` writes zeros everywhere and reads them back; or `leave`. The record says what became of it",
    ),
    key(
        "replicate",
        "hashing",
        OneOf(&["single", "pair", "avx2", "avx512"]),
        Absent("the fastest"),
        "how chunks are hashed: one after the other, two at once by SHA extensions, eight by AVX2 or sixteen by AVX-512. Without it, what is fastest when the station starts, as `status` says; all of them find the same digests",
    ),
    key(
        "tools",
        "search",
        Texts,
        Value("[\"/usr/sbin\", \"/usr/bin\", \"/sbin\", \"/bin\"]"),
        "folders in which mkntfs, mkfs.vfat, mcopy, hivexsh and blkid are looked for",
    ),
    key(
        "tools",
        "user",
        Text,
        Absent("`prestaged`, else `nobody`"),
        "user that reads media and presses masters",
    ),
    key(
        "layout",
        "name",
        Text,
        Required,
        "name of the layout in messages; drives get the first layout in the file",
    ),
    key(
        "layout",
        "boot",
        OneOf(&["prestaged", "none"]),
        Value("\"prestaged\""),
        "the media must bring boot files and a BCD, which are written to the ESP; with `\"none\"` only the image is applied",
    ),
    key(
        "layout",
        "boot_manager",
        OneOf(&["newest", "2011", "2023"]),
        Value("\"newest\""),
        "which boot manager the ESP gets where the media holds several: one that is signed by Microsoft's certificate of 2023 if there is one, or `2011` or `2023`, by that certificate alone; media without one is refused then",
    ),
    key("layout", "partitions", Tables, Required, "partitions in their order on the drive"),
    key(
        "layout.partitions",
        "type",
        OneOf(&["esp", "msr", "windows", "recovery"]),
        Required,
        "`esp`, `msr`, `windows` or `recovery`; `msr` and `recovery` are optional, and so is `esp` with `boot = \"none\"`",
    ),
    key(
        "layout.partitions",
        "size",
        PartitionSize,
        Required,
        "size, such as `\"300MiB\"`; exactly one partition takes `\"rest\"`, all that the others leave",
    ),
    key("layout.partitions", "name", Text, Absent("as Windows Setup writes it"), "name in the GPT"),
    key("layout.partitions", "label", Text, Absent("by type"), "volume label"),
    key(
        "layout.partitions",
        "attributes",
        AttributeBits,
        Absent("by type"),
        "attribute bits in the GPT, such as `\"0x8000000000000001\"`",
    ),
    key(
        "layout.partitions",
        "file_system",
        OneOf(&["fat32", "ntfs"]),
        Absent("by type"),
        "optional; only `fat32` (`esp`) and `ntfs` (`windows` and `recovery`) are accepted",
    ),
];
