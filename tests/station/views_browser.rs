//! The gate's pages in a browser: what is seen of them, from two metres, and that nothing old is.

use std::fs;
use std::io::Write as _;

use macro_rules_attribute::apply;
use model::api::snapshot::Snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::browser::{Browser, Theme};
use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive};
use crate::harness::gate::{Gate, PASSWORD, rig, start_gate};
use crate::harness::looks::{Eyes, everything, look, station, usual};
use crate::harness::needs::AXE_PATH;
use crate::harness::teller::Teller;

/// Size of the drives.
const MIB: u64 = 160;
/// After three seconds a picture is old; a machine that is busy with other tests gets two more.
const OLD: f64 = 5000.0;
/// Capitals are as high as 20 minutes of arc, from two metres, on a 24-inch screen with 1920 columns.
const CAPITAL: f64 = 42.0;

/// All tiles say that nothing is known, and nothing else does.
const BLANK: &str = "document.querySelectorAll('.tile').length > 0 \
    && [...document.querySelectorAll('.tile')].every((tile) => tile.querySelector('.word').textContent === 'NO DATA' \
        && getComputedStyle(tile).backgroundColor === 'rgb(139, 146, 153)') \
    && !/PASS|FAIL|REFUSED|ARMED|pass|fail/.test(document.getElementById('live').innerText)";

/// A bay's tile says this.
fn says(bay: &str, word: &str) -> String {
    format!(
        "[...document.querySelectorAll('.tile')].some((tile) => tile.querySelector('.bay').textContent === '{bay}' \
         && tile.querySelector('.word').textContent === '{word}' && !document.body.matches('.lost'))"
    )
}

/// Does something to the station or its gate; returns after how many milliseconds, by the page's clock, all tiles said so.
fn until_blank(browser: &Browser, act: impl FnOnce()) -> f64 {
    let watch = format!(
        "window.blank = null; window.began = performance.now(); \
         new MutationObserver(() => {{ if ({BLANK}) window.blank ??= performance.now() - window.began; }}) \
         .observe(document.body, {{ subtree: true, childList: true, attributes: true, characterData: true }})"
    );
    browser.run(&watch);
    act();
    browser.wait("NO DATA", "window.blank !== null");
    let took = browser.run("return window.blank").as_f64().unwrap();
    let _ = writeln!(std::io::stderr(), "NO DATA after {took:.0} ms");
    took
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn pid(gate: &Gate) -> i32 {
    i32::try_from(gate.child.borrow().id()).unwrap()
}

/// From empty bays to verdicts. Then the daemon ends, and the gate stands still, ends and comes back: the page says so, and
/// comes back by itself.
#[apply(test!)]
#[needs(ROOT, LOOP, FUSE, BROWSER)]
fn a_browser_shows_what_is_so_and_nothing_else() {
    let (rig, port) = rig(&[]);
    let bays = (1..=8).map(|bay| {
        let fields =
            [("name", format!("bay {bay}")), ("path", format!("loop-{}B{bay}*", rig.name))];
        let fields = fields.map(|(key, value)| (key.to_owned(), toml::Value::from(value)));
        toml::Value::Table(fields.into_iter().collect())
    });
    rig.set("bay", bays.collect::<Vec<_>>());
    rig.set("admission.bays", (1..=8).map(|bay| format!("bay {bay}")).collect::<Vec<_>>());
    let hangs = Faults { hangs_at: Some(BODY_BYTE), ..Faults::default() };
    let bad = Faults { write_error_at: Some(4096), ..Faults::default() };
    let (working, failing) =
        (FaultyDrive::new(&rig, "B2", MIB, hangs), FaultyDrive::new(&rig, "B4", MIB, bad));
    rig.start_with_media();
    let gate = start_gate(&rig, port);
    let browser = Browser::start();
    browser.resize(1920, 1080);
    browser.open(&format!("http://localhost:{port}/"));
    browser.wait("an empty bay", &says("bay 8", "empty"));
    assert_eq!(browser.run("return document.querySelectorAll('.tile').length"), 8);

    let good = rig.attached("B3", MIB, 512);
    browser.wait("PASS", &says("bay 3", "PASS"));
    // Whoever cannot see it hears it.
    browser.wait(
        "the news",
        "/bay 3: PASS/.test(document.querySelector('[role=status]').textContent)",
    );
    failing.attach(&[]);
    browser.wait("FAIL", &says("bay 4", "FAIL"));
    let locked = rig.drive("B5", MIB);
    locked.attach(&["--read-only"]);
    browser.wait("REFUSED", &says("bay 5", "REFUSED"));
    working.attach(&[]);
    browser.wait(
        "a drive at work",
        "document.querySelector('[data-light=running] progress') !== null",
    );
    good.detach();
    browser.wait("what was pulled", &says("bay 3", "PASS"));
    browser.wait("that it was", "document.querySelector('.tile.passed.pulled') !== null");
    look(&browser, "rack-real");

    let pid_of_daemon = rig.pid();
    let took = until_blank(&browser, || signal(pid_of_daemon, Signal::STOP));
    assert!(took < OLD, "the daemon stands still: {took} ms");
    browser.keep("no-data");
    signal(pid_of_daemon, Signal::CONT);
    browser.wait("FAIL again", &says("bay 4", "FAIL"));
    let took = until_blank(&browser, || signal(pid(&gate), Signal::STOP));
    assert!(took < OLD, "the gate stands still: {took} ms");
    signal(pid(&gate), Signal::CONT);
    browser.wait("FAIL again", &says("bay 4", "FAIL"));
    assert_eq!(browser.complaints(), [], "so far nothing was out of order");
    let took = until_blank(&browser, || drop(gate));
    assert!(took < OLD, "the gate is gone: {took} ms");
    let gate = start_gate(&rig, port);
    browser.wait("FAIL again", &says("bay 4", "FAIL"));
    working.set(Faults::default());
    rig.wait_recorded(&working.serial);
    browser.wait("PASS", &says("bay 2", "PASS"));
    let took = until_blank(&browser, || rig.kill());
    assert!(took < OLD, "the daemon is gone: {took} ms");
    rig.start();
    browser.wait("PASS again", &says("bay 2", "PASS"));
    // A list takes up what is new, with nothing pressed.
    browser.open(&format!("http://localhost:{port}/records"));
    browser.run("window.same = true");
    let late = rig.attached("B6", MIB, 512);
    let in_list = format!(
        "window.same && document.getElementById('list').innerText.includes('{}')",
        late.serial
    );
    browser.wait("the new record", &in_list);
    // The wall outlives both.
    browser.open(&format!("http://localhost:{port}/wall"));
    browser.wait("the wall", &says("bay 6", "PASS"));
    until_blank(&browser, || {
        drop(gate);
        rig.kill();
    });
    rig.start();
    let _gate = start_gate(&rig, port);
    browser.wait("the wall again", &says("bay 6", "PASS"));
    let other: Vec<_> =
        browser.complaints().into_iter().filter(|(source, _)| source != "network").collect();
    assert_eq!(other, [], "but that the gate was not there");
}

/// Every word and every code, as 24 bays show them and as 8 do: nothing is cut off, words are read from two metres, and
/// lights are told apart by everybody.
#[apply(test!)]
#[needs(ROOT, BROWSER)]
fn every_tile_is_read_from_two_metres() {
    let (rig, port) = rig(&[]);
    let daemon = Teller::new(&rig.path("view.sock"));
    let gate = start_gate(&rig, port);
    let browser = Browser::start();
    browser.resize(1920, 1080);
    browser.open(&format!("http://localhost:{port}/wall"));
    let show = |name: &str, snapshot: Snapshot| {
        daemon.tell(&Snapshot { station: name.into(), ..snapshot });
        browser
            .wait(name, &format!("document.querySelector('.station')?.textContent === '{name}'"));
    };
    let all = everything();
    let legible = |name: &str| {
        let looks = look(&browser, name);
        for (word, height) in &looks.capitals {
            assert!(*height >= CAPITAL, "{name}: {word:?} is {height} pixels high");
        }
        looks
    };
    show("rack-08", station(8, &all));
    legible("wall-8");
    let racks: Vec<_> = all.chunks(23).collect();
    for (at, shown) in racks.iter().enumerate() {
        show(&format!("codes-{at}"), station(24, shown));
        legible(&format!("wall-24-{at}"));
    }
    show("rack-03", station(24, &usual()));
    browser.prefer(Theme::Dark);
    let dark = legible("wall-24-dark");
    browser.prefer(Theme::Light);
    let light = legible("wall-24");
    assert_eq!(dark.looks.len(), 6, "{dark:?}");
    for looks in [&dark.looks, &light.looks] {
        for (name, look) in looks {
            assert!(look.rim >= 3.0, "{name} is not told from its ground: {look:?}");
        }
    }
    for (at, (one, first)) in light.looks.iter().enumerate() {
        for (other, second) in light.looks.iter().skip(at + 1) {
            assert_ne!((&first.edge, &first.mark), (&second.edge, &second.mark), "{one}, {other}");
            // Working and stopped, which have the same ground, differ in sign and edge.
            let same = first.paper == second.paper;
            for eyes in Eyes::COLOURED.iter().filter(|_| !same) {
                let distance = eyes.distance(first.paper, second.paper);
                assert!(distance >= 10.0, "{one} and {other} to {eyes:?}: {distance:.1}");
            }
        }
    }
    let [passed, failed] = ["passed", "failed"].map(|name| light.looks[name].paper);
    for eyes in Eyes::COLOURED.into_iter().chain([Eyes::Achromat]) {
        assert!(eyes.distance(passed, failed) >= 30.0, "PASS and FAIL to {eyes:?}");
    }
    picture(&browser, "wall", "The wall page: 24 bays, their verdicts and what to do");
    // A bay whose drive has failed, and the rack on a tablet in a dark hall.
    browser.resize(1280, 800);
    browser.open(&format!("http://localhost:{port}/bay/bay%204"));
    browser.wait("news", "document.getElementById('still') === null");
    picture(
        &browser,
        "bay",
        "The page of bay 4, whose drive has failed: why, and what the operator does",
    );
    browser.prefer(Theme::Dark);
    browser.open(&format!("http://localhost:{port}/"));
    browser.wait("news", "document.getElementById('still') === null");
    picture(&browser, "rack", "The page of the rack on a tablet in a dark hall");
    browser.prefer(Theme::Light);
    browser.resize(1920, 1080);
    browser.open(&format!("http://localhost:{port}/wall"));
    // At most ten of them come in seven seconds: 20 KiB a second.
    let frame = gate.news("/live?wall=true").wait("tiles", |name, _| name == "grid");
    assert!(frame.len() < 14 << 10, "{} bytes", frame.len());
    // Racks of other sizes, and other screens: smaller, and all of it there.
    show("rack-32", station(32, &all));
    look(&browser, "wall-32");
    show("rack-24", station(24, racks[0]));
    for (width, height) in [(1280, 800), (1024, 768), (2560, 1080), (1080, 1920)] {
        browser.resize(width, height);
        look(&browser, &format!("wall-{width}x{height}"));
    }
    for (theme, name) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        browser.prefer(theme);
        browser.resize(1280, 800);
        for (path, page) in [("/", "rack"), ("/bay/bay%204", "bay"), ("/login", "login")] {
            browser.open(&format!("http://localhost:{port}{path}"));
            look(&browser, &format!("tablet-{page}-{name}"));
        }
    }
    browser.open(&format!("http://localhost:{port}/bay/bay%204"));
    browser.wait("news", "document.getElementById('still') === null");
    let took = until_blank(&browser, || signal(pid(&gate), Signal::STOP));
    assert!(took < OLD, "{took} ms");
    signal(pid(&gate), Signal::CONT);
    assert_eq!(browser.complaints(), []);

    // What stood there before the gate was lost does not come back with the gate, not even for a moment.
    daemon.tell(&station(24, &usual()));
    browser.open(&format!("http://localhost:{port}/"));
    browser.wait("FAIL", &says("bay 4", "FAIL"));
    until_blank(&browser, || drop(gate));
    browser.run(
        "window.words = []; new MutationObserver(() => { \
         for (const tile of document.querySelectorAll('.tile')) window.words.push(tile.querySelector('.word').textContent); \
         }).observe(document.getElementById('live'), { subtree: true, childList: true, characterData: true })",
    );
    daemon.tell(&station(24, &everything()[..1]));
    let _gate = start_gate(&rig, port);
    browser.wait("what is so now", &says("bay 4", "empty"));
    let words =
        browser.run("return window.words.filter((word) => word === 'FAIL' || word === 'PASS')");
    assert_eq!(words, json!([]));
}

/// Keeps a page as README.md shows it, and compares what stands on both.
fn picture(browser: &Browser, name: &str, title: &str) {
    let draw = include_str!("../harness/draw.js");
    let drawn = browser.run(&format!("window.pictured = {title:?};\n{draw}"));
    let drawn = drawn.as_str().unwrap();
    assert!(drawn.len() < 60_000, "{} bytes", drawn.len());
    let file = format!("{name}.svg");
    fs::write(browser.keep(name).with_file_name(&file), drawn).unwrap();
    let texts = |svg: &str| -> Vec<String> {
        let ends = svg.split("</text>").filter_map(|text| text.rsplit_once('>'));
        ends.map(|(_, text)| text.to_owned()).collect()
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/architecture");
    let shown = fs::read_to_string(format!("{folder}/{file}")).unwrap_or_default();
    // What is missing is drawn anew by the script, which wants all of them.
    if std::env::var_os("PRESTAGED_DRAW").is_none() {
        assert_eq!(texts(&shown), texts(drawn), "{name}: scripts/architecture/wall draws it anew");
    }
}

/// Orders and media change while somebody looks at them: the list follows, and the focus stays. Without the gate it says
/// since when it is old.
#[apply(test!)]
#[needs(ROOT, BROWSER)]
fn lists_follow_the_station() {
    let (rig, port) = rig(&[]);
    let daemon = Teller::new(&rig.path("view.sock"));
    let shown = station(8, &usual());
    daemon.tell(&shown);
    let gate = start_gate(&rig, port);
    let browser = Browser::start();
    browser.resize(1280, 800);
    browser.open(&format!("http://localhost:{port}/orders"));
    browser.wait("the order", "document.getElementById('list').innerText.includes('312 of 500')");
    browser.run("window.same = true");
    let mut more = shown.clone();
    more.orders[0].passed = 313;
    daemon.tell(&more);
    browser.wait(
        "one more",
        "window.same && document.getElementById('list').innerText.includes('313 of 500')",
    );
    browser.wait(
        "the news",
        "/has changed/.test(document.querySelector('[role=status]').textContent)",
    );
    drop(gate);
    browser.wait(
        "NO DATA",
        "/NO DATA: the list is as it was at [0-9:]{8} UTC: the gate does not answer/.test(document.body.innerText)",
    );
    more.orders[0].passed = 314;
    daemon.tell(&more);
    let _gate = start_gate(&rig, port);
    browser.wait(
        "what is so now",
        "window.same && !document.getElementById('lost') \
         && document.getElementById('list').innerText.includes('314 of 500')",
    );
    browser.open(&format!("http://localhost:{port}/media"));
    browser
        .wait("the media", "document.getElementById('list').innerText.includes('win11-24h2.wim')");
    more.media[0].name = "win11-25h2.wim".into();
    daemon.tell(&more);
    browser.wait(
        "other media",
        "document.getElementById('list').innerText.includes('win11-25h2.wim')",
    );
}

/// The tabulator and the enter key, as WebDriver writes them.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// Whatever a mouse reaches, a keyboard reaches, and shows where it is; the focus stays while tiles change. Each target has
/// room for a glove.
#[apply(test!)]
#[needs(ROOT, BROWSER)]
fn a_keyboard_reaches_every_control() {
    let (rig, port) = rig(&[("gate.operate", true.into()), ("gate.arming", true.into())]);
    let daemon = Teller::new(&rig.path("view.sock"));
    let shown = everything();
    daemon.tell(&Snapshot { armed: false, ..station(8, &shown) });
    let _gate = start_gate(&rig, port);
    let browser = Browser::start();
    browser.resize(1280, 800);
    let at = |path: &str| format!("http://localhost:{port}{path}");
    browser.open(&at("/login"));
    for _ in 0..10 {
        browser.press(TAB);
        if browser.run("return document.activeElement.name") == "name" {
            break;
        }
    }
    browser.press(&format!("adam{TAB}{PASSWORD}{ENTER}"));
    browser.wait("the rack", &says("bay 4", "FAIL"));
    browser.wait("who has signed in", "/adam \\(admin\\)/.test(document.body.innerText)");
    for (page, path, acts) in [
        ("rack", "/", "Arm"),
        ("bay", "/bay/bay%204", "Seen: acknowledge|Retry|Stop"),
        ("records", "/records", "Show"),
        ("orders", "/orders", ""),
        ("media", "/media", ""),
    ] {
        browser.open(&at(path));
        look(&browser, &format!("signed-in-{page}"));
        let all = browser.run(
            "window.all = [...document.querySelectorAll('a[href], button, input, select')]; window.reached = new Set(); \
             return all.map((control) => control.localName === 'button' ? control.textContent : '').join('|')",
        );
        let all = all.as_str().unwrap();
        assert!(
            acts.split('|').all(|act| all.split('|').any(|found| found == act)),
            "{path}: {all}"
        );
        for _ in 0..all.split('|').count() {
            browser.press(TAB);
            let ring = browser.run(
                "const now = document.activeElement, style = getComputedStyle(now); \
                 window.reached.add(now.id || now.getAttribute('href') || now.form?.action + now.name); \
                 return style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 3 && style.boxShadow !== 'none'",
            );
            assert_eq!(ring, true, "{path}: where the focus is must be seen");
        }
        let missed = browser.run(
            "return all.filter((control) => document.contains(control) && ![...reached].includes( \
             control.id || control.getAttribute('href') || control.form?.action + control.name)).map((control) => control.outerHTML)",
        );
        assert_eq!(missed, json!([]), "{path}");
    }
    // The tile under the focus changes.
    browser.open(&at("/"));
    browser.run("document.querySelector('.tile.failed a').focus()");
    daemon.tell(&Snapshot { armed: false, ..station(8, &shown[1..]) });
    browser.wait("other tiles", &says("bay 3", "FAIL"));
    let focus = browser.run("return document.activeElement.textContent");
    assert_eq!(focus, "bay 4", "the focus stays in its bay");
    assert_eq!(browser.complaints(), []);
    // A scanner types and sends Enter, wherever the focus is; the next scan may follow at once. Nobody answers here.
    browser.press(&format!("PO-1{ENTER}PO-2{ENTER}"));
    browser.wait("an answer", "/PO-2: /.test(document.getElementById('scanned').textContent)");
    let field =
        "const field = document.activeElement; return field.name === 'text' && field.value === ''";
    assert_eq!(browser.run(field), true, "the focus stays in the field, which is empty");
}

/// Nothing in the pages bars people who see, hear or move in another way, as far as axe-core can tell.
#[apply(test!)]
#[needs(ROOT, BROWSER, AXE)]
fn axe_finds_nothing() {
    let (rig, port) = rig(&[]);
    let daemon = Teller::new(&rig.path("view.sock"));
    daemon.tell(&station(24, &usual()));
    let _gate = start_gate(&rig, port);
    let browser = Browser::start();
    let axe = fs::read_to_string(std::env::var_os(AXE_PATH).unwrap()).unwrap();
    for path in ["/", "/wall", "/bay/bay%204", "/records", "/orders", "/media", "/login", "/none"] {
        browser.open(&format!("http://localhost:{port}{path}"));
        let found = browser.run(&format!(
            "{axe}; return axe.run().then((found) => found.violations.map((one) => [one.id, one.nodes[0].html]))"
        ));
        assert_eq!(found, json!([]), "{path}");
    }
}

/// Nothing in a page without a running script notices that the station is gone; so the page says that it is not live.
#[apply(test!)]
#[needs(ROOT, BROWSER)]
fn without_its_script_no_page_seems_live() {
    let (rig, port) = rig(&[]);
    let daemon = Teller::new(&rig.path("view.sock"));
    daemon.tell(&station(8, &everything()));
    let _gate = start_gate(&rig, port);
    let browser = Browser::start();
    let is_shown = "/NOT LIVE: as it was at [0-9:]{8} UTC/.test(document.body.innerText)";
    let pages = ["/", "/wall", "/bay/bay%201", "/orders", "/media"]
        .map(|path| format!("http://localhost:{port}{path}"));
    for page in &pages {
        browser.open(page);
        browser.wait("news", "document.getElementById('still') === null");
    }
    // The script is not loaded, which no `noscript` notices.
    browser.order("Network.enable", &json!({}));
    browser.order("Network.setBlockedURLs", &json!({"urls": ["*live.js", "*list.js"]}));
    for page in &pages {
        browser.open(page);
        browser.wait("that it is not live", is_shown);
    }
    browser.order("Network.setBlockedURLs", &json!({"urls": []}));
    // Scripts are forbidden: the page is loaded anew by itself.
    browser.order("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    browser.open(&pages[0]);
    browser.wait("that it is not live", is_shown);
    browser.keep("no-script");
    daemon.tell(&Snapshot { station: "rack-04".into(), ..station(8, &everything()) });
    browser.wait("the page anew", "/rack-04/.test(document.body.innerText)");
}
