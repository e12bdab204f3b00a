//! Counts what the directory tree of an image holds.

use std::collections::HashSet;
use std::mem;

use model::code::FindingCode as Code;
use model::failure::Finding;
use model::media::{Inventory, LISTED};
use model::units::Bytes;

use formats::security::is_writable_for_everyone;

use super::lost::Lost;
use super::packages::Packages;
use crate::inheritance::Inheritance;
use crate::wim::{Entry, Wim, WimError};

const ATTRIBUTE_DIRECTORY: u32 = 0x10;
const ATTRIBUTE_SPARSE_OR_COMPRESSED: u32 = 0xa00;
const ATTRIBUTE_REPARSE: u32 = 0x400;
const ATTRIBUTE_ENCRYPTED: u32 = 0x4000;

/// A file of up to this many bytes may live inside its MFT record and take no cluster.
const RESIDENT: u64 = 700;
/// Bytes of an MFT record.
const RECORD: u64 = 1024;
/// Bytes of a cluster.
const CLUSTER: u64 = 4096;

/// The counts of an image's directory tree.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) inventory: Inventory,
    /// Streams whose blobs are not in the WIM.
    missing: u64,
    /// Files and folders without a security descriptor.
    unsecured: u64,
    /// Those of them that everybody may change, because what is in their folder is so.
    open: u64,
    inheritance: Inheritance,
    lost: Lost,
    packages: Packages,
    /// The link groups that have been counted.
    linked: HashSet<u64>,
}

impl Tree {
    pub(super) fn of(wim: &mut Wim, image: u32) -> Result<Self, WimError> {
        let mut tree = Self::default();
        wim.entries(image, |entry: &Entry<'_>| tree.add(entry))?;
        let (packages, more) = mem::take(&mut tree.packages).listed();
        (tree.inventory.packages, tree.inventory.more_packages) = (packages, more);
        Ok(tree)
    }

    /// How many entries there are: folders, and each name of a file.
    pub(super) fn entries(&self) -> u64 {
        let found = &self.inventory;
        found.directories.saturating_add(found.files).saturating_add(found.extra_links)
    }

    /// A warning if the WIM's XML counts more or fewer entries than there are. Writers count junctions as folders or as
    /// files, and the root folder or not.
    pub(super) fn miscounted(&self, wim: &Wim, image: u32) -> Option<Finding> {
        let claimed = |name: &str| wim.property(image, name)?.trim().parse::<u64>().ok();
        let (folders, files) = (claimed("DIRCOUNT")?, claimed("FILECOUNT")?);
        let all = self.entries();
        if [all, all.saturating_sub(1)].contains(&folders.saturating_add(files)) {
            return None;
        }
        let detail = format!(
            "the XML counts {folders} folders and {files} files; there are {all} of both together"
        );
        let hint = "compare the media with what it was captured from, and capture it anew if anything lacks";
        Some(Finding::new(Code::CountsDiffer, detail).with_hint(hint))
    }

    /// Counts an entry; every name of a hard-linked file but the first counts as a further link only.
    fn add(&mut self, entry: &Entry<'_>) {
        self.note_path(entry);
        let given = self.inheritance.of(entry);
        self.lost.add(entry);
        self.packages.add(entry);
        let found = &mut self.inventory;
        found.short_names += u64::from(entry.short_name.is_some());
        if entry.links > 1 && !self.linked.insert(entry.link_group) {
            found.extra_links += 1;
            return;
        }
        if entry.attributes & ATTRIBUTE_DIRECTORY != 0 {
            found.directories += 1;
        } else {
            found.files += 1;
        }
        found.reparse_points += u64::from(entry.attributes & ATTRIBUTE_REPARSE != 0);
        found.encrypted += u64::from(entry.attributes & ATTRIBUTE_ENCRYPTED != 0);
        found.secured += u64::from(!entry.security.is_empty());
        if let Some(given) = given {
            self.unsecured += 1;
            self.open += u64::from(is_writable_for_everyone(&given));
        }
        found.least_bytes.0 = found.least_bytes.0.saturating_add(RECORD);
        for stream in &entry.streams {
            found.named_streams += u64::from(!stream.name.is_empty());
            self.missing += u64::from(stream.missing);
            // Sparse and NTFS-compressed files take less room; how much is not known beforehand.
            let dense = entry.attributes & ATTRIBUTE_SPARSE_OR_COMPRESSED == 0;
            if dense && stream.size > RESIDENT {
                let room = Bytes(stream.size).align_up(CLUSTER);
                found.least_bytes.0 = found.least_bytes.0.saturating_add(room.0);
            }
        }
    }

    /// Notes the entry if it lies at one of the paths that the inventory names.
    fn note_path(&mut self, entry: &Entry<'_>) {
        let found = &mut self.inventory;
        let depth = entry.path.matches('/').count();
        let full = Bytes::of(found.root.len()).0 >= LISTED.into();
        if depth == 1 && !entry.name.is_empty() && !full {
            found.root.push(entry.name.replace(char::is_control, "?"));
        }
        if entry.path.to_lowercase() == "/sources/boot.wim" {
            found.boot_wim_bytes = entry.streams.first().map(|s| Bytes(s.size));
        }
    }

    /// A warning if files or folders have no security descriptor.
    pub(super) fn warning(&self) -> Option<Finding> {
        let open = match self.open {
            0 => "nobody may change them but administrators and whom their folder lets".to_owned(),
            open => format!("everybody may change {open} of them, as in their folders"),
        };
        let detail = format!(
            "{} files and folders have no security descriptor and get what Windows would give them in their folders; {open}",
            self.unsecured
        );
        let hint = "make the media with descriptors, on Windows or on an NTFS volume, if others are wanted";
        (self.unsecured > 0)
            .then(|| Finding::new(Code::NoSecurityDescriptor, detail).with_hint(hint))
    }

    /// What in the tree a press does not keep.
    pub(super) fn losses(&self) -> Vec<Finding> {
        self.lost.findings()
    }

    /// What in the tree cannot be restored. If the WIM is not `complete`, missing contents are no problem of their own.
    pub(super) fn problems(&self, complete: bool) -> Vec<Finding> {
        let mut problems = Vec::new();
        let without = "capture the media without them";
        if self.missing > 0 && complete {
            let detail = format!("the contents of {} files are not in the WIM", self.missing);
            problems.push(Finding::new(Code::WimIncomplete, detail));
        }
        if self.inventory.encrypted > 0 {
            let detail = format!(
                "{} files are encrypted with EFS, which cannot be restored",
                self.inventory.encrypted
            );
            problems.push(Finding::new(Code::EncryptedFiles, detail).with_hint(without));
        }
        problems
    }
}
