//! Programs and signatures for tests, written from nothing. No signature is right: none is verified.

use super::OPTIONAL;

pub(super) fn program(machine: u16, magic: u16, subsystem: u16) -> Vec<u8> {
    let mut program = vec![0_u8; 0x200];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x80;
    program[0x80..0x84].copy_from_slice(b"PE\0\0");
    for (at, number) in [(0x84, machine), (0x98, magic), (0xdc, subsystem)] {
        program[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    program
}

/// The program with an attribute certificate table at its end.
pub(super) fn with_table(mut program: Vec<u8>, table: &[u8]) -> Vec<u8> {
    let count =
        0x80 + OPTIONAL + if program[0x98] == 0x0b && program[0x99] == 1 { 92 } else { 108 };
    let start = u32::try_from(program.len()).unwrap();
    let size = u32::try_from(table.len()).unwrap();
    for (at, number) in [(count, 16), (count + 4 + 32, start), (count + 4 + 36, size)] {
        program[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    program.extend(table);
    program
}

/// A table with these signatures.
pub(super) fn table(signatures: &[Vec<u8>]) -> Vec<u8> {
    let mut table = Vec::new();
    for signature in signatures {
        table.extend(u32::try_from(8 + signature.len()).unwrap().to_le_bytes());
        table.extend([0, 2, 2, 0]);
        table.extend(signature);
        table.resize(table.len().next_multiple_of(8), 0);
    }
    table
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let data = parts.concat();
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    let mut all = vec![tag];
    match length {
        [0, short @ 0..0x80] => all.push(short),
        [0, short] => all.extend([0x81, short]),
        [high, low] => all.extend([0x82, high, low]),
    }
    all.extend(data);
    all
}

fn name(common: &str) -> Vec<u8> {
    let pair = tlv(0x30, &[&[6, 3, 0x55, 4, 3], &tlv(0x0c, &[common.as_bytes()])]);
    tlv(0x30, &[&tlv(0x31, &[&pair])])
}

/// A certificate and who has issued it.
pub(super) struct Issued {
    subject: String,
    issuer: String,
}

impl Issued {
    pub(super) fn new(subject: &str, issuer: &str) -> Self {
        Self { subject: subject.into(), issuer: issuer.into() }
    }

    pub(super) fn certificate(&self) -> Vec<u8> {
        let body = tlv(
            0x30,
            &[
                &tlv(0xa0, &[&[2, 1, 2]]),
                &[2, 1, 7],
                &tlv(0x30, &[]),
                &name(&self.issuer),
                &tlv(0x30, &[]),
                &name(&self.subject),
                &tlv(0x30, &[]),
            ],
        );
        tlv(0x30, &[&body, &tlv(0x30, &[]), &[3, 1, 0]])
    }
}

/// A certificate that has issued itself.
pub(super) fn authority(name: &str) -> Vec<u8> {
    Issued::new(name, name).certificate()
}

/// The PKCS#7 of one signer, with its certificate and others.
pub(super) fn signature(signer: &Issued, others: &[Vec<u8>]) -> Vec<u8> {
    let by = tlv(0x30, &[&name(&signer.issuer), &[2, 1, 7]]);
    let info = tlv(0x30, &[&[2, 1, 1], &by, &tlv(0x30, &[]), &tlv(0x30, &[]), &[4, 1, 0]]);
    let bag = [&signer.certificate()[..], &others.concat()].concat();
    let signed = tlv(
        0x30,
        &[
            &[2, 1, 1],
            &tlv(0x31, &[]),
            &tlv(0x30, &[&[6, 1, 42]]),
            &tlv(0xa0, &[&bag]),
            &tlv(0x31, &[&info]),
        ],
    );
    let kind = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    tlv(0x30, &[&kind, &tlv(0xa0, &[&signed])])
}
