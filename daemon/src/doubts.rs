//! What the configuration says and this machine shows to be doubtful. None of it keeps the station from starting.

use std::path::Path;

use config::Config;
use model::units::Bytes;

/// The doubts of the configuration alone and those that need a look at the machine, in words.
pub(crate) fn doubts(config: &Config) -> Vec<String> {
    let mut doubts = config.doubts();
    doubts.extend(budget(config));
    doubts.extend(expiries(config));
    doubts.extend(places(config));
    doubts
}

/// Files and folders that are not what they should be, or not there.
fn places(config: &Config) -> Vec<String> {
    let (ledger, inbox) = (&config.ledger.path, &config.media.inbox);
    let ledger = ledger.is_dir().then(|| format!("ledger.path: {} is a folder", ledger.display()));
    let inbox = (!inbox.exists())
        .then(|| format!("media.inbox: {} does not exist; it will be made", inbox.display()));
    ledger.into_iter().chain(inbox).collect()
}

/// A budget that the file system of the store cannot hold.
fn budget(config: &Config) -> Option<String> {
    let (path, budget) = (&config.store.path, config.store.budget);
    // The folder may not exist yet; the file system is the same as of the folder that it will be made in.
    let system = path.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    let size = Bytes(system.f_blocks.saturating_mul(system.f_frsize));
    (budget > size).then(|| {
        format!(
            "store.budget: {budget} are more than the {size} of the file system at {}",
            path.display()
        )
    })
}

/// Names in `media.expires` that no file in the inbox has, while one has it in other upper and lower case.
fn expiries(config: &Config) -> Vec<String> {
    if config.media.expires.is_empty() {
        return Vec::new();
    }
    let files = names(&config.media.inbox);
    let alike = |name: &String| {
        let lower = name.to_lowercase();
        let other = files.iter().find(|file| file.to_lowercase() == lower)?;
        let told = format!(
            "media.expires: {name:?} is {other:?} in the inbox; the date counts, but write the name as the file has it"
        );
        (!files.contains(name)).then_some(told)
    };
    config.media.expires.keys().filter_map(alike).collect()
}

/// The names of the files in a folder; none if it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
