//! The command line. What can be checked without the daemon is checked here.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};

use super::bays::BaysVerb;
use super::certificate::CertificateArguments;
use super::completing;
use super::key::KeyVerb;
use super::ledger_backup::LedgerVerb;
use super::ledger_log::LogVerb;
use super::order::OrderVerb;
use super::records::query::RecordsArguments;
use super::scan::ScanArguments;
use super::schema::{Described, OPENAPI};
use super::verify_record::VerifyRecordArguments;
use jiff::civil::Date;
use model::api::schema::Document;
use model::offer::Offer;
use model::parcel::{LARGEST_PACK, LARGEST_PIECE, Product};
use model::units::{Bytes, SectorSize, UnitError};
use strum::VariantArray as _;

/// Talk to a running prestaged.
#[derive(Debug, Parser)]
#[command(name = "prestagectl", version, subcommand_required = true)]
pub struct Arguments {
    /// Control socket of the daemon.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "PRESTAGED_SOCKET",
        hide_env_values = true,
        display_order = 900,
        default_value = config::DEFAULT_SOCKET
    )]
    pub(super) socket: PathBuf,
    /// Print one JSON document instead of text; with `watch`, one per line.
    #[arg(long, global = true, display_order = 901)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show whether the station is armed, its media and masters, and each bay with its drive.
    Status,
    /// Show the station live, until interrupted.
    Watch,
    /// Show the rack in large letters, and operate it with keys.
    Top,
    /// Allow the station to write to admitted drives.
    Arm,
    /// Forbid writing; drives being written are finished.
    Disarm,
    /// List every block device, whether it is admitted, and why it is refused.
    Drives(DrivesArguments),
    /// Show and give names of bays.
    #[command(subcommand)]
    Bays(BaysVerb),
    /// Show and verify the media in the inbox; pack and receive media.
    #[command(subcommand)]
    Media(MediaVerb),
    /// Make keys that sign media, and lists of the keys that stations trust.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Add and show production orders, and hold, resume, approve, change or close them.
    #[command(subcommand)]
    Order(OrderVerb),
    /// Check the record of a drive that somebody shows: signed, in the log, with its verdict; needs no daemon.
    VerifyRecord(VerifyRecordArguments),
    /// Show what proves the latest record of a drive: signed, and in the ledger's log.
    Certificate(CertificateArguments),
    /// Show, verify or acknowledge the ledger's log.
    #[command(subcommand)]
    Log(LogVerb),
    /// Back up the ledger while the daemon uses it.
    #[command(subcommand)]
    Ledger(LedgerVerb),
    /// Show, press and remove the masters in the store.
    #[command(subcommand)]
    Master(MasterVerb),
    /// Image one drive now and wait for its verdict; it is admitted or refused like a plugged one.
    Image(ImageArguments),
    /// Compare every file, stream and attribute on a drive with the media; the drive is only read.
    Audit {
        /// Device, serial number or bay of the drive, such as /dev/sdb.
        #[arg(add = completing::drives())]
        device: String,
        /// Compare with this media; without it, with the one that the drive was imaged with.
        #[arg(long, value_name = "NAME", add = completing::media())]
        media: Option<String>,
    },
    /// Read a drive again, and compare it with its own last record that has passed; the drive is only read.
    Verify {
        /// Device, serial number or bay of the drive, such as /dev/sdb.
        #[arg(add = completing::drives())]
        device: String,
    },
    /// List the records in the ledger, oldest first.
    Records(RecordsArguments),
    /// Tell what a code means, what the operator does, and what the engineer does; needs no daemon.
    Explain {
        /// The code, such as not_blank; without it, all codes are listed.
        #[arg(add = completing::codes())]
        code: Option<String>,
    },
    /// Print the JSON schema of a document, or the HTTP API as OpenAPI; needs no daemon.
    Schema {
        /// Name of the document, or openapi for the whole API; without it, all are listed.
        #[arg(value_parser = PossibleValuesParser::new(names()).try_map(document))]
        document: Option<Described>,
    },
    /// Take what a barcode scanner reads: an order for the next drive, a serial number, a bay, or a command card.
    Scan(ScanArguments),
    /// Image an attached drive once more and wait for its verdict.
    Retry {
        /// Device, serial number or bay of the drive.
        #[arg(add = completing::drives())]
        drive: String,
    },
    /// Have the lamp of a bay blink, so that it is found; it ends by itself.
    Locate {
        /// The bay, or what the drive in it is called.
        #[arg(add = completing::bays())]
        bay: String,
        /// End it now.
        #[arg(long)]
        off: bool,
    },
    /// Stop writing a drive; it is left without a partition table.
    Stop {
        /// Device, serial number or bay of the drive.
        #[arg(add = completing::drives())]
        drive: String,
    },
    /// Acknowledge the verdict of a drive that has been pulled: its bay is shown as empty, and a FAIL is listed no more.
    Release {
        /// Name of the bay, or serial number of the drive.
        #[arg(add = completing::bays())]
        bay: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ImageArguments {
    /// Device, serial number or bay of the drive, such as /dev/sdb.
    #[arg(add = completing::drives())]
    pub(super) device: String,
    /// Image the drive with this media; without it, with the one that is offered automatically.
    #[arg(long, value_name = "NAME", add = completing::media())]
    pub(super) media: Option<String>,
    /// Image the drive for the order with this number, whose media it gets; the order's conditions must hold.
    #[arg(long, value_name = "NUMBER", conflicts_with = "media", add = completing::orders())]
    pub(super) order: Option<String>,
    /// Image it once more if it has passed.
    #[arg(long)]
    pub(super) again: bool,
    /// Consent that what this drive holds is lost; recorded with your name. No other reason against the drive is waived.
    #[arg(long, requires = "reason")]
    pub(super) overwrite: bool,
    /// Why what the drive holds may be lost.
    #[arg(long, value_name = "TEXT", requires = "overwrite", value_parser = reason)]
    pub(super) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DrivesArguments {
    /// Show only this drive, with every reason against it: its device, serial number or bay.
    #[arg(value_name = "DRIVE", add = completing::drives())]
    pub(super) drive: Option<String>,
    /// Show every reason against a drive, each on a line of its own, and not only the decisive one.
    #[arg(short, long)]
    pub(super) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum MediaVerb {
    /// List the media in the inbox, whether it may be used, and to which drives it is offered.
    List {
        /// Also media that is hidden.
        #[arg(long)]
        all: bool,
    },
    /// Show digests, images, contents and problems of one media.
    Show {
        /// File name of the media in the inbox.
        #[arg(add = completing::media())]
        name: String,
    },
    /// Make media available to other drives than before.
    Offer {
        /// File name of the media in the inbox.
        #[arg(add = completing::media())]
        name: String,
        /// To every admitted drive, to those for which somebody or an order names it, or to those of an order alone.
        #[arg(value_parser = PossibleValuesParser::new(OFFERS).try_map(offer))]
        offer: Offer,
    },
    /// Read one media again from end to end and verify it.
    Verify {
        /// File name of the media in the inbox.
        #[arg(add = completing::media())]
        name: String,
    },
    /// Let media be used although later media of its product has been seen; recorded with your name.
    Accept {
        /// File name of the media in the inbox.
        #[arg(add = completing::media())]
        name: String,
        /// Why it may be used.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Make a signed parcel of media, to be sent in any way; needs no daemon.
    Pack(PackArguments),
    /// Add a signature to a parcel or a manifest, where several must sign, or others than before; needs no daemon.
    Sign {
        /// Folder of the parcel, or the manifest that lies beside media.
        parcel: PathBuf,
        /// File of a secret key that signs.
        #[arg(long, value_name = "FILE", required = true)]
        key: Vec<PathBuf>,
    },
    /// Print what the station has, as JSON, for `media pack --against`.
    Have {
        /// Read these media instead of the station's; the daemon is not asked then.
        #[arg(value_name = "FILE", conflicts_with = "product")]
        files: Vec<PathBuf>,
        /// Leave out media that is another product's, by the manifest beside it.
        #[arg(long, value_name = "NAME")]
        product: Option<Product>,
    },
    /// Take a parcel into the inbox; after an interruption the same command goes on where it was cut.
    Receive(ReceiveArguments),
    /// Make media of its parts by a recipe, see prestaged-recipe(5); needs neither the daemon nor root.
    Create(CreateArguments),
    /// Split media into parts that FAT32 can hold; needs neither the daemon nor root.
    Split(SplitArguments),
}

#[derive(Debug, Args)]
pub(super) struct CreateArguments {
    /// File that says of what the media is made.
    #[arg(value_name = "RECIPE")]
    pub(super) recipe: PathBuf,
    /// File to be made.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Verify the parts, judge names and compute the room, but write no media.
    #[arg(long)]
    pub(super) check: bool,
    /// Replace the file if it is there, once the new one is made and verified.
    #[arg(long)]
    pub(super) replace: bool,
    #[command(flatten)]
    pub(super) by: WorkerArguments,
}

#[derive(Debug, Args)]
pub(super) struct SplitArguments {
    /// Media in one file.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// First part to be made, such as /media/stick/win11.swm; the others are win112.swm, win113.swm and so on.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Largest size of a part.
    #[arg(long, value_name = "SIZE", default_value = "3.8GiB")]
    pub(super) size: Bytes,
    #[command(flatten)]
    pub(super) by: WorkerArguments,
}

// Who does the work of making media. A doc comment would become what the verb is said to do.
#[derive(Debug, Args)]
pub(super) struct WorkerArguments {
    /// The daemon's program, which does the work; without it, the one beside prestagectl.
    #[arg(
        long = "worker",
        value_name = "PROGRAM",
        env = "PRESTAGED_WORKER",
        hide_env_values = true
    )]
    pub(super) program: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct PackArguments {
    /// The media: a WIM that is not split.
    pub(super) file: PathBuf,
    /// File of a secret key that signs; several sign together.
    #[arg(long, value_name = "FILE", required = true)]
    pub(super) key: Vec<PathBuf>,
    /// What the media is a version of.
    #[arg(long, value_name = "NAME")]
    pub(super) product: Product,
    /// Counts the versions of the product: higher than that of any earlier version.
    #[arg(long, value_name = "N")]
    pub(super) sequence: u64,
    /// The version in your words.
    #[arg(long, value_name = "TEXT")]
    pub(super) version: Option<String>,
    /// First day on which the media may be used.
    #[arg(long, value_name = "DATE")]
    pub(super) not_before: Option<Date>,
    /// Last day on which the media may be used, such as that of its certificate.
    #[arg(long, value_name = "DATE")]
    pub(super) expires: Option<Date>,
    /// To which drives the media is to be offered.
    #[arg(long, value_parser = PossibleValuesParser::new(["automatic", "by_hand", "hidden"]))]
    pub(super) offer: Option<String>,
    /// What the receiver has, as `media have` prints it there; the parcel leaves that out.
    #[arg(long, value_name = "HAVE")]
    pub(super) against: Option<PathBuf>,
    /// Folder that gets the parcel, `NAME.parcel`.
    #[arg(long, value_name = "FOLDER")]
    pub(super) to: PathBuf,
    /// Size of the largest file in the parcel.
    #[arg(long, value_name = "SIZE", default_value = "2147483647", value_parser = pack_size)]
    pub(super) pack_size: Bytes,
    /// The image that becomes the volume, as the station's `media.image`; what it holds is told in the manifest.
    #[arg(long, value_name = "INDEX", default_value_t = 1)]
    pub(super) image: u32,
    #[command(flatten)]
    pub(super) by: WorkerArguments,
}

#[derive(Debug, Args)]
pub(super) struct ReceiveArguments {
    /// The parcel: a folder, or its address on an HTTP or HTTPS server that gives ranges of files.
    #[arg(value_name = "FOLDER_OR_URL")]
    pub(super) from: String,
    /// File of a public key whose signature is asked for, instead of the station's `media.signers`.
    #[arg(long, value_name = "FILE")]
    pub(super) key: Vec<PathBuf>,
    /// Folder that gets the media, instead of the station's inbox; the daemon is not asked then.
    #[arg(long, value_name = "FOLDER")]
    pub(super) to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum MasterVerb {
    /// List the masters in the store and those being pressed.
    List,
    /// Press a master before a drive needs it, and wait for it.
    Press {
        /// File name of the media to press.
        #[arg(long, value_name = "NAME", add = completing::media())]
        media: String,
        /// Exact capacity of the drives it is for, as `drives --json` gives it, such as 512110190592.
        #[arg(long, value_name = "BYTES")]
        size: Bytes,
        /// Size in bytes of those drives' logical sectors.
        #[arg(
            long,
            value_name = "BYTES",
            default_value = "512",
            value_parser = PossibleValuesParser::new(["512", "4096"]).try_map(sector)
        )]
        sector: SectorSize,
    },
    /// Remove a master from the store, or cancel its press.
    Remove {
        /// Name of the master, as `master list` shows it.
        #[arg(add = completing::masters())]
        id: String,
    },
}

/// What somebody must say who asks for something out of the ordinary.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why".into()),
        text => Ok(text.to_owned()),
    }
}

/// A name that a station takes in `media.signers`, too.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say whose key it is".into()),
        text if text.contains(char::is_control) => Err("a name is one line of letters".into()),
        text => Ok(text.to_owned()),
    }
}

/// Smaller packs than pieces cannot be, and larger ones do not fit everywhere.
fn pack_size(text: &str) -> Result<Bytes, String> {
    let size: Bytes = text.parse().map_err(|error: UnitError| error.to_string())?;
    match (LARGEST_PIECE..=LARGEST_PACK).contains(&size) {
        true => Ok(size),
        false => Err(format!("packs have {} to {} bytes", LARGEST_PIECE.0, LARGEST_PACK.0)),
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    Document::VARIANTS.iter().map(|document| (*document).into()).chain([OPENAPI])
}

fn document(name: String) -> Result<Described, strum::ParseError> {
    match name == OPENAPI {
        true => Ok(Described::Api),
        false => name.parse().map(Described::Document),
    }
}

/// The offers, the widest first.
const OFFERS: [&str; 3] = ["automatic", "by_hand", "hidden"];

fn offer(text: String) -> Result<Offer, strum::ParseError> {
    text.parse()
}

fn sector(text: String) -> Result<SectorSize, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    SectorSize::try_from(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Arguments;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_is_said_without_the_daemon() {
        let mut text = String::new();
        for line in [
            "records --verdict maybe",
            "records --since yesterday",
            "records --csv --json",
            "master press --media win.wim --size big",
            "master press --media win.wim --size 1TB --sector 1024",
            "imagine /dev/sdb",
            "image /dev/sdb --overwrite",
            "image /dev/sdb --reason lease",
            "image /dev/sdb --overwrite --reason=",
        ] {
            let words = ["prestagectl"].into_iter().chain(line.split(' '));
            let error = Arguments::try_parse_from(words).unwrap_err();
            text += &format!("$ prestagectl {line}\n{error}\n");
        }
        crate::fixture::snapshot("wrong", &text);
    }

    /// A signer's name stands in one line of the configuration, of logs and of pages.
    #[test]
    fn a_key_has_a_name() {
        for (name, good) in [
            ("acme", true),
            (" acme media ", true),
            ("", false),
            (" ", false),
            ("a\nb", false),
            ("a\u{1b}b", false),
        ] {
            let parsed =
                Arguments::try_parse_from(["prestagectl", "key", "new", "--name", name, "file"]);
            assert_eq!(parsed.is_ok(), good, "{name:?}");
        }
    }

    /// Every help text as it is printed, so that a change of words is seen.
    #[test]
    fn help() {
        let mut text = String::new();
        let mut todo = vec![Arguments::command().term_width(80)];
        while let Some(mut command) = todo.pop() {
            command.build();
            text += &format!("{}\n", command.render_help());
            let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
            todo.extend(verbs.cloned().collect::<Vec<_>>().into_iter().rev());
        }
        crate::fixture::snapshot("help", &text);
    }
}
