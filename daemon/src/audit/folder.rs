//! The names in a folder of an NTFS volume.

use std::collections::HashMap;
use std::io::{Read, Seek};

use ntfs::indexes::NtfsFileNameIndex;
use ntfs::structured_values::{NtfsFileName, NtfsIndexAllocation, NtfsIndexRoot};
use ntfs::{
    Ntfs, NtfsAttributeType, NtfsError, NtfsFile, NtfsIndexEntry, NtfsIndexNodeEntries,
    NtfsIndexRecord,
};

/// A folder that cannot be listed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// The crate cannot read it.
    #[error(transparent)]
    Ntfs(#[from] NtfsError),
    /// The tree is broken.
    #[error("record {0} of its index is missing, or used twice")]
    Record(i64),
}

/// Takes a name and the number of the file record it leads to.
type Take<'a> = &'a mut dyn FnMut(u64, NtfsFileName);

/// Calls `take` for every name in a folder.
pub(super) fn names<T: Read + Seek>(
    ntfs: &Ntfs,
    folder: &NtfsFile<'_>,
    reader: &mut T,
    take: Take<'_>,
) -> Result<(), FolderError> {
    let Some(mut index) = SmallRecords::read(ntfs, folder, reader, take)? else {
        let index = folder.directory_index(reader)?;
        let mut entries = index.entries();
        while let Some(entry) = entries.next(reader) {
            name(&entry?, take)?;
        }
        return Ok(());
    };
    while let Some(number) = index.todo.pop() {
        let record = index.records.remove(&number).ok_or(FolderError::Record(number))?;
        index.node(record.entries()?, take)?;
    }
    Ok(())
}

fn name(entry: &NtfsIndexEntry<'_, NtfsFileNameIndex>, take: Take<'_>) -> Result<(), NtfsError> {
    if let Some(key) = entry.key() {
        take(entry.file_reference().file_record_number(), key?);
    }
    Ok(())
}

/// An index whose records are smaller than a cluster. Its records are numbered in sectors then, and not in clusters, which
/// the crate does not know. Each carries its number, so they are all read, and found by that.
#[derive(Default)]
struct SmallRecords {
    records: HashMap<i64, NtfsIndexRecord>,
    /// The numbers of the records that are still to be visited.
    todo: Vec<i64>,
}

impl SmallRecords {
    /// Reads the index of a folder, and calls `take` for the names in its root; `None` if its records are as large as a
    /// cluster or larger.
    fn read<T: Read + Seek>(
        ntfs: &Ntfs,
        folder: &NtfsFile<'_>,
        reader: &mut T,
        take: Take<'_>,
    ) -> Result<Option<Self>, NtfsError> {
        let mut size = None;
        let mut index = Self::default();
        let mut attributes = folder.attributes();
        while let Some(item) = attributes.next(reader) {
            let item = item?;
            let attribute = item.to_attribute()?;
            let kind = attribute.ty()?;
            if attribute.name()?.to_string_lossy() != "$I30" {
                continue;
            }
            match (kind, size) {
                (NtfsAttributeType::IndexRoot, _) => {
                    let root: NtfsIndexRoot<'_> = attribute.resident_structured_value()?;
                    if root.index_record_size() >= ntfs.cluster_size() {
                        return Ok(None);
                    }
                    size = Some(root.index_record_size());
                    index.node(root.entries()?, take)?;
                }
                // It follows the root: attributes are sorted by type.
                (NtfsAttributeType::IndexAllocation, Some(size)) => {
                    let all: NtfsIndexAllocation<'_, '_> = attribute.structured_value(reader)?;
                    let mut records = all.records(size);
                    while let Some(record) = records.next(reader) {
                        let record = record?;
                        index.records.insert(record.vcn().value(), record);
                    }
                }
                _ => {}
            }
        }
        Ok(size.map(|_| index))
    }

    fn node(
        &mut self,
        entries: NtfsIndexNodeEntries<'_, NtfsFileNameIndex>,
        take: Take<'_>,
    ) -> Result<(), NtfsError> {
        for entry in entries {
            let entry = entry?;
            if let Some(below) = entry.subnode_vcn() {
                self.todo.push(below?.value());
            }
            name(&entry, take)?;
        }
        Ok(())
    }
}
