//! Production orders: which drives belong to one, how they are counted, and what is refused.

use std::fs;

use macro_rules_attribute::apply;
use model::api::schema::Document;
use serde_json::Value;

use crate::harness::faulty::{BODY_BYTE, Faults, FaultyDrive};
use crate::harness::sample::{Sample, run};
use crate::harness::{Rig, Setup, schema, wait_for};

/// A station whose media is offered by hand, so that drives get it by an order alone; and the digest of that media.
fn rig() -> (Rig, String) {
    let rig = Rig::started(Setup::default().set("media.offer", "by_hand"));
    let sha256 = digest(&rig, "win.wim");
    (rig, sha256)
}

fn digest(rig: &Rig, name: &str) -> String {
    rig.json(&["media", "show", name])["sha256"].as_str().unwrap().to_owned()
}

/// Adds an order from a file.
fn add(rig: &Rig, number: &str, media: &str, more: &str) {
    let path = rig.path(&format!("{number}.toml"));
    let text = format!("number = \"{number}\"\nmedia = \"{media}\"\n{more}");
    fs::write(&path, text).unwrap();
    rig.ctl_ok(&["order", "add", path.to_str().unwrap()]);
}

/// How an order stands.
fn standing(rig: &Rig, number: &str) -> Value {
    rig.json(&["order", "show", number])["standing"].clone()
}

#[apply(test!)]
#[needs(LOOP)]
fn an_order_is_made_to_its_quantity_and_no_further() {
    let (rig, sha256) = rig();
    let drive = rig.drive("A", 160);
    let before = drive.checksum();
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "no_media");
    // Of another bay.
    add(&rig, "PO-0", &sha256, "quantity = 1\n[match]\nbays = [\"nowhere\"]\n");
    rig.wait_refused(&drive.serial, "no_order");
    let shown = rig.json(&["order", "show", "PO-0"]);
    schema::assert_is(Document::Order, &shown);
    assert_eq!(shown["drives"][0]["matches"], false, "{shown:#}");
    assert!(shown["drives"][0]["why"][0].as_str().unwrap().contains("match.bays"), "{shown:#}");
    drive.assert_untouched(&before);
    let label = "^XA\n^FO9,9^FH^FD$customer $serial^FS\n^XZ\n";
    fs::write(rig.path("label.zpl"), label).unwrap();
    let more = "quantity = 1\ncustomer = \"Contoso\"\nlabel_template = \"@label.zpl\"\n";
    add(&rig, "PO-1", &sha256, more);
    rig.wait_state(&drive.serial, &["passed"]);
    let record = rig.wait_pass(&drive.serial);
    assert_eq!((&record["order"], &record["attempt"]), (&"PO-1".into(), &1.into()), "{record:#}");
    assert_eq!(record["schema"], 2);
    let printed = rig.ctl_ok(&["certificate", &drive.serial, "--label", "zpl"]);
    assert!(printed.starts_with("^XA\n^FO9,9^FH^FDContoso "), "{printed}");
    let orders = rig.json(&["order", "list"]);
    schema::assert_is(Document::Orders, &orders);
    wait_for("the count", || (standing(&rig, "PO-1")["passed"] == 1).then_some(()));
    let second = rig.drive("B", 160);
    let before = second.checksum();
    second.attach(&[]);
    let refused = rig.wait_verdict(&second.serial);
    assert_eq!(refused["reason"]["code"], "order_complete", "{refused:#}");
    assert_eq!(refused["order"], "PO-1", "{refused:#}");
    second.assert_untouched(&before);
    // The same drive once more counts once.
    rig.ctl_ok(&["retry", &drive.serial]);
    assert_eq!(rig.wait_pass(&drive.serial)["attempt"], 2);
    rig.ctl_fails(64, &["order", "quantity", "PO-1", "2"]);
    rig.ctl_ok(&["order", "quantity", "PO-1", "2", "--reason", "one more"]);
    rig.wait_state(&second.serial, &["passed"]);
    let all = rig.json(&["records", "--order", "PO-1", "--verdict", "passed"]);
    assert_eq!(all.as_array().unwrap().len(), 3, "{all:#}");
    assert_eq!(standing(&rig, "PO-1")["passed"], 2);
    let status = rig.ctl_ok(&["status"]);
    assert!(status.contains("PO-1") && status.contains("2 of 2"), "{status}");
    let csv = rig.ctl_ok(&["records", "--csv", "--order", "PO-1"]);
    assert!(
        csv.lines().next().unwrap().ends_with("order,attempt,health_before,health_after"),
        "{csv}"
    );
}

#[apply(test!)]
#[needs(LOOP)]
fn each_reason_has_its_code() {
    let (rig, sha256) = rig();
    let drive = rig.drive("A", 160);
    let serials = format!("[match]\nserials = [\"{}\"]\n", drive.serial);
    add(&rig, "PO-1", &sha256, "quantity = 5\n[match]\nserials = [\"X1\"]\n");
    drive.attach(&[]);
    rig.wait_refused(&drive.serial, "serial_not_allowed");
    let again = |code: &str| {
        let (exit, text) = rig.ctl(&["retry", &drive.serial]);
        assert_eq!(exit, 2, "{text}");
        assert!(text.contains(code), "{code}: {text}");
    };
    add(&rig, "PO-1", &sha256, &format!("quantity = 5\nexpires = \"2020-01-01\"\n{serials}"));
    again("order_expired");
    let list = rig.ctl_ok(&["order", "list"]);
    assert!(list.contains("EXPIRES") && list.contains("2020-01-01"), "{list}");
    add(&rig, "PO-1", &sha256, &format!("quantity = 5\nnot_before = \"2999-01-01\"\n{serials}"));
    again("order_not_yet_valid");
    add(&rig, "PO-1", &sha256, &format!("quantity = 5\n{serials}"));
    // It begins at once; what is held does not.
    rig.wait_state(&drive.serial, &["passed"]);
    drive.detach();
    rig.wait_gone(&drive.serial);
    let second = rig.drive("B", 160);
    let before = second.checksum();
    rig.ctl_ok(&["order", "hold", "PO-1", "--reason", "wrong label"]);
    add(&rig, "PO-1", &sha256, "quantity = 5\n");
    second.attach(&[]);
    rig.wait_refused(&second.serial, "order_held");
    assert!(rig.decision(&second.serial)["detail"].as_str().unwrap().contains("wrong label"));
    add(&rig, "PO-2", &sha256, "quantity = 5\n");
    rig.wait_refused(&second.serial, "order_ambiguous");
    let detail = rig.decision(&second.serial)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("PO-1") && detail.contains("PO-2"), "{detail}");
    rig.ctl_fails(64, &["order", "close", "PO-2"]);
    rig.ctl_ok(&["order", "close", "PO-2", "--reason", "not wanted"]);
    rig.wait_refused(&second.serial, "order_held");
    rig.ctl_fails(2, &["order", "resume", "PO-2"]);
    rig.ctl_fails(2, &["order", "hold", "PO-9"]);
    rig.ctl_fails(2, &["image", &second.node(), "--order", "PO-9"]);
    second.assert_untouched(&before);
    // The order's media is not there.
    add(&rig, "PO-1", &"0".repeat(64), "quantity = 5\n");
    rig.ctl_ok(&["order", "resume", "PO-1"]);
    rig.wait_refused(&second.serial, "no_media");
    let detail = rig.decision(&second.serial)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&"0".repeat(64)), "{detail}");
    second.assert_untouched(&before);
    add(&rig, "PO-1", &sha256, "quantity = 5\n");
    rig.wait_state(&second.serial, &["passed"]);
}

/// A mistake in a file changes nothing, and is told with its line.
#[apply(test!)]
#[needs(LOOP)]
fn a_wrong_order_changes_nothing() {
    let (rig, sha256) = rig();
    let path = rig.path("orders.csv");
    let sheet = format!("number,media,quantity\nPO-1,{sha256},5\nPO-2,{sha256},none\n");
    fs::write(&path, sheet).unwrap();
    let text = rig.ctl_fails(1, &["order", "add", path.to_str().unwrap()]);
    assert!(text.contains("line 3: quantity: \"none\""), "{text}");
    assert_eq!(rig.json(&["order", "list"]).as_array().unwrap().len(), 0);
    let sheet = format!("number,media,quantity,layout\nPO-1,{sha256},5,\nPO-2,{sha256},5,tset\n");
    fs::write(&path, sheet).unwrap();
    let text = rig.ctl_fails(64, &["order", "add", path.to_str().unwrap()]);
    assert!(text.contains("no layout \"tset\"") && text.contains("layouts are test"), "{text}");
    assert_eq!(rig.json(&["order", "list"]).as_array().unwrap().len(), 0);
    // A template that no label could be made by.
    fs::write(
        &path,
        format!("number,media,quantity,label_template\nPO-1,{sha256},5,^FD$serial^FS\n"),
    )
    .unwrap();
    let text = rig.ctl_fails(1, &["order", "add", path.to_str().unwrap()]);
    assert!(text.contains("line 2: label_template: line 1: $serial does not stand"), "{text}");
    let list: String = (0..10_000).map(|n| format!("S4EV{n:08}\n")).collect();
    fs::write(rig.path("serials.csv"), list).unwrap();
    add(&rig, "PO-3", &sha256, "quantity = 5\n[match]\nserials = [\"@serials.csv\"]\n");
    let shown = rig.json(&["order", "show", "PO-3"]);
    let listed = shown["order"]["match"]["listed_serials"].as_array().unwrap().len();
    assert_eq!(listed, 10_000);
}

/// One drive, then somebody's approval, then the others; a failing drive is not tried for ever.
#[apply(test!)]
#[needs(LOOP)]
fn first_articles_wait_for_approval() {
    let (rig, sha256) = rig();
    add(&rig, "PO-1", &sha256, "quantity = 5\nfirst_article = 1\n");
    let first = rig.attached("A", 160, 512);
    rig.wait_state(&first.serial, &["passed"]);
    rig.wait_pass(&first.serial);
    let second = rig.attached("B", 160, 512);
    rig.wait_refused(&second.serial, "first_article_pending");
    wait_for("the order to wait", || {
        (standing(&rig, "PO-1")["state"] == "awaits_approval").then_some(())
    });
    rig.kill();
    rig.start();
    rig.wait_media("win.wim", "valid");
    rig.wait_refused(&second.serial, "first_article_pending");
    rig.ctl_ok(&["order", "approve", "PO-1"]);
    rig.wait_state(&second.serial, &["passed"]);
    let shown = rig.json(&["order", "show", "PO-1"]);
    let approved = shown["history"].as_array().unwrap().iter().find(|e| e["act"] == "approve");
    assert_eq!(approved.unwrap()["detail"], first.serial.as_str(), "{shown:#}");
}

/// Two orders for two media, by bay and by serial number: both are made to their quantity at once, and not beyond. A drive that
/// fails takes no place, and is tried no more often than its order allows until somebody says why it may be.
#[apply(test!)]
#[needs(LOOP, FUSE)]
fn two_orders_run_beside_each_other() {
    let (rig, win) = rig();
    let wim = rig.path("other.wim");
    Sample { seed: 2, ..Sample::default() }.make(&wim, &["--compress=XPRESS"]);
    rig.add_media(&wim, "other.wim");
    wait_for("the media to be seen", || {
        rig.json(&["media", "list"]).to_string().contains("other.wim").then_some(())
    });
    rig.wait_media("other.wim", "valid");
    let other = digest(&rig, "other.wim");
    let [left, left2, left3, right, right2] =
        ["LEFT", "LEFT2", "LEFT3", "RIGHT", "RIGHT2"].map(|name| rig.drive(name, 160));
    let broken = Faults { write_error_at: Some(BODY_BYTE), ..Faults::default() };
    let bad = FaultyDrive::new(&rig, "BAD", 160, broken);
    let list = format!("serial\n{}\n{}\n{}\n", right.serial, right2.serial, bad.serial);
    fs::write(rig.path("list.csv"), list).unwrap();
    add(&rig, "PO-L", &win, "quantity = 2\n[match]\nbays = [\"*LEFT*\"]\n");
    add(&rig, "PO-R", &other, "quantity = 2\nattempts = 2\n[match]\nserials = [\"@list.csv\"]\n");
    bad.attach(&[]);
    [&left, &left2, &right].iter().for_each(|drive| drive.attach(&[]));
    for (drive, number, media) in
        [(&left, "PO-L", "win.wim"), (&left2, "PO-L", "win.wim"), (&right, "PO-R", "other.wim")]
    {
        let record = rig.wait_pass(&drive.serial);
        assert_eq!((&record["order"], &record["media"]["name"]), (&number.into(), &media.into()));
    }
    // It fails twice, which is as often as its order allows.
    let failed = |attempt: u32| {
        let record = wait_for("the failure", || {
            let record = rig.records(&bad.serial).pop()?;
            (record["attempt"] == attempt && !record["verdict"].is_null()).then_some(record)
        });
        let ended = (&record["order"], &record["reason"]["code"]);
        assert_eq!(ended, (&"PO-R".into(), &"write_error".into()), "{record:#}");
    };
    failed(1);
    rig.ctl_fails(1, &["retry", &bad.serial]);
    failed(2);
    bad.set(Faults::default());
    for command in [&["retry", &bad.serial][..], &["image", &bad.node()]] {
        let (code, text) = rig.ctl(command);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("attempts_exhausted") && text.contains("2 times"), "{text}");
    }
    assert_eq!(rig.records(&bad.serial).last().unwrap()["reason"]["code"], "attempts_exhausted");
    rig.ctl_fails(64, &["order", "release", "PO-R", &bad.serial]);
    rig.ctl_fails(64, &["order", "release", "PO-R", &bad.serial, "--reason", " "]);
    rig.ctl_ok(&["order", "release", "PO-R", &bad.serial, "--reason", "the cable was loose"]);
    let shown = rig.json(&["order", "show", "PO-R"]);
    let released = shown["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&released["act"], &released["by"]), (&"release".into(), &"root".into()));
    assert_eq!(released["reason"], "the cable was loose");
    rig.ctl_ok(&["retry", &bad.serial]);
    rig.wait_state(&bad.serial, &["passed"]);
    assert_eq!(rig.wait_pass(&bad.serial)["attempt"], 3);
    // Both are complete; what else belongs to them is not touched.
    for (drive, number) in [(&left3, "PO-L"), (&right2, "PO-R")] {
        let before = drive.checksum();
        drive.attach(&[]);
        let refused = rig.wait_verdict(&drive.serial);
        let told = (&refused["reason"]["code"], &refused["order"]);
        assert_eq!(told, (&"order_complete".into(), &number.into()), "{refused:#}");
        drive.assert_untouched(&before);
        let standing = standing(&rig, number);
        assert_eq!((&standing["passed"], &standing["running"]), (&2.into(), &0.into()));
    }
    // Who comes after a restart still sees to which orders the drives belong.
    rig.kill();
    rig.start();
    let shown = wait_for("the drive to be shown", || {
        rig.drive_status(&bad.serial).filter(|shown| shown["state"] == "passed")
    });
    assert_eq!((&shown["order"], &shown["order_attempt"]), (&"PO-R".into(), &3.into()));
}

/// Killed again and again while an order runs: at the end the count is that of the drives that have passed.
#[apply(test!)]
#[needs(LOOP)]
fn a_killed_station_counts_right() {
    let (rig, sha256) = rig();
    let rounds = if std::env::var_os("PRESTAGED_LONG").is_some() { 40 } else { 3 };
    add(&rig, "PO-1", &sha256, "quantity = 2\nattempts = 1000\n");
    let drives = ["A", "B", "C"].map(|name| rig.attached(name, 160, 512));
    for round in 0..rounds {
        std::thread::sleep(std::time::Duration::from_millis(150 + 137 * (round % 9)));
        rig.kill();
        rig.start();
        for drive in &drives {
            let _ = rig.prestagectl().args(["retry", &drive.serial]).spawn().unwrap().kill();
        }
    }
    let passed = || {
        let all = rig.json(&["records", "--order", "PO-1", "--verdict", "passed"]);
        let serials = all.as_array().unwrap().iter().map(|r| r["serial"].to_string());
        serials.collect::<std::collections::BTreeSet<_>>().len()
    };
    wait_for("the order to be complete", || {
        drives.iter().for_each(|drive| drop(rig.ctl(&["image", &drive.node()])));
        let standing = standing(&rig, "PO-1");
        (standing["running"] == 0 && standing["passed"] == passed() && passed() == 2).then_some(())
    });
}

/// A folder for orders, and one for results: what is wrong is told with its line, and a folder that is gone loses nothing.
#[apply(test!)]
#[needs(LOOP)]
fn orders_are_dropped_and_results_taken_away() {
    let setup = Setup::default().set("media.offer", "by_hand");
    let rig = Rig::new(setup);
    let (orders, results) = (rig.path("orders"), rig.path("results"));
    rig.set("orders.inbox", orders.to_str().unwrap());
    rig.set("orders.results", results.to_str().unwrap());
    rig.start_with_media();
    let sha256 = digest(&rig, "win.wim");
    let drop_in = |name: &str, text: &str| {
        let hidden = orders.join(format!(".{name}"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, orders.join(name)).unwrap();
    };
    let told = || rig.json(&["status"])["order_files"].clone();
    drop_in("a.csv", &format!("number,media,quantity\nPO-1,{sha256},1\nPO-2,{sha256},0\n"));
    let problem =
        wait_for("the mistake to be told", || told()[0]["problem"].as_str().map(str::to_owned));
    assert!(problem.contains("line 3: quantity: 0 is too few"), "{problem}");
    assert!(rig.ctl_ok(&["status"]).contains("a.csv: line 3"), "{}", rig.ctl_ok(&["status"]));
    assert_eq!(rig.json(&["order", "list"]).as_array().unwrap().len(), 0, "none of it");
    assert!(orders.join("a.csv").exists(), "moved nowhere");
    // A file that is still being written is waited for.
    let growing = fs::File::create(orders.join("b.toml")).unwrap();
    wait_for("the file to be seen", || {
        told().as_array().unwrap().iter().any(|file| file["waiting"] == true).then_some(())
    });
    let text = format!("number = \"PO-3\"\nmedia = \"{sha256}\"\nquantity = 2\n");
    std::io::Write::write_all(&mut &growing, text.as_bytes()).unwrap();
    drop(growing);
    fs::remove_file(orders.join("a.csv")).unwrap();
    wait_for("the order", || (rig.json(&["order", "list"])[0]["number"] == "PO-3").then_some(()));
    wait_for("nothing to be wrong", || told().as_array().unwrap().is_empty().then_some(()));
    rig.ctl_ok(&["order", "quantity", "PO-3", "1", "--reason", "less"]);
    // What an operator adds outlives the file, and a list that comes or changes later counts.
    let other = |number: &str, quantity: u32, more: &str| {
        format!(
            "number = \"{number}\"\nmedia = \"{sha256}\"\nquantity = {quantity}\n[match]\nbays = [\"x\"]\n{more}"
        )
    };
    drop_in("c.toml", &other("PO-4", 5, ""));
    wait_for("the order", || rig.json(&["order", "list"]).as_array().unwrap().get(1).map(drop));
    let file = rig.path("added.toml");
    fs::write(&file, other("PO-4", 7, "")).unwrap();
    rig.ctl_ok(&["order", "add", file.to_str().unwrap()]);
    run("mkfifo", &[orders.join("l.txt").to_str().unwrap()]);
    drop_in("d.toml", &other("PO-5", 1, "serials = [\"@l.txt\"]\n"));
    std::os::unix::fs::symlink("/etc/passwd", orders.join("m.txt")).unwrap();
    drop_in("e.toml", &other("PO-6", 1, "serials = [\"@m.txt\"]\n"));
    drop_in("f.toml", &other("PO-3", 9, ""));
    let problems = wait_for("all problems", || {
        let told = told();
        let told: Vec<_> = told.as_array()?.iter().filter_map(|f| f["problem"].as_str()).collect();
        (told.len() == 4).then(|| told.join("\n"))
    });
    for problem in ["no ordinary file", "it is a link", "PO-3 is in b.toml", "PO-3 is in f.toml"] {
        assert!(problems.contains(problem), "{problems}");
    }
    fs::remove_file(orders.join("l.txt")).unwrap();
    fs::write(orders.join("l.txt"), "S1\n").unwrap();
    let listed = |serials: usize| {
        wait_for("the list", || {
            let (code, text) = rig.ctl(&["order", "show", "PO-5", "--json"]);
            (code == 0 && text.matches("\"S").count() == serials).then_some(())
        });
    };
    listed(1);
    fs::write(orders.join("l.txt"), "S1\nS2\n").unwrap();
    listed(2);
    fs::remove_file(orders.join("e.toml")).unwrap();
    fs::remove_file(orders.join("f.toml")).unwrap();
    wait_for("nothing to be wrong", || told().as_array().unwrap().is_empty().then_some(()));
    assert_eq!(standing(&rig, "PO-4")["quantity"], 7);
    assert_eq!(standing(&rig, "PO-3")["quantity"], 1);
    let first = rig.attached("A", 160, 512);
    rig.wait_state(&first.serial, &["passed"]);
    let record = rig.wait_pass(&first.serial);
    let path = |record: &Value| results.join(format!("{}.json", record["job"].as_str().unwrap()));
    let result = |record: &Value| {
        wait_for("the result", || {
            let text = fs::read(path(record)).ok()?;
            let value: Value = serde_json::from_slice(&text).unwrap();
            (value["verdict"] == record["verdict"]).then_some(value)
        })
    };
    let mut written = result(&record);
    let checkpoint = written.as_object_mut().unwrap().remove("checkpoint").unwrap();
    assert!(checkpoint.as_str().unwrap().starts_with("prestaged/"), "{checkpoint}");
    schema::assert_is(Document::Record, &written);
    assert_eq!(written, record);
    fs::remove_file(path(&record)).unwrap();
    // A file that is as it was leaves what was changed since, also after a restart.
    fs::rename(&results, rig.path("away")).unwrap();
    let second = rig.attached("B", 160, 512);
    let refused = rig.wait_verdict(&second.serial);
    assert_eq!(refused["reason"]["code"], "order_complete", "{refused:#}");
    wait_for("the folder to be missed", || rig.json(&["status"])["results"].as_str().map(drop));
    rig.kill();
    fs::write(&results, "not a folder").unwrap();
    fs::remove_file(&results).unwrap();
    rig.start();
    assert!(results.is_dir(), "it is made at the start");
    result(&refused);
    assert!(!path(&record).exists(), "what was handed on is not again");
    wait_for("the trouble to be over", || rig.json(&["status"])["results"].is_null().then_some(()));
    assert_eq!(standing(&rig, "PO-3")["quantity"], 1);
    assert_eq!(standing(&rig, "PO-4")["quantity"], 7);
}

/// What a scanner reads: orders for the next drive or a bay, serial numbers, bays, command cards, and what is none of these.
#[apply(test!)]
#[needs(LOOP)]
fn what_is_scanned_is_done_or_refused() {
    let (rig, sha256) = rig();
    add(&rig, "PO-1", &sha256, "quantity = 9\noffer = \"by_hand\"\n");
    add(&rig, "PO-2", &sha256, "quantity = 9\noffer = \"by_hand\"\n[match]\nserials = [\"X*\"]\n");
    let scan = |text: &str| {
        let scanned = rig.json(&["scan", text]);
        schema::assert_is(Document::Scanned, &scanned);
        scanned
    };
    for none in ["PO-9", "S-UNKNOWN", "prestaged:arm", "prestaged:bay:", "a\tb", " ", "/dev/loop0"]
    {
        let text = rig.ctl_fails(2, &["scan", none]);
        assert!(text.contains("hint: "), "{none}: {text}");
    }
    let waits = scan("PO-1");
    assert_eq!((&waits["kind"], &waits["order"]["number"]), (&"order".into(), &"PO-1".into()));
    assert!(rig.ctl_ok(&["status"]).contains("the next drive is for order PO-1"));
    // Only the next drive belongs to it.
    let first = rig.attached("A", 160, 512);
    rig.wait_state(&first.serial, &["passed"]);
    let record = rig.wait_pass(&first.serial);
    assert_eq!((&record["order"], &record["operator"]), (&"PO-1".into(), &"root".into()));
    assert!(rig.json(&["status"])["scanned"].is_null());
    let second = rig.drive("B", 160);
    let before = second.checksum();
    second.attach(&[]);
    rig.wait_refused(&second.serial, "no_order");
    // An order must still want the drive.
    scan("PO-2");
    let bay = rig.decision(&second.serial)["bay"].as_str().unwrap().to_owned();
    scan(&format!("prestaged:bay:{bay}"));
    rig.wait_refused(&second.serial, "serial_not_allowed");
    second.assert_untouched(&before);
    assert_eq!(scan(&bay)["drive"]["serial"], second.serial.as_str());
    assert_eq!(rig.json(&["scan", "PO-1", "--bay", &bay])["kind"], "attempt");
    rig.wait_state(&second.serial, &["passed"]);
    assert_eq!(rig.wait_pass(&second.serial)["order"], "PO-1");
    // A drive that is here, and one that was.
    let shown = scan(&second.serial);
    assert_eq!(rig.json(&["status"])["located"][0]["bay"], bay.as_str());
    assert_eq!((&shown["kind"], &shown["drive"]["verdict"]), (&"drive".into(), &"passed".into()));
    second.detach();
    rig.wait_gone(&second.serial);
    let was = scan(&second.serial);
    assert_eq!((&was["kind"], &was["record"]["verdict"]), (&"record".into(), &"passed".into()));
    assert!(rig.ctl_ok(&["scan", &second.serial]).contains("is not here; PASS at"));
    assert_eq!(scan(&format!("prestaged:release:{bay}"))["kind"], "released");
    // What may be two things is not guessed.
    add(&rig, &first.serial, &sha256, "quantity = 1\noffer = \"by_hand\"\n");
    let text = rig.ctl_fails(2, &["scan", &first.serial]);
    assert!(text.contains(&format!("prestaged:serial:{}", first.serial)), "{text}");
    assert_eq!(scan(&format!("prestaged:serial:{}", first.serial))["kind"], "drive");
    assert_eq!(scan(&format!("PRESTAGED:order:{}", first.serial))["kind"], "order");
    assert_eq!(scan("prestaged:forget")["orders"], 1);
    // Line after line; what is refused ends nothing.
    fs::write(rig.path("lines"), "PO-1\n\nnothing\nprestaged:disarm\n").unwrap();
    let lines = fs::File::open(rig.path("lines")).unwrap();
    let told = rig.prestagectl().arg("scan").stdin(lines).output().unwrap();
    let (text, errors) =
        (String::from_utf8(told.stdout).unwrap(), String::from_utf8(told.stderr).unwrap());
    assert_eq!(told.status.code(), Some(2), "{text}{errors}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(errors.contains("nothing is no order, no bay, and no drive"), "{errors}");
    assert_eq!(rig.json(&["status"])["armed"], false);
    // A restart forgets what waits.
    assert_eq!(rig.json(&["status"])["scanned"][0]["number"], "PO-1");
    rig.kill();
    rig.start();
    assert!(rig.json(&["status"])["scanned"].is_null());
    let log = rig.log();
    assert!(log.contains("scans: order_scanned PO-1"), "{log}");
}
