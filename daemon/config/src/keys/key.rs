//! One key of the configuration.

use super::names::{is_repeated, path};
use super::{Fallback, Kind};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Key {
    /// Its table; `layout.partitions` for the tables in `partitions`; empty for a key outside of all tables.
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    pub fallback: Fallback,
    /// What it does, in Markdown.
    pub text: &'static str,
}

impl Key {
    /// Whether the file may have several tables with this key.
    pub fn is_repeated(&self) -> bool {
        is_repeated(self.section)
    }

    /// Its full name as people write it: `store.path`, `[[bay]] name`.
    pub fn path(&self) -> String {
        path(self.section, self.name)
    }

    /// Its row in `daemon/manual/configuration.md`.
    pub fn row(&self) -> String {
        // A bar would end the cell.
        let cell = |text: &str| text.replace('|', "\\|");
        format!("| `{}` | {} | {} |", self.path(), cell(&self.fallback.shown()), cell(self.text))
    }
}

pub(crate) const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    fallback: Fallback,
    text: &'static str,
) -> Key {
    Key { section, name, kind, fallback, text }
}
