//! Certificates on paper, as others read them: poppler reads the page, its letters and its files, and another program than
//! the one that drew it reads the code.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use evidence::check::origin;
use evidence::checkpoint::Checkpoint;
use evidence::proof::Proof;
use evidence::short::Short;
use evidence::statement::{Place, sign_record};
use evidence::tree::{self, Edge};
use macro_rules_attribute::apply;
use model::digest::Digest;
use model::record::Record;
use serde_json::{Value, json};
use signing::SecretKey;
use uuid::Uuid;

use crate::harness::sample::run;
use crate::harness::told;

/// A folder with the certificates of a station, whose key nobody else has.
struct Desk {
    folder: tempfile::TempDir,
    key: SecretKey,
}

impl Desk {
    fn new() -> Self {
        let desk =
            Self { folder: tempfile::tempdir().unwrap(), key: SecretKey::generate().unwrap() };
        fs::write(desk.path("station.pub"), desk.key.public().to_pem()).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.json`, as the daemon gives it for a record with these fields.
    fn certificate(&self, name: &str, fields: Value, beside: Value) -> String {
        let mut record: Value =
            serde_json::from_str(include_str!("../../daemon/model/src/schema1.json")).unwrap();
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let text = serde_json::to_string(&record).unwrap();
        let record: Record = serde_json::from_str(&text).unwrap();
        let ledger = Uuid::from_u128(7);
        let place = Place { ledger, seq: 1, previous: None };
        let envelope = sign_record(&record, &text, place, &self.key).unwrap();
        let edge: Edge = [tree::leaf(&envelope.to_bytes())].into_iter().collect();
        let checkpoint = Checkpoint { origin: origin(ledger), size: 1, root: edge.root() };
        let checkpoint = checkpoint.sign(&self.key);
        let short = Short::of(&record, Digest::of(text.as_bytes()));
        let certificate = json!({
            "record": record,
            "envelope": envelope,
            "tlog_proof": Proof { index: 0, path: Vec::new(), checkpoint }.text(),
            "key": self.key.public().to_pem(),
            "short": short.map(|short| short.sign(&self.key)),
            "beside": beside,
        });
        let path = self.path(&format!("{name}.json"));
        fs::write(&path, certificate.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn ctl(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prestagectl"));
        told(command.args(arguments).current_dir(self.folder.path()))
    }

    /// Prints a certificate; returns the page and what prestagectl has said.
    fn page(&self, certificate: &str) -> (PathBuf, String) {
        let pdf = Path::new(certificate).with_extension("pdf");
        let arguments = ["certificate", "--from", certificate, "--pdf", pdf.to_str().unwrap()];
        let (code, said) = self.ctl(&arguments);
        assert_eq!(code, 0, "{said}");
        (pdf, said)
    }

    /// Reads the codes on a page.
    fn codes(&self, pdf: &Path) -> Vec<String> {
        let (image, width, height) = self.pixels(pdf, 300);
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| image[y * width + x]);
        image.detect_grids().iter().filter_map(|grid| grid.decode().ok()).map(|c| c.1).collect()
    }

    /// The page as shades of grey, at so many pixels per inch.
    fn pixels(&self, pdf: &Path, density: u32) -> (Vec<u8>, usize, usize) {
        let at = self.path("page");
        let at = at.to_str().unwrap();
        let density = density.to_string();
        run("pdftoppm", &["-gray", "-r", &density, "-singlefile", pdf.to_str().unwrap(), at]);
        let file = fs::read(format!("{at}.pgm")).unwrap();
        // P5, width and height, the brightest, each on a line of its own.
        let head = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
        let text = std::str::from_utf8(&file[..head]).unwrap();
        let numbers: Vec<usize> =
            text.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
        (file[head + 1..].to_vec(), numbers[0], numbers[1])
    }
}

fn text(pdf: &Path) -> String {
    run("pdftotext", &["-layout", pdf.to_str().unwrap(), "-"])
}

fn title(pdf: &Path) -> String {
    let about = run("pdfinfo", &[pdf.to_str().unwrap()]);
    assert!(about.contains("Pages:           1\n") && about.contains("(A4)"), "{about}");
    let title = about.lines().find_map(|line| line.strip_prefix("Title:"));
    title.unwrap().trim().to_owned()
}

#[apply(test!)]
#[needs(POPPLER)]
fn a_page_says_what_was_proven_and_carries_the_proof() {
    let desk = Desk::new();
    let beside = json!({ "customer": "Contoso", "media_version": "acme-win11 7" });
    let certificate = desk.certificate("passed", json!({ "order": "PO-4711" }), beside);
    let (pdf, said) = desk.page(&certificate);
    assert!(!said.contains("code points"), "{said}");
    assert_eq!(title(&pdf), "PASSED: drive S4EVNX0M, 2026-11-22 08:01:12 UTC");
    let words = text(&pdf);
    for word in [
        "PASSED",
        "Contoso",
        "PO-4711",
        "anna",
        "Samsung SSD 970 EVO Plus",
        "2B2QEXM7",
        "512,110,190,592 bytes",
        "win11.wim",
        "acme-win11 7",
        "ba7816bf8f01cfea414140de5dae2223",
        "18,200,000,000 bytes (18.2 GB), all",
        "530.0 MB/s, limited by bus",
        "1 min 12 s",
        "7d9a1f06-5b2b-4a6c-8b0e-1e2f3a4b5c6d",
        "unknown",
        "entry 1 of 1",
        &desk.key.public().id().to_string(),
    ] {
        assert!(words.contains(word), "{word}: {words}");
    }
    assert!(!words.to_lowercase().contains("sanitis"), "{words}");
    // The same again, byte for byte.
    let first = fs::read(&pdf).unwrap();
    assert!(fs::read(desk.page(&certificate).0).unwrap() == first);

    // What is inside proves it, without the station and without the certificate.
    run(
        "pdfdetach",
        &["-saveall", "-o", desk.folder.path().to_str().unwrap(), pdf.to_str().unwrap()],
    );
    let verify = ["verify-record", "record.dsse.json", "--key", "station.pub"];
    let proof = ["--proof", "record.tlog-proof", "--require", "passed"];
    let (code, said) = desk.ctl(&[&verify[..], &proof].concat());
    assert!(code == 0 && said.contains("proven to be entry 1 of 1"), "{said}");

    // So does the code, of what there is room for.
    let codes = desk.codes(&pdf);
    let [code] = &codes[..] else { panic!("{codes:?}") };
    fs::write(desk.path("code"), code).unwrap();
    let (exit, said) = desk.ctl(&["verify-record", "code", "--key", "station.pub", "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(exit, 3, "the code does not prove that the log has it");
    assert_eq!((&told["serial"], &told["verdict"]), (&"S4EVNX0M".into(), &"passed".into()));
    fs::write(desk.path("other.pub"), SecretKey::generate().unwrap().public().to_pem()).unwrap();
    assert_eq!(desk.ctl(&["verify-record", "code", "--key", "other.pub"]).0, 1);
    fs::write(desk.path("changed"), code.replacen("AA", "AB", 1)).unwrap();
    assert_ne!(desk.ctl(&["verify-record", "changed", "--key", "station.pub"]).0, 0);

    // A certificate in which somebody has changed a word is not printed.
    let text = fs::read_to_string(&certificate).unwrap();
    fs::write(desk.path("forged.json"), text.replacen("\"payload\":\"ey", "\"payload\":\"ez", 1))
        .unwrap();
    let (code, said) = desk.ctl(&["certificate", "--from", "forged.json", "--pdf", "forged.pdf"]);
    assert!(code == 1 && said.contains("proves nothing"), "{said}");
    assert!(!desk.path("forged.pdf").exists());
}

/// The darkest ink in the place of the verdict: it must not look like that of a drive that has passed, also on a printer
/// without colours.
#[apply(test!)]
#[needs(POPPLER)]
fn a_drive_that_has_not_passed_says_so_in_large_letters() {
    let desk = Desk::new();
    let why = |code: &str| json!({ "code": code, "detail": "so it is", "hint": null });
    for (verdict, code) in
        [("failed", "mismatch"), ("refused", "not_blank"), ("stopped", "operator_stop")]
    {
        let fields = json!({ "verdict": verdict, "reason": why(code), "warnings": ["one", "two"] });
        let (pdf, _) = desk.page(&desk.certificate(verdict, fields, json!({})));
        let word = verdict.to_uppercase();
        assert!(title(&pdf).starts_with(&format!("{word}: drive S4EVNX0M")), "{}", title(&pdf));
        let words = text(&pdf);
        assert!(words.contains(&word) && words.contains(&format!("{code}: so it is")), "{words}");
        assert!(!words.contains("PASS") && !words.contains("and is right"), "{words}");
        // The word is the largest on the page: white letters in the band, with a sign before them.
        let (pixels, width, _) = desk.pixels(&pdf, 200);
        let (top, bottom) = (200 * 85 / 72, 200 * 105 / 72);
        let inked = (200 * 60 / 72)..(200 * 260 / 72);
        let white = (top..bottom).flat_map(|y| inked.clone().map(move |x| y * width + x));
        let white = white.filter(|at| pixels[*at] > 250).count();
        assert!(white > 4_000, "{verdict}: {white} white pixels");
    }
}

#[apply(test!)]
#[needs(POPPLER)]
fn names_print_in_the_letters_of_their_language() {
    let desk = Desk::new();
    let names =
        ["株式会社山田製作所", "Δημήτρης Παπαδόπουλος", "سمير حسن", "Завод №7", "Zażółć gęślą"];
    let fields = json!({
        "operator": names[1], "order": names[3], "station": names[4],
        "media": {
            "name": names[2], "image": 1,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        },
    });
    let (pdf, said) =
        desk.page(&desk.certificate("names", fields, json!({ "customer": names[0] })));
    assert!(!said.contains("code points"), "{said}");
    let words = text(&pdf);
    for name in names {
        assert!(words.contains(name), "{name}: {words}");
    }
    let fonts = run("pdffonts", &[pdf.to_str().unwrap()]);
    let embedded = |line: &str| line.contains("yes yes yes");
    assert!(fonts.lines().skip(2).all(embedded) && fonts.lines().count() > 5, "{fonts}");
    // What no font has is told, and stands there as its number.
    let odd = json!({ "model": "x\u{10fff0}\u{202e}y" });
    let (pdf, said) = desk.page(&desk.certificate("odd", odd, json!({})));
    assert!(said.contains("U+202E U+10FFF0"), "{said}");
    assert!(text(&pdf).contains("x[U+10FFF0][U+202E]y"));
}

#[apply(test!)]
#[needs(POPPLER)]
fn what_has_no_room_is_counted_and_stays_inside() {
    let desk = Desk::new();
    let long = "word ".repeat(40);
    let fields = json!({
        "serial": "S".repeat(200), "model": long, "wwn": long, "firmware": long, "bay": long,
        "order": long, "operator": long, "station": long,
        "warnings": (1..=30).map(|at| format!("warning {at}: {long}")).collect::<Vec<_>>(),
    });
    let beside = json!({ "customer": long, "part": long, "media_version": long });
    let (pdf, _) = desk.page(&desk.certificate("long", fields, beside));
    let words = text(&pdf);
    assert!(words.contains("…+"), "{words}");
    let listed = (1..=30).filter(|at| words.contains(&format!("warning {at}: "))).count();
    assert!(words.contains(&format!("and {} more warnings", 30 - listed)), "{words}");
    assert!(listed > 0);
    let codes = desk.codes(&pdf);
    assert!(codes.iter().any(|code| code.starts_with("PRESTAGED:")), "{codes:?}");
    // The margins are white: 36 of the 42 points.
    let (pixels, width, height) = desk.pixels(&pdf, 200);
    let edge = 100;
    let inked = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).filter(|(x, y)| {
        let outside = *x < edge || *x >= width - edge || *y < edge || *y >= height - edge;
        outside && pixels[y * width + x] < 250
    });
    assert_eq!(inked.count(), 0);
}

#[apply(test!)]
fn a_label_goes_where_it_is_asked_to() {
    let desk = Desk::new();
    let reason = json!({ "code": "mismatch", "detail": "so it is", "hint": null });
    let fields = json!({
        "verdict": "failed", "reason": reason, "serial": "A^XZ~JA_1\\B",
        "media": {
            "name": "^FS^XZ.wim", "image": 1,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        },
    });
    let certificate = desk.certificate("failed", fields, json!({}));
    let label = ["certificate", "--from", &certificate, "--label", "zpl"];
    let (code, zpl) = desk.ctl(&label);
    assert_eq!(code, 0, "{zpl}");
    // In reverse, a copy because nobody has counted it, and nothing in it that the template does not have.
    assert!(zpl.contains("^GB430,112,112^FS") && zpl.contains("^FR^A0N,100,88^FH^FDFAIL^FS"));
    assert!(zpl.contains("^FDCOPY^FS") && zpl.contains("^FH^FDA_5EXZ_7EJA_5F1_5CB^FS"), "{zpl}");
    assert!(zpl.contains("^FD_5EFS_5EXZ.wim^FS") && zpl.matches("^XZ").count() == 1, "{zpl}");
    assert!(zpl.contains("^BXN,6,200,,,,_^FH^FDA_5Fd094XZ_5Fd126JA_5Fd0951_5Fd092B^FS"), "{zpl}");

    let (code, said) = desk.ctl(&[&label[..], &["--out", "label"]].concat());
    assert!(code == 0 && said.contains("a copy, went to label"), "{said}");
    assert_eq!(fs::read_to_string(desk.path("label")).unwrap(), zpl);
    let (code, said) = desk.ctl(&[&label[..], &["--pipe", "cat > piped"]].concat());
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read_to_string(desk.path("piped")).unwrap(), zpl);
    let (code, said) = desk.ctl(&[&label[..], &["--pipe", "exit 3"]].concat());
    assert!(code == 1 && said.contains("has not taken the label"), "{said}");

    // A printer on the network gets it byte for byte.
    let printer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = printer.local_addr().unwrap().to_string();
    let printing = thread::spawn(move || {
        let mut got = String::new();
        printer.accept().unwrap().0.read_to_string(&mut got).unwrap();
        got
    });
    let (code, said) = desk.ctl(&[&label[..], &["--to", &address]].concat());
    assert_eq!(code, 0, "{said}");
    assert_eq!(printing.join().unwrap(), zpl);
    let (code, said) = desk.ctl(&[&label[..], &["--to", &address]].concat());
    assert!(code == 1 && said.contains("does not take the label"), "{said}");

    // What is wrong with a template is told with its line, and what would help.
    fs::write(desk.path("own.zpl"), "^XA\n^FO9,9^FH^FD$seriel^FS\n^XZ\n").unwrap();
    let (code, said) = desk.ctl(&[&label[..], &["--template", "own.zpl"]].concat());
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("own.zpl, line 2: there is no $seriel\nhint: there are $serial"),
        "{said}"
    );
    fs::write(desk.path("own.zpl"), "^XA\n^FO9,9^FH^FD$job $date^FS\n^XZ\n").unwrap();
    let (_, said) = desk.ctl(&[&label[..], &["--template", "own.zpl"]].concat());
    assert_eq!(said, "^XA\n^FO9,9^FH^FD00000001 2026-11-22^FS\n^XZ\n");
}
