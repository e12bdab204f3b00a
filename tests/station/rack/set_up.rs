//! A station from its installation to its first pass, by the commands of README.md, under a real systemd.

use std::fs::File;
use std::time::Duration;

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Session, Spec};

use super::Rack;

/// What the rack needs for its small drives; nothing of it allows anything.
const SMALL: &str = r#"
[store]
budget = "1GiB"
[replicate]
memory = "64MiB"
[[layout]]
name = "rack"
partitions = [ { type = "esp", size = "300MiB" }, { type = "msr", size = "16MiB" },
    { type = "windows", size = "rest" }, { type = "recovery", size = "20MiB" } ]
"#;

/// Learned, checked, restarted, armed, passed; `watch` and `bays learn` on a terminal; then a mistake in the configuration,
/// which systemd does not try again, and which prestagectl tells.
#[apply(test!)]
#[needs(RACK, LONG)]
fn by_the_readme() {
    let mut rack = Rack::restored("set up by the README");
    rack.done(&format!(
        "cat >/etc/prestaged/prestaged.toml.d/10-rack.toml <<'END'\n{SMALL}\nEND\nsystemctl restart prestaged"
    ));
    rack.guest().wait("prestagectl status", super::PATIENCE).unwrap();
    let status = rack.ctl("status");
    assert_eq!(status["armed"], false, "{status:#}");

    // A new drive: what is used is not taken by a station as the README sets it up.
    let new = File::create_new(rack.machine.file("FIRST")).unwrap();
    new.set_len(Spec::new(Bus::Nvme, "FIRST").size).unwrap();
    let learn = Session::start(rack.guest(), "prestagectl bays learn --allow").unwrap();
    let mut shown = String::new();
    hears(&mut rack, &learn, &mut shown, "Plug a drive");
    rack.plug(&Spec::new(Bus::Nvme, "FIRST"));
    hears(&mut rack, &learn, &mut shown, "name of this bay [bay-1]");
    learn.enter(rack.guest(), "\n").unwrap();
    hears(&mut rack, &learn, &mut shown, "this is now the bay \"bay-1\"");
    learn.interrupt(rack.guest()).unwrap();
    let code = rack.wait("the end of learning", |rack| learn.ended(rack.guest()).unwrap());
    assert_eq!(code, 0, "{shown}");
    rack.unplug("FIRST");

    let checked = rack.done("prestaged --check && systemctl restart prestaged");
    assert!(checked.contains("bays      bay-1") && checked.contains("buses     nvme"), "{checked}");
    rack.guest()
        .wait("prestagectl --json media list | jq -e '.[0].state == \"valid\"'", super::PATIENCE)
        .unwrap();
    rack.done("prestagectl arm");
    let watch = Session::start(rack.guest(), "prestagectl watch").unwrap();
    rack.plug(&Spec::new(Bus::Nvme, "FIRST"));
    assert_eq!(rack.wait_pass("FIRST")["bay"], "bay-1");
    let mut shown = String::new();
    hears(&mut rack, &watch, &mut shown, "PASS");
    watch.interrupt(rack.guest()).unwrap();
    rack.wait("the end of watch", |rack| watch.ended(rack.guest()).unwrap());

    // A mistake: one start, no other, and the reason from prestagectl.
    rack.done("printf '[admision]\\narmed = true\\n' >/etc/prestaged/prestaged.toml.d/20.toml; ! systemctl restart prestaged");
    let restarts = rack.done("sleep 5; systemctl show --property NRestarts --value prestaged");
    assert_eq!(restarts.trim(), "0");
    let output = rack.guest().run("prestagectl status").unwrap();
    assert_eq!(output.code, 69, "{output:?}");
    for expected in [
        "prestaged.service does not start (exit code 78)",
        "prestaged.toml.d/20.toml:1: admision: no such key",
        "hint: did you mean \"admission\"?",
        "sudo systemctl start prestaged",
    ] {
        assert!(output.text.contains(expected), "{expected}: {}", output.text);
    }
    // What the hint says helps.
    rack.done("rm /etc/prestaged/prestaged.toml.d/20.toml; prestaged --check >/dev/null && systemctl start prestaged && prestagectl status");
    let stopped = rack.guest().run("systemctl stop prestaged; prestagectl status").unwrap();
    assert!(stopped.text.contains("prestaged.service is stopped"), "{stopped:?}");
}

/// Waits until a session has shown a text.
fn hears(rack: &mut Rack, session: &Session, shown: &mut String, text: &str) {
    rack.wait(text, |rack| {
        *shown += &session.shown(rack.guest()).unwrap();
        let heard = shown.contains(text).then_some(());
        if heard.is_none() {
            std::thread::sleep(Duration::from_millis(100));
        }
        heard
    });
}
