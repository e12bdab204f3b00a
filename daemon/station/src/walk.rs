//! Random walks: whatever happens, and in whatever order, the station makes no illegal transition, and when everything
//! that it has asked for is answered, no drive is left waiting.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use model::admission::Usage;
use model::api::command::{Command, ImageOrder};
use model::code::{FailureCode, ReasonCode};
use model::digest::Digest;
use model::drive::{Change, Diskseq, Geometry};
use model::failure::{Failure, Reason, Refusal};
use model::job::StopReason;
use model::manifest::{MasterId, Recipe};
use model::media::{IntakeOutcome, Listing, Media, Stamp};
use model::operator::Consent;
use model::record::Record;
use model::units::{Bytes, SectorSize};
use model::verdict::Verdict;
use proptest::prelude::*;

use crate::insertion::Phase;
use crate::tests::{
    Bench, Effects, MASTER, NOW, STAMP, drive, media, nothing_known, somebody, station,
};
use crate::{DriveFacts, Effect, Event, JobOrder, Ticket};

/// Something that the station waits for.
#[derive(Debug)]
enum Question {
    Judge(Ticket),
    Intake(PathBuf),
    Look(Recipe),
    /// Whether it was cancelled.
    Press(Recipe, bool),
    Geometries(Digest),
    Job(Box<JobOrder<&'static str>>),
}

/// One thing that happens; numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Attach,
    Detach(usize),
    /// The question with this number is answered, well if the answer is 0.
    Answer(usize, u8),
    /// Media of this version is in the inbox, or none.
    Inbox(Option<u8>),
    Arm(bool),
    Retry(usize),
    Image(usize),
    Stop(usize),
    Press(u64),
    RemoveMaster(usize),
    /// The media is verified once more.
    Verify,
    Drain,
}

/// What happens last.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// The station is told to end.
    Drain,
    /// Good media comes, and the station may write.
    Anew,
    /// Everything that was asked is answered, and nothing else happens.
    AsItIs,
}

/// The station, and everything around it.
struct World {
    bench: Bench,
    questions: Vec<Question>,
    attached: Vec<u64>,
    count: u64,
    store: BTreeSet<MasterId>,
    version: u8,
    exits: bool,
}

impl World {
    fn new() -> Self {
        Self {
            bench: station(),
            questions: Vec::new(),
            attached: Vec::new(),
            count: 0,
            store: BTreeSet::new(),
            version: 0,
            exits: false,
        }
    }

    fn apply(&mut self, event: Event<&'static str>) {
        let effects = self.bench.apply(event);
        self.take(effects);
    }

    fn take(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Judge(ticket, ..) => self.questions.push(Question::Judge(ticket)),
                Effect::Intake(path) => self.questions.push(Question::Intake(path)),
                Effect::LookForMaster(recipe) => self.questions.push(Question::Look(recipe)),
                Effect::Press { recipe, .. } => {
                    let runs = |question: &Question| matches!(question, Question::Press(..));
                    assert!(!self.questions.iter().any(runs), "two presses at once");
                    self.questions.push(Question::Press(recipe, false));
                }
                Effect::LookForGeometries(media) => {
                    self.questions.push(Question::Geometries(media));
                }
                Effect::Job(order) => self.questions.push(Question::Job(order)),
                Effect::CancelPress => {
                    for question in &mut self.questions {
                        if let Question::Press(_, cancelled) = question {
                            *cancelled = true;
                        }
                    }
                }
                Effect::RemoveMaster(id, _) => drop(self.store.remove(&id)),
                Effect::Exit => self.exits = true,
                Effect::Record(_)
                | Effect::Orders(..)
                | Effect::LookAtOrders(_)
                | Effect::Offer(..)
                | Effect::AcceptMedia(..)
                | Effect::Clean(..)
                | Effect::Audit(..)
                | Effect::Verify(..)
                | Effect::Answer(..) => {}
            }
        }
    }

    fn listing(&self, version: Option<u8>) -> Listing {
        let stamp = |version: u8| Stamp { modified_ns: version.into(), ..STAMP };
        let file = |version| (PathBuf::from("/inbox/win.wim"), stamp(version));
        version.map(file).into_iter().collect::<HashMap<_, _>>()
    }

    fn answer(&mut self, question: Question, answer: u8) {
        let event = match question {
            Question::Judge(ticket) => {
                let usage = Usage { mounts: vec!["/mnt".into()], ..Usage::default() };
                let facts = match answer {
                    1 => Ok(Box::new(DriveFacts { usage, ..nothing_known() })),
                    2 => Err(Refusal::new(ReasonCode::Stalled, "x")),
                    _ => Ok(Box::new(nothing_known())),
                };
                Event::Judged(ticket, facts)
            }
            Question::Intake(path) => {
                let sha256 = Digest([self.version; 32]);
                let outcome = match answer {
                    1 => Err(Failure::new(FailureCode::MediaUnreadable, "x")),
                    2 => Err(Failure::new(FailureCode::MediaChanged, "x")),
                    _ => Ok(IntakeOutcome::Media(Box::new(Media { sha256, ..media() }))),
                };
                Event::IntakeEnded(path, outcome)
            }
            Question::Look(recipe) => {
                let there = self.store.contains(&recipe.id()).then_some(MASTER);
                let found = match answer {
                    1 => Err(Failure::new(FailureCode::StoreError, "x")),
                    _ => Ok(there),
                };
                Event::MasterLooked(recipe, found)
            }
            Question::Press(recipe, cancelled) => {
                use FailureCode as F;
                let codes = [F::PressFailed, F::VolumeFull, F::MediaChanged, F::StoreFull];
                let failed = usize::from(answer).checked_sub(1).map(|n| codes[n % codes.len()]);
                let failed = if cancelled { Some(F::Cancelled) } else { failed };
                let result = failed.map_or(Ok(MASTER), |code| Err(Failure::new(code, "x")));
                if result.is_ok() {
                    self.store.insert(recipe.id());
                }
                Event::PressEnded(recipe.id(), result)
            }
            Question::Geometries(digest) => {
                let geometry = Geometry { size: Bytes(16 << 30), sector: SectorSize::B512 };
                Event::Geometries(digest, vec![geometry])
            }
            Question::Job(order) => {
                Event::JobEnded(order.ticket.clone(), Self::record(*order, answer))
            }
        };
        self.apply(event);
    }

    fn record(order: JobOrder<&str>, answer: u8) -> Box<Record> {
        let closed =
            |verdict, code| order.record.clone().closed_with(verdict, Reason::new(code, "x"), NOW);
        Box::new(match (order.stop.reason(), answer) {
            (Some(StopReason::Operator), _) => closed(Verdict::Stopped, ReasonCode::OperatorStop),
            (Some(StopReason::Unplugged), _) => closed(Verdict::Failed, ReasonCode::Unplugged),
            (Some(_), _) => closed(Verdict::Stopped, ReasonCode::StationShutdown),
            (None, 1) => closed(Verdict::Failed, ReasonCode::Mismatch),
            (None, 2) => closed(Verdict::Refused, ReasonCode::InUse),
            (None, 3) => closed(Verdict::Failed, ReasonCode::StoreError),
            (None, _) => Record { verdict: Some(Verdict::Passed), ..order.record.clone() },
        })
    }

    fn command(&mut self, command: Command) {
        let (reply, _answer) = tokio::sync::oneshot::channel();
        self.apply(Event::Command(command, reply));
    }

    fn some_drive(&self, number: usize) -> Option<u64> {
        (!self.attached.is_empty()).then(|| self.attached[number % self.attached.len()])
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Attach => {
                self.count += 1;
                self.attached.push(self.count);
                let new = drive(&format!("sd{}", self.count), self.count);
                self.apply(Event::Drives(vec![Change::Present(Box::new(new))]));
            }
            Step::Detach(number) => {
                let Some(gone) = self.some_drive(number) else { return };
                self.attached.retain(|other| *other != gone);
                let (name, diskseq) = (format!("sd{gone}"), Diskseq(gone));
                self.apply(Event::Drives(vec![Change::Gone { name, diskseq }]));
            }
            Step::Answer(number, answer) => {
                if !self.questions.is_empty() {
                    let question = self.questions.remove(number % self.questions.len());
                    self.answer(question, answer);
                }
            }
            Step::Inbox(version) => {
                self.version = version.unwrap_or(self.version);
                let listing = self.listing(version);
                self.apply(Event::Inbox(listing.into()));
            }
            Step::Arm(armed) => self.command(Command::Arm(armed)),
            Step::Retry(number) => {
                let Some(serial) = self.some_drive(number) else { return };
                self.command(Command::Retry { drive: format!("S{serial}"), by: somebody() });
            }
            Step::Image(number) => {
                let Some(device) = self.some_drive(number) else { return };
                let media = Some("win.wim".to_owned());
                let again = number % 2 == 0;
                let consent =
                    (number % 3 == 0).then(|| Consent::new("a walk", &somebody()).ok()).flatten();
                let order = ImageOrder {
                    drive: format!("sd{device}"),
                    media,
                    order: None,
                    again,
                    consent,
                    by: somebody(),
                };
                self.command(Command::Image(order));
            }
            Step::Stop(number) => {
                let Some(serial) = self.some_drive(number) else { return };
                self.command(Command::Stop { drive: format!("S{serial}") });
            }
            Step::Press(gib) => {
                let geometry = Geometry { size: Bytes(gib << 30), sector: SectorSize::B512 };
                self.command(Command::Press { media: "win.wim".into(), geometry });
            }
            Step::RemoveMaster(number) => {
                let Some(id) = self.store.iter().nth(number % self.store.len().max(1)).cloned()
                else {
                    return;
                };
                self.command(Command::RemoveMaster { id });
            }
            Step::Verify => self.command(Command::VerifyMedia { name: "win.wim".into() }),
            Step::Drain => self.apply(Event::Drain),
        }
    }

    /// Answers everything, and well.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.questions.is_empty() {
                return;
            }
            let question = self.questions.remove(0);
            self.answer(question, 0);
        }
        panic!("the station asks without end: {:?}", self.questions);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0_usize..64;
    prop_oneof![
        4 => Just(Step::Attach),
        2 => n().prop_map(Step::Detach),
        12 => (n(), 0_u8..5).prop_map(|(question, answer)| Step::Answer(question, answer)),
        8 => n().prop_map(|question| Step::Answer(question, 0)),
        2 => prop::option::weighted(0.8, 1_u8..4).prop_map(Step::Inbox),
        1 => any::<bool>().prop_map(Step::Arm),
        2 => n().prop_map(Step::Retry),
        1 => n().prop_map(Step::Image),
        1 => n().prop_map(Step::Stop),
        1 => (8_u64..11).prop_map(Step::Press),
        1 => n().prop_map(Step::RemoveMaster),
        1 => Just(Step::Verify),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_drive_is_left_waiting(
        steps in prop::collection::vec(step(), 1..60),
        ending in prop_oneof![Just(Ending::Drain), Just(Ending::Anew), Just(Ending::AsItIs)],
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        match ending {
            Ending::Drain => world.step(Step::Drain),
            Ending::Anew => {
                world.step(Step::Inbox(Some(9)));
                world.step(Step::Arm(true));
            }
            Ending::AsItIs => {}
        }
        world.settle();
        for view in &world.bench.0.snapshot(&|_| None).departed {
            prop_assert!(view.drive.verdict.is_some(), "only a verdict stays: {view:?}");
            let taken = world.bench.0.insertions.values().any(|one| one.drive.bay == view.drive.bay);
            prop_assert!(!taken || view.followed, "another drive is in the bay: {view:?}");
            let kept = !view.followed || view.drive.verdict == Some(Verdict::Failed);
            prop_assert!(kept, "only a failure outlives the next drive: {view:?}");
        }
        let drain = ending == Ending::Drain;
        let usable = !world.bench.0.catalog.valid().is_empty();
        for insertion in world.bench.0.insertions.values() {
            let decided = match insertion.phase() {
                Phase::Refused(_) | Phase::Done(_) => true,
                // The next station finds what this one has not begun.
                Phase::AwaitingMedia | Phase::AwaitingMaster(_) | Phase::Judging if drain => true,
                Phase::AwaitingMedia => !usable,
                Phase::AwaitingMaster(_) | Phase::Judging | Phase::Running { .. } => false,
            };
            prop_assert!(decided, "{:?}: {:?}", insertion.key(), insertion.phase());
        }
        prop_assert!(!drain || world.exits, "a station that is told to end ends");
    }
}
