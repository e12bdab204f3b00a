//! What is asked of a drive's health before it is written.

use super::{Assessment, Counter, Health};
use crate::code::ReasonCode;
use crate::failure::Refusal;

/// Where a number may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Bound {
    Most(u64),
    Least(u64),
}

/// A bound of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Limit {
    pub counter: Counter,
    pub bound: Bound,
    /// The key of the configuration that sets it.
    pub key: &'static str,
}

impl Limit {
    /// What speaks against this value, with value, limit and key.
    fn objection(&self, value: u64) -> Option<String> {
        let (words, key) = (self.counter.words(), self.key);
        match self.bound {
            Bound::Most(most) if value > most => {
                Some(format!("{words}: {value}, at most {most} ({key})"))
            }
            Bound::Least(least) if value < least => {
                Some(format!("{words}: {value}, at least {least} ({key})"))
            }
            Bound::Most(_) | Bound::Least(_) => None,
        }
    }
}

/// What a drive's health must be. Limits hold for what is known; what a drive does not tell speaks against it only where
/// health is required.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Whether a drive is refused of which too little is known: its self-assessment, or a number that has a limit and
    /// that drives of its kind tell.
    pub require: bool,
    /// Whether a drive is refused that says it fails.
    pub refuse_failed_assessment: bool,
    /// The limits of numbers.
    pub limits: Vec<Limit>,
}

impl HealthPolicy {
    /// What speaks against a drive's health, if anything does. `None` is a drive that nobody has asked.
    pub fn objection(&self, health: Option<&Health>) -> Option<Refusal> {
        let all = match health {
            Some(Health { unknown: Some(why), .. }) => self.lacking(why),
            None => self.lacking("nobody has asked the drive"),
            Some(known) => self.objections(known),
        };
        let hint = "use another drive; `prestagectl retry` asks the drive once more";
        let refusal = |all: Vec<String>| Refusal::new(ReasonCode::Health, all.join("; "));
        (!all.is_empty()).then(|| refusal(all).with_hint(hint))
    }

    /// Where health is required, that nothing is known.
    fn lacking(&self, why: &str) -> Vec<String> {
        let text = || format!("the drive's health is unknown ({REQUIRE}): {why}");
        self.require.then(text).into_iter().collect()
    }

    fn objections(&self, health: &Health) -> Vec<String> {
        let mut all = Vec::new();
        match health.self_assessment {
            Some(Assessment::Failed) if self.refuse_failed_assessment => all.push(
                "the drive says that it fails: self-assessment failed, must have passed \
                 (health.refuse_failed_assessment)"
                    .to_owned(),
            ),
            None if self.require => {
                all.push(format!("the drive's self-assessment is unknown ({REQUIRE})"));
            }
            Some(Assessment::Passed | Assessment::Failed) | None => {}
        }
        for limit in &self.limits {
            match health.of(limit.counter) {
                Some(value) => all.extend(limit.objection(value)),
                None => {
                    let told = health.kind.is_none_or(|kind| kind.tells(limit.counter));
                    if self.require && told {
                        let (words, key) = (limit.counter.words(), limit.key);
                        all.push(format!("{words}: unknown, has a limit ({key}, {REQUIRE})"));
                    }
                }
            }
        }
        all
    }
}

const REQUIRE: &str = "health.require";
