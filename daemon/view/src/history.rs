//! What the last jobs of a bay tell about it: whether a failure is the drive's, or the bay's, its cable's, its backplane's.
//!
//! It is a hint for whoever looks for the cause, never a verdict: a drive that has failed goes where its code says.

use std::collections::BTreeMap;

use model::api::snapshot::{BayHistory, EndedView};
use model::drive::Serial;
use model::meaning::Trouble;
use model::verdict::Verdict;

/// So many different drives of a bay are looked at, the latest.
const LOOKED_AT: usize = 5;
/// So many of them that have failed make a bay suspect.
const SUSPICIOUS: usize = 3;

/// Where the cause of failures in a bay is to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// Too little is known.
    Nobody,
    /// The drive: others are fine in the same bay, or it has failed in another one, too.
    Drive {
        /// How many other drives have passed in the bay lately, of how many.
        others: (usize, usize),
        /// Another bay in which it has failed.
        elsewhere: Option<String>,
    },
    /// The bay: several different drives have failed in it, and other bays are fine.
    Bay {
        /// How many drives have failed in it lately, of how many.
        failed: (usize, usize),
    },
    /// Several different drives have failed in it, and in other bays, too.
    Everywhere {
        /// How many drives have failed in it lately, of how many.
        failed: (usize, usize),
    },
}

impl Suspect {
    /// In a sentence; nothing where nothing is to be said.
    pub fn sentence(&self, bay: &str) -> Option<String> {
        Some(match self {
            Self::Nobody => return None,
            Self::Drive { elsewhere: Some(other), .. } => {
                format!("It has failed in {other}, too: the drive, not the bay")
            }
            Self::Drive { others: (passed, of), elsewhere: None } => {
                format!("{passed} of the last {of} others here passed: the drive, not the bay")
            }
            Self::Bay { failed: (failed, of) } => format!(
                "{bay}: {failed} of the last {of} different drives failed: check cable and backplane"
            ),
            Self::Everywhere { failed: (failed, of) } => format!(
                "{bay}: {failed} of the last {of} different drives failed, and other bays fail, too: \
                 check power, controller and the batch of drives"
            ),
        })
    }
}

/// Whether a job has failed in a way that a drive or its bay can be blamed for: not by the station, and not by hands.
fn counts_as_failed(ended: &EndedView) -> bool {
    let trouble = ended.code.map(|code| code.at_the_rack().trouble);
    ended.verdict == Verdict::Failed && trouble.is_none_or(|trouble| trouble == Trouble::Drive)
}

fn is_evidence(ended: &EndedView) -> bool {
    ended.verdict == Verdict::Passed || counts_as_failed(ended)
}

/// The last different drives of a bay, each with whether it has failed in its last job there. A drive without a serial
/// number cannot be told from others, so it is left out.
fn last_drives(history: &BayHistory) -> Vec<(&Serial, bool)> {
    let mut drives: Vec<(&Serial, bool)> = Vec::new();
    for ended in history.ended.iter().rev().filter(|ended| is_evidence(ended)) {
        if let Some(serial) = &ended.serial
            && drives.len() < LOOKED_AT
            && drives.iter().all(|(known, _)| *known != serial)
        {
            drives.push((serial, counts_as_failed(ended)));
        }
    }
    drives
}

/// Whom the failures in a bay point at. `drive` is the one whose tile is looked at, if it has a serial number.
pub fn suspect(bay: &str, drive: Option<&Serial>, all: &[BayHistory]) -> Suspect {
    let Some(own) = all.iter().find(|history| history.bay.0 == bay) else { return Suspect::Nobody };
    let here = last_drives(own);
    let failed = here.iter().filter(|(_, failed)| *failed).count();
    let others: BTreeMap<&str, (usize, usize)> = all
        .iter()
        .filter(|history| history.bay.0 != bay)
        .map(|history| {
            let drives = last_drives(history);
            let failed = drives.iter().filter(|(_, failed)| *failed).count();
            (history.bay.0.as_str(), (failed, drives.len()))
        })
        .collect();
    if failed >= SUSPICIOUS {
        let (bad, known) = others.values().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        // A fifth of the others may fail in a rack that is all right.
        return match known {
            0 => Suspect::Nobody,
            _ if bad * 5 <= known => Suspect::Bay { failed: (failed, here.len()) },
            _ => Suspect::Everywhere { failed: (failed, here.len()) },
        };
    }
    let Some(serial) = drive.filter(|serial| here.contains(&(*serial, true))) else {
        return Suspect::Nobody;
    };
    let elsewhere = all.iter().filter(|history| history.bay.0 != bay).find(|history| {
        let of = |ended: &&EndedView| ended.serial.as_ref() == Some(serial);
        history.ended.iter().filter(of).any(counts_as_failed)
    });
    let rest: Vec<_> = here.iter().filter(|(known, _)| *known != serial).collect();
    let passed = rest.iter().filter(|(_, failed)| !failed).count();
    let elsewhere = elsewhere.map(|history| history.bay.0.clone());
    if elsewhere.is_some() || (passed >= SUSPICIOUS && passed == rest.len()) {
        return Suspect::Drive { others: (passed, rest.len()), elsewhere };
    }
    Suspect::Nobody
}

/// The verdicts of a bay as a strip of signs, the latest last.
pub fn strip(history: Option<&BayHistory>) -> String {
    let sign = |ended: &EndedView| match ended.verdict {
        Verdict::Passed => '▮',
        Verdict::Failed => '✕',
        Verdict::Stopped => '■',
        Verdict::Refused => '!',
    };
    history.map(|history| history.ended.iter().map(sign).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::code::ReasonCode;
    use model::drive::Bay;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// A bay's history in a word: `a` is drive A that passed, `A` drive A that failed.
    fn bay(name: &str, jobs: &str) -> BayHistory {
        coded(name, jobs, ReasonCode::Mismatch)
    }

    fn coded(name: &str, jobs: &str, code: ReasonCode) -> BayHistory {
        let ended = |letter: char| {
            let failed = letter.is_uppercase();
            EndedView {
                job: Uuid::nil(),
                serial: Serial::new(&letter.to_lowercase().to_string()),
                verdict: if failed { Verdict::Failed } else { Verdict::Passed },
                code: failed.then_some(code),
                at: Timestamp::UNIX_EPOCH,
            }
        };
        BayHistory { bay: Bay(name.into()), ended: jobs.chars().map(ended).collect() }
    }

    fn of(jobs: &str, drive: char, others: &[&str]) -> Suspect {
        let names = ["8", "9", "10"];
        let others = names.iter().zip(others).map(|(name, jobs)| bay(name, jobs));
        let all: Vec<BayHistory> = [bay("7", jobs)].into_iter().chain(others).collect();
        suspect("7", Serial::new(&drive.to_string()).as_ref(), &all)
    }

    #[test]
    fn bay_or_drive() {
        assert_eq!(of("", 'a', &["xyz"]), Suspect::Nobody);
        assert_eq!(of("A", 'a', &["xyz"]), Suspect::Nobody, "one drive tells nothing of a bay");
        let drive = Suspect::Drive { others: (4, 4), elsewhere: None };
        assert_eq!(of("bcdeA", 'a', &["xyz"]), drive);
        assert_eq!(of("bcdea", 'a', &["xyz"]), Suspect::Nobody, "it has passed");
        let bay = Suspect::Bay { failed: (3, 5) };
        assert_eq!(of("bCdEA", 'a', &["xyzuv", "klmno"]), bay);
        assert_eq!(of("AAAAA", 'a', &["xyz"]), Suspect::Nobody, "one drive, tried five times");
        let all = Suspect::Everywhere { failed: (3, 3) };
        assert_eq!(of("ABC", 'c', &["XYz", "KlM"]), all);
        assert_eq!(of("ABC", 'c', &[]), Suspect::Nobody, "no other bay to compare with");
        let both = Suspect::Drive { others: (0, 0), elsewhere: Some("8".into()) };
        assert_eq!(of("A", 'a', &["xyA"]), both);
    }

    /// What hands or the station have spoilt blames neither the bay nor the drive.
    #[test]
    fn only_drives_that_are_not_good_count() {
        let others = bay("8", "uvwxy");
        for code in [ReasonCode::Unplugged, ReasonCode::PressFailed, ReasonCode::StoreError] {
            let all = [coded("7", "ABCDE", code), others.clone()];
            assert_eq!(suspect("7", None, &all), Suspect::Nobody, "{code}");
        }
        let all = [bay("7", "ABCDE"), others];
        assert_ne!(suspect("7", None, &all), Suspect::Nobody);
    }

    proptest! {
        /// Whatever the past, a bay in which nothing has failed is never suspect.
        #[test]
        fn nobody_is_blamed_without_a_failure(here in "[a-j]{0,10}", there in "[a-jA-J]{0,10}") {
            let suspect = of(&here, 'a', &[&there]);
            prop_assert_eq!(suspect, Suspect::Nobody);
        }
    }

    #[test]
    fn a_strip_has_a_sign_for_each_verdict() {
        assert_eq!(strip(Some(&bay("1", "aBc"))), "▮✕▮");
        assert_eq!(strip(None), "");
    }
}
