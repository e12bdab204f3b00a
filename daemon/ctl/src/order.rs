//! `order`: production orders, how they stand, and what is done to them.

use std::path::{Path, PathBuf};

use anstyle::Style;
use clap::Subcommand;
use config::orders::file::{self, Links};
use config::orders::{Form, parse};
use model::api::orders::{LaterJob, OrderDetail, OrderView};
use model::api::requests::OrderRequest;
use model::api::snapshot::Snapshot;
use model::drive::Serial;
use model::failure::chain;
use model::hint::Hint as _;
use model::orders::OrderStage;

use super::arguments::reason;
use super::client::{Client, segment};
use super::output::{Output, paragraph};
use super::table::{Cell, Keep, Table};
use super::{CommandError, completing, exit, usage, words};

#[derive(Debug, Subcommand)]
pub(super) enum OrderVerb {
    /// Add the orders in a file, all of them or none; one that is there already is changed.
    Add {
        /// A file *.toml with one order, or *.csv with one on each line.
        file: PathBuf,
    },
    /// List the orders and how they stand.
    List {
        /// Also orders that are closed or hidden.
        #[arg(long)]
        all: bool,
    },
    /// Show one order with its history, and why each attached drive does or does not belong to it.
    Show {
        /// Number of the order.
        #[arg(add = completing::orders())]
        number: String,
    },
    /// Begin no further drive for an order until it is resumed.
    Hold {
        /// Number of the order.
        #[arg(add = completing::orders())]
        number: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Go on with an order that is held.
    Resume {
        /// Number of the order.
        #[arg(add = completing::orders())]
        number: String,
    },
    /// Approve the first articles of an order, so that the others are begun.
    Approve {
        /// Number of the order.
        #[arg(add = completing::orders())]
        number: String,
    },
    /// End an order for good; drives that are being imaged are finished.
    Close {
        /// Number of the order.
        #[arg(add = completing::orders())]
        number: String,
        /// Why.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Change how many drives an order is for; fewer than have passed closes it.
    Quantity {
        /// Number of the order.
        #[arg(add = completing::orders())]
        number: String,
        /// How many drives.
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        quantity: u32,
        /// Why.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// Let a serial number try again that has failed too often.
    Release {
        /// Number of the order.
        #[arg(add = completing::orders())]
        number: String,
        /// Serial number of the drive.
        #[arg(add = completing::serials())]
        serial: String,
        /// Why.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    verb: &OrderVerb,
) -> Result<u8, CommandError> {
    let (number, act, request) = match verb {
        OrderVerb::Add { file } => return add(client, out, file).await,
        OrderVerb::List { all } => {
            let orders: Vec<OrderView> = client.get(&format!("/v1/orders?all={all}")).await?;
            out.print(&orders, |terminal| list(&orders, terminal));
            return Ok(exit::DONE);
        }
        OrderVerb::Show { number } => {
            let order: OrderDetail = client.get(&format!("/v1/orders/{}", segment(number))).await?;
            out.print(&order, |terminal| show(&order, terminal));
            return Ok(exit::DONE);
        }
        OrderVerb::Hold { number, reason } => {
            (number, "hold", OrderRequest { reason: reason.clone(), ..OrderRequest::default() })
        }
        OrderVerb::Resume { number } => (number, "resume", OrderRequest::default()),
        OrderVerb::Approve { number } => (number, "approve", OrderRequest::default()),
        OrderVerb::Close { number, reason } => {
            let reason = Some(reason.clone());
            (number, "close", OrderRequest { reason, ..OrderRequest::default() })
        }
        OrderVerb::Quantity { number, quantity, reason } => {
            let (reason, quantity) = (Some(reason.clone()), Some(*quantity));
            (number, "quantity", OrderRequest { reason, quantity, serial: None })
        }
        OrderVerb::Release { number, serial, reason } => {
            let (reason, serial) = (Some(reason.clone()), Some(serial.clone()));
            (number, "release", OrderRequest { reason, quantity: None, serial })
        }
    };
    let path = format!("/v1/orders/{}/{act}", segment(number));
    let _: serde_json::Value = client.post(&path, &request).await?;
    let order: OrderDetail = client.get(&format!("/v1/orders/{}", segment(number))).await?;
    out.done(&line(&order.standing))
}

async fn add(client: &Client, out: &Output, path: &Path) -> Result<u8, CommandError> {
    let shown = path.display();
    let form = Form::of(path)
        .ok_or_else(|| usage(format!("{shown}: orders are in a file *.toml or *.csv")))?;
    let read = |path: &Path| file::read(path, Links::Follow).map_err(|error| chain(&error));
    let text =
        read(path).map_err(|why| CommandError::new(exit::FAILED, format!("{shown}: {why}")))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let list = |name: &str| read(&folder.join(name));
    let orders = parse(&text, form, &list).map_err(|mistake| {
        let error = CommandError::new(exit::FAILED, format!("{shown}: {mistake}"));
        match mistake.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    })?;
    let _: serde_json::Value = client.post("/v1/orders", &orders).await?;
    let all: Vec<OrderView> = client.get("/v1/orders?all=true").await?;
    let snapshot: Snapshot = client.get("/v1/status").await?;
    let added = all.iter().filter(|one| orders.iter().any(|order| order.number == one.number));
    let lines: Vec<String> = added
        .map(|order| {
            let known = snapshot.media.iter().find(|media| media.sha256 == Some(order.media));
            let other = |name: &str| order.media_name.as_deref().is_some_and(|said| said != name);
            let lacks = match known {
                None => "; its media is not in the inbox yet".to_owned(),
                Some(media) if other(&media.name) => {
                    format!("; the inbox has its media as {}", media.name)
                }
                Some(_) => String::new(),
            };
            format!("{}{lacks}", line(order))
        })
        .collect();
    out.done(&lines.join("\n"))
}

/// How an order stands, in a word.
fn state(order: &OrderView) -> (String, Style) {
    let why = order.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let style = match order.state {
        OrderStage::Held
        | OrderStage::AwaitsApproval
        | OrderStage::NotYetValid
        | OrderStage::Expired => words::NOTICE,
        OrderStage::Closed => Style::new().dimmed(),
        OrderStage::Complete => words::GOOD,
        OrderStage::Open => Style::new(),
    };
    let state = format!("{}{why}", order.state.word());
    match order.not_as_passed.unwrap_or_default() {
        0 => (state, style),
        1 => (format!("{state}; 1 drive is not as it passed"), words::NOTICE),
        several => (format!("{state}; {several} drives are not as they passed"), words::NOTICE),
    }
}

/// An order on one line.
pub(super) fn line(order: &OrderView) -> String {
    let (state, style) = state(order);
    format!("order {}: {}  {style}{state}{style:#}", order.number, count(order))
}

/// `3 of 500, 2 running`.
fn count(order: &OrderView) -> String {
    let running = match order.running {
        0 => String::new(),
        running => format!(", {running} running"),
    };
    format!("{} of {}{running}", order.passed, order.quantity)
}

pub(super) fn list(orders: &[OrderView], terminal: Option<usize>) -> String {
    if orders.is_empty() {
        return paragraph("no orders\n", terminal);
    }
    let mut table = Table::new([
        ("ORDER", Keep::Always),
        ("DONE", Keep::Always),
        ("CUSTOMER", Keep::Spare),
        ("PART", Keep::Spare),
        ("MEDIA", Keep::Useful),
        ("OFFER", Keep::Spare),
        ("NOT BEFORE", Keep::Useful),
        ("EXPIRES", Keep::Useful),
        ("STATE", Keep::Text),
    ]);
    for order in orders {
        let (state, style) = state(order);
        let digest = order.media.to_string();
        let media = order.media_name.as_deref().or(digest.get(..16)).unwrap_or_default();
        table.row([
            Cell::new(&order.number),
            Cell::new(count(order)),
            Cell::perhaps(order.customer.as_ref()),
            Cell::perhaps(order.part.as_ref()),
            Cell::new(media),
            Cell::new(order.offer),
            Cell::perhaps(order.not_before),
            Cell::perhaps(order.expires),
            Cell::styled(state, style),
        ]);
    }
    table.render(terminal)
}

fn show(detail: &OrderDetail, terminal: Option<usize>) -> String {
    let OrderDetail { order, standing, history, to_ship, not_as_passed, drives } = detail;
    let mut table = Table::headless([Keep::Always, Keep::Text]);
    let (state, style) = state(standing);
    table.row([Cell::new("order"), Cell::new(&order.number)]);
    table.row([Cell::new("state"), Cell::styled(state, style)]);
    let mut line = |name: &str, value: String| table.row([Cell::new(name), Cell::new(value)]);
    line("done", count(standing));
    let texts = [
        ("customer", order.customer.clone()),
        ("part", order.part.clone()),
        ("media", Some(order.media.to_string())),
        ("media name", order.media_name.clone()),
        ("image", order.image.map(|image| image.to_string())),
        ("layout", order.layout.clone()),
        ("overrun", (order.overrun > 0).then(|| order.overrun.to_string())),
        ("attempts", Some(order.attempts.to_string())),
        ("first article", (order.first_article > 0).then(|| order.first_article.to_string())),
        ("not before", order.not_before.map(|moment| moment.to_string())),
        ("expires", order.expires.map(|moment| moment.to_string())),
        ("offer", Some(order.offer.to_string())),
        ("label", order.label_template.as_ref().map(|_| "a template of its own".to_owned())),
        ("bays", listed(&order.conditions.bays)),
        ("models", listed(&order.conditions.models)),
        ("sizes", {
            let sizes: Vec<String> =
                order.conditions.sizes.iter().map(ToString::to_string).collect();
            listed(&sizes)
        }),
        ("serials", listed(&order.conditions.serials)),
        (
            "listed",
            match order.conditions.listed_serials.len() {
                0 => None,
                count => Some(words::plural(count, "serial number", "serial numbers")),
            },
        ),
    ];
    texts.into_iter().for_each(|(name, text)| text.into_iter().for_each(|text| line(name, text)));
    for entry in history {
        let parts = [entry.detail.as_deref(), entry.reason.as_deref()];
        let told: Vec<&str> = parts.into_iter().flatten().collect();
        let told = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
        line(&entry.act, format!("{:.0} by {}{told}", entry.at, entry.by));
    }
    if !to_ship.is_empty() {
        let names: Vec<&str> = to_ship.iter().take(TOLD).map(Serial::as_str).collect();
        let more = match to_ship.len().checked_sub(TOLD) {
            Some(more @ 1..) => format!(" and {more} more; --json has all"),
            _ => String::new(),
        };
        line("to ship", format!("{}: {}{more}", to_ship.len(), names.join(" ")));
    }
    for later in not_as_passed.iter().take(TOLD) {
        line("not as passed", later_line(later));
    }
    if let Some(more @ 1..) = not_as_passed.len().checked_sub(TOLD) {
        line("", format!("and {more} more; --json has all"));
    }
    for drive in drives {
        let name = drive.serial.as_ref().map_or(drive.device.as_str(), |serial| serial.as_str());
        line(
            "drive",
            match drive.matches {
                true => format!("{name} in bay {} belongs to it", drive.bay),
                false => format!("{name} does not: {}", drive.why.join(", ")),
            },
        );
    }
    table.render(terminal)
}

/// So many drives are told of each kind.
const TOLD: usize = 20;

/// `SN1: failed since, for no order, with old.wim (job 0197...)`.
fn later_line(later: &LaterJob) -> String {
    let LaterJob { serial, job, verdict, order, media } = later;
    let what = match verdict {
        Some(verdict) => format!("{verdict} since"),
        None => "being imaged again".to_owned(),
    };
    let order = match order {
        Some(order) => format!("for order {order}"),
        None => "for no order".to_owned(),
    };
    let media = media.as_ref().map(|media| format!(", with {media}")).unwrap_or_default();
    format!("{serial}: {what}, {order}{media} (job {job})")
}

fn listed(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(", "))
}
