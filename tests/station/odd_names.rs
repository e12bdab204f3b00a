//! Names and streams that no volume could hold, though each alone is allowed.

use macro_rules_attribute::apply;

use crate::harness::odd_wim::{file, folder};
use crate::odd_media::{assert_problem, assert_valid};

/// NTFS finds a file by each of its names, and the volume has files of its own.
#[apply(test!)]
fn names_that_ntfs_takes_for_equal() {
    let short_names =
        [file("Long one", "1").short("LONGON~1"), file("Long two", "2").short("longon~1")];
    assert_problem(short_names, "names_twice", &["/Long two", "longon~1"]);
    let long_and_short = [file("progra~1", "1"), folder("Program Files", []).short("PROGRA~1")];
    assert_problem(long_and_short, "names_twice", &["/Program Files", "PROGRA~1"]);
    assert_problem([file("$bitmap", "x")], "names_twice", &["/$bitmap", "volume's own"]);
    assert_problem([folder("$extend", [file("in", "x")])], "names_twice", &["/$extend"]);
    assert_valid([
        file("SAME.TXT", "1").short("SAME.TXT"),
        file("same2.txt", "2").short("SAME2.TXT"),
        folder("dir", [file("$mft", "in a folder"), file("Long one", "1").short("LONGON~1")]),
        file("Long one", "1").short("LONGON~1"),
    ]);
}

/// What a rehearsal without contents, or libwim, does not tell.
#[apply(test!)]
fn what_no_press_could_hold() {
    let many = (0..600).fold(file("many", "x"), |file, at| file.stream(format!("{at:0>200}"), "y"));
    assert_problem([many], "not_applicable", &["/many", "streams"]);
    let stub = folder("cloud", [file("below", "x")]).reparse(0x9000_001a, vec![1, 0, 0, 0]);
    assert_problem([stub], "not_applicable", &["/cloud/below", "reparse points"]);
}
