//! What this machine makes impossible, or doubtful, in the configuration. Nothing is changed to find it out.

mod gate;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use config::keys::near;
use config::{Config, ConfigError, Doubt};
use jiff::civil::Date;
use model::units::Bytes;

/// Finds what cannot work on this machine: all of it, with file, line and key.
pub(crate) fn check(config: &Config) -> Vec<ConfigError> {
    let (inbox, store) = (&config.media.inbox, &config.store.path);
    let ledger = &config.ledger.path;
    let mut mistakes = Vec::new();
    for (key, path) in folders(config) {
        if path.exists() && !path.is_dir() {
            let what = format!("{} is not a folder", path.display());
            let hint = "name a folder; it is made if it is not there";
            mistakes.push(config.mistake(key, what, hint));
        }
    }
    if ledger.is_dir() {
        let what = format!("{} is a folder", ledger.display());
        let hint = format!("name the file itself, such as {}", ledger.join("ledger.db").display());
        mistakes.push(config.mistake("ledger.path", what, &hint));
    }
    // Who may fill the inbox may also rename and remove what lies in it.
    let within = |inner: &Path, outer: &Path| real(inner).starts_with(real(outer));
    for (key, path, what) in
        [("store.path", store, "the store"), ("ledger.path", ledger, "the ledger")]
    {
        if within(path, inbox) {
            let (path, inbox) = (path.display(), inbox.display());
            let what = format!(
                "{what} {path} lies in the inbox {inbox}, where others put and remove files"
            );
            mistakes.push(config.mistake(key, what, "choose a place outside of media.inbox"));
        }
    }
    if within(inbox, store) {
        let (inbox, store) = (inbox.display(), store.display());
        let what =
            format!("the inbox {inbox} lies in the store {store}, in which nothing else may lie");
        mistakes.push(config.mistake("media.inbox", what, "choose a place outside of store.path"));
    }
    mistakes
}

/// The folders that the station makes where they are missing.
fn folders(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut folders = vec![
        ("media.inbox", config.media.inbox.as_path()),
        ("store.path", config.store.path.as_path()),
    ];
    folders.extend(config.orders.inbox.as_deref().map(|path| ("orders.inbox", path)));
    folders.extend(config.orders.results.as_deref().map(|path| ("orders.results", path)));
    folders
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = absolute.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    match known {
        Some((there, real)) => match absolute.strip_prefix(there) {
            Ok(rest) if rest.as_os_str() != OsStr::new("") => real.join(rest),
            _ => real,
        },
        None => absolute,
    }
}

/// The doubts of the configuration alone and those that need a look at the machine.
pub(crate) fn doubts(config: &Config) -> Vec<Doubt> {
    let mut doubts = config.doubts();
    doubts.extend(missing(config));
    doubts.extend(no_template(config));
    doubts.extend(gate::doubts(config));
    doubts.extend(nobody_asks(config));
    doubts.extend(budget(config));
    doubts.extend(past(config, jiff::Zoned::now().date()));
    doubts.extend(misnamed(config));
    doubts.extend(closed_to_the_service(config));
    doubts
}

/// A socket that is not there answers no question about a drive's health.
fn nobody_asks(config: &Config) -> Option<Doubt> {
    let socket = config.health.socket.as_deref().filter(|socket| !socket.exists())?;
    let what = format!(
        "{} is not there, so nothing will be known of drives' health; \
         `sudo systemctl enable --now prestaged-health.socket`, or leave the key out",
        socket.display()
    );
    Some(config.doubt("health.socket", what))
}

/// Folders into which others put files, or from which they take some: one that is misspelt is made, and nobody finds it.
fn missing(config: &Config) -> Vec<Doubt> {
    let told = |(key, path): (&str, &Path)| {
        let what = format!("{} does not exist; it will be made, empty", path.display());
        config.doubt(key, what)
    };
    let others = folders(config).into_iter().filter(|(key, _)| *key != "store.path");
    others.filter(|(_, path)| !path.exists()).map(told).collect()
}

/// A template without which no label is printed.
fn no_template(config: &Config) -> Option<Doubt> {
    let path = config.labels.template.as_deref()?;
    let what = match fs::read_to_string(path) {
        Ok(_) => return None,
        Err(error) => {
            format!("{} cannot be read ({error}), so no label can be printed", path.display())
        }
    };
    Some(config.doubt("labels.template", what))
}

/// A budget that the file system of the store cannot hold.
fn budget(config: &Config) -> Option<Doubt> {
    let (path, budget) = (&config.store.path, config.store.budget);
    // The folder may not exist yet; the file system is the same as of the folder that it will be made in.
    let system = path.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    let size = Bytes(system.f_blocks.saturating_mul(system.f_frsize));
    let told = || {
        let what = format!(
            "{budget} are more than the {size} of the file system at {}, which will fill up before a master is removed",
            path.display()
        );
        config.doubt("store.budget", what)
    };
    (budget > size).then(told)
}

/// Days in `media.expires` that are over.
fn past(config: &Config, today: Date) -> Vec<Doubt> {
    let expires = config.media.expires.iter();
    let over = expires.filter(|(_, day)| **day < today);
    let told = |(name, day): (&String, &Date)| {
        let what =
            format!("{name:?}: {day} is over, so drives are refused this media (media_expired)");
        config.doubt("media.expires", what)
    };
    over.map(told).collect()
}

/// Names in `media.expires` and `media.offers` that no file in the inbox has.
fn misnamed(config: &Config) -> Vec<Doubt> {
    let media = &config.media;
    let expires = media.expires.keys().map(|name| ("media.expires", name));
    let all = expires.chain(media.offers.keys().map(|name| ("media.offers", name)));
    let files = names(&media.inbox);
    let told = |(key, name): (&'static str, &String)| {
        if files.contains(name) || name.contains('/') {
            return None;
        }
        let lower = name.to_lowercase();
        let what = match files.iter().find(|file| file.to_lowercase() == lower) {
            Some(other) => {
                let but = if key == "media.expires" { "the date counts, but " } else { "" };
                format!(
                    "{name:?} is {other:?} in the inbox; {but}write the name as the file has it"
                )
            }
            None => {
                let known: Vec<&str> = files.iter().map(String::as_str).collect();
                let near = near(name, &known);
                let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
                format!(
                    "no file in the inbox is called {name:?}, so the line says nothing yet{near}"
                )
            }
        };
        Some(config.doubt(key, what))
    };
    all.filter_map(told).collect()
}

/// The names of the files in a folder; none if it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The packaged unit, which shuts the file system (`ProtectSystem`).
const UNIT: &str = "/usr/lib/systemd/system/prestaged.service";
/// Folders with what an administrator adds to it.
const UNIT_DROP_INS: [&str; 2] =
    ["/etc/systemd/system/prestaged.service.d", "/run/systemd/system/prestaged.service.d"];
/// Where the packaged service may write.
const OPEN: [&str; 4] = ["/var/lib/prestaged", "/srv/prestaged", "/run/prestaged", "/run/udev"];
/// Folders that it does not even see.
const HIDDEN: [&str; 3] = ["/home", "/root", "/run/user"];

/// Paths of the service's own configuration at which the packaged unit lets nothing be written.
fn closed_to_the_service(config: &Config) -> Vec<Doubt> {
    if config.file != Path::new(config::DEFAULT_PATH) || !Path::new(UNIT).exists() {
        return Vec::new();
    }
    let folder = |path: &Path| path.parent().unwrap_or(path).to_owned();
    let added = added_to_the_unit();
    let paths = [
        ("media.inbox", config.media.inbox.clone()),
        ("store.path", config.store.path.clone()),
        ("ledger.path", folder(&config.ledger.path)),
        ("control.socket", folder(&config.control.socket)),
    ];
    let told = |(key, path): (&str, PathBuf)| {
        let what = closed(&path, &added)?;
        Some(config.doubt(key, what))
    };
    paths.into_iter().filter_map(told).collect()
}

/// Why the packaged service cannot write to a folder; `added` is the text of the unit's drop-ins.
fn closed(folder: &Path, added: &str) -> Option<String> {
    let path = folder.display();
    let within = |outer: &&str| folder.starts_with(outer);
    if HIDDEN.iter().any(&within) {
        let told =
            format!("prestaged.service does not see {path} (ProtectHome); choose another place");
        return (!added.contains("ProtectHome")).then_some(told);
    }
    let given = added.lines().filter_map(|line| line.trim().strip_prefix("ReadWritePaths="));
    let mut given =
        given.flat_map(str::split_whitespace).map(|path| path.trim_start_matches(['-', '+']));
    if OPEN.iter().any(&within) || given.any(|outer| within(&outer)) {
        return None;
    }
    Some(format!("prestaged.service may not write there: {}", open_up(folder)))
}

/// How the packaged unit is told that the station may write to a folder.
pub(crate) fn open_up(folder: &Path) -> String {
    let path = folder.display();
    format!(
        "`sudo systemctl edit prestaged`, and there [Service] and, on a line of its own, ReadWritePaths={path}"
    )
}

fn added_to_the_unit() -> String {
    let folders = UNIT_DROP_INS.iter().flat_map(fs::read_dir).flatten().flatten();
    let files = folders.map(|entry| entry.path());
    let files = files.filter(|file| file.extension().is_some_and(|e| e == "conf"));
    files.filter_map(|file| fs::read_to_string(file).ok()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_closed_out_of_all_but_its_places() {
        let closed = |path: &str, added: &str| closed(Path::new(path), added);
        for open in ["/var/lib/prestaged/masters", "/srv/prestaged/media", "/run/prestaged"] {
            assert_eq!(closed(open, ""), None, "{open}");
        }
        let told = "prestaged.service may not write there: `sudo systemctl edit prestaged`, and there [Service] and, \
                    on a line of its own, ReadWritePaths=/data/masters";
        assert_eq!(closed("/data/masters", "").as_deref(), Some(told));
        assert_eq!(closed("/data/masters", "[Service]\nReadWritePaths=/other -/data"), None);
        assert!(closed("/database", "[Service]\nReadWritePaths=/data").is_some());
        assert!(closed("/srv/prestaged2", "").is_some());
        let told = closed("/home/x/media", "ReadWritePaths=/home/x").unwrap();
        assert!(told.contains("ProtectHome"), "{told}");
        assert_eq!(closed("/home/x/media", "ProtectHome=no\nReadWritePaths=/home/x"), None);
    }

    #[test]
    fn a_path_is_followed_as_far_as_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir(top.join("a")).unwrap();
        std::os::unix::fs::symlink("a", top.join("b")).unwrap();
        assert_eq!(real(&top.join("b/c/d")), top.join("a/c/d"));
        assert_eq!(real(&top.join("b")), top.join("a"));
    }
}
