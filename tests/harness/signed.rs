//! Programs with real signatures (openssl's CMS) by certificates that are made here and only called as Microsoft's are; and
//! certificates of servers.

use std::collections::HashMap;
use std::fs;
use std::sync::{LazyLock, Mutex};

use super::sample::run;

/// What Microsoft's certificates are called.
pub(crate) const OLD: &str = "Microsoft Windows Production PCA 2011";
pub(crate) const NEW: &str = "Windows UEFI CA 2023";

/// The content type of signatures of programs (SPC_INDIRECT_DATA_OBJID).
const CONTENT: &str = "1.3.6.1.4.1.311.2.1.4";

/// A signature by a certificate that this authority has issued. What it signs is of no matter here.
pub(crate) fn signature(authority: &str) -> Vec<u8> {
    static MADE: LazyLock<Mutex<HashMap<String, Vec<u8>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    if let Some(signature) = made.get(authority) {
        return signature.clone();
    }
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
    let (ca, ca_key, own, own_key) = (at("ca"), at("ca.key"), at("own"), at("own.key"));
    let issue = |name: &str, certificate: &str, key: &str, by: &[&str]| {
        let subject = format!("/O=Test/CN={name}");
        let new =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let out = ["-subj", &subject, "-keyout", key, "-out", certificate, "-days", "30"];
        run("openssl", &[&new[..], &out[..], by].concat());
    };
    issue(authority, &ca, &ca_key, &[]);
    issue("Microsoft Windows", &own, &own_key, &["-CA", &ca, "-CAkey", &ca_key]);
    let (data, out) = (at("data"), at("out"));
    fs::write(&data, "what is signed").unwrap();
    let sign =
        ["cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-econtent_type", CONTENT];
    let with = ["-signer", &own, "-inkey", &own_key, "-certfile", &ca, "-in", &data, "-out", &out];
    run("openssl", &[&sign[..], &with[..]].concat());
    let signature = fs::read(out).unwrap();
    made.insert(authority.to_owned(), signature.clone());
    signature
}

/// The program with a signature by each of these authorities, in a table at its end (Microsoft's PE format). Its header
/// must be where [`super::sample::head`] puts it.
pub(crate) fn signed(mut program: Vec<u8>, authorities: &[&str]) -> Vec<u8> {
    program.resize(program.len().next_multiple_of(8), 0);
    let mut table = Vec::new();
    for authority in authorities {
        let signature = signature(authority);
        table.extend(u32::try_from(8 + signature.len()).unwrap().to_le_bytes());
        table.extend([0, 2, 2, 0]);
        table.extend(signature);
        table.resize(table.len().next_multiple_of(8), 0);
    }
    let entry = 0x98 + 112 + 8 * 4;
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    program[0x98 + 108..0x98 + 112].copy_from_slice(&number(16));
    let start = number(program.len());
    program[entry..entry + 4].copy_from_slice(&start);
    program[entry + 4..entry + 8].copy_from_slice(&number(table.len()));
    program.extend(table);
    program
}

/// Makes a key and a certificate for localhost, which vouches for itself, in PEM files.
pub(crate) fn self_signed(key: &str, certificate: &str) {
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let end = ["-nodes", "-days", "2", "-addext", "basicConstraints=critical,CA:FALSE"];
    run("openssl", &[&kind[..], &name, &end, &["-keyout", key, "-out", certificate]].concat());
}
