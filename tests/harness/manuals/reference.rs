//! The pages that are made from tables of the code alone: codes, and the HTTP API.

use clap_mangen::roff::{Roff, bold, italic, roman};
use model::advice::{self, Kind};
use model::api::routes::{Answers, Manual, Route};
use model::api::schema::Document;
use strum::VariantArray as _;

use super::{MANUAL, Page, SEE_ALSO, SOURCE, inlines};

/// Every code, from the table that `prestagectl explain` reads.
pub(super) fn codes() -> Vec<u8> {
    let mut page = Page(Roff::new());
    page.0.control("TH", ["PRESTAGED-CODES", "7", "", SOURCE, MANUAL]);
    page.section("NAME");
    page.text("prestaged-codes - what the codes of the imaging station mean, and what to do");
    page.section("DESCRIPTION");
    page.text(
        "Whatever does not go well has a code. Codes are the same in text, in JSON, in the ledger and in the journal, and \
         never change their meaning. `prestagectl explain CODE` says what stands here, also without a daemon.",
    );
    for kind in Kind::ALL {
        page.section(match kind {
            Kind::Drive => "DRIVES THAT HAVE NOT PASSED",
            Kind::RecordWarning => "WARNINGS IN RECORDS",
            Kind::MediaProblem => "PROBLEMS OF MEDIA",
            Kind::MediaWarning => "WARNINGS ABOUT MEDIA",
            Kind::Failure => "FAILURES OF PRESSES, AUDITS AND THE STORE",
            Kind::Denial => "REQUESTS THAT ARE NOT CARRIED OUT",
            Kind::Command => "ERRORS OF PRESTAGECTL",
        });
        for entry in advice::all().iter().filter(|entry| entry.kind == kind) {
            let verdicts: Vec<String> = entry.verdicts.iter().map(ToString::to_string).collect();
            let verdicts = match verdicts.is_empty() {
                true => String::new(),
                false => format!(" ({})", verdicts.join(", ")),
            };
            page.item(vec![bold(entry.code), roman(verdicts)], entry.meaning);
            page.0.control("RS", []);
            for (who, what) in [
                ("What now", entry.advice.now),
                ("Operator", entry.advice.operator),
                ("Engineer", entry.advice.engineer),
            ] {
                page.0.control("TP", ["10"]);
                page.0.text([italic(who)]);
                page.0.text(inlines(what));
            }
            page.0.control("RE", []);
        }
    }
    page.section("SEE ALSO");
    page.text(SEE_ALSO);
    let mut out = Vec::new();
    page.0.to_writer(&mut out).unwrap();
    out
}

/// Every route, from the table that the daemon makes its router of, and every document.
pub(super) fn api() -> Vec<u8> {
    let mut page = Page(Roff::new());
    page.0.control("TH", ["PRESTAGED-API", "7", "", SOURCE, MANUAL]);
    page.section("NAME");
    page.text("prestaged-api - the HTTP API of the imaging station");
    page.section("DESCRIPTION");
    page.text(
        "Factory systems speak to `prestaged`(8) as `prestagectl`(1) does: with HTTP/1.1 on the Unix socket in \
         `control.socket`. There is no network socket. Root, the station's own user and the members of `control.group` \
         may use all routes. Bodies are JSON. Fields are added in later versions, and none is renamed or removed; \
         take no offence at a field that you do not know.\n\n\
         In a path, `{drive}` is a device node without its slashes, a kernel name, a serial number or a bay.",
    );
    page.section("ROUTES");
    for route in Route::VARIANTS {
        let Manual { text, takes, answers } = route.manual();
        page.0.control("SS", [format!("{} {}", route.method(), route.path()).as_str()]);
        let body = takes.map(|document| format!(" Body: `{document}`.")).unwrap_or_default();
        let answer = match answers {
            Answers::Nothing => " Answer: `{}`.".to_owned(),
            Answers::One(document) => format!(" Answer: `{document}`."),
            Answers::Lines(document) => format!(" Answer: a `{document}` on each line."),
            Answers::Bytes(kind) => format!(" Answer: {kind}."),
        };
        page.text(&format!("{text}{body}{answer}"));
    }
    page.section("DOCUMENTS");
    page.text("`prestagectl schema NAME` prints the JSON schema of a document.");
    for document in Document::VARIANTS {
        page.item(vec![bold(document.to_string())], document.about());
    }
    page.section("ERRORS");
    page.text(
        "A request that is not carried out is answered with a status of 400 or above and a `denial`. Its codes are in \
         `prestaged-codes`(7). `draining` (503) is the answer of a station that is ending, `overloaded` (503) the answer to \
         a connection too many: 256 may be open at once, half of them of one user.",
    );
    page.section("LIMITS");
    page.text(
        "A connection is closed when a request's header or body does not come within 10 s, when it is not used for as \
         long, and when its client leaves an answer unread for five minutes. A body has 64 KiB at most.",
    );
    page.section("EXAMPLES");
    page.example(
        "curl --unix-socket /run/prestaged/control.sock http://localhost/v1/status\n\
         curl --unix-socket /run/prestaged/control.sock http://localhost/v1/image \\\n    \
         --data '{\"device\": \"/dev/sdb\", \"overwrite\": \"returned lease\"}'",
    );
    page.section("SEE ALSO");
    page.text(SEE_ALSO);
    let mut out = Vec::new();
    page.0.to_writer(&mut out).unwrap();
    out
}
