//! Every key with its default and what it does, for prestaged.toml(5) and README.md.
//!
//! The texts are Markdown of the simplest kind: back quotes only. A test compares the keys and the defaults with what
//! the configuration really knows, so neither can be forgotten here.

use Fallback::{Absent, Required, Value};

/// What holds where a key is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value, in TOML.
    Value(&'static str),
    /// No value; what that means.
    Absent(&'static str),
    /// The key must be given.
    Required,
}

impl Fallback {
    /// For a person, in Markdown.
    pub fn shown(self) -> String {
        match self {
            Self::Value(toml) => format!("`{toml}`"),
            Self::Absent(words) => words.to_owned(),
            Self::Required => "must be given".to_owned(),
        }
    }
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its table.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What holds without it.
    pub fallback: Fallback,
    /// What it does.
    pub text: &'static str,
}

impl Key {
    /// Whether its table can stand in the file several times.
    pub fn is_repeated(&self) -> bool {
        matches!(self.section, "bay" | "layout" | "layout.partitions")
    }

    /// Its full name as people write it: `store.path`, `[[bay]] name`.
    pub fn path(&self) -> String {
        match self.section.split_once('.') {
            Some((table, inner)) => format!("[[{table}]] {inner}.{}", self.name),
            None if self.is_repeated() => format!("[[{}]] {}", self.section, self.name),
            None => format!("{}.{}", self.section, self.name),
        }
    }

    /// Its row in README.md.
    pub fn row(&self) -> String {
        // A bar would end the cell.
        let cell = |text: &str| text.replace('|', "\\|");
        format!("| `{}` | {} | {} |", self.path(), cell(&self.fallback.shown()), cell(self.text))
    }
}

const fn key(
    section: &'static str,
    name: &'static str,
    fallback: Fallback,
    text: &'static str,
) -> Key {
    Key { section, name, fallback, text }
}

/// Every key of the configuration, in the order in which they are explained.
pub const KEYS: [Key; 41] = [
    key("station", "name", Absent("host name"), "in every record"),
    key("media", "inbox", Value("\"/srv/prestaged/media\""), "watched folder"),
    key("media", "image", Value("1"), "index of the image that is applied"),
    key(
        "media",
        "expires",
        Absent("none"),
        "by media name, the last day its certificate is valid: `\"win11.wim\" = \"2027-06-30\"`. It lies encrypted in \
         the media, so take it from the order",
    ),
    key("store", "path", Value("\"/var/lib/prestaged/masters\""), "masters"),
    key("store", "budget", Value("\"100GiB\""), "least recently used masters go first"),
    key(
        "store",
        "press_ahead",
        Value("true"),
        "press new media for every drive geometry seen before",
    ),
    key("ledger", "path", Value("\"/var/lib/prestaged/ledger.db\""), "the records"),
    key(
        "control",
        "socket",
        Value("\"/run/prestaged/control.sock\""),
        "where prestagectl finds the daemon; HTTP",
    ),
    key("control", "mode", Value("\"0660\""), "of the socket, in octal"),
    key(
        "control",
        "group",
        Absent("none"),
        "whose members may use prestagectl; the package's file says `\"prestaged\"`",
    ),
    key("admission", "armed", Value("false"), "whether the station may write from its start"),
    key(
        "admission",
        "buses",
        Absent("none"),
        "udev's words: `ata`, `scsi`, `nvme`, `usb`, `virtio`, and `loop`",
    ),
    key(
        "admission",
        "bays",
        Absent("none"),
        "glob patterns over udev's `ID_PATH` or the names of bays; `loop-<file name>` for loop devices",
    ),
    key("admission", "models", Absent("all"), "glob patterns"),
    key("admission", "serials", Absent("all"), "glob patterns"),
    key("admission", "sizes", Absent("all"), "capacities as sold, such as `\"512GB\"`"),
    key("admission", "size_tolerance", Value("\"1%\""), "how far off a drive may be"),
    key("admission", "min_size", Absent("none"), "smallest drive"),
    key("admission", "max_size", Absent("none"), "largest drive"),
    key(
        "admission",
        "overwrite",
        Value("\"blank_or_ours\""),
        "what may go: also `blank_only`, or `any`. Blank means a mebibyte at each end of one repeated byte",
    ),
    key(
        "admission",
        "reimage",
        Value("false"),
        "image drives again that have passed with the same media",
    ),
    key("bay", "name", Required, "what people call a bay"),
    key("bay", "path", Required, "its `ID_PATH`, as a glob pattern"),
    key(
        "replicate",
        "memory",
        Value("\"1GiB\""),
        "for the chunks of all drives together, however many there are",
    ),
    key(
        "replicate",
        "min_write_rate",
        Absent("none"),
        "a drive below it, reading or writing, fails",
    ),
    key(
        "replicate",
        "min_batch_share",
        Absent("none"),
        "so does one below this share (`\"25%\"`) of the median of the others of its model",
    ),
    key(
        "replicate",
        "rate_window",
        Value("\"10s\""),
        "over how much of the drive's own time both are measured",
    ),
    key(
        "replicate",
        "stall_timeout",
        Value("\"2m\""),
        "a drive that does not answer one request for so long has failed",
    ),
    key(
        "replicate",
        "rewrites",
        Value("0"),
        "how often what reads back wrong may be written again; then all is read once more",
    ),
    key(
        "tools",
        "search",
        Value("[\"/usr/sbin\", \"/usr/bin\", \"/sbin\", \"/bin\"]"),
        "where mkntfs, mkfs.vfat, mcopy and hivexsh are looked for",
    ),
    key("tools", "user", Absent("`prestaged`, else `nobody`"), "who reads media and presses"),
    key(
        "layout",
        "name",
        Required,
        "what people call the layout; the first one in the file is used",
    ),
    key(
        "layout",
        "boot",
        Value("\"prestaged\""),
        "boot files and BCD are required and laid down; `\"none\"`: content as it is",
    ),
    key(
        "layout",
        "partitions",
        Required,
        "the partitions in the order in which they stand on the drive",
    ),
    key(
        "layout.partitions",
        "type",
        Required,
        "`esp`, `msr`, `windows` or `recovery`. `msr` and `recovery` may be left out, `esp` with `boot = \"none\"` too",
    ),
    key(
        "layout.partitions",
        "size",
        Required,
        "such as `\"300MiB\"`; `\"rest\"` is what the others leave",
    ),
    key("layout.partitions", "name", Absent("as Windows Setup writes it"), "in the GPT"),
    key("layout.partitions", "label", Absent("by type"), "of the volume"),
    key(
        "layout.partitions",
        "attributes",
        Absent("by type"),
        "GPT's bits, such as `\"0x8000000000000001\"`",
    ),
    key(
        "layout.partitions",
        "file_system",
        Absent("by type"),
        "says what is so anyway: `fat32` for `esp`, `ntfs` for `windows` and `recovery`",
    ),
];
