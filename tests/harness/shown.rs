//! Whole outputs as snapshots, in `tests/station/snapshots`, without what differs from run to run.
//!
//! `INSTA_UPDATE=always` stores what the tests find; `git diff` then shows what has changed.

use insta::Settings;
use insta::internals::SettingsBindDropGuard;

use super::Rig;

/// What differs from run to run, as patterns and what stands in their place.
const DIFFERENT: [(&str, &str); 11] = [
    // None is known yet in the moment after a start.
    (r"hint: no drive is attached at all; see .*", "hint: attached: [drives]"),
    // The machine's own drives are attached, too.
    (r"(?m)^hint: attached: .*(\nhint: .*)*", "hint: attached: [drives]"),
    // Whether a command has a line of its own depends on how long the drive's name is.
    (r"\nhint: (`blkdiscard)", " $1"),
    (r"/dev/loop\d+", "[loop]"),
    (r"\b[0-9a-f]{64}\b", "[sha256]"),
    (r"\b[0-9a-f]{16}\b", "[digest]"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]"),
    // Sizes of compressed media, accounts, block counts.
    (r"\b\d{5,}\b", "[number]"),
    (r"\b\d{4} bytes", "[number] bytes"),
    (r"(?m)^(libwim +)[0-9.]+$", "$1[version]"),
    // Columns are as wide as names and numbers are.
    (r" {2,}", "  "),
];

impl Rig {
    /// While the guard lives, snapshots name neither this rig nor its folder.
    pub(crate) fn shown(&self) -> SettingsBindDropGuard {
        let mut settings = Settings::clone_current();
        settings.set_omit_expression(true);
        // Found without asking cargo, which not every user may run.
        settings
            .set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/station/snapshots"));
        settings
            .add_filter(&format!("{}/", self.path("").display()).replace("//", "/"), "[folder]/");
        settings.add_filter(&self.name, "[rig]");
        for (pattern, name) in DIFFERENT {
            settings.add_filter(pattern, name);
        }
        settings.bind_to_scope()
    }
}
