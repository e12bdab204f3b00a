//! The fault matrix: what goes wrong with a drive, and what must come of it.
//!
//! Each row is a fault injected for real beside a good drive. For each the same is asserted: verdict, reason and place as
//! told; the good drive passes as if nothing were; the ledger has its row; what is left does not look finished; and the
//! same drive, now sound, passes at its next insertion. No row may ever pass while its fault is there.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive, can_run, slow};
use crate::harness::{Rig, Setup, wait_for};

/// The same in the recovery volume, the last to be written.
const LATE_BYTE: u64 = ((MIB - 21) << 20) + 20_000;
/// The volume serial in the ESP's boot sector: a fix-up site, written at the very end.
const BOOT_SECTOR_BYTE: u64 = (1 << 20) + 0x43;
/// In the first entry of the primary GPT.
const TABLE_BYTE: u64 = 1024 + 20;
/// Size of the drives.
const MIB: u64 = 420;

/// What happens to the drive beside its faults.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Nothing.
    None,
    /// It is pulled in this state.
    Pull(&'static str),
    /// The fault comes when it is in this state.
    FaultIn(&'static str),
}

/// One row.
struct Row {
    faults: Faults,
    act: Act,
    code: &'static str,
    /// A byte that the record's ranges, or the reason's text, must cover.
    place: Option<u64>,
    /// Further configuration.
    more: &'static str,
}

impl Default for Row {
    fn default() -> Self {
        let (faults, act) = (Faults::default(), Act::None);
        Self { faults, act, code: "mismatch", place: None, more: "" }
    }
}

/// Whether the record says where: a listed range, or the numbers in the reason, that cover a byte closely.
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
        if !can_run() {
            return;
        }
        let rig = Rig::started(Setup { more: self.more.into(), ..Setup::default() });
        let good = rig.drive("GOOD", MIB);
        // Slow enough to be met in every state; the commit is a few requests only.
        let delay = if matches!(self.act, Act::Pull("committing")) { 60 } else { 15 };
        let first = match self.act {
            Act::None => self.faults.clone(),
            Act::Pull(_) | Act::FaultIn(_) => slow(delay),
        };
        let bad = FaultyDrive::new(&rig, "BAD", MIB, first);
        bad.attach();
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
        // The others do not notice.
        rig.wait_pass(&good.serial);
        let record = rig.wait_recorded(&bad.serial);
        assert_eq!(record["verdict"], "failed", "{name}: {record:#}");
        assert_eq!(record["reason"]["code"], self.code, "{name}: {record:#}");
        if let Some(at) = self.place {
            assert!(names(&record, at), "{name}: {at} in {record:#}");
        }
        assert_eq!(rig.records(&bad.serial).len(), 1, "{name}: one insertion, one record");
        let pulled = matches!(self.act, Act::Pull(_));
        // Unless it cannot be written any more.
        let writable = self.faults.forget.is_none() && self.faults.write_error_at != Some(4096);
        if !pulled && self.faults.hangs_at.is_none() && writable {
            let head = bad.holds(0, 1 << 20);
            assert!(head[510..1024].iter().all(|b| *b == 0), "{name}: no table is left");
        }
        // The next insertion of the same drive, now sound, works.
        bad.set(Faults::default());
        if !pulled {
            bad.detach();
        }
        wait_for("the drive to go", || rig.drive_status(&bad.serial).is_none().then_some(()));
        bad.attach();
        wait_for("another record", || (rig.records(&bad.serial).len() == 2).then_some(()));
        rig.wait_pass(&bad.serial);
        let place = self.place.map_or("-".to_owned(), |at| at.to_string());
        // To the terminal: the rows that ran are the matrix.
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
        #[test]
        fn $name() {
            Row { $($field: $value,)* ..Row::default() }.run(stringify!($name));
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
    // The backup table, of all that is written, lands on the file table of the Windows volume: only the commit would
    // destroy what has been read back.
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
        more: "[replicate]\nstall_timeout = \"2s\"",
    },
    stuck_for_ever_in_a_write: {
        faults: faults(|f| f.hangs_at = Some(LATE_BYTE)),
        act: Act::FaultIn("writing"),
        code: "stalled",
        more: "[replicate]\nstall_timeout = \"2s\"",
    },
    stuck_for_ever_in_a_read: {
        faults: faults(|f| f.hangs_at = Some(BODY_BYTE)), act: Act::FaultIn("reading_back"),
        code: "stalled", more: "[replicate]\nstall_timeout = \"2s\"",
    },
    slower_than_the_floor: {
        faults: faults(|f| f.delay = Duration::from_millis(400)), code: "too_slow",
        more: "[replicate]\nmin_write_rate = \"5MB/s\"\nrate_window = \"2s\"",
    },
}
