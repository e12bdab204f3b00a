//! The Debian package on a machine that forgets: install, upgrade, remove, purge; manuals, completions, rights.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use macro_rules_attribute::apply;

use crate::harness::manuals;
use crate::harness::sample::run;
use crate::harness::twin::Twin;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A folder with the package as `1.deb`, and as `2.deb` with a higher version and another default configuration.
pub(crate) fn packages() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let pages = Path::new(TOP).join("target/manuals");
        fs::create_dir_all(&pages).unwrap();
        manuals::write(&pages);
        let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let script = format!("{TOP}/scripts/package");
        let said = run(&script, &["--no-build", "--out", folder.to_str().unwrap()]);
        let made = said.lines().last().unwrap();
        assert!(made.ends_with(".deb"), "{said}");
        fs::rename(made, at("1.deb")).unwrap();
        run("dpkg-deb", &["--raw-extract", &at("1.deb"), &at("content")]);
        let control = at("content/DEBIAN/control");
        let text = fs::read_to_string(&control).unwrap();
        fs::write(&control, text.replacen("\nVersion: ", "\nVersion: 9", 1)).unwrap();
        let config = at("content/etc/prestaged/prestaged.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{text}# A newer default.\n")).unwrap();
        // One build gives one package, which names what is made of it (rack).
        let date = "SOURCE_DATE_EPOCH=1700000000";
        run("env", &[date, "dpkg-deb", "--build", "-Zgzip", "-z1", &at("content"), &at("2.deb")]);
        folder
    })
}

/// A twin of this machine without the package.
fn twin() -> Twin {
    Twin::new(packages()).unwrap()
}

const INSTALL: &str = "dpkg --force-unsafe-io --force-confold -i /run/packages/1.deb";
const UPGRADE: &str = "dpkg --force-unsafe-io --force-confold -i /run/packages/2.deb";

#[apply(test!)]
#[needs(DEB)]
fn the_package_installs_what_it_says() {
    let twin = twin();
    let said = twin.done(INSTALL);
    assert!(!said.contains("rror") && !said.contains("arning"), "{said}");
    let next = "next: sudo prestagectl bays learn --allow";
    assert!(said.contains(next), "{said}");
    let again = twin.done(INSTALL);
    assert!(!again.contains(next), "only a new station is told how to begin: {again}");
    for expected in [
        "755 root:root /usr/bin/prestaged",
        "755 root:root /usr/bin/prestagectl",
        "755 root:root /usr/bin/prestaged-gate",
        "644 root:root /usr/lib/systemd/system/prestaged-gate.service",
        "644 root:root /usr/lib/systemd/system/prestaged-scanner@.service",
        "755 root:root /usr/bin/prestaged-lamps",
        "644 root:root /usr/lib/systemd/system/prestaged-lamps.service",
        "644 root:root /usr/lib/systemd/system/prestaged-kiosk.service",
        "755 root:root /usr/lib/prestaged/lamps-rights",
        "644 root:root /usr/lib/systemd/system/prestaged.service",
        "644 root:root /usr/lib/systemd/system/prestaged-health.socket",
        "644 root:root /usr/lib/systemd/system/prestaged-health@.service",
        "644 root:root /usr/share/prestaged/monitoring/prestaged.rules.yml",
        "644 root:root /usr/share/prestaged/monitoring/dashboard.json",
        "644 root:root /usr/lib/udev/rules.d/62-prestaged.rules",
        "644 root:root /usr/lib/sysusers.d/prestaged.conf",
        "644 root:root /usr/lib/tmpfiles.d/prestaged.conf",
        "644 root:root /etc/prestaged/prestaged.toml",
        "755 root:root /etc/prestaged/prestaged.toml.d",
        "2775 root:prestaged /srv/prestaged/media",
        "711 root:root /var/lib/prestaged",
        "711 root:root /var/lib/prestaged/masters",
        "640 root:prestaged /var/lib/prestaged/ledger.db",
        "644 root:root /usr/share/man/man8/prestaged.8.gz",
        "644 root:root /usr/share/doc/prestaged/copyright",
        "644 root:root /usr/share/doc/prestaged/README.Debian",
        "644 root:root /usr/share/doc/prestaged/README.md",
    ] {
        let path = expected.split(' ').next_back().unwrap();
        assert_eq!(twin.done(&format!("stat -c '%a %U:%G %n' {path}")).trim(), expected);
    }
    let user = twin.done("getent passwd prestaged");
    assert!(user.trim().ends_with(":/:/usr/sbin/nologin"), "{user}");
    assert_eq!(twin.done("id -Gn prestaged").trim(), "prestaged-worker", "not the socket's group");
    twin.done("getent group prestaged");
    assert_eq!(
        twin.done("id -Gn prestaged-gate").trim(),
        "prestaged-view",
        "it may look, and no more"
    );
    assert_eq!(
        twin.done("id -Gn prestaged-scanner").trim(),
        "prestaged",
        "it may operate the station"
    );
    assert_eq!(twin.done("id -Gn prestaged-lamps").trim(), "prestaged-lamps", "nor that one");
    for off in ["gate", "lamps", "kiosk"] {
        let link = format!("/etc/systemd/system/multi-user.target.wants/prestaged-{off}.service");
        twin.done(&format!("! test -L {link}"));
    }
    twin.done("test -L /etc/systemd/system/multi-user.target.wants/prestaged.service");
    twin.done("test -L /etc/systemd/system/sockets.target.wants/prestaged-health.socket");
    let recommends = twin.done("dpkg-query -W -f '${Recommends}' prestaged");
    assert!(recommends.contains("smartmontools"), "{recommends}");
    let depends = twin.done("dpkg-query -W -f '${Depends}' prestaged");
    for package in
        ["libwim15", "ntfs-3g", "dosfstools", "mtools", "libhivex-bin", "udev", "libudev1", "libc6"]
    {
        assert!(
            depends.split(", ").any(|word| word.split(' ').next() == Some(package)),
            "{package}: {depends}"
        );
    }
    // Nothing but the pages themselves, and nothing that groff stumbles over.
    for (page, section, words) in [
        ("prestaged", 8, &["SIGTERM", "[--config CONFIG]", "EXAMPLES"][..]),
        (
            "prestagectl",
            1,
            &["master press", "[--socket PATH]", "EXIT STATUS", "bays learn --allow"],
        ),
        ("prestaged-recipe", 5, &["created_by"]),
        ("prestaged-codes", 7, &["not_blank"]),
        ("prestaged-api", 7, &["GET /v1/records/{job}"]),
        ("prestaged.toml", 5, &["stall_timeout", "What is proven: see prestaged-drives(7)"]),
        ("prestaged-station", 7, &["SIGNALS", "upgrade"]),
        ("prestaged-drives", 7, &["NAMES OF BAYS", "admission.overwrite"]),
        ("prestaged-media", 7, &["wim_damaged", "boot manager"]),
        ("prestaged-creating", 7, &["stand-alone", "SMS"]),
        ("prestaged-gate", 7, &["NO DATA", "gate.operate"]),
        ("prestaged-gate", 8, &["account"]),
        ("prestaged-lamps", 7, &["passed", "NPEM"]),
        ("prestaged-lamps", 8, &["--config"]),
        ("prestaged-records", 7, &["OLD DATA", "overwritten"]),
    ] {
        let warnings = twin.done(&format!("man --warnings=w {section} {page} 2>&1 >/tmp/page"));
        assert_eq!(warnings, "", "{page}");
        let text = twin.done("col -b </tmp/page").split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(text.contains(word), "{page}: {word}: {text}");
        }
        assert!(!text.contains("](") && !text.contains('`'), "{page}: Markdown: {text}");
    }
    let complete = "COMP_TYPE=9 COMP_WORDS=(prestagectl me) COMP_CWORD=1; \
                    _clap_complete_prestagectl prestagectl me prestagectl; echo ${COMPREPLY[@]}";
    let source = ". /usr/share/bash-completion/completions/prestagectl && complete -p prestagectl >/dev/null";
    assert_eq!(twin.done(&format!("{source} && {complete}")).trim(), "media");
    twin.done("bash -n /usr/share/bash-completion/completions/prestaged");
}

/// The daemon with the configuration that is installed, and who may speak to it.
#[apply(test!)]
#[needs(DEB)]
fn the_installed_station_takes_its_group_and_not_its_workers() {
    let twin = twin();
    twin.done(INSTALL);
    twin.done("prestaged --check");
    let said = twin.done(
        r#"
        prestaged 2>/run/log & daemon=$!
        trap 'kill $daemon; wait $daemon' EXIT
        for i in $(seq 500); do prestagectl status >/run/status 2>&1 && break; sleep 0.02; done
        cat /run/status
        member="setpriv --reuid 31415 --regid 31415 --groups $(getent group prestaged | cut -d: -f3)"
        worker="setpriv --reuid prestaged --regid prestaged-worker --clear-groups"
        $member prestagectl status >/dev/null; echo "member $?"
        $worker prestagectl status >/dev/null 2>&1; echo "worker $?"
        $member sh -c 'umask 022; echo x >/srv/prestaged/media/x.wim'; echo "drop $?"
        $worker cat /srv/prestaged/media/x.wim; echo "read $?"
        $worker cat /var/lib/prestaged/ledger.db 2>/dev/null; echo "ledger $?"
        $worker ls /var/lib/prestaged/masters/masters 2>/dev/null; echo "masters $?"
        stat -c '%a %U:%G' /var/lib/prestaged/ledger.db-wal
        "#,
    );
    for line in [
        "member 0",
        "worker 77",
        "drop 0",
        "x",
        "read 0",
        "ledger 1",
        "masters 2",
        "640 root:prestaged",
    ] {
        assert!(
            said.lines().any(|found| found == line),
            "{line}: {said}\n{}",
            twin.run("cat /run/log").1
        );
    }
    assert!(said.contains("disarmed"), "{said}");
}

#[apply(test!)]
#[needs(DEB)]
fn the_ledger_survives_all_but_purge() {
    let twin = twin();
    twin.done(INSTALL);
    // A ledger with a record, media, and an administrator's changes.
    twin.done(
        "echo 'a record' >/var/lib/prestaged/ledger.db; mkdir /var/lib/prestaged/masters/a; \
         echo wim >/srv/prestaged/media/a.wim; chmod 2770 /srv/prestaged/media; \
         echo '# Ours.' >>/etc/prestaged/prestaged.toml; echo >/etc/prestaged/prestaged.toml.d/10.toml",
    );
    let kept = "grep -qx 'a record' /var/lib/prestaged/ledger.db && test -d /var/lib/prestaged/masters/a \
        && test -e /srv/prestaged/media/a.wim && grep -qx '# Ours.' /etc/prestaged/prestaged.toml \
        && test -e /etc/prestaged/prestaged.toml.d/10.toml";
    twin.done(UPGRADE);
    twin.done(kept);
    twin.done("grep -qx '# A newer default.' /etc/prestaged/prestaged.toml.dpkg-dist");
    assert_eq!(
        twin.done("stat -c %a /srv/prestaged/media").trim(),
        "2770",
        "as the administrator wants it"
    );
    let said = twin.done("dpkg --remove prestaged");
    assert!(said.contains("kept: /var/lib/prestaged/ledger.db (9 bytes)"), "{said}");
    twin.done(kept);
    twin.done(
        "! test -e /usr/bin/prestaged && ! test -e /usr/lib/systemd/system/prestaged.service",
    );
    twin.done(UPGRADE);
    twin.done(kept);
    let said = twin.done("dpkg --purge prestaged");
    assert!(said.contains("removed: /var/lib/prestaged/ledger.db (9 bytes)"), "{said}");
    assert!(said.contains("kept: the media in /srv/prestaged/media"), "{said}");
    twin.done("! test -e /var/lib/prestaged && ! test -e /etc/prestaged && test -e /srv/prestaged/media/a.wim");
    twin.done("! test -L /etc/systemd/system/multi-user.target.wants/prestaged.service");
    twin.done("! test -L /etc/systemd/system/sockets.target.wants/prestaged-health.socket");
    // Nothing was ever recorded.
    twin.done(&format!("rm /srv/prestaged/media/a.wim && {INSTALL}"));
    let said = twin.done("dpkg --purge prestaged");
    assert!(!said.contains("removed:") && !said.contains("kept:"), "{said}");
    twin.done("! test -e /srv/prestaged");
}

/// What systemd is asked for, by a systemctl that only writes it down. dpkg must never wait for drives but on removal.
#[apply(test!)]
#[needs(DEB)]
fn an_upgrade_does_not_wait_for_drives() {
    let twin = twin();
    let systemctl = "#!/bin/sh\necho \"$*\" >>/run/asked\ncase \"$*\" in *ActiveState*) cat /run/state ;; *is-enabled*) echo enabled ;; esac\n";
    let policy = "#!/bin/sh\nexit 101\n";
    fs::write(packages().join("systemctl"), systemctl).unwrap();
    fs::write(packages().join("policy-rc.d"), policy).unwrap();
    twin.done(
        "mkdir -p /run/systemd/system; install -m 755 /run/packages/systemctl /usr/bin/systemctl",
    );
    let asked = |state: &str, command: &str| {
        let said = twin.done(&format!("echo {state} >/run/state; : >/run/asked; {command}"));
        (twin.done("cat /run/asked"), said)
    };
    let restart = "--no-block try-restart prestaged.service";
    let start = "start prestaged.service";
    let stop = "stop prestaged.service";
    let (log, _) = asked("inactive", INSTALL);
    assert!(log.contains(start) && log.contains("daemon-reload"), "{log}");

    let (log, said) = asked("active", UPGRADE);
    assert!(log.contains(restart) && !log.contains(stop), "{log}");
    assert!(said.contains("as soon as the drives that it is writing are done"), "{said}");
    // It still waits for its drives when the next upgrade comes.
    let (log, _) = asked("deactivating", INSTALL);
    assert!(!log.contains(start) && !log.contains(stop), "{log}");
    // It was stopped by somebody, who has a reason.
    let (log, _) = asked("inactive", UPGRADE);
    assert!(!log.contains(start) && !log.contains(restart), "{log}");

    twin.done("install -m 755 /run/packages/policy-rc.d /usr/sbin/policy-rc.d");
    let (log, _) = asked("active", INSTALL);
    assert!(!log.contains(restart), "{log}");
    twin.done("rm /usr/sbin/policy-rc.d");

    let (log, said) = asked("active", "dpkg --remove prestaged");
    assert!(log.contains(stop), "{log}");
    assert!(said.contains("finished first"), "{said}");
    let (log, _) = asked("inactive", INSTALL);
    assert!(log.lines().any(|line| line.ends_with(start)), "installed again, it starts: {log}");
}
