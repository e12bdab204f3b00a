//! The manual page of recipes, made from their keys.

use clap_mangen::roff::{Roff, italic};
use config::recipe::KEYS;

use super::{MANUAL, Page, SEE_ALSO, SOURCE, described, heading};

/// prestaged-recipe(5).
pub(super) fn page() -> Vec<u8> {
    let mut page = Page(Roff::new());
    page.0.control("TH", ["PRESTAGED-RECIPE", "5", "", SOURCE, MANUAL]);
    page.section("NAME");
    page.text("prestaged-recipe - of what prestaged media is made");
    page.section("SYNOPSIS");
    page.text("`prestagectl media create` `RECIPE.toml` `--out` `FILE`");
    page.section("DESCRIPTION");
    page.text(
        "TOML. Paths are relative to the recipe's folder. A key that is not known is an error, with file, line and the \
         nearest known key. Nothing else is read: no daemon, no configuration.\n\n\
         The image in `os.wim` becomes the Windows volume, as it is; what it has compressed is copied. Boot image, \
         packages and files are added to it, all of them: what cannot be added is refused, up to 16 names are told and \
         the others counted. Names must be allowed on Windows and differ in more than upper and lower case; links and \
         special files are refused. What the operating system image has in the place of an addition gives way, and is \
         told.\n\n\
         All WIM files are verified to their last blob first. Then names and architectures are judged, and it is found \
         out whether there is room. What was written is compared with its parts and goes through the station's intake \
         before it gets its name.",
    );
    let mut section = None;
    for key in KEYS {
        if section != Some(key.section) {
            section = Some(key.section);
            page.0.control("SH", [heading(&key).as_str()]);
        }
        described(&mut page, &key);
    }
    page.section("EXAMPLE");
    page.example(
        "[os]\nwim = \"install.wim\"\nindex = 3\n\n[boot]\nwim = \"boot.wim\"\n\n[site]\nfrom = \"from-the-site.wim\"\n\n\
         [[package]]\nid = \"PRE00012\"\npath = \"drivers/latitude\"\nkind = \"driver\"\n\n\
         [image]\nname = \"Acme Windows 11\"\nversion = \"7\"",
    );
    page.section("FILES");
    page.item(
        vec![italic(".FILE.prestaged")],
        "the folder beside the result in which it is made; one that a killed run has left is cleared by the next run",
    );
    page.section("SEE ALSO");
    page.text(SEE_ALSO);
    let mut out = Vec::new();
    page.0.to_writer(&mut out).unwrap();
    out
}
