//! Values that can be read and still cannot be used, alone or beside each other.

use super::error::{ConfigError, Mistake, Place};
use super::{Config, NamedPath};
use model::admission::{NamedBay, Policy};
use model::units::{Bytes, UnitError};

/// Less memory does not keep drives busy.
const LEAST_MEMORY: Bytes = Bytes::mib(64);

/// A mistake and the key that has it, with the indices of lists: `bay.1.path`.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: String,
    pub(super) mistake: Mistake,
}

impl Wrong {
    fn new(at: impl Into<String>, mistake: Mistake) -> Self {
        Self { at: at.into(), mistake }
    }

    fn value(key: &str, what: &str, hint: &str) -> Self {
        Self::new(key, Mistake::unusable(key, what, hint))
    }
}

impl Config {
    /// Checks all that does not need a second file.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        self.check_policy()?;
        self.check_mode()?;
        self.check_limits()?;
        self.check_bays()?;
        self.check_layouts()
    }

    /// Checks the sizes of drives against each other. `place` tells where a key is given.
    pub(super) fn check_sizes(
        &self,
        place: impl Fn(&str) -> Option<Place>,
    ) -> Result<(), ConfigError> {
        let (Some(min), Some(max)) = (self.admission.min_size, self.admission.max_size) else {
            return Ok(());
        };
        if min <= max {
            return Ok(());
        }
        let other = place("admission.max_size").map(|place| format!(" ({place})"));
        let what = format!(
            "{} bytes are more than the {} of admission.max_size{}",
            min.0,
            max.0,
            other.unwrap_or_default()
        );
        let hint = "no drive can be admitted; change one of them";
        let mistake = Mistake::unusable("admission.min_size", what, hint);
        Err(ConfigError::new(place("admission.min_size").unwrap_or_default(), mistake))
    }

    /// The admission policy, if all of its patterns are glob patterns.
    pub(super) fn check_policy(&self) -> Result<Policy, Wrong> {
        let admission = &self.admission;
        let named = |(index, bay): (usize, &NamedPath)| -> Result<NamedBay, Wrong> {
            let path = pattern("[[bay]] path", format!("bay.{index}.path"), &bay.path)?;
            Ok(NamedBay { name: bay.name.trim().to_owned(), path })
        };
        let closed = Policy::closed();
        Ok(Policy {
            armed: admission.armed,
            buses: admission.buses.clone(),
            bays: patterns("admission.bays", &admission.bays)?,
            named: self.bay.iter().enumerate().map(named).collect::<Result<_, _>>()?,
            models: patterns("admission.models", &admission.models)?,
            serials: patterns("admission.serials", &admission.serials)?,
            sizes: admission.sizes.clone(),
            size_tolerance: admission.size_tolerance.unwrap_or(closed.size_tolerance),
            min_size: admission.min_size,
            max_size: admission.max_size,
            overwrite: admission.overwrite,
            reimage: admission.reimage,
        })
    }

    /// The permissions of the control socket, if they are octal.
    pub(super) fn check_mode(&self) -> Result<u32, Wrong> {
        let text = &self.control.mode;
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| {
            let what = format!("{text:?} is not a file mode in octal");
            Wrong::value("control.mode", &what, "write for example \"0660\"")
        })
    }

    fn check_limits(&self) -> Result<(), Wrong> {
        if self.media.image == 0 {
            let mistake = Mistake::unusable("media.image = 0", "images are counted from 1", "");
            return Err(Wrong::new("media.image", mistake));
        }
        let replicate = &self.replicate;
        if replicate.memory < LEAST_MEMORY {
            let what = format!("{} bytes are too few to keep drives busy", replicate.memory.0);
            return Err(Wrong::value("replicate.memory", &what, "write \"64MiB\" or more"));
        }
        for (key, period) in [
            ("replicate.rate_window", replicate.rate_window),
            ("replicate.stall_timeout", replicate.stall_timeout),
        ] {
            if period.0.is_zero() {
                return Err(Wrong::value(key, "it must be longer than zero", UnitError::PERIOD));
            }
        }
        Ok(())
    }

    fn check_bays(&self) -> Result<(), Wrong> {
        for (index, bay) in self.bay.iter().enumerate() {
            let wrong = |name: &str, what: String, hint: &str| {
                let mistake = Mistake::unusable(&format!("[[bay]] {name}"), what, hint);
                Err(Wrong::new(format!("bay.{index}.{name}"), mistake))
            };
            let name = bay.name.trim();
            if name.is_empty() {
                return wrong("name", "it is blank".into(), "");
            }
            if name.contains(char::is_control) {
                return wrong("name", format!("{name:?} has control characters"), "");
            }
            let earlier = &self.bay[..index];
            if earlier.iter().any(|other| other.name.trim() == name) {
                let what = format!("two bays have the name {name:?}");
                return wrong("name", what, "give one of them another name, or remove it");
            }
            if earlier.iter().any(|other| other.path == bay.path) {
                let what = format!("two bays have the path {:?}", bay.path);
                return wrong("path", what, "a bay has one name; remove the other");
            }
        }
        Ok(())
    }

    fn check_layouts(&self) -> Result<(), Wrong> {
        for (index, layout) in self.layout.iter().enumerate() {
            layout
                .check()
                .map_err(|error| Wrong::new(format!("layout.{index}"), Mistake::Layout(error)))?;
            if self.layout[..index].iter().any(|other| other.name == layout.name) {
                let what = format!("two layouts have the name {:?}", layout.name);
                let hint = "give one of them another name, or remove it";
                let mistake = Mistake::unusable("[[layout]] name", what, hint);
                return Err(Wrong::new(format!("layout.{index}.name"), mistake));
            }
        }
        Ok(())
    }
}

fn pattern(key: &'static str, at: String, text: &str) -> Result<glob::Pattern, Wrong> {
    glob::Pattern::new(text).map_err(|source| {
        Wrong::new(at, Mistake::Pattern { key, pattern: text.to_owned(), source })
    })
}

fn patterns(key: &'static str, texts: &[String]) -> Result<Vec<glob::Pattern>, Wrong> {
    let texts = texts.iter().enumerate();
    texts.map(|(index, text)| pattern(key, format!("{key}.{index}"), text)).collect()
}
