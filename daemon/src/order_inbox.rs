//! The folder of orders: files that are complete are taken up, and what is wrong with one is told. Nothing in it is moved or
//! changed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use config::orders::file::{self, Links};
use config::orders::{Form, Mistake, parse};
use jiff::Timestamp;
use masters::stamp;
use media::lease::{Writers, writers};
use model::api::command::Command;
use model::api::orders::OrderFileView;
use model::code::DenialCode;
use model::failure::{Denial, chain};
use model::hint::Hint as _;
use model::media::Stamp;
use model::operator::Operator;
use model::orders::{Order, OrderAct, OrderChange};
use station::Event;
use tokio::sync::{mpsc, oneshot};

use crate::runner::OpenMaster;

/// How often the folder is looked at.
const ROUND: Duration = Duration::from_secs(1);
/// For how long a file must not have changed. An order whose end is still to come can look like a whole one, of more drives:
/// its conditions come last. Who copies slowly copies under another name, and renames.
const SETTLED: Duration = Duration::from_secs(2);

type Sender = mpsc::Sender<Event<OpenMaster>>;

/// A file of the folder, as it was when it was taken up last.
#[derive(Debug)]
struct Taken {
    stamp: Stamp,
    /// The lists that it names, as they were then; `None` for one that was not there.
    lists: BTreeMap<PathBuf, Option<Stamp>>,
    orders: Vec<Order>,
    view: Option<OrderFileView>,
    /// It was right, and the station could not take it then.
    again: bool,
}

/// The files of the folder, and what is wrong with them.
#[derive(Default)]
struct OrderInbox {
    known: BTreeMap<PathBuf, Taken>,
    /// Files that have changed lately: how they were then, and when that was seen.
    fresh: BTreeMap<PathBuf, (Stamp, Instant)>,
    views: Vec<OrderFileView>,
}

/// Watches the folder on a thread of its own, until the station has ended.
///
/// # Errors
/// If the system cannot create a thread.
pub(crate) fn watch(folder: PathBuf, sender: Sender) -> io::Result<()> {
    let work = move || {
        let mut inbox = OrderInbox::default();
        loop {
            if inbox.look(&folder, &sender).is_none() {
                return;
            }
            thread::sleep(ROUND);
        }
    };
    thread::Builder::new().name("orders".into()).spawn(work).map(|_| ())
}

impl OrderInbox {
    /// Looks once. `None` if the station has ended.
    fn look(&mut self, folder: &Path, sender: &Sender) -> Option<()> {
        let (files, mut views) = match listed(folder) {
            Ok(found) => found,
            Err(error) => {
                let problem = format!("the folder of orders cannot be read: {}", chain(&error));
                return self.tell(vec![view(folder, Some(problem), None)], sender);
            }
        };
        self.known.retain(|path, _| files.contains_key(path));
        let unsettled = self.unsettled(&files);
        let mut news = Vec::new();
        for (path, stamp) in files {
            let is_known = self.known.get(&path).is_some_and(|taken| {
                taken.stamp == stamp && taken.lists.iter().all(|(list, then)| *then == now(list))
            });
            if !is_known {
                let taken = (!unsettled.contains(&path)).then(|| read(&path, stamp, folder));
                let settled = taken.filter(|it| !it.lists.keys().any(|it| unsettled.contains(it)));
                let Some(taken) = settled else {
                    views.push(OrderFileView { waiting: true, ..view(&path, None, None) });
                    continue;
                };
                self.known.insert(path.clone(), taken);
            }
            if !is_known || self.known.get(&path).is_some_and(|taken| taken.again) {
                news.push(path);
            }
        }
        let twice = self.twice();
        for path in news {
            let other = twice.get(&path);
            let Some(taken) = self.known.get_mut(&path) else { continue };
            if other.is_some() || taken.orders.is_empty() {
                continue;
            }
            let (view, again) = match add(taken.orders.clone(), sender)? {
                Ok(()) => (None, false),
                Err(Denial { code, detail, hint }) => {
                    (Some(view(&path, Some(detail), hint)), may_pass(code))
                }
            };
            (taken.view, taken.again) = (view, again);
        }
        for (path, taken) in &mut self.known {
            match twice.get(path) {
                Some(what) => {
                    let hint = "take one of them away; the order stays as it was until then";
                    views.push(view(path, Some(what.clone()), Some(hint.into())));
                    taken.again = true;
                }
                None => views.extend(taken.view.clone()),
            }
        }
        views.sort_by(|a, b| a.name.cmp(&b.name));
        self.tell(views, sender)
    }

    /// The files that have changed within [`SETTLED`].
    fn unsettled(&mut self, files: &BTreeMap<PathBuf, Stamp>) -> BTreeSet<PathBuf> {
        let (seen, now) = (Instant::now(), Timestamp::now().as_nanosecond());
        let mut unsettled = BTreeSet::new();
        let mut fresh = BTreeMap::new();
        for (path, stamp) in files {
            // What lay there long before the station looked has settled.
            let age = now - i128::from(stamp.changed_ns.max(stamp.modified_ns));
            if u128::try_from(age).is_ok_and(|age| age >= SETTLED.as_nanos()) {
                continue;
            }
            let before = self.fresh.get(path).filter(|(then, _)| then == stamp);
            let since = before.map_or(seen, |(_, since)| *since);
            if seen.duration_since(since) < SETTLED {
                unsettled.insert(path.clone());
            }
            fresh.insert(path.clone(), (*stamp, since));
        }
        self.fresh = fresh;
        unsettled
    }

    /// The files that have an order of another file, and what is wrong with them.
    fn twice(&self) -> BTreeMap<PathBuf, String> {
        let mut first: BTreeMap<&str, &PathBuf> = BTreeMap::new();
        let mut twice = BTreeMap::new();
        for (path, taken) in &self.known {
            for order in &taken.orders {
                let number = order.number.as_str();
                let Some(other) = first.insert(number, path) else { continue };
                let told = |other: &Path| {
                    let name = other.file_name().unwrap_or_default().to_string_lossy();
                    format!("order {number} is in {} as well", name.replace(char::is_control, "?"))
                };
                twice.insert(path.clone(), told(other));
                twice.insert(other.clone(), told(path));
            }
        }
        twice
    }

    fn tell(&mut self, views: Vec<OrderFileView>, sender: &Sender) -> Option<()> {
        if views == self.views {
            return Some(());
        }
        for view in views.iter().filter(|view| !self.views.contains(view)) {
            if let Some(problem) = &view.problem {
                tracing::error!("order file {}: {problem}", view.name);
            }
        }
        self.views.clone_from(&views);
        sender.blocking_send(Event::OrderFiles(views)).ok()
    }
}

/// The complete files, and those that are still being written.
fn listed(folder: &Path) -> io::Result<(BTreeMap<PathBuf, Stamp>, Vec<OrderFileView>)> {
    let (mut files, mut growing) = (BTreeMap::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if hidden || Form::of(&path).is_none() {
            continue;
        }
        // It may have gone, or be no file. A link is told when it is read.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_symlink() {
            files.insert(path, stamp::in_metadata(&meta));
            continue;
        }
        if !meta.is_file() {
            continue;
        }
        match File::open(&path).map(|file| writers(&file)) {
            Ok(Writers::Some) => {
                growing.push(OrderFileView { waiting: true, ..view(&path, None, None) })
            }
            _ => drop(files.insert(path, stamp::in_metadata(&meta))),
        }
    }
    growing.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((files, growing))
}

fn view(path: &Path, problem: Option<String>, hint: Option<String>) -> OrderFileView {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    OrderFileView { name: name.replace(char::is_control, "?"), waiting: false, problem, hint }
}

/// A file that is named by another one, as it is now.
fn now(list: &Path) -> Option<Stamp> {
    fs::symlink_metadata(list).ok().map(|meta| stamp::in_metadata(&meta))
}

/// Whether what was denied may be carried out later, without anybody's doing something about the file.
fn may_pass(code: DenialCode) -> bool {
    matches!(
        code,
        DenialCode::LedgerUnavailable | DenialCode::LedgerTampered | DenialCode::InternalError
    )
}

/// Whether a CSV file is a list of serial numbers, which orders name.
fn is_list(text: &str) -> bool {
    let first = text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default();
    !first.to_lowercase().split([',', ';']).any(|name| name.trim().trim_matches('"') == "number")
}

/// Reads the orders of a file, and the lists that they name.
fn read(path: &Path, stamp: Stamp, folder: &Path) -> Taken {
    let lists = RefCell::new(BTreeMap::new());
    let list = |name: &str| {
        if name.contains('/') {
            return Err("a list lies beside the order".to_owned());
        }
        let path = folder.join(name);
        // First, so that a change while it is read is seen the next time.
        lists.borrow_mut().insert(path.clone(), now(&path));
        file::read(&path, Links::Refuse).map_err(|error| chain(&error))
    };
    let found = match (file::read(path, Links::Refuse), Form::of(path)) {
        (Err(error), _) => Err(view(path, Some(chain(&error)), None)),
        (Ok(text), Some(form)) if form == Form::Toml || !is_list(&text) => {
            let wrong = |mistake: Mistake| view(path, Some(mistake.to_string()), mistake.hint());
            parse(&text, form, &list).map_err(wrong)
        }
        (Ok(_), _) => Ok(Vec::new()),
    };
    let (orders, view) = match found {
        Ok(orders) => (orders, None),
        Err(view) => (Vec::new(), Some(view)),
    };
    Taken { stamp, lists: lists.into_inner(), orders, view, again: false }
}

/// Has the station add orders; `None` if it has ended.
fn add(orders: Vec<Order>, sender: &Sender) -> Option<Result<(), Denial>> {
    let by = Operator { uid: 0, name: Some("orders.inbox".into()) };
    let at = Timestamp::now();
    let change = |order: Order| OrderChange {
        number: order.number.clone(),
        act: OrderAct::AddByFile(Box::new(order)),
        reason: None,
        by: by.clone(),
        at,
    };
    let changes = orders.into_iter().map(change).collect();
    let (reply, answer) = oneshot::channel();
    sender.blocking_send(Event::Command(Command::Orders(changes), reply)).ok()?;
    Some(answer.blocking_recv().ok()?.map(|_| ()))
}
