//! Which plans differ only in the size of the Windows volume, and what a larger drive has of a smaller one then.

use serde::{Deserialize, Serialize};

use super::{Extent, Layout, Plan, Role, ntfs_cluster};
use crate::drive::Geometry;
use crate::ranges::Range;
use crate::units::{Bytes, MIB, SectorSize};

/// A part of a drive that a larger one has, too, perhaps elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Where it lies on the smaller drive.
    pub from: Range,
    /// Where it begins on the larger one.
    pub start: Bytes,
}

impl Moved {
    /// Where it lies on the larger drive.
    pub fn to(self) -> Range {
        Range::at(self.start, self.from.length())
    }

    /// Where that lies on the larger drive which the smaller one has of `range` in this part; `None` if that is nothing.
    pub fn part(self, range: Range) -> Option<Range> {
        let part = Range::new(range.start.max(self.from.start), range.end.min(self.from.end));
        let moved = || Range::at(self.start + (part.start - self.from.start), part.length());
        (!part.is_empty() && self.from.overlaps(range)).then(moved)
    }
}

impl Plan {
    /// What a drive with this plan has of one with the plan `base`: all but both tables and the end of the Windows volume.
    /// `None` if the two differ in more than the size of that, or it is not as large as there.
    pub fn moved_from(&self, base: &Self) -> Option<Vec<Moved>> {
        let sector = self.geometry.sector;
        let alike = self.partitions.len() == base.partitions.len()
            && sector == base.geometry.sector
            && self.geometry.size >= base.geometry.size;
        let (windows, _) = self.find(Role::Windows).filter(|_| alike)?;
        let mut parts = Vec::new();
        for (index, (own, before)) in self.partitions.iter().zip(&base.partitions).enumerate() {
            let (to, from) = (own.range(sector), before.range(sector));
            let grows = index == windows && to.length() >= from.length();
            let same = own.role == before.role
                && own.label == before.label
                && (grows || to.length() == from.length())
                && (index > windows || to.start == from.start);
            if !same || ntfs_cluster(to.length()) != ntfs_cluster(from.length()) && grows {
                return None;
            }
            if grows {
                let end = from.end - ntfs_cluster(from.length());
                parts.push(Moved { from: Range::new(Bytes(0), end), start: Bytes(0) });
            } else if index > windows {
                parts.push(Moved { from, start: to.start });
            }
        }
        Some(parts)
    }
}

impl Layout {
    /// The drive whose master is the base of those for all larger ones: little larger than the content. `None` if not
    /// the Windows volume takes the rest of a drive.
    pub fn base_drive(&self, content: Bytes, sector: SectorSize) -> Option<Geometry> {
        let takes_rest =
            |role| self.partitions.iter().any(|p| p.role == role && p.size == Extent::Rest);
        let margin = Bytes(content.0 / 8) + MIB * 128;
        let (size, _) = self.least_drive(content.saturating_add(margin), sector);
        takes_rest(Role::Windows).then_some(Geometry { size, sector })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_larger_drive_has_of_a_smaller_one() {
        let layout = Layout::default();
        let plan = |size, sector| layout.plan(Geometry { size: Bytes(size), sector }).unwrap();
        let of = |sector| {
            let (base, larger) = (plan(8 << 30, sector), plan((9 << 30) + 5 * 4096, sector));
            let moved = larger.moved_from(&base).unwrap();
            let (_, windows) = base.find(Role::Windows).unwrap();
            let (_, recovery) = base.find(Role::Recovery).unwrap();
            let end = windows.range(sector).end - Bytes(4096);
            assert_eq!(moved[0].from, Range::new(Bytes(0), end));
            assert_eq!(moved[1].from, recovery.range(sector));
            assert_eq!(moved[1].to().end.0, recovery.range(sector).end.0 + (1 << 30));
            assert_eq!(moved[1].part(moved[1].from), Some(moved[1].to()));
            assert_eq!(moved[0].part(moved[1].from), None);
            assert_eq!(base.moved_from(&larger), None, "a volume does not shrink");
            assert!(base.moved_from(&base).is_some());
        };
        of(SectorSize::B512);
        of(SectorSize::B4096);
        let (small, large) = (plan(8 << 30, SectorSize::B512), plan(20 << 40, SectorSize::B512));
        assert_eq!(large.moved_from(&small), None, "clusters have another size");
        assert_eq!(plan(9 << 30, SectorSize::B4096).moved_from(&small), None);
    }

    #[test]
    fn a_base_holds_the_content() {
        let layout = Layout::default();
        let content = Bytes(10 << 30);
        let base = layout.base_drive(content, SectorSize::B512).unwrap();
        let plan = layout.plan(base).unwrap();
        let (_, windows) = plan.find(Role::Windows).unwrap();
        assert!(windows.size(SectorSize::B512) > content);
        assert!(base.size >= layout.least_drive(content, SectorSize::B512).0);
    }
}
