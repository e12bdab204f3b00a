//! Exit codes; 64 and above are those of sysexits.h.

use model::code::CommandCode;

/// Done, passed, same.
pub const DONE: u8 = 0;
/// The drive or the media failed, or differs.
pub const FAILED: u8 = 1;
/// Refused before any byte was written.
pub const REFUSED: u8 = 2;
/// Nothing differs, but something was not compared, or could not be kept.
pub const INCOMPLETE: u8 = 3;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The daemon does not answer, or is ending.
pub const UNAVAILABLE: u8 = 69;
/// Another attempt at the drive has begun, so the one that was waited for has no verdict.
pub const OVERTAKEN: u8 = 75;
/// This user may not use the daemon.
pub const NOT_PERMITTED: u8 = 77;
/// The configuration is wrong, or cannot be written.
pub const CONFIGURATION: u8 = 78;
/// Interrupted (Ctrl-C); what was begun goes on.
pub const INTERRUPTED: u8 = 130;

/// The code in JSON of an error for which nobody has given a better one.
pub(crate) fn code(exit: u8) -> CommandCode {
    match exit {
        REFUSED => CommandCode::Refused,
        USAGE => CommandCode::Usage,
        UNAVAILABLE => CommandCode::Unavailable,
        OVERTAKEN => CommandCode::Overtaken,
        NOT_PERMITTED => CommandCode::NotPermitted,
        CONFIGURATION => CommandCode::Configuration,
        INTERRUPTED => CommandCode::Interrupted,
        _ => CommandCode::Failed,
    }
}

/// All of them, for the manual.
pub const MEANINGS: [(u8, &str); 10] = [
    (DONE, "done"),
    (FAILED, "failed: the drive, the media, or what was asked for"),
    (REFUSED, "refused before any byte was written"),
    (
        INCOMPLETE,
        "nothing is wrong, but an audit lists what was not compared or not kept, or a record was shown without its proof",
    ),
    (USAGE, "wrong command line"),
    (UNAVAILABLE, "the daemon does not answer, or is ending"),
    (OVERTAKEN, "another attempt at the drive has begun, so this one has no verdict"),
    (NOT_PERMITTED, "not permitted"),
    (CONFIGURATION, "the configuration is wrong, or cannot be written"),
    (INTERRUPTED, "interrupted (Ctrl-C); what was begun on a drive goes on"),
];
