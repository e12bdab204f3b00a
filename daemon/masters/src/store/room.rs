//! What the store holds, and what is given up to make room in it.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use model::digest::Digest;
use model::manifest::{MasterId, Recipe};
use model::units::Bytes;

use super::{Store, StoreError, load};
use crate::{IMAGE_FILE, MANIFEST_FILE};

/// A line of the list of masters.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Listed {
    pub id: MasterId,
    pub recipe: Recipe,
    /// Bytes that are written to a drive.
    pub payload: Bytes,
    /// Bytes that the image takes up in the store; fewer than its length, because it has holes.
    pub allocated: Bytes,
    /// The manifest's root digest.
    pub root: Digest,
    /// The master that it is derived from.
    pub base: Option<MasterId>,
    /// When the master was last opened.
    pub used: SystemTime,
}

/// Which of these masters, the most recently used first, can be given up first: none in use, and no base from which
/// another one is derived.
fn least_needed(listed: &[Listed], in_use: &HashSet<MasterId>) -> Option<usize> {
    let is_base = |one: &Listed| listed.iter().any(|other| other.base.as_ref() == Some(&one.id));
    listed.iter().rposition(|one| !in_use.contains(&one.id) && !is_base(one))
}

impl Store {
    /// Every readable master, the most recently used first.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the store's folder cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let mut all = Vec::new();
        for folder in self.masters()? {
            let manifest = match load(&folder) {
                Ok(manifest) => manifest,
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "skipping a master that cannot be read");
                    continue;
                }
            };
            let allocated = fs::metadata(folder.join(IMAGE_FILE)).map_or(0, |m| m.blocks() * 512);
            let used = fs::metadata(folder.join(MANIFEST_FILE))
                .and_then(|m| m.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH);
            all.push(Listed {
                payload: manifest.payload(),
                base: manifest.base_recipe().map(|recipe| recipe.id()),
                id: manifest.id,
                recipe: manifest.recipe,
                allocated: Bytes(allocated),
                root: manifest.root_sha256,
                used,
            });
        }
        all.sort_by_key(|master| std::cmp::Reverse(master.used));
        Ok(all)
    }

    /// Removes masters until one of about `needed` bytes fits the budget: the least recently used first, those in
    /// `in_use` never, and a base only when nothing is derived from it any more.
    ///
    /// # Errors
    /// [`StoreError::Budget`] if the masters in use leave too little.
    pub fn make_room(&self, needed: Bytes, in_use: &HashSet<MasterId>) -> Result<(), StoreError> {
        let mut listed = self.list()?;
        let mut held: u64 = listed.iter().map(|m| m.allocated.0).sum();
        while held.saturating_add(needed.0) > self.budget.0 {
            let Some(at) = least_needed(&listed, in_use) else {
                let used = Bytes(held);
                return Err(StoreError::Budget { needed, budget: self.budget, used });
            };
            let victim = listed.remove(at);
            tracing::info!(master = %victim.id, "removing the least recently used master to stay in the store's budget");
            self.remove(&victim.id)?;
            held -= victim.allocated.0;
        }
        Ok(())
    }

    /// Checks that the store's file system has room for about `needed` more bytes.
    ///
    /// # Errors
    /// [`StoreError::Full`] if it does not.
    pub fn check_space(&self, needed: Bytes) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|e| Self::io(&self.path, "query it")(e.into()))?;
        let free = Bytes(stat.f_bavail.saturating_mul(stat.f_frsize));
        if free < needed {
            return Err(StoreError::Full { path: self.path.clone(), free, needed });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::drive::Geometry;
    use model::layout::Layout;
    use model::units::SectorSize;

    use super::*;

    fn listed(id: &str, base: Option<&str>) -> Listed {
        let geometry = Geometry { size: Bytes(1 << 30), sector: SectorSize::B512 };
        let digest = Digest([0; 32]);
        let recipe = Recipe {
            media_name: "m".into(),
            media_sha256: digest,
            image: 1,
            layout: Layout::default(),
            geometry,
        };
        Listed {
            id: MasterId(id.into()),
            recipe,
            payload: Bytes(0),
            allocated: Bytes(0),
            root: digest,
            base: base.map(|base| MasterId(base.into())),
            used: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_base_goes_after_what_is_derived_of_it() {
        let mut all = vec![
            listed("new", None),
            listed("a", Some("base")),
            listed("b", Some("base")),
            listed("base", None),
        ];
        let in_use = |ids: &[&str]| ids.iter().map(|id| MasterId((*id).into())).collect();
        let first = |all: &[Listed], ids: &[&str]| {
            least_needed(all, &in_use(ids)).map(|at| all[at].id.0.clone())
        };
        assert_eq!(first(&all, &["a"]).as_deref(), Some("b"));
        assert_eq!(first(&all, &["a", "b"]).as_deref(), Some("new"), "their base stays");
        assert_eq!(first(&all, &["a", "b", "new"]), None);
        for gone in ["b", "a", "base", "new"] {
            assert_eq!(first(&all, &[]).as_deref(), Some(gone));
            all.retain(|one| one.id.0 != gone);
        }
    }
}
