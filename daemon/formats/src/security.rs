//! Security descriptors of NTFS, and what a new file or folder inherits from its folder.
//!
//! Layout and rules: Microsoft's MS-DTYP, 2.4 (SID, ACE, ACL, SECURITY_DESCRIPTOR) and 2.5.3.4 (new objects). The creator
//! is taken to be the local system, which is who unpacks media on a computer: what it makes belongs to the
//! administrators, and where a folder passes nothing on, the local system may do everything and administrators may read.

/// What a new entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    File,
    Folder,
}

/// Bits of the control word.
const DACL_PRESENT: u16 = 0x0004;
const SACL_PRESENT: u16 = 0x0010;
const DACL_AUTO_INHERITED: u16 = 0x0400;
const SACL_AUTO_INHERITED: u16 = 0x0800;
const SELF_RELATIVE: u16 = 0x8000;

/// Flags of an entry of a list: to whom it is passed on.
const TO_FILES: u8 = 0x01;
const TO_FOLDERS: u8 = 0x02;
const TO_CHILDREN_ONLY: u8 = 0x04;
const NOT_HERE: u8 = 0x08;
const INHERITED: u8 = 0x10;
/// Flags of an entry that asks for audits: of what succeeds, of what fails.
const AUDITS: u8 = 0xc0;

/// Full access to a file.
const ALL: u32 = 0x001f_01ff;
/// Reading and executing a file.
const READ_EXECUTE: u32 = 0x0012_00a9;
/// Rights whose meaning depends on the kind of object, and what they mean for files.
const GENERIC: [(u32, u32); 4] =
    [(1 << 31, 0x0012_0089), (1 << 30, 0x0012_0116), (1 << 29, 0x0012_00a0), (1 << 28, ALL)];
/// Rights by which a file can be changed, or given to somebody else: data, attributes, deletion, list and owner.
const CHANGES: u32 = 0x000d_0156 | 1 << 28 | 1 << 30;

/// Well-known SIDs (MS-DTYP 2.4.2.4).
const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
const CREATOR_OWNER: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0];
const CREATOR_GROUP: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0];
const SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
const ADMINISTRATORS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
const USERS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0];

/// Bytes of the header of a descriptor.
const HEADER: usize = 20;

fn half(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(data.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// An entry of a list.
#[derive(Clone, Copy)]
struct Ace<'a> {
    kind: u8,
    flags: u8,
    mask: u32,
    sid: &'a [u8],
    /// What follows the SID, such as a condition.
    rest: &'a [u8],
}

impl<'a> Ace<'a> {
    /// The entry at the start of `data`, and its length. `None` if it makes no sense.
    fn parse(data: &'a [u8]) -> Option<(Self, usize)> {
        let length = usize::from(half(data, 2)?);
        let body = data.get(..length).filter(|_| length.is_multiple_of(4))?;
        let (kind, flags, mask) = (*body.first()?, *body.get(1)?, word(body, 4)?);
        let end = 8 + 8 + 4 * usize::from(*body.get(9)?);
        let (sid, rest) = (body.get(8..end)?, body.get(end..)?);
        Some((Self { kind, flags, mask, sid, rest }, length))
    }

    /// Whether its SID follows its mask; entries for kinds of objects that no file is have GUIDs there.
    fn is_plain(&self) -> bool {
        !matches!(self.kind, 5..=8 | 11 | 12 | 15 | 16)
    }

    fn write(&self, flags: u8, out: &mut Vec<u8>) {
        let length = 8 + self.sid.len() + self.rest.len();
        out.extend([self.kind, flags]);
        out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        out.extend(self.mask.to_le_bytes());
        out.extend(self.sid);
        out.extend(self.rest);
    }

    /// As it counts for an object of this owner and this group: with the rights that files have.
    fn effective(mut self) -> Self {
        for (generic, rights) in GENERIC {
            if self.mask & generic != 0 {
                self.mask = self.mask & !generic | rights;
            }
        }
        match self.sid {
            CREATOR_OWNER => self.sid = ADMINISTRATORS,
            CREATOR_GROUP => self.sid = SYSTEM,
            _ => {}
        }
        self
    }
}

/// A list of a descriptor.
struct Acl<'a> {
    revision: u8,
    entries: Vec<Ace<'a>>,
}

impl<'a> Acl<'a> {
    /// The list whose place stands at `at` in a descriptor. `None` if there is none, or it makes no sense.
    fn parse(descriptor: &'a [u8], present: u16, at: usize) -> Option<Self> {
        if half(descriptor, 2)? & present == 0 {
            return None;
        }
        let place = usize::try_from(word(descriptor, at)?).ok().filter(|place| *place >= HEADER)?;
        let data = descriptor.get(place..)?;
        let data = data.get(..usize::from(half(data, 2)?))?;
        let mut rest = data.get(8..)?;
        let mut entries = Vec::new();
        for _ in 0..half(data, 4)? {
            let (entry, length) = Ace::parse(rest)?;
            entries.push(entry);
            rest = &rest[length..];
        }
        Some(Self { revision: data[0], entries })
    }

    fn dacl(descriptor: &'a [u8]) -> Option<Self> {
        Self::parse(descriptor, DACL_PRESENT, 16)
    }

    /// The list that a new entry of the folder gets; `None` if nothing is passed on. `mark` are the flags of what was
    /// inherited.
    fn inherited(&self, kind: Kind, mark: u8) -> Option<Vec<u8>> {
        let (mut entries, mut count) = (Vec::new(), 0_u16);
        let mut add = |entry: Ace<'_>, flags| {
            entry.write(flags, &mut entries);
            count = count.saturating_add(1);
        };
        for entry in self.entries.iter().filter(|entry| entry.is_plain()) {
            let flags = entry.flags;
            let own = flags & AUDITS | mark;
            let on = match flags & TO_CHILDREN_ONLY {
                0 => flags & (TO_FILES | TO_FOLDERS),
                _ => 0,
            };
            let here = entry.effective();
            match kind {
                Kind::File if flags & TO_FILES != 0 => add(here, own),
                Kind::Folder if flags & TO_FOLDERS != 0 => {
                    if here.mask == entry.mask && here.sid == entry.sid {
                        add(here, own | on);
                    } else {
                        add(here, own);
                        if on != 0 {
                            add(*entry, own | on | NOT_HERE);
                        }
                    }
                }
                Kind::Folder if flags & TO_FILES != 0 && on != 0 => {
                    add(*entry, own | on | NOT_HERE);
                }
                Kind::File | Kind::Folder => {}
            }
        }
        let length = u16::try_from(8 + entries.len()).ok()?;
        (count > 0).then(|| list(self.revision, length, count, &entries))
    }
}

fn list(revision: u8, length: u16, count: u16, entries: &[u8]) -> Vec<u8> {
    [&[revision, 0], &length.to_le_bytes()[..], &count.to_le_bytes(), &[0, 0], entries].concat()
}

/// A list that lets each of these do something.
fn allowing(entries: &[(&[u8], u32, u8)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (sid, mask, flags) in entries {
        Ace { kind: 0, flags: *flags, mask: *mask, sid, rest: &[] }.write(*flags, &mut data);
    }
    let count = u16::try_from(entries.len()).unwrap_or(0);
    list(2, u16::try_from(8 + data.len()).unwrap_or(8), count, &data)
}

/// A descriptor of what the local system has made.
fn descriptor(control: u16, sacl: Option<Vec<u8>>, dacl: &[u8]) -> Vec<u8> {
    let mut control = control | SELF_RELATIVE | DACL_PRESENT;
    let sacl = sacl.unwrap_or_default();
    let mut sacl_at = 0;
    if !sacl.is_empty() {
        (control, sacl_at) = (control | SACL_PRESENT, HEADER);
    }
    let dacl_at = HEADER + sacl.len();
    let owner = dacl_at + dacl.len();
    let group = owner + ADMINISTRATORS.len();
    let mut out = vec![1, 0];
    out.extend(control.to_le_bytes());
    for place in [owner, group, sacl_at, dacl_at] {
        out.extend(u32::try_from(place).unwrap_or(0).to_le_bytes());
    }
    for part in [&sacl, dacl, ADMINISTRATORS, SYSTEM] {
        out.extend(part);
    }
    out
}

/// The descriptor of a root folder for which there is none: the local system and administrators may do everything, users
/// may read and execute, and so on below. It is what Windows gives the root of its own volume, but for the right of
/// everybody who is logged on to make folders and files there.
pub fn root() -> Vec<u8> {
    let on = TO_FILES | TO_FOLDERS;
    let dacl = allowing(&[(SYSTEM, ALL, on), (ADMINISTRATORS, ALL, on), (USERS, READ_EXECUTE, on)]);
    descriptor(DACL_AUTO_INHERITED, None, &dacl)
}

/// The descriptor of a registry key that the local system and administrators may do everything with, and so on below.
pub(crate) fn registry_key() -> Vec<u8> {
    /// `KEY_ALL_ACCESS`
    const ALL: u32 = 0x000f_003f;
    descriptor(0, None, &allowing(&[(SYSTEM, ALL, TO_FOLDERS), (ADMINISTRATORS, ALL, TO_FOLDERS)]))
}

/// The descriptor that a new entry gets in a folder with this descriptor.
pub fn inherited(folder: &[u8], kind: Kind) -> Vec<u8> {
    let control = half(folder, 2).unwrap_or(0);
    let mark = |bit| if control & bit != 0 { INHERITED } else { 0 };
    let dacl = Acl::dacl(folder).and_then(|acl| acl.inherited(kind, mark(DACL_AUTO_INHERITED)));
    let sacl = Acl::parse(folder, SACL_PRESENT, 12)
        .and_then(|acl| acl.inherited(kind, mark(SACL_AUTO_INHERITED)));
    let mut own = 0;
    if sacl.is_some() {
        own |= control & SACL_AUTO_INHERITED;
    }
    let dacl = match dacl {
        Some(dacl) => {
            own |= control & DACL_AUTO_INHERITED;
            dacl
        }
        None => allowing(&[(SYSTEM, ALL, 0), (ADMINISTRATORS, READ_EXECUTE, 0)]),
    };
    descriptor(own, sacl, &dacl)
}

/// Whether everybody may change what has this descriptor. Without a list, or with one that makes no sense, it is so.
pub fn is_writable_for_everyone(descriptor: &[u8]) -> bool {
    Acl::dacl(descriptor).is_none_or(|acl| {
        acl.entries.iter().any(|entry| {
            matches!(entry.kind, 0 | 9)
                && entry.flags & NOT_HERE == 0
                && entry.sid == EVERYONE
                && entry.mask & CHANGES != 0
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A folder's descriptor with these entries, which are passed on as Windows marks it.
    fn folder(entries: &[(&[u8], u32, u8)]) -> Vec<u8> {
        descriptor(DACL_AUTO_INHERITED, None, &allowing(entries))
    }

    /// The list of a descriptor: SID, rights and flags of each entry.
    fn entries(descriptor: &[u8]) -> Vec<(Vec<u8>, u32, u8)> {
        let acl = Acl::dacl(descriptor).unwrap();
        acl.entries.iter().map(|entry| (entry.sid.to_vec(), entry.mask, entry.flags)).collect()
    }

    fn expected(entries: &[(&[u8], u32, u8)]) -> Vec<(Vec<u8>, u32, u8)> {
        entries.iter().map(|(sid, mask, flags)| (sid.to_vec(), *mask, *flags)).collect()
    }

    #[test]
    fn entries_are_passed_on_as_their_flags_say() {
        let on = TO_FILES | TO_FOLDERS;
        let parent = folder(&[
            (SYSTEM, ALL, on),
            (USERS, READ_EXECUTE, 0),
            (ADMINISTRATORS, ALL, TO_FOLDERS),
            (USERS, 2, TO_FILES),
            (USERS, 4, on | TO_CHILDREN_ONLY),
            (USERS, 8, TO_FILES | TO_CHILDREN_ONLY),
            (EVERYONE, 1, on | NOT_HERE),
        ]);
        assert_eq!(
            entries(&inherited(&parent, Kind::File)),
            expected(&[
                (SYSTEM, ALL, INHERITED),
                (USERS, 2, INHERITED),
                (USERS, 4, INHERITED),
                (USERS, 8, INHERITED),
                (EVERYONE, 1, INHERITED),
            ])
        );
        assert_eq!(
            entries(&inherited(&parent, Kind::Folder)),
            expected(&[
                (SYSTEM, ALL, INHERITED | on),
                (ADMINISTRATORS, ALL, INHERITED | TO_FOLDERS),
                (USERS, 2, INHERITED | TO_FILES | NOT_HERE),
                (USERS, 4, INHERITED),
                (EVERYONE, 1, INHERITED | on),
            ])
        );
    }

    #[test]
    fn the_creator_and_generic_rights_become_what_they_mean() {
        let on = TO_FILES | TO_FOLDERS;
        let parent = folder(&[(CREATOR_OWNER, 1 << 28, on | NOT_HERE), (USERS, 1 << 31, on)]);
        let file = [(ADMINISTRATORS, ALL, INHERITED), (USERS, 0x12_0089, INHERITED)];
        assert_eq!(entries(&inherited(&parent, Kind::File)), expected(&file));
        let further = INHERITED | on | NOT_HERE;
        assert_eq!(
            entries(&inherited(&parent, Kind::Folder)),
            expected(&[
                (ADMINISTRATORS, ALL, INHERITED),
                (CREATOR_OWNER, 1 << 28, further),
                (USERS, 0x12_0089, INHERITED),
                (USERS, 1 << 31, further),
            ])
        );
    }

    #[test]
    fn where_nothing_is_passed_on_the_local_system_keeps_it() {
        let own = [(SYSTEM, ALL, 0), (ADMINISTRATORS, READ_EXECUTE, 0)];
        let nothing = folder(&[(EVERYONE, ALL, 0)]);
        for parent in [&nothing[..], b"", &[0; 20], &nothing[..30]] {
            for kind in [Kind::File, Kind::Folder] {
                assert_eq!(entries(&inherited(parent, kind)), expected(&own));
            }
        }
    }

    #[test]
    fn below_the_root_that_is_given_all_is_alike() {
        let folder = inherited(&root(), Kind::Folder);
        assert_eq!(inherited(&folder, Kind::Folder), folder);
        assert_eq!(entries(&inherited(&folder, Kind::File)).len(), 3);
        for descriptor in [root(), inherited(&folder, Kind::File), folder] {
            assert!(!is_writable_for_everyone(&descriptor));
        }
    }

    #[test]
    fn who_may_change_a_file_is_seen() {
        let on = TO_FILES | TO_FOLDERS;
        for (mask, flags, writable) in [
            (ALL, 0, true),
            (READ_EXECUTE, 0, false),
            (2, on, true),
            (2, on | NOT_HERE, false),
            (1 << 28, 0, true),
            (1 << 31, 0, false),
        ] {
            let found = is_writable_for_everyone(&folder(&[(EVERYONE, mask, flags)]));
            assert_eq!(found, writable, "{mask:#x} {flags:#x}");
        }
        assert!(!is_writable_for_everyone(&folder(&[(USERS, ALL, 0)])));
        assert!(is_writable_for_everyone(b""));
    }

    #[test]
    fn audits_are_passed_on() {
        let audit = Ace { kind: 2, flags: 0, mask: 2, sid: EVERYONE, rest: &[] };
        let mut data = Vec::new();
        audit.write(0x40 | TO_FILES, &mut data);
        let sacl = list(2, u16::try_from(8 + data.len()).unwrap(), 1, &data);
        let parent = descriptor(0, Some(sacl), &allowing(&[(SYSTEM, ALL, TO_FILES)]));
        let child = inherited(&parent, Kind::File);
        let found = Acl::parse(&child, SACL_PRESENT, 12).unwrap();
        assert_eq!((found.entries[0].kind, found.entries[0].flags), (2, 0x40));
        assert_eq!(entries(&child), expected(&[(SYSTEM, ALL, 0)]));
    }

    proptest! {
        /// Whatever a folder has, its new entries get a descriptor that reads back, and whose length is what it says.
        #[test]
        fn any_bytes_give_a_sound_descriptor(
            random in prop::collection::vec(any::<u8>(), 0..200),
            kind in prop::sample::select(vec![Kind::File, Kind::Folder]),
            at in 0_usize..100,
            byte in any::<u8>(),
        ) {
            let on = TO_FILES | TO_FOLDERS;
            let mut bent = folder(&[(SYSTEM, ALL, on), (CREATOR_OWNER, 1 << 28, on | NOT_HERE)]);
            let length = bent.len();
            bent[at % length] = byte;
            for parent in [random, bent] {
                let child = inherited(&parent, kind);
                prop_assert!(Acl::dacl(&child).is_some());
                let group = usize::try_from(word(&child, 8).unwrap()).unwrap();
                prop_assert_eq!(group + SYSTEM.len(), child.len());
            }
        }
    }
}
