//! What a barcode scanner reads: an order, a serial number, a bay, or a command card.

use axum::Json;
use axum::body::Bytes as Chunk;
use axum::extract::State;
use axum::extract::connect_info::ConnectInfo;
use evidence::statement::Event;
use jiff::Timestamp;
use model::api::command::Command;
use model::api::requests::{Attempt, ScanRequest};
use model::api::scanned::Scanned;
use model::api::snapshot::{DriveView, Snapshot};
use model::code::DenialCode as Code;
use model::drive::Serial;
use model::failure::Denial;
use model::operator::Operator;
use model::orders::Order;
use model::record::Record;
use model::scan::{Card, Scan};
use record::ledger::{Ledger, LedgerError};
use record::orders::AlsoClosed;
use station::Answer;

use super::peer::Peer;
use super::records::from_ledger;
use super::{Context, Problem, Result, ask, bad_request, parse};

pub(super) async fn scan(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Chunk,
) -> Result<Json<Scanned>> {
    let ScanRequest { text, bay } = parse(&body)?;
    let by = peer.operator().await?;
    let scan = Scan::read(&text)
        .map_err(|error| Problem(Denial::of(Code::UnclearScan, &error).with_hint(error.hint())))?;
    let is_order = matches!(scan, Scan::Name(_) | Scan::Card(Card::Order(_)));
    if bay.is_some() && !is_order {
        return Err(bad_request("a bay goes with an order only"));
    }
    let scanned = match scan {
        Scan::Name(name) => named(&context, name, bay, &by).await?,
        Scan::Card(card) => carry_out(&context, card, bay, &by).await?,
    };
    Ok(Json(scanned))
}

async fn carry_out(
    context: &Context,
    card: Card,
    bay: Option<String>,
    by: &Operator,
) -> Result<Scanned> {
    let asked = by.clone();
    let noted = match card {
        Card::Serial(serial) => {
            return of_serial(context, &serial).await?.ok_or_else(|| unclear(&serial));
        }
        Card::Order(order) => return for_order(context, order, bay, by).await,
        Card::Bay(bay) => return for_bay(context, bay, by).await,
        Card::Release(bay) => (Command::Release { bay: bay.clone() }, "verdict_released", bay),
        Card::Retry(drive) => {
            (Command::Retry { drive: drive.clone(), by: asked }, "retry_asked", drive)
        }
        Card::Stop(drive) => (Command::Stop { drive: drive.clone() }, "stop_asked", drive),
        Card::Disarm => (Command::Arm(false), "disarmed", String::new()),
        Card::Forget => (Command::ForgetScans, "scans_forgotten", String::new()),
    };
    let (command, kind, about) = noted;
    if kind == "verdict_released" {
        can_be_noted(context).await?;
    }
    let answer = ask(context, command).await?;
    note(context, kind, by, &about).await;
    match answer {
        Answer::Stopped(stopped) => Ok(Scanned::Stopped { stopped }),
        Answer::Armed(disarmed) => Ok(Scanned::Disarmed { disarmed }),
        Answer::Forgotten(orders) => Ok(Scanned::Forgotten { orders }),
        Answer::Done => Ok(Scanned::Released { bay: about }),
        begun => waits(begun),
    }
}

/// What is called so: an order, a drive or a bay. What may be two of them is not guessed.
async fn named(
    context: &Context,
    name: String,
    bay: Option<String>,
    by: &Operator,
) -> Result<Scanned> {
    let order = known_order(context, &name).await?;
    let drive = of_serial(context, &name).await?;
    match (order, drive) {
        (Some(_), Some(_)) => {
            let detail = format!("{name} is both an order and a drive's serial number");
            let denial = Denial::new(Code::UnclearScan, detail);
            let cards = [Card::Order(name.clone()), Card::Serial(name)];
            Err(Problem(denial.with_hint(format!("say which: {} or {}", cards[0], cards[1]))))
        }
        (Some(_), None) => for_order(context, name, bay, by).await,
        (None, _) if bay.is_some() => {
            Err(Problem::new(Code::NoSuchOrder, format!("there is no order {name}")))
        }
        (None, Some(drive)) => Ok(drive),
        (None, None) => {
            let snapshot = context.snapshot.borrow().clone();
            let is_bay = snapshot.bays.iter().any(|bay| bay.name == name)
                || snapshot.drives.iter().any(|drive| drive.bay.0 == name);
            match is_bay {
                true => for_bay(context, name, by).await,
                false => Err(unclear(&name)),
            }
        }
    }
}

fn unclear(name: &str) -> Problem {
    let detail = format!("{name} is no order, no bay, and no drive that is or was here");
    let hint = "`prestagectl order list`, `prestagectl status` and `prestagectl records` list them";
    Problem(Denial::new(Code::UnclearScan, detail).with_hint(hint))
}

/// The order with this number, also if it is closed.
async fn known_order(context: &Context, number: &str) -> Result<Option<Order>> {
    let read = |ledger: Ledger| ledger.orders(AlsoClosed::Yes, &|_: &Order| None);
    let all = from_ledger(&context.ledger, read).await?;
    Ok(all.into_iter().map(|known| known.order).find(|order| order.number == number))
}

async fn for_order(
    context: &Context,
    order: String,
    bay: Option<String>,
    by: &Operator,
) -> Result<Scanned> {
    can_be_noted(context).await?;
    let about = [Some(order.clone()), bay.clone()].into_iter().flatten().collect::<Vec<_>>();
    let command = Command::Scan { order, bay, by: by.clone() };
    let answer = ask(context, command).await?;
    note(context, "order_scanned", by, &about.join(" for ")).await;
    waits(answer)
}

async fn for_bay(context: &Context, bay: String, by: &Operator) -> Result<Scanned> {
    can_be_noted(context).await?;
    let scanned = ask(context, Command::ScanBay { bay: bay.clone(), by: by.clone() }).await;
    match scanned {
        Ok(answer) => {
            note(context, "order_scanned", by, &format!("for {bay}")).await;
            waits(answer)
        }
        // Nobody has scanned an order before: what is in the bay is what is asked for.
        Err(Problem(denial)) if denial.code == Code::UnclearScan => {
            let snapshot = context.snapshot.borrow().clone();
            let known = snapshot.bays.iter().any(|known| known.name == bay);
            match shown(&snapshot, |drive| drive.bay.0 == bay) {
                None if !known => Err(Problem(denial)),
                drive => Ok(Scanned::Bay { bay, drive: drive.map(Box::new) }),
            }
        }
        Err(problem) => Err(problem),
    }
}

/// What was begun, or waits for a drive.
fn waits(answer: Answer) -> Result<Scanned> {
    match answer {
        Answer::Attempt { device, attempt } => {
            Ok(Scanned::Attempt { attempt: Attempt { device, attempt } })
        }
        Answer::Scanned(order) => Ok(Scanned::Order { order }),
        other => {
            let detail = format!("the station answers a scan with {other:?}");
            Err(Problem::new(Code::InternalError, detail))
        }
    }
}

/// A drive that is in a bay, or whose verdict a bay still shows.
fn shown(snapshot: &Snapshot, which: impl Fn(&DriveView) -> bool) -> Option<DriveView> {
    let attached = snapshot.drives.iter();
    let departed = snapshot.departed.iter().rev().map(|departed| &departed.drive);
    attached.chain(departed).find(|drive| which(drive)).cloned()
}

/// What is known of a drive with this serial number.
async fn of_serial(context: &Context, text: &str) -> Result<Option<Scanned>> {
    let snapshot = context.snapshot.borrow().clone();
    let is = |drive: &DriveView| {
        drive.serial.as_ref().is_some_and(|serial| serial.as_str().eq_ignore_ascii_case(text))
    };
    if let Some(drive) = snapshot.drives.iter().find(|drive| is(drive)) {
        // The lamp of its bay shows where it is. Where there is none, the answer does.
        let locate = Command::Locate { called: drive.bay.0.clone(), off: false };
        let _ = ask(context, locate).await;
        return Ok(Some(Scanned::Drive { drive: Box::new(drive.clone()) }));
    }
    let Some(serial) = Serial::new(text) else { return Ok(None) };
    let read = move |ledger: Ledger| -> std::result::Result<Option<Record>, LedgerError> {
        ledger.latest_of(&serial)
    };
    let record = from_ledger(&context.ledger, read).await?;
    Ok(record.map(|record| Scanned::Record { record: Box::new(record) }))
}

/// What lets more happen is not done if it could not be noted.
async fn can_be_noted(context: &Context) -> Result<()> {
    from_ledger(&context.ledger, |ledger| ledger.takes_writes()).await
}

/// Notes in the journal and in the log what was scanned and carried out.
async fn note(context: &Context, kind: &str, by: &Operator, about: &str) {
    let operator = by.to_string();
    tracing::warn!(PRESTAGED_OPERATOR = operator, "{operator} scans: {kind} {about}");
    let (kind, at) = (kind.to_owned(), Timestamp::now());
    let detail = serde_json::json!({ "scanned": about });
    let event = Event { kind, at, operator: Some(operator), detail };
    let noted = from_ledger(&context.ledger, move |ledger| ledger.happened(event)).await;
    if let Err(Problem(denial)) = noted {
        // What was asked for is done.
        tracing::error!("not in the log: what was scanned: {}", denial.detail);
    }
}
