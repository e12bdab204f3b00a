//! All tests of the station, and how they are run: by libtest-mimic, because the built-in runner cannot ignore a test
//! once it runs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::needs::Need;

/// A test, as `#[apply(test!)]` registers it.
pub(crate) struct Test {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [&'static Need],
    pub(crate) run: fn(),
}

inventory::collect!(Test);

/// Makes a function a test, with what it needs of [`super::needs`]:
///
/// ```ignore
/// #[apply(test!)]
/// #[needs(LOOP, FUSE)]
/// fn an_operator_stops_a_drive() {
/// ```
///
/// A function without it is dead code, which the compiler tells.
macro_rules! test {
    ($(#[doc = $doc:literal])* $(#[needs($($need:ident),+)])? fn $name:ident() $body:block) => {
        $(#[doc = $doc])*
        fn $name() $body

        inventory::submit! {
            $crate::harness::registry::Test {
                module: module_path!(),
                name: stringify!($name),
                needs: &[$($(&$crate::harness::needs::$need),+)?],
                run: $name,
            }
        }
    };
}

/// How many tests were ignored, by need, how that is reported, and reason.
static IGNORED: Mutex<BTreeMap<(&str, &str, &str), u32>> = Mutex::new(BTreeMap::new());

/// How long each test took.
static TOOK: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());
/// How many of the slowest are named.
const SLOWEST: usize = 15;

impl Test {
    /// `module::test`, as the built-in runner names it.
    fn name(&self) -> String {
        let module = self.module.split_once("::").map_or(self.module, |(_, module)| module);
        format!("{module}::{}", self.name)
    }

    /// Runs it, unless a need is missing.
    fn run(&self) -> Result<Completion, Failed> {
        let missing = self.needs.iter().find_map(|need| Some((need, need.missing()?)));
        if let Some((need, why)) = missing {
            let told = format!("{}: {}: {why}", need.report(), need.name);
            if need.is_required() {
                return Err(format!("{told}; PRESTAGED_REQUIRE names it").into());
            }
            let kind = (need.name, need.report(), why);
            *IGNORED.lock().unwrap().entry(kind).or_default() += 1;
            return Ok(Completion::ignored_with(told));
        }
        // A thread of its own, whose name stands in what a panic says.
        let start = Instant::now();
        let thread = thread::Builder::new().name(self.name()).spawn(self.run).unwrap();
        let ended = thread.join();
        TOOK.lock().unwrap().push((start.elapsed(), self.name()));
        ended.map_or_else(|panic| resume_unwind(panic), |()| Ok(Completion::Completed))
    }
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs what may panic without harm: its panics are caught, and not printed.
pub(crate) fn quietly(run: impl FnOnce()) -> thread::Result<()> {
    IS_QUIET.set(true);
    let ended = catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    ended
}

/// Runs the tests that the command line asks for, and says which were left out and why.
pub(crate) fn main() -> ExitCode {
    let print = take_hook();
    set_hook(Box::new(move |panic| {
        if !IS_QUIET.get() {
            print(panic);
        }
    }));
    let mut tests: Vec<Trial> = inventory::iter::<Test>
        .into_iter()
        .map(|test| Trial::ignorable_test(test.name(), || test.run()))
        .collect();
    tests.sort_by(|a, b| a.name().cmp(b.name()));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), tests);
    for ((need, report, why), count) in &*IGNORED.lock().unwrap() {
        let tests = if *count == 1 { "test" } else { "tests" };
        let report = report.to_uppercase();
        let _ = writeln!(std::io::stderr(), "*** {report}: {count} {tests}: {need}: {why} ***");
    }
    let mut took = std::mem::take(&mut *TOOK.lock().unwrap());
    took.sort_by(|a, b| b.cmp(a));
    if took.len() > SLOWEST {
        let slowest = took[..SLOWEST].iter();
        let slowest = slowest.map(|(time, name)| format!("{name} {} s", time.as_secs()));
        let slowest = slowest.collect::<Vec<_>>().join(", ");
        let _ = writeln!(std::io::stderr(), "the slowest: {slowest}");
    }
    conclusion.exit_code()
}
