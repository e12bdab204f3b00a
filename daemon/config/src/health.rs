//! What `[health]` asks of drives, and what of it cannot work.

use std::time::Duration;

use model::health::{Bound, Counter, HealthPolicy, Limit};
use model::units::UnitError;

use super::check::Wrong;
use super::{Config, ConfigError, Health};

/// Drives answer well within a second, or not at all.
const TIMEOUT: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];

impl Health {
    /// The limits that are set, with their keys.
    fn limits(&self) -> Vec<Limit> {
        let most = |key, counter, value: Option<u32>| {
            value.map(|value| Limit { counter, bound: Bound::Most(value.into()), key })
        };
        let least = |key, counter, value: Option<u32>| {
            value.map(|value| Limit { counter, bound: Bound::Least(value.into()), key })
        };
        let all = [
            most("health.max_hours", Counter::PowerOnHours, self.max_hours),
            most("health.max_reallocated", Counter::Reallocated, self.max_reallocated),
            most("health.max_pending", Counter::Pending, self.max_pending),
            most("health.max_uncorrectable", Counter::Uncorrectable, self.max_uncorrectable),
            most("health.max_media_errors", Counter::MediaErrors, self.max_media_errors),
            most("health.max_percentage_used", Counter::PercentageUsed, self.max_percentage_used),
            least("health.min_available_spare", Counter::AvailableSpare, self.min_available_spare),
        ];
        all.into_iter().flatten().collect()
    }

    /// What is asked of drives: nothing, if none is asked for its health.
    pub(super) fn policy(&self) -> HealthPolicy {
        match self.socket {
            None => HealthPolicy::default(),
            Some(_) => HealthPolicy {
                require: self.require,
                refuse_failed_assessment: self.refuse_failed_assessment,
                limits: self.limits(),
            },
        }
    }
}

impl Config {
    /// Checks that drives are asked for what they are judged by; the socket may stand in another file.
    pub(super) fn check_health_is_asked(&self) -> Result<(), ConfigError> {
        let health = &self.health;
        let limit = health.limits().first().map(|limit| limit.key);
        match limit.or(health.require.then_some("health.require")) {
            Some(key) if health.socket.is_none() => {
                let hint = "set health.socket, for example to \"/run/prestaged-health.sock\"";
                Err(self.mistake(key, "no drive is asked for its health", hint))
            }
            _ => Ok(()),
        }
    }

    /// Checks that what is asked of drives can be met.
    pub(super) fn check_health(&self) -> Result<(), Wrong> {
        let health = &self.health;
        let [least, most] = TIMEOUT;
        if !(least..=most).contains(&health.timeout.0) {
            let what = format!("{:?} are too short or too long", health.timeout.0);
            return Err(Wrong::value("health.timeout", &what, UnitError::PERIOD));
        }
        for (key, value, most) in [
            ("health.min_available_spare", health.min_available_spare, 100),
            ("health.max_percentage_used", health.max_percentage_used, 255),
        ] {
            if value.is_some_and(|value| value > most) {
                let hint = format!("write a number from 0 to {most}");
                return Err(Wrong::value(key, "no drive reports as much", &hint));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HealthPolicy, String> {
        let table = text.parse().unwrap();
        let config = Config::from_table(table).map_err(|error| error.to_string())?;
        Ok(config.policy().unwrap().health)
    }

    #[test]
    fn without_a_socket_nothing_is_asked() {
        assert_eq!(read(""), Ok(HealthPolicy::default()));
        for line in ["require = true", "max_hours = 1", "min_available_spare = 1"] {
            let error = read(&format!("[health]\n{line}")).unwrap_err();
            let key = line.split(' ').next().unwrap();
            assert!(error.starts_with(&format!("health.{key}: no drive is asked")), "{error}");
        }
        assert!(read("[health]\nrequire = false\ntimeout = \"1s\"").is_ok());
    }

    #[test]
    fn each_limit_is_of_its_number() {
        let keys = [
            "max_hours",
            "max_reallocated",
            "max_pending",
            "max_uncorrectable",
            "max_media_errors",
            "max_percentage_used",
            "min_available_spare",
        ];
        let lines: String =
            keys.iter().enumerate().map(|(at, key)| format!("{key} = {}\n", at + 1)).collect();
        let policy = read(&format!("[health]\nsocket = \"/run/x\"\n{lines}")).unwrap();
        assert!(policy.refuse_failed_assessment && !policy.require);
        assert_eq!(policy.limits.len(), keys.len());
        for ((at, key), limit) in keys.iter().enumerate().zip(&policy.limits) {
            let number = u64::try_from(at).unwrap() + 1;
            let bound = match key.starts_with("max") {
                true => Bound::Most(number),
                false => Bound::Least(number),
            };
            assert_eq!((limit.bound, limit.key), (bound, format!("health.{key}").as_str()));
        }
        let counters: Vec<Counter> = policy.limits.iter().map(|limit| limit.counter).collect();
        let expected = [
            Counter::PowerOnHours,
            Counter::Reallocated,
            Counter::Pending,
            Counter::Uncorrectable,
            Counter::MediaErrors,
            Counter::PercentageUsed,
            Counter::AvailableSpare,
        ];
        assert_eq!(counters, expected);
    }

    #[test]
    fn what_no_drive_reports_and_nobody_waits_for_is_a_mistake() {
        for (line, key) in [
            ("min_available_spare = 101", "health.min_available_spare"),
            ("max_percentage_used = 256", "health.max_percentage_used"),
            ("timeout = \"2m\"", "health.timeout"),
            ("timeout = \"0s\"", "health.timeout"),
        ] {
            let error = read(&format!("[health]\nsocket = \"/run/x\"\n{line}")).unwrap_err();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
