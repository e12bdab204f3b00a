//! The configuration of a station under test.

use std::path::Path;

use toml::{Table, Value};

use super::needs::UDEVD_PATH;

/// What a test changes about a station: keys of its configuration, and what runs in front of the daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    keys: Vec<(String, Value)>,
    /// A program and its arguments, such as `unshare`, that starts the daemon.
    pub(super) wrapper: Vec<String>,
}

impl Setup {
    /// Sets a key, such as `admission.reimage`.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.push((key.to_owned(), value.into()));
        self
    }

    /// The station may not write from its start.
    pub(crate) fn disarmed(self) -> Self {
        self.set("admission.armed", false)
    }

    /// The layout takes media without boot files.
    pub(crate) fn content_only(self) -> Self {
        self.set("layout.0.boot", "none")
    }

    /// Another size of the ESP than 40 MiB.
    pub(crate) fn esp_mib(self, size: u32) -> Self {
        self.set("layout.0.partitions.0.size", format!("{size}MiB"))
    }

    /// Names the bay of all drives whose path matches.
    pub(crate) fn bay(self, name: &str, path: &str) -> Self {
        self.set("bay", bay(name, path))
    }

    /// Starts the daemon through another program.
    pub(crate) fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().copied().map(str::to_owned).collect();
        self
    }

    /// Starts the daemon beside a udevd that has a network namespace, because udevd renames interfaces, and a /run and a
    /// /dev/disk of its own. It follows the machine's rules, the package's and these. udevd ends when the daemon does.
    pub(crate) fn beside_udevd(self, rules: &str) -> Self {
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/62-prestaged.rules");
        let script = format!(
            "mount -t tmpfs none /run && mkdir -p /run/udev /dev/disk && mount -t tmpfs none /dev/disk \
             && mkdir -p /run/udev/rules.d && cp {ours} /run/udev/rules.d/62-prestaged.rules \
             && printf %s '{rules}' > /run/udev/rules.d/90-others.rules \
             && {{ {UDEVD_PATH} & }} \
             && for i in $(seq 500); do test -S /run/udev/control && break; sleep 0.01; done; \
             \"$@\"; code=$?; kill %1; umount /dev/disk; rmdir /dev/disk; exit $code"
        );
        self.wrapped(&[
            "unshare",
            "-m",
            "-n",
            "--propagation",
            "private",
            "bash",
            "-c",
            &script,
            "sh",
        ])
    }

    /// The configuration of the station of this name in this folder.
    pub(super) fn config(&self, name: &str, folder: &Path) -> Table {
        let at = folder.display();
        let mut config: Table = toml::from_str(&format!(
            r#"
            station.name = "{name}"
            media.inbox = "{at}/inbox"
            store.path = "{at}/store"
            store.budget = "8GiB"
            store.press_ahead = false
            ledger.path = "{at}/ledger.db"
            control.socket = "{at}/control.sock"
            [admission]
            armed = true
            buses = ["loop"]
            bays = ["loop-{name}*"]
            overwrite = "any"
            [[layout]]
            name = "test"
            boot = "prestaged"
            partitions = [ {{ type = "esp", size = "40MiB" }}, {{ type = "msr", size = "16MiB" }},
                {{ type = "windows", size = "rest" }}, {{ type = "recovery", size = "20MiB" }} ]
            "#
        ))
        .unwrap();
        for (key, value) in &self.keys {
            set(&mut config, key, value.clone());
        }
        config
    }
}

/// A list with one `[[bay]]`.
pub(crate) fn bay(name: &str, path: &str) -> Value {
    let fields = [("name", name), ("path", path)];
    let table = fields.map(|(key, value)| (key.to_owned(), Value::from(value))).into_iter();
    Value::Array(vec![Value::Table(table.collect())])
}

/// Sets a key; a number in it counts the tables of a list.
pub(super) fn set(config: &mut Table, key: &str, value: Value) {
    let (place, last) = place(config, key);
    place.insert(last.to_owned(), value);
}

/// Takes a key away.
pub(super) fn unset(config: &mut Table, key: &str) {
    let (place, last) = place(config, key);
    assert!(place.remove(last).is_some(), "{key} was set");
}

/// The table in which a key stands, and the key's last part.
fn place<'a, 'b>(config: &'a mut Table, key: &'b str) -> (&'a mut Table, &'b str) {
    let mut parts = key.split('.');
    let last = parts.next_back().unwrap();
    let mut place = config;
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let next = place.entry(part).or_insert_with(|| Value::Table(Table::new()));
        place = match (next, parts.peek().and_then(|part| part.parse::<usize>().ok())) {
            (Value::Array(list), Some(number)) => {
                parts.next();
                list[number].as_table_mut().unwrap()
            }
            (next, _) => next.as_table_mut().unwrap(),
        };
    }
    (place, last)
}
