//! The hash tree of RFC 6962, section 2.1. Its root stands for all entries of a log in their order: no entry can be changed,
//! taken out or put in without another root. A path of a few digests shows that an entry is in it.

use model::digest::Digest;

/// What is hashed before an entry, and before two nodes, so that no node can pass for an entry.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The digest of an entry.
pub fn leaf(entry: &[u8]) -> Digest {
    Digest::of_all(&[&[LEAF], entry])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of_all(&[&[NODE], &left.0, &right.0])
}

/// The part of a tree that decides how it grows: the roots of the full subtrees at its right edge, the largest first. There
/// is one for each bit of the size, so a log of a million entries goes on from twenty digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    roots: Vec<Digest>,
}

impl Edge {
    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next entry's digest.
    pub fn push(&mut self, leaf: Digest) {
        let mut root = leaf;
        // Each bit that is set below the first that is not is a full subtree of that size, which the new one joins.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                root = node(&left, &root);
            }
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// The root of the whole tree; that of no entry is the digest of nothing.
    pub fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return Digest::of(b"") };
        roots.fold(*last, |root, left| node(left, &root))
    }
}

impl FromIterator<Digest> for Edge {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaves: I) -> Self {
        let mut edge = Self::default();
        leaves.into_iter().for_each(|leaf| edge.push(leaf));
        edge
    }
}

/// How many of `size` entries, which are two at least, are in the left subtree: the largest power of two below their number.
fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

fn root(leaves: &[Digest]) -> Digest {
    leaves.iter().copied().collect::<Edge>().root()
}

/// The digests beside the way from an entry up to the root, the entry's neighbour first; `None` if there is no such entry.
pub fn path(leaves: &[Digest], index: u64) -> Option<Vec<Digest>> {
    let mut index = usize::try_from(index).ok().filter(|index| *index < leaves.len())?;
    let (mut rest, mut path) = (leaves, Vec::new());
    while rest.len() > 1 {
        let (left, right) = rest.split_at(split(rest.len()));
        if index < left.len() {
            path.push(root(right));
            rest = left;
        } else {
            path.push(root(left));
            (rest, index) = (right, index - left.len());
        }
    }
    path.reverse();
    Some(path)
}

/// The root of the tree of this size in which the entry with this digest has this place and this path; `None` if no tree of
/// the size has such a path. From RFC 9162, section 2.1.3.2.
pub fn root_by(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut root = leaf;
    for digest in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            root = node(digest, &root);
            // Where the right edge has no neighbour, the node goes up as it is.
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            root = node(&root, digest);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition of RFC 6962, word by word.
    fn defined(entries: &[Vec<u8>]) -> Digest {
        match entries {
            [] => Digest::of(b""),
            [entry] => leaf(entry),
            _ => {
                let mut k = 1;
                while k * 2 < entries.len() {
                    k *= 2;
                }
                node(&defined(&entries[..k]), &defined(&entries[k..]))
            }
        }
    }

    fn leaves(entries: &[Vec<u8>]) -> Vec<Digest> {
        entries.iter().map(|entry| leaf(entry)).collect()
    }

    /// The entries and roots that Certificate Transparency's own tests have.
    #[test]
    fn roots_are_as_published() {
        let entries = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ]
        .map(|hex| {
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
        });
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, expected) in roots.iter().enumerate() {
            assert_eq!(root(&leaves(&entries[..size])).to_string(), *expected, "{size} entries");
        }
    }

    /// Every place of every small tree.
    #[test]
    fn every_path_leads_to_the_root_and_to_no_other_place() {
        for size in 1..70_u64 {
            let entries: Vec<Vec<u8>> = (0..size).map(|at| at.to_le_bytes().to_vec()).collect();
            let leaves = leaves(&entries);
            let root = root(&leaves);
            assert_eq!(root, defined(&entries));
            for (index, leaf) in (0..).zip(&leaves) {
                let path = path(&leaves, index).unwrap();
                assert_eq!(root_by(*leaf, index, size, &path), Some(root), "{index} of {size}");
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(root_by(*leaf, other, size, &path), Some(root));
                }
                let longer: Vec<Digest> = path.iter().chain(&path).copied().chain([root]).collect();
                assert_ne!(root_by(*leaf, index, size, &longer), Some(root));
                if let Some((_, shorter)) = path.split_last() {
                    assert_ne!(root_by(*leaf, index, size, shorter), Some(root));
                }
            }
            assert_eq!(path(&leaves, size), None);
        }
    }

    proptest! {
        #[test]
        fn a_changed_entry_has_another_root(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 1..40),
            at in any::<prop::sample::Index>(),
            change in 0..4,
        ) {
            let mut changed = entries.clone();
            let at = at.index(entries.len());
            match change {
                0 => changed[at].push(0),
                1 => { changed.remove(at); }
                2 => changed.insert(at, vec![7]),
                _ => changed.swap(0, at),
            }
            prop_assume!(changed != entries);
            prop_assert_ne!(root(&leaves(&changed)), root(&leaves(&entries)));
            prop_assert_eq!(root(&leaves(&entries)), defined(&entries));
        }
    }
}
