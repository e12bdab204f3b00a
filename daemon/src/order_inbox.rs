//! The folder of orders: files that are complete are taken up, and what is wrong with one is told. Nothing in it is moved or
//! changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use config::orders::{Form, LARGEST_FILE, parse};
use jiff::Timestamp;
use masters::stamp;
use media::lease::{Writers, writers};
use model::api::command::Command;
use model::api::orders::OrderFileView;
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

type Sender = mpsc::Sender<Event<OpenMaster>>;

/// The files of the folder, as they were when they were taken up last, with what is wrong with them.
#[derive(Default)]
struct OrderInbox {
    known: BTreeMap<PathBuf, Stamp>,
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
        // A list of serial numbers belongs to the orders that name it, so every change counts for all.
        if files == self.known && views.is_empty() && !self.views.iter().any(|v| v.waiting) {
            return Some(());
        }
        if files != self.known {
            self.known = files;
            for path in self.known.keys() {
                if let Some(told) = take(path, folder, sender)? {
                    views.push(told);
                }
            }
        } else {
            views.extend(self.views.iter().filter(|view| !view.waiting).cloned());
        }
        self.tell(views, sender)
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
        // It may have gone, or be no file.
        let Ok(meta) = fs::metadata(&path) else { continue };
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

fn read(path: &Path) -> Result<String, String> {
    let told = |error: io::Error| chain(&error);
    let size = fs::metadata(path).map_err(told)?.len();
    if size > LARGEST_FILE {
        return Err(format!("it has {size} bytes; at most {LARGEST_FILE} are read"));
    }
    fs::read_to_string(path).map_err(told)
}

/// Whether a CSV file is a list of serial numbers, which orders name.
fn is_list(text: &str) -> bool {
    let first = text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default();
    !first.to_lowercase().split([',', ';']).any(|name| name.trim().trim_matches('"') == "number")
}

/// Takes up the orders of a file. The outer `None` says that the station has ended, the inner one that all is well.
fn take(path: &Path, folder: &Path, sender: &Sender) -> Option<Option<OrderFileView>> {
    let wrong = |what: String, hint| Some(Some(view(path, Some(what), hint)));
    let Some(form) = Form::of(path) else { return Some(None) };
    let text = match read(path) {
        Ok(text) => text,
        Err(why) => return wrong(why, None),
    };
    if form == Form::Csv && is_list(&text) {
        return Some(None);
    }
    let list = |name: &str| match name.contains('/') {
        true => Err("a list lies beside the order".to_owned()),
        false => read(&folder.join(name)),
    };
    match parse(&text, form, &list) {
        Err(mistake) => wrong(mistake.to_string(), mistake.hint()),
        Ok(orders) => match add(orders, sender)? {
            Ok(()) => Some(None),
            Err(denial) => wrong(denial.detail, denial.hint),
        },
    }
}

/// Has the station add orders; `None` if it has ended.
fn add(orders: Vec<Order>, sender: &Sender) -> Option<Result<(), Denial>> {
    let by = Operator { uid: 0, name: Some("orders.inbox".into()) };
    let at = Timestamp::now();
    let change = |order: Order| OrderChange {
        number: order.number.clone(),
        act: OrderAct::Add(Box::new(order)),
        reason: None,
        by: by.clone(),
        at,
    };
    let changes = orders.into_iter().map(change).collect();
    let (reply, answer) = oneshot::channel();
    sender.blocking_send(Event::Command(Command::Orders(changes), reply)).ok()?;
    Some(answer.blocking_recv().ok()?.map(|_| ()))
}
