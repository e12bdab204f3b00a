//! Where other programs look for what a drive or a partition holds.
//!
//! What is found there decides what a machine makes of a drive: libblkid's answer (udev, lsblk, mount, mdadm's and dmraid's
//! rules) and the kernel's search for partitions. A drive that is ours holds the master's bytes in all of these places, and
//! they are read back as everything else. The places are those of libblkid's probes (util-linux,
//! `libblkid/src/superblocks` and `partitions`) and of programs that look for a second copy by themselves; a test of the
//! whole station holds them against the reads of the libblkid of the machine it runs on.

use model::ranges::{GRAIN, Range};
use model::units::Bytes;

/// So much of the start. The farthest place is LUKS2's second header: it stands right behind the first one and its
/// metadata, for which `cryptsetup --luks2-metadata-size` takes up to 4 MiB (`LUKS2_HDR2_OFFSETS` in `luks.c`). Before it
/// lie VMFS (1 and 2 MiB, `vmfs.c`), UDF's anchors (up to 2 MiB, `udf.c`) and a copy of bcachefs' superblock (2 MiB,
/// `bcache.c`).
const HEAD: Bytes = Bytes((4 << 20) + GRAIN);

/// So much of the end. The farthest place is 3087 sectors of 512 bytes before it: Promise FastTrak (`promise_raid.c`).
/// Behind it lie UDF's last anchor (256 blocks), bcachefs' last superblock (1 MiB), ZFS' last two labels (512 KiB before
/// a multiple of 256 KiB, `zfs.c`), all other RAIDs of mainboards and controllers, MD, DRBD, LDM's database and the backup
/// GPT.
const TAIL: Bytes = Bytes::mib(2);

/// Places of copies, counted from the start. Their owners' tools find them without the first one.
const COPIES: [Bytes; 6] = [
    // btrfs: `btrfs rescue super-recover` (btrfs-progs, BTRFS_SUPER_MIRROR_SHIFT).
    Bytes::mib(64),
    Bytes(256 << 30),
    // Ceph: the label of a BlueStore device (BlueStore.cc, bdev_label_positions).
    Bytes(1 << 30),
    Bytes(10 << 30),
    Bytes(100 << 30),
    Bytes(1000 << 30),
];

/// The places in a drive, or in a partition, that occupies this range.
pub fn places(own: Range) -> Vec<Range> {
    let length = own.length();
    let tail = TAIL.min(length);
    let mut places =
        vec![Range::at(own.start, HEAD.min(length)), Range::new(own.end - tail, own.end)];
    let copies = COPIES.into_iter().map(|copy| Range::at(own.start + copy, Bytes(GRAIN)));
    places.extend(copies.filter(|copy| own.covers(*copy)));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_within_their_range() {
        for size in [4096, 1 << 20, 3 << 20, 5 << 20, 40 << 20, 500_107_862_016, 1_000_204_886_016]
        {
            let own = Range::at(Bytes::mib(300), Bytes(size));
            let places = places(own);
            assert!(places.iter().all(|place| own.covers(*place) && !place.is_empty()), "{size}");
            let sum: Bytes = places.iter().map(|place| place.length()).sum();
            assert!(sum <= Bytes::mib(7), "{size}: {sum:?}");
        }
    }
}
