//! Who has signed a program: the attribute certificate table (Microsoft's PE format, "The Attribute Certificate Table"),
//! and the PKCS#7 in it (Microsoft's "Windows Authenticode Portable Executable Signature Format"; RFC 2315; RFC 5280).
//!
//! Nothing is verified: it is told which certificate a signature names, not whether the signature is right.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use model::boot::Certificate;

use super::{OPTIONAL, half, header, word};

/// The entry of the data directory that says where the table lies.
const SECURITY: usize = 4;
/// `WIN_CERT_REVISION_2_0`, `WIN_CERT_TYPE_PKCS_SIGNED_DATA`
const PKCS7: (u16, u16) = (0x0200, 0x0002);
/// Head of an entry: length, revision, type. Each begins at a multiple of this.
const HEAD: usize = 8;
/// No signature of a boot program has more bytes, and no table more signatures.
const LARGEST: usize = 1 << 20;
const MOST: usize = 16;
/// Signatures hold two or three certificates; more than this is no chain.
const MOST_CERTIFICATES: usize = 64;
const LONGEST_CHAIN: usize = 8;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The certificates of Microsoft to which a program's signatures lead; `None` if it is not signed. Firmware takes a program
/// if one of the signatures in its table will do, so all of them count; signatures inside a signature do not, as firmware
/// does not know them.
pub fn certificates(program: &[u8]) -> Option<Vec<Certificate>> {
    let mut signed = None;
    for signature in table(program)?.take(MOST) {
        let Some(names) = signer(signature) else { continue };
        let found: &mut Vec<Certificate> = signed.get_or_insert_with(Vec::new);
        for certificate in [Certificate::Of2011, Certificate::Of2023] {
            if names.iter().any(|name| name == certificate.name()) && !found.contains(&certificate)
            {
                found.push(certificate);
            }
        }
    }
    signed.map(|mut found| {
        found.sort_by_key(|certificate| certificate.name());
        found
    })
}

/// Each PKCS#7 in the table.
fn table(program: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let header = header(program)?;
    // PE32 and PE32+ have the count of the directory's entries, and then the entries, at different places.
    let count = OPTIONAL
        + match half(header, OPTIONAL)? {
            0x010b => 92,
            0x020b => 108,
            _ => return None,
        };
    if usize::try_from(word(header, count)?).ok()? <= SECURITY {
        return None;
    }
    let entry = count + 4 + 8 * SECURITY;
    // This entry has a place in the file, where the others have one in memory.
    let start = usize::try_from(word(header, entry)?).ok()?;
    let size = usize::try_from(word(header, entry + 4)?).ok()?;
    let mut rest = program.get(start..start.checked_add(size)?)?;
    Some(std::iter::from_fn(move || {
        loop {
            let length = usize::try_from(word(rest, 0)?).ok()?;
            let kind = (half(rest, 4)?, half(rest, 6)?);
            let data = rest.get(HEAD..length)?;
            rest = rest.get(length.next_multiple_of(HEAD)..).unwrap_or_default();
            if kind == PKCS7 && data.len() <= LARGEST {
                return Some(data);
            }
        }
    }))
}

/// What is known of a certificate: its names as DER, and its serial number.
struct Known<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    subject: &'a [u8],
}

/// The common names in the chain of each signer: of its issuer and of those above, as far as the signature has their
/// certificates. A certificate that no signer leads to counts for nothing. `None` if there is no signer.
fn signer(pkcs7: &[u8]) -> Option<Vec<String>> {
    // The entry may be padded behind it.
    let content = tagged(&mut reader(pkcs7)?, Tag::Sequence)?;
    let mut content = reader(content)?;
    if content.decode::<ObjectIdentifier>().ok()? != SIGNED_DATA {
        return None;
    }
    let explicit = tagged(&mut content, constructed(0))?;
    let signed = tagged(&mut reader(explicit)?, Tag::Sequence)?;
    let mut signed = reader(signed)?;
    let _version = tagged(&mut signed, Tag::Integer)?;
    let _algorithms = tagged(&mut signed, Tag::Set)?;
    let _content = tagged(&mut signed, Tag::Sequence)?;
    let (mut bag, mut signers) = (Vec::new(), None);
    while !signed.is_finished() {
        let part = signed.decode::<AnyRef<'_>>().ok()?;
        if part.tag() == constructed(0) {
            bag = all(part.value())?.into_iter().filter_map(known).collect();
        } else if part.tag() == Tag::Set {
            signers = Some(part.value());
        }
    }
    let signers = all(signers?)?;
    let chains: Vec<_> =
        signers.into_iter().map(|info| chain(info, &bag)).collect::<Option<_>>()?;
    (!chains.is_empty()).then(|| chains.concat())
}

/// From a signer's own certificate upwards.
fn chain(info: &[u8], bag: &[Known<'_>]) -> Option<Vec<String>> {
    let mut info = reader(tagged(&mut reader(info)?, Tag::Sequence)?)?;
    let _version = tagged(&mut info, Tag::Integer)?;
    let mut by = reader(tagged(&mut info, Tag::Sequence)?)?;
    let (issuer, serial) = (by.tlv_bytes().ok()?, by.tlv_bytes().ok()?);
    let mut names = Vec::new();
    let mut next = bag.iter().find(|known| (known.issuer, known.serial) == (issuer, serial));
    for _ in 0..LONGEST_CHAIN {
        let Some(known) = next else { break };
        names.extend(common_name(known.issuer));
        if known.issuer == known.subject {
            break;
        }
        next = bag.iter().find(|above| above.subject == known.issuer);
    }
    Some(names)
}

/// Reads of a certificate what a chain is made of.
fn known(certificate: &[u8]) -> Option<Known<'_>> {
    let whole = tagged(&mut reader(certificate)?, Tag::Sequence)?;
    let mut body = reader(tagged(&mut reader(whole)?, Tag::Sequence)?)?;
    if Tag::peek(&body).ok()? == constructed(0) {
        body.tlv_bytes().ok()?;
    }
    let serial = body.tlv_bytes().ok()?;
    let _algorithm = body.tlv_bytes().ok()?;
    let issuer = body.tlv_bytes().ok()?;
    let _validity = body.tlv_bytes().ok()?;
    Some(Known { issuer, serial, subject: body.tlv_bytes().ok()? })
}

/// The common name in a distinguished name.
fn common_name(name: &[u8]) -> Option<String> {
    for set in all(tagged(&mut reader(name)?, Tag::Sequence)?)? {
        for pair in all(tagged(&mut reader(set)?, Tag::Set)?)? {
            let mut pair = reader(tagged(&mut reader(pair)?, Tag::Sequence)?)?;
            if pair.decode::<ObjectIdentifier>().ok()? == COMMON_NAME {
                return text(pair.decode().ok()?);
            }
        }
    }
    None
}

/// A text of any of the kinds that names have.
fn text(value: AnyRef<'_>) -> Option<String> {
    match value.tag() {
        Tag::BmpString => {
            let units = value.value().as_chunks::<2>().0.iter();
            String::from_utf16(&units.map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>())
                .ok()
        }
        _ => String::from_utf8(value.value().to_vec()).ok(),
    }
}

fn reader(data: &[u8]) -> Option<SliceReader<'_>> {
    SliceReader::new(data).ok()
}

fn constructed(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// What is in the next value, if it has this tag.
fn tagged<'a>(from: &mut SliceReader<'a>, tag: Tag) -> Option<&'a [u8]> {
    let value = from.decode::<AnyRef<'a>>().ok()?;
    (value.tag() == tag).then(|| value.value())
}

/// Each of the values that follow one another, with its tag and length; `None` if there are too many.
fn all(data: &[u8]) -> Option<Vec<&[u8]>> {
    let mut from = reader(data)?;
    let mut all = Vec::new();
    while !from.is_finished() {
        if all.len() == MOST_CERTIFICATES {
            return None;
        }
        all.push(from.tlv_bytes().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Issued, authority, signature, table, with_table};
    use super::*;

    const OLD: &str = "Microsoft Windows Production PCA 2011";
    const NEW: &str = "Windows UEFI CA 2023";

    fn program() -> Vec<u8> {
        super::super::fixture::program(0x8664, 0x20b, 10)
    }

    /// Signed by a certificate that the named authority has issued.
    fn signed_by(name: &str) -> Vec<u8> {
        signature(&Issued::new("Microsoft Windows", name), &[authority(name)])
    }

    #[test]
    fn the_signers_issuer_counts() {
        for (signatures, found) in [
            (vec![signed_by(OLD)], &[Certificate::Of2011][..]),
            (vec![signed_by(NEW)], &[Certificate::Of2023]),
            (vec![signed_by(NEW), signed_by(OLD)], &[Certificate::Of2011, Certificate::Of2023]),
            (vec![signed_by("Somebody's CA")], &[]),
            (vec![signed_by("Windows UEFI CA 2023 of somebody")], &[]),
            // The issuer's own certificate need not be there.
            (vec![signature(&Issued::new("Microsoft Windows", NEW), &[])], &[Certificate::Of2023]),
            // One of several signers.
            (vec![b"no signature".to_vec(), signed_by(OLD)], &[Certificate::Of2011]),
        ] {
            for magic in [0x10b, 0x20b] {
                let program = super::super::fixture::program(0x8664, magic, 10);
                let program = with_table(program, &table(&signatures));
                assert_eq!(certificates(&program).as_deref(), Some(found));
            }
        }
    }

    #[test]
    fn a_chain_is_followed_upwards() {
        let own = Issued::new("somebody", "a department");
        let middle = Issued::new("a department", NEW).certificate();
        let long = with_table(program(), &table(&[signature(&own, &[authority(OLD), middle])]));
        assert_eq!(certificates(&long), Some(vec![Certificate::Of2023]));
        // Two that have issued each other.
        let (one, other) = (Issued::new("a department", "b"), Issued::new("b", "a department"));
        let ring = signature(&own, &[one.certificate(), other.certificate()]);
        assert_eq!(certificates(&with_table(program(), &table(&[ring]))), Some(Vec::new()));
    }

    #[test]
    fn what_lies_about_counts_for_nothing() {
        // In the code, behind the table, and as a certificate that no signer leads to.
        let mut code = program();
        code.extend(NEW.as_bytes());
        assert_eq!(certificates(&code), None);
        code.resize(code.len().next_multiple_of(8), 0);
        let mut code = with_table(code, &table(&[signed_by(OLD)]));
        code.extend(signed_by(NEW));
        assert_eq!(certificates(&code), Some(vec![Certificate::Of2011]));
        let own = Issued::new("Microsoft Windows", OLD);
        let bag = [authority(OLD), authority(NEW), Issued::new("other", NEW).certificate()];
        let program = with_table(program(), &table(&[signature(&own, &bag)]));
        assert_eq!(certificates(&program), Some(vec![Certificate::Of2011]));
        // Somebody's own certificate that is called so.
        let own = Issued::new(NEW, "somebody");
        let program = with_table(self::program(), &table(&[signature(&own, &[])]));
        assert_eq!(certificates(&program), Some(Vec::new()));
    }

    #[test]
    fn without_a_signature_a_program_is_not_signed() {
        let good = table(&[signed_by(NEW)]);
        let mut other = good.clone();
        other[6] = 1;
        for broken in [Vec::new(), vec![0; 64], other, vec![0xff; 64]] {
            assert_eq!(certificates(&with_table(program(), &broken)), None);
        }
        // A table that lies behind the file's end, or has no entry in the directory.
        let whole = with_table(program(), &good);
        assert_eq!(certificates(&whole[..whole.len() - 1]), None);
        let mut few = whole;
        few[0x80 + OPTIONAL + 108] = 4;
        assert_eq!(certificates(&few), None);
    }

    #[test]
    fn nothing_is_read_beyond_what_is_there() {
        let whole = signed_by(NEW);
        for length in 0..whole.len() {
            let cut = with_table(program(), &table(&[whole[..length].to_vec()]));
            assert_eq!(certificates(&cut), None, "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut wild = whole.clone();
            wild[at] ^= 0xff;
            let _ = certificates(&with_table(program(), &table(&[wild])));
        }
    }
}
