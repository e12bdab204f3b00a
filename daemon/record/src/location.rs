//! Where a ledger is, and what belongs to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use signing::SecretKey;

use crate::counterfoil::Places;

/// Where a ledger is, and what the station remembers of it elsewhere.
#[derive(Clone, Debug)]
pub struct Location {
    pub(crate) path: PathBuf,
    pub(crate) counterfoils: Places,
    /// The group that a new ledger belongs to.
    pub(crate) group: Option<u32>,
    /// The station holds an earlier file of the same ledger open, from which records are carried over.
    pub(crate) has_earlier: bool,
    pub(crate) outbox: Outbox,
    pub(crate) key: Arc<SecretKey>,
}

/// Whether closed records are noted as due to be handed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Outbox {
    #[default]
    Off,
    On,
}

impl Location {
    /// A ledger at this path, whose log this key signs.
    pub fn new(path: &Path, key: SecretKey) -> Self {
        let counterfoils = Places::new(path, None);
        Self {
            path: path.to_owned(),
            counterfoils,
            group: None,
            has_earlier: false,
            outbox: Outbox::Off,
            key: Arc::new(key),
        }
    }

    pub(crate) fn key(&self) -> Arc<SecretKey> {
        Arc::clone(&self.key)
    }

    /// The counterfoil also lies in this file.
    #[must_use]
    pub fn remembered_as(self, file: PathBuf) -> Self {
        Self { counterfoils: Places::new(&self.path, Some(file)), ..self }
    }

    /// Closed records are noted as due, or not.
    #[must_use]
    pub fn with_outbox(self, outbox: Outbox) -> Self {
        Self { outbox, ..self }
    }

    /// A new ledger belongs to this group.
    #[must_use]
    pub fn for_group(self, group: Option<u32>) -> Self {
        Self { group, ..self }
    }
}
