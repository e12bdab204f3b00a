//! The station as a service: systemd starts it, watches over it, restarts it, and upgrades come in the middle of a job.

use macro_rules_attribute::apply;
use prestaged_rack::{Bus, Spec};

use super::Rack;

/// Bytes per second of a drive that is so slow that a test can act while it is written.
const SLOW: u64 = 8 << 20;

#[apply(test!)]
#[needs(RACK, LONG)]
fn killed_restarted_upgraded() {
    let mut rack = Rack::restored("killed, restarted, upgraded");
    // Killed in the middle of a job: the next station closes the record, and waits for a person.
    rack.plug(&Spec::new(Bus::Scsi, "KILLED").rate(SLOW));
    rack.wait_state("KILLED", "writing", 5.0);
    let first = rack.main_process();
    rack.done(&format!("kill -9 {first}"));
    rack.guest().wait("prestagectl status", super::PATIENCE).unwrap();
    let record = rack.wait_verdict("KILLED");
    assert_eq!(record["verdict"], "stopped", "{record:#}");
    assert_eq!(record["reason"]["code"], "station_interrupted", "{record:#}");
    rack.check_no_tables("KILLED");
    assert_eq!(rack.done("systemctl show --property NRestarts --value prestaged").trim(), "1");
    rack.done("prestagectl retry KILLED");
    rack.wait("a second record", |rack| (rack.records("KILLED").len() == 2).then_some(()));
    rack.wait_pass("KILLED");

    // Restarted in the middle of a job: the station finishes it first; a drive that was plugged meanwhile comes after it.
    rack.plug(&Spec::new(Bus::Scsi, "RESTARTED").rate(SLOW));
    rack.wait_state("RESTARTED", "writing", 0.0);
    let second = rack.main_process();
    rack.done("systemctl --no-block restart prestaged");
    rack.plug(&Spec::new(Bus::Usb, "MEANWHILE"));
    rack.done("until test \"$(systemctl is-active prestaged)\" = active; do sleep 0.1; done");
    assert_ne!(rack.main_process(), second);
    // A station that systemd calls active answers at once.
    rack.done("prestagectl status");
    let record = rack.wait_pass("RESTARTED");
    assert_eq!(rack.records("RESTARTED").len(), 1, "{record:#}");
    rack.wait_pass("MEANWHILE");

    // Upgraded in the middle of a job: dpkg does not wait; the drive is finished, then the new program starts.
    rack.plug(&Spec::new(Bus::Scsi, "UPGRADED").rate(SLOW));
    rack.wait_state("UPGRADED", "writing", 0.0);
    // Unpacking can take a minute and more.
    rack.machine.set_rate("UPGRADED", 1 << 20).unwrap();
    let third = rack.main_process();
    let said = rack
        .done("DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io -i /mnt/cargo/newer.deb 2>&1");
    assert!(said.contains("as soon as the drives that it is writing are done"), "{said}");
    assert!(rack.records("UPGRADED")[0]["verdict"].is_null(), "dpkg has waited for the drive");
    rack.machine.set_rate("UPGRADED", SLOW).unwrap();
    rack.wait("the new station", |rack| {
        let now = rack.main_process();
        (now != third && now != "0").then_some(())
    });
    rack.done("until prestagectl status; do sleep 0.1; done");
    assert_eq!(rack.wait_pass("UPGRADED")["verdict"], "passed");
    assert_eq!(rack.records("UPGRADED").len(), 1);
    // The new station images no drive again.
    for serial in ["RESTARTED", "MEANWHILE"] {
        assert_eq!(rack.records(serial).len(), 1, "{serial}");
    }
}

/// systemd ends a station whose main loop stands still, and starts another.
#[apply(test!)]
#[needs(RACK)]
fn watchdog() {
    let mut rack = Rack::restored("the watchdog");
    rack.done(
        "mkdir -p /run/systemd/system/prestaged.service.d && \
         printf '[Service]\nWatchdogSec=3s\n' >/run/systemd/system/prestaged.service.d/10-rack.conf && \
         systemctl daemon-reload && systemctl restart prestaged",
    );
    let first = rack.main_process();
    // A sound station is not ended.
    rack.done(&format!(
        "sleep 6; test $(systemctl show --property MainPID --value prestaged) = {first}"
    ));
    rack.done(&format!("kill -STOP {first}"));
    rack.wait("systemd to start another", |rack| {
        let now = rack.main_process();
        (now != first && now != "0").then_some(())
    });
    rack.guest().wait("prestagectl status", super::PATIENCE).unwrap();
    let log = rack.done("journalctl --no-pager -u prestaged | grep -i watchdog");
    assert!(log.contains("Watchdog timeout"), "{log}");
}

/// Power is lost in the middle of a job.
#[apply(test!)]
#[needs(RACK, LONG)]
fn power_lost() {
    let mut rack = Rack::restored("power lost in the middle of a job");
    rack.plug(&Spec::new(Bus::Nvme, "LOST").rate(SLOW));
    rack.wait_state("LOST", "writing", 5.0);
    let before = rack.records("LOST").pop().unwrap();
    rack.machine.reset().unwrap();
    rack.check_no_tables("LOST");
    rack.guest().wait("prestagectl status", super::PATIENCE).unwrap();
    let records = rack.wait("the old record", |rack| {
        Some(rack.records("LOST")).filter(|records| !records.is_empty())
    });
    assert_eq!(records[0]["job"], before["job"], "the ledger survived");
    assert_eq!(records[0]["reason"]["code"], "station_interrupted", "{:#}", records[0]);
    // After another boot all drives count as inserted anew, so the drive is imaged.
    rack.wait("the drive to pass", |rack| {
        rack.records("LOST").pop().filter(|record| record["verdict"] == "passed")
    });
    assert_eq!(rack.records("LOST").len(), 2);
    rack.check_tables("LOST");
}

/// Told to reboot, the machine waits for the drive that it writes.
#[apply(test!)]
#[needs(LONG, RACK)]
fn told_to_reboot() {
    let mut rack = Rack::restored("told to reboot in the middle of a job");
    rack.plug(&Spec::new(Bus::Scsi, "AWAITED").rate(SLOW));
    rack.wait_state("AWAITED", "writing", 0.0);
    rack.machine.reboot().unwrap();
    rack.guest().wait("prestagectl status", super::PATIENCE).unwrap();
    let records = rack.wait("what the next boot makes of it", |rack| {
        Some(rack.records("AWAITED")).filter(|records| records.len() > 1)
    });
    assert_eq!(records[0]["verdict"], "passed");
    assert_eq!(records[1]["reason"]["code"], "already_passed");
}

/// Removing ends the service and keeps the ledger; purging takes it away and says so.
#[apply(test!)]
#[needs(RACK, LONG)]
fn removed_and_purged() {
    let mut rack = Rack::restored("removed and purged");
    rack.plug(&Spec::new(Bus::Usb, "KEPT"));
    rack.wait_pass("KEPT");
    let said = rack.done("dpkg --remove prestaged 2>&1");
    assert!(said.contains("kept: /var/lib/prestaged/ledger.db"), "{said}");
    rack.done("! systemctl is-active prestaged && ! pidof prestaged");
    rack.done(
        "dpkg --force-unsafe-io -i /mnt/cargo/prestaged.deb && systemctl is-active prestaged",
    );
    assert_eq!(rack.wait_pass("KEPT")["verdict"], "passed", "the ledger was kept");
    let said = rack.done("dpkg --purge prestaged 2>&1");
    assert!(said.contains("removed: /var/lib/prestaged/ledger.db"), "{said}");
    rack.done("! systemctl is-active prestaged && ! test -e /var/lib/prestaged && ! test -e /etc/prestaged");
}
