//! `bays learn`: a person plugs a drive into one bay after the other and says what each is called.
//!
//! It looks at what the station shows, and writes the drop-in of [`config::learned`]; nothing here or there touches
//! a drive. Each name is on disk before the next bay is asked for, so that whatever ends the walk, all that was
//! confirmed is kept. While the station is armed there is no learning, also not where every bay is forbidden: a drive that
//! is plugged in only to show its place must never be one that is imaged for it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::occupancy::{Occupancy, placeless};
use super::{LearnArguments, RESTART};
use crate::client::{Client, Lines};
use crate::output::Output;
use crate::{CommandError, exit};
use config::learned::{Learned, LearnedError, NameError};
use model::api::snapshot::{DeviceView, Snapshot};
use model::drive::{Bus, Serial};

/// How long a station that has just started may take to find the drives that are plugged in.
const SETTLE: Duration = Duration::from_millis(500);
/// The answer that leaves a bay without a name.
const NONE: &str = "-";

impl From<LearnedError> for CommandError {
    fn from(error: LearnedError) -> Self {
        let code = match &error {
            LearnedError::Name(_) => exit::USAGE,
            LearnedError::Busy(_) => exit::REFUSED,
            LearnedError::NotPermitted { .. } => exit::NOT_PERMITTED,
            LearnedError::Config(_)
            | LearnedError::Write { .. }
            | LearnedError::Foreign { .. }
            | LearnedError::Shadowed { .. }
            | LearnedError::Overruled { .. } => exit::CONFIGURATION,
        };
        Self::of(code, &error)
    }
}

pub(super) async fn learn(
    client: &Client,
    out: &Output,
    arguments: &LearnArguments,
) -> Result<u8, CommandError> {
    let mut events = client.events().await?;
    let first = next(&mut events).await?;
    if first.config.as_os_str().is_empty() {
        let text =
            "the daemon is older than this program and does not say where its configuration is";
        return Err(CommandError::new(exit::UNAVAILABLE, text));
    }
    let learned = Learned::open(&first.config)?;
    let given = given(&learned, arguments)?;
    let allowed = learned.config()?.admission.buses.iter().any(|bus| bus == Bus::LOOP);
    let asked = arguments.only.as_ref().is_some_and(|only| only.as_str().starts_with("loop-"));
    let loops = allowed || asked;
    let mut occupancy = Occupancy::new(arguments.only.clone(), loops);
    occupancy.look(&first.devices);
    let until = Instant::now() + SETTLE;
    while let Ok(snapshot) = timeout_at(until, next(&mut events)).await {
        occupancy.look(&snapshot?.devices);
    }
    let interrupt = signal(SignalKind::interrupt())
        .map_err(|error| CommandError::new(exit::FAILED, error.to_string()))?;
    let mut walk = Walk {
        talk: Talk { aside: out.json },
        learned,
        given,
        prefix: &arguments.prefix,
        allow: arguments.allow,
        named: Vec::new(),
        occupancy,
        events,
        lines: read_lines(),
        interrupt,
    };
    let ended = walk.run().await;
    let summary = walk.summary()?;
    // With an error there is one document, and it is the error.
    if ended.is_ok() || !out.json {
        out.print(&summary, |_| summary.text());
    }
    ended.map(|()| exit::DONE)
}

/// The next snapshot of the station; an error once it is armed, because then it could write.
async fn next(events: &mut Lines) -> Result<Snapshot, CommandError> {
    let ended = |text: &str| CommandError::new(exit::UNAVAILABLE, text);
    let snapshot: Snapshot =
        events.next().await?.ok_or_else(|| ended("the daemon has ended; named bays are kept"))?;
    if snapshot.draining {
        return Err(ended("the station is ending"));
    }
    if snapshot.armed {
        let text =
            "the station is armed: a drive that is plugged in only to show its bay could be imaged";
        let error = CommandError::new(exit::REFUSED, text);
        return Err(error.with_hint("`prestagectl disarm` first, and arm it again afterwards"));
    }
    Ok(snapshot)
}

/// The names of `--names`, checked before the first bay is asked for.
fn given(
    learned: &Learned,
    arguments: &LearnArguments,
) -> Result<Option<VecDeque<String>>, CommandError> {
    let Some(names) = &arguments.names else {
        return match learned.check(&format!("{}1", arguments.prefix), None) {
            Ok(()) | Err(LearnedError::Name(NameError::Taken { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        };
    };
    let mut all: VecDeque<String> = VecDeque::new();
    for name in names.iter().map(|name| name.trim()) {
        learned.check(name, None)?;
        if all.iter().any(|other| other.to_lowercase() == name.to_lowercase()) {
            let text = format!("--names: {name:?} is given twice");
            return Err(CommandError::new(exit::USAGE, text));
        }
        all.push_back(name.to_owned());
    }
    Ok(Some(all))
}

/// Standard input by lines. A thread reads it, because no task can abandon a read of a terminal.
fn read_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Talks to the person; on standard error with `--json`, because standard output has one document only.
struct Talk {
    aside: bool,
}

impl Talk {
    fn say(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Asks a question; on a terminal the answer is typed behind it.
    fn ask(&self, text: &str) {
        let end = if std::io::stdin().is_terminal() { " " } else { "\n" };
        self.write(&format!("{text}{end}"));
    }

    fn write(&self, text: &str) {
        // Names are kept whether or not anybody listens.
        let _ = if self.aside {
            std::io::stderr().write_all(text.as_bytes())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }
}

/// A bay that was given a name, or kept its own, on this walk.
#[derive(Clone, Debug, Serialize)]
struct Named {
    name: String,
    path: String,
    bus: String,
    device: String,
    serial: Option<Serial>,
}

/// Which bays have names now, and what to do next.
#[derive(Debug, Serialize)]
struct Summary {
    file: PathBuf,
    bays: Vec<Named>,
    /// Names that were in the file before this walk.
    earlier: Vec<String>,
    restart: &'static str,
    /// The lines of TOML that allow exactly these bays.
    allow: String,
    /// Whether the configuration allows all these bays already.
    allowed: bool,
    /// Whether the station is armed from its start.
    armed_at_start: bool,
}

struct Walk<'a> {
    talk: Talk,
    learned: Learned,
    /// Names of `--names` that were not given yet.
    given: Option<VecDeque<String>>,
    prefix: &'a str,
    /// Whether bays are also allowed, each as soon as it has its name.
    allow: bool,
    named: Vec<Named>,
    occupancy: Occupancy,
    events: Lines,
    lines: mpsc::UnboundedReceiver<String>,
    interrupt: Signal,
}

impl Walk<'_> {
    async fn run(&mut self) -> Result<(), CommandError> {
        let file = self.learned.file().display();
        let allowed = if self.allow { ", and the bays are allowed there" } else { "" };
        self.talk.say(&format!(
            "Names of bays go to {file}, each as soon as it is confirmed{allowed}.\n\
             Drives are only looked at. Those that are plugged in already ({}) count once they are plugged in anew.\n",
            self.occupancy.count()
        ));
        self.invite();
        let mut arrived: VecDeque<DeviceView> = VecDeque::new();
        // Lines that came before their question, as from a pipe.
        let mut ahead: VecDeque<String> = VecDeque::new();
        let mut asked: Option<DeviceView> = None;
        let mut open = true;
        loop {
            while asked.is_none()
                && let Some(device) = arrived.pop_front()
            {
                if self.meet(&device)? {
                    asked = Some(device);
                } else {
                    self.invite();
                }
            }
            if let Some(device) = &asked
                && let Some(line) = ahead.pop_front()
            {
                if self.answer(device, line.trim())? {
                    asked = None;
                    self.invite();
                }
                continue;
            }
            let nothing_comes = !open && ahead.is_empty();
            let finished = match &self.given {
                Some(names) => names.is_empty(),
                None => nothing_comes,
            };
            if finished {
                return Ok(());
            }
            tokio::select! {
                snapshot = next(&mut self.events) => {
                    for device in self.occupancy.look(&snapshot?.devices) {
                        let same = |other: &DeviceView| other.path == device.path;
                        if !arrived.iter().any(same) && !asked.as_ref().is_some_and(same) {
                            arrived.push_back(device);
                        }
                    }
                }
                line = self.lines.recv(), if open => match line {
                    None => open = false,
                    Some(line) if asked.is_none() && line.trim().is_empty() => return Ok(()),
                    Some(line) => ahead.push_back(line),
                },
                _ = self.interrupt.recv() => {
                    self.talk.say("");
                    return Ok(());
                }
            }
        }
    }

    fn invite(&self) {
        let text = match self.given.as_ref().map(|names| names.front()) {
            Some(None) => return,
            Some(Some(name)) => {
                format!("Plug a drive into the bay {name:?} (Enter or Ctrl-C to finish).")
            }
            None => "Plug a drive into the next bay (Enter or Ctrl-C to finish).".to_owned(),
        };
        self.talk.say(&text);
    }

    /// Says which drive has come, and names its bay from `--names`; returns whether to ask the person for a name.
    fn meet(&mut self, device: &DeviceView) -> Result<bool, CommandError> {
        let serial = device.serial.as_ref().map_or("no serial number", Serial::as_str);
        let model = device.model.as_deref().unwrap_or("unknown model");
        self.talk.say(&format!(
            "\n{}: {}, {model}, {serial}, {}\n  at {}",
            device.device, device.bus, device.size_bytes, device.path
        ));
        if let Some(why) = placeless(device) {
            self.talk.say(&format!("  {why}: this bay cannot be named"));
            return Ok(false);
        }
        let current = self.current(device)?;
        if self.given.is_none() {
            self.question(device)?;
            return Ok(true);
        }
        if let Some(current) = current.filter(|_| self.is_done(device)) {
            self.talk.say(&format!("  this is the bay {current:?}"));
            return Ok(false);
        }
        let name = self.given.as_mut().and_then(VecDeque::pop_front).unwrap_or_default();
        self.name(device, &name)?;
        Ok(false)
    }

    /// The name that a drive's bay has in the configuration.
    fn current(&self, device: &DeviceView) -> Result<Option<String>, CommandError> {
        let policy = self.learned.config()?.policy().map_err(LearnedError::from)?;
        Ok(policy.name_of(&device.path).map(str::to_owned))
    }

    fn is_done(&self, device: &DeviceView) -> bool {
        self.named.iter().any(|named| named.path == device.path)
    }

    fn question(&self, device: &DeviceView) -> Result<(), CommandError> {
        let text = match self.current(device)? {
            Some(current) => {
                format!("  this bay is {current:?} already; another name, or Enter to keep it:")
            }
            None => format!("  name of this bay [{}], or {NONE} for none:", self.proposal(device)?),
        };
        self.talk.ask(&text);
        Ok(())
    }

    /// The prefix with the lowest number that makes a name nobody has.
    fn proposal(&self, device: &DeviceView) -> Result<String, CommandError> {
        let mut number = 1_u64;
        loop {
            let name = format!("{}{number}", self.prefix);
            match self.learned.check(&name, Some(&device.path)) {
                Err(LearnedError::Name(NameError::Taken { .. })) => number += 1,
                // What else may be wrong with it is said when it is given.
                Ok(()) | Err(LearnedError::Name(_)) => return Ok(name),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes an answer; returns whether the next bay may be asked for.
    fn answer(&mut self, device: &DeviceView, line: &str) -> Result<bool, CommandError> {
        let current = self.current(device)?;
        match (line, current) {
            (NONE, None) => {
                self.talk.say("  left without a name");
                return Ok(true);
            }
            ("" | NONE, Some(current)) => self.remember(device, &current)?,
            (line, Some(current)) if line == current => self.remember(device, &current)?,
            ("", None) => {
                let proposal = self.proposal(device)?;
                return self.tried(device, &proposal);
            }
            (name, _) => return self.tried(device, name),
        }
        self.talk.say("  kept");
        Ok(true)
    }

    /// Names a bay; or says why the name cannot be given, asks again, and returns false.
    fn tried(&mut self, device: &DeviceView, name: &str) -> Result<bool, CommandError> {
        match self.learned.check(name, Some(&device.path)) {
            Ok(()) => self.name(device, name).map(|()| true),
            Err(LearnedError::Name(error)) => {
                self.talk.say(&format!("  {error}"));
                self.question(device)?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn name(&mut self, device: &DeviceView, name: &str) -> Result<(), CommandError> {
        let before = self.current(device)?.filter(|before| before != name);
        self.learned.name(name, &device.path)?;
        self.remember(device, name)?;
        let before = before.map(|before| format!(", which was {before:?}")).unwrap_or_default();
        self.talk.say(&format!("  this is now the bay {name:?}{before}\n"));
        Ok(())
    }

    fn remember(&mut self, device: &DeviceView, name: &str) -> Result<(), CommandError> {
        if self.allow {
            self.learned.allow(name, &device.path, &device.bus.0)?;
        }
        self.named.retain(|named| named.path != device.path);
        self.named.push(Named {
            name: name.to_owned(),
            path: device.path.clone(),
            bus: device.bus.0.clone(),
            device: device.device.clone(),
            serial: device.serial.clone(),
        });
        Ok(())
    }

    fn summary(&self) -> Result<Summary, CommandError> {
        let config = self.learned.config()?;
        let policy = config.policy().map_err(LearnedError::from)?;
        let ours = |name: &str| self.named.iter().any(|named| named.name == name);
        let earlier = self.learned.bays()?.into_iter().map(|bay| bay.name.trim().to_owned());
        let names: Vec<String> = self.named.iter().map(|named| named.name.clone()).collect();
        let mut allow = format!("[admission]\nbays = {}\n", toml::Value::from(names));
        let mut buses = config.admission.buses.clone();
        for named in &self.named {
            if !buses.contains(&named.bus) {
                buses.push(named.bus.clone());
            }
        }
        let new_bus = buses.len() > config.admission.buses.len();
        if new_bus {
            let _ = writeln!(allow, "buses = {}", toml::Value::from(buses));
        }
        let allowed = |named: &Named| policy.allows(&named.path, &named.name);
        Ok(Summary {
            file: self.learned.file().to_owned(),
            earlier: earlier.filter(|name| !ours(name)).collect(),
            restart: RESTART,
            allow,
            allowed: !new_bus && self.named.iter().all(allowed),
            armed_at_start: config.admission.armed,
            bays: self.named.clone(),
        })
    }
}

impl Summary {
    fn text(&self) -> String {
        if self.bays.is_empty() {
            return "no bay was named".into();
        }
        let names: Vec<&str> = self.bays.iter().map(|bay| bay.name.as_str()).collect();
        let mut text = format!("named: {}\n", names.join(", "));
        if !self.earlier.is_empty() {
            let _ =
                writeln!(text, "named before, and not counted here: {}", self.earlier.join(", "));
        }
        let _ = write!(
            text,
            "\nThe station knows the names from its next start on; drives that it writes are finished before:\n\n    {RESTART}\n\n"
        );
        if self.allowed {
            text += "The configuration allows these bays.\n";
        } else {
            let lines = self.allow.trim_end().replace('\n', "\n    ");
            let folder = self.file.parent().unwrap_or(&self.file).display();
            let _ = write!(
                text,
                "Naming a bay does not allow it; `bays learn --allow` does both. To allow exactly these bays by hand,\n\
                 write this to a new file, not to one that has [admission] already:\n\n    \
                 # {folder}/site.toml\n    \
                 {lines}\n\n"
            );
        }
        text += if self.armed_at_start {
            "The station is ARMED from its start (admission.armed): first take out every drive that must not be imaged.\n"
        } else {
            "Take out every drive that must not be imaged before you arm the station.\n"
        };
        text
    }
}
