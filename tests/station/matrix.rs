//! The fault matrix: what goes wrong with a drive, and what the station must make of it.
//!
//! Each row is a fault that a drive really has, beside a good drive. Every row checks the same: the record has the
//! expected verdict, reason and place; the good drive passes; the ledger has one record of the insertion; the bad drive has
//! no partition table; and once the fault is gone, the same drive passes at its next insertion.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, slow};
use crate::harness::{Rig, Setup, wait_for};

/// A byte like [`BODY_BYTE`] in the recovery volume, which is written last.
const LATE_BYTE: u64 = ((MIB - 21) << 20) + 20_000;
/// The volume serial in the ESP's boot sector: a fix-up site, written at the very end.
const BOOT_SECTOR_BYTE: u64 = (1 << 20) + 0x43;
/// A byte in the first entry of the primary GPT.
const TABLE_BYTE: u64 = 1024 + 20;
/// Size of the drives.
const MIB: u64 = 420;

/// What the test does to the drive.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Nothing.
    None,
    /// Pulls the drive in this state.
    Pull(&'static str),
    /// Lets the fault begin in this state; until then the drive is slow and sound.
    FaultIn(&'static str),
}

/// A row of the matrix.
struct Row {
    faults: Faults,
    act: Act,
    code: &'static str,
    /// A byte that the record's mismatches, or the text of its reason, must name.
    place: Option<u64>,
    /// Further keys of the configuration.
    config: &'static [(&'static str, &'static str)],
}

impl Default for Row {
    fn default() -> Self {
        let (faults, act) = (Faults::default(), Act::None);
        Self { faults, act, code: "mismatch", place: None, config: &[] }
    }
}

/// Whether a record names a byte: a short listed range, or the range in the text of the reason, covers it.
fn names(record: &Value, at: u64) -> bool {
    let covers = |offset: u64, length: u64| offset <= at && at < offset + length;
    let listed = record["mismatches"].as_array().unwrap().iter().any(|m| {
        let length = m["length"].as_u64().unwrap();
        covers(m["offset"].as_u64().unwrap(), length)
            && length <= 4096
            && m["expected"] != m["actual"]
    });
    // "... 4194304 bytes at byte 59768832 ..."
    let words: Vec<&str> = record["reason"]["detail"].as_str().unwrap().split(' ').collect();
    let told = words.windows(5).any(|w| {
        let number = |word: &str| word.trim_end_matches([':', ';', ',']).parse::<u64>().ok();
        w[1..4] == ["bytes", "at", "byte"]
            && number(w[0]).zip(number(w[4])).is_some_and(|(length, offset)| covers(offset, length))
    });
    listed || told
}

impl Row {
    fn run(self, name: &str) {
        let set = |setup: Setup, (key, value): &(&str, &str)| setup.set(key, *value);
        let rig = Rig::started(self.config.iter().fold(Setup::default(), set));
        let good = rig.drive("GOOD", MIB);
        // The drive must be slow, so that the test sees every state; the commit has only a few requests.
        let delay = if matches!(self.act, Act::Pull("committing")) { 60 } else { 15 };
        let first = match self.act {
            Act::None => self.faults.clone(),
            Act::Pull(_) | Act::FaultIn(_) => slow(delay),
        };
        let bad = FaultyDrive::new(&rig, "BAD", MIB, first);
        bad.attach(&[]);
        good.attach(&[]);
        match self.act {
            Act::None => {}
            Act::Pull(state) => {
                rig.wait_state(&bad.serial, &[state]);
                bad.detach();
            }
            Act::FaultIn(state) => {
                rig.wait_state(&bad.serial, &[state]);
                bad.set(self.faults.clone());
            }
        }
        // The good drive is not affected.
        rig.wait_pass(&good.serial);
        let record = rig.wait_recorded(&bad.serial);
        assert_eq!(record["verdict"], "failed", "{name}: {record:#}");
        assert_eq!(record["reason"]["code"], self.code, "{name}: {record:#}");
        if let Some(at) = self.place {
            assert!(names(&record, at), "{name}: {at} in {record:#}");
        }
        assert_eq!(rig.records(&bad.serial).len(), 1, "{name}: one insertion has one record");
        let pulled = matches!(self.act, Act::Pull(_));
        // A drive that does not take writes any more keeps what it has.
        let writable = self.faults.forget.is_none() && self.faults.write_error_at != Some(4096);
        if !pulled && self.faults.hangs_at.is_none() && writable {
            let head = bad.holds(0, 1 << 20);
            assert!(head[510..1024].iter().all(|b| *b == 0), "{name}: a partition table is left");
        }
        // Without the fault the same drive passes at its next insertion.
        bad.set(Faults::default());
        if !pulled {
            bad.detach();
        }
        rig.wait_gone(&bad.serial);
        bad.attach(&[]);
        wait_for("another record", || (rig.records(&bad.serial).len() == 2).then_some(()));
        rig.wait_pass(&bad.serial);
        let place = self.place.map_or("-".to_owned(), |at| at.to_string());
        // Whoever reads the tests' output sees the matrix.
        let _ = writeln!(
            std::io::stderr(),
            "fault {name:<44} failed {:<12} byte {place:<10} others passed, next passed",
            self.code
        );
        drop(rig);
    }
}

macro_rules! matrix {
    ($($name:ident: { $($field:ident: $value:expr),* $(,)? },)*) => {$(
        test! {
            #[needs(LOOP, FUSE)]
            fn $name() {
                Row { $($field: $value,)* ..Row::default() }.run(stringify!($name));
            }
        }
    )*};
}

fn faults(change: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::default();
    change(&mut faults);
    faults
}

matrix! {
    a_flipped_byte_in_the_body: {
        faults: faults(|f| f.flip_at = Some(BODY_BYTE)), place: Some(BODY_BYTE),
    },
    a_flipped_byte_in_a_boot_sector: {
        faults: faults(|f| f.flip_at = Some(BOOT_SECTOR_BYTE)), place: Some(BOOT_SECTOR_BYTE),
    },
    a_flipped_byte_in_the_table: {
        faults: faults(|f| f.flip_at = Some(TABLE_BYTE)), place: Some(TABLE_BYTE),
    },
    a_drive_that_forgets_some_writes: {
        faults: faults(|f| f.forget = Some((56 << 20, 60 << 20))),
    },
    a_drive_that_forgets_every_write: {
        faults: faults(|f| f.forget = Some((0, MIB << 20))),
    },
    a_drive_that_forgets_from_the_read_back_on: {
        faults: faults(|f| f.forget = Some((0, MIB << 20))), act: Act::FaultIn("reading_back"),
    },
    a_drive_with_a_quarter_of_its_capacity: {
        faults: faults(|f| f.wraps_at = Some(100 << 20)),
    },
    // Only the backup GPT lands on the Windows volume's file table, so only the commit would destroy what has been read
    // back.
    a_drive_whose_end_lies_on_its_middle: {
        faults: faults(|f| f.wraps_at = Some((MIB << 20) - (33 << 9) - BODY_BYTE - 0x2000)),
    },
    a_write_error: {
        faults: faults(|f| f.write_error_at = Some(BODY_BYTE)), code: "write_error", place: Some(BODY_BYTE),
    },
    a_write_error_in_the_erased_part: {
        faults: faults(|f| f.write_error_at = Some(4096)), code: "write_error", place: Some(4096),
    },
    a_write_error_in_the_commit: {
        faults: faults(|f| f.write_error_at = Some(BOOT_SECTOR_BYTE)), act: Act::FaultIn("reading_back"),
        code: "write_error", place: Some(BOOT_SECTOR_BYTE),
    },
    a_read_error: {
        faults: faults(|f| f.read_error_at = Some(BODY_BYTE)), code: "read_error", place: Some(BODY_BYTE),
    },
    a_read_error_in_the_commit: {
        faults: faults(|f| f.read_error_at = Some(TABLE_BYTE)), code: "read_error", place: Some(TABLE_BYTE),
    },
    pulled_while_erasing: { act: Act::Pull("erasing"), code: "unplugged", },
    pulled_while_writing: { act: Act::Pull("writing"), code: "unplugged", },
    pulled_while_reading_back: { act: Act::Pull("reading_back"), code: "unplugged", },
    pulled_while_committing: { act: Act::Pull("committing"), code: "unplugged", },
    stuck_for_ever_while_erasing: {
        faults: faults(|f| f.hangs_at = Some(BODY_BYTE)),
        code: "stalled",
        config: &[("replicate.stall_timeout", "2s")],
    },
    stuck_for_ever_in_a_write: {
        faults: faults(|f| f.hangs_at = Some(LATE_BYTE)),
        act: Act::FaultIn("writing"),
        code: "stalled",
        config: &[("replicate.stall_timeout", "2s")],
    },
    stuck_for_ever_in_a_read: {
        faults: faults(|f| f.hangs_at = Some(BODY_BYTE)), act: Act::FaultIn("reading_back"),
        code: "stalled", config: &[("replicate.stall_timeout", "2s")],
    },
    slower_than_the_floor: {
        faults: faults(|f| f.delay = Duration::from_millis(100)), code: "too_slow",
        config: &[("replicate.min_write_rate", "60MB/s"), ("replicate.rate_window", "2s")],
    },
}
