//! Records, orders and media, as lists.

use std::collections::VecDeque;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use model::api::line::RecordLine;
use model::api::snapshot::MediaState;
use model::failure::chain;
use model::orders::OrderStage;
use model::record::Record;
use serde::Deserialize;
use wire::client::{ClientError, segment};

use super::{Follows, page, problem};
use crate::access::Visitor;
use crate::accounts::Role;
use crate::live::List;
use crate::reading::{status, within};

/// So many records are shown, the latest.
const MOST: usize = 200;
/// Without another wish, records of this time are shown.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// Which records somebody wants to see.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
pub(crate) struct Wanted {
    /// Of this drive; of the last 24 hours if it is empty.
    #[serde(default)]
    serial: String,
    /// With this verdict; with any if it is empty.
    #[serde(default)]
    #[schemars(with = "Choice")]
    verdict: String,
}

/// The verdicts to choose from, and none.
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it is only described")]
enum Choice {
    #[serde(rename = "")]
    Any,
    Passed,
    Failed,
    Refused,
    Stopped,
}

/// The latest records, and how many more there are.
async fn read(
    shared: &crate::Shared,
    wanted: &Wanted,
) -> Result<(VecDeque<Record>, usize), ClientError> {
    let mut query: Vec<String> = Vec::new();
    match wanted.serial.trim() {
        "" => query.push(format!("since={}", segment(&(Timestamp::now() - LATELY).to_string()))),
        serial => query.push(format!("serial={}", segment(serial))),
    }
    if !wanted.verdict.is_empty() {
        query.push(format!("verdict={}", segment(&wanted.verdict)));
    }
    let mut lines =
        within(shared.view.records(&format!("/v1/records?{}", query.join("&")))).await?;
    let (mut latest, mut more) = (VecDeque::with_capacity(MOST), 0);
    while let Some(line) = within(lines.next()).await? {
        match line {
            RecordLine::Record(record) => latest.push_front(*record),
            RecordLine::Unreadable(_) => {}
            RecordLine::Failed(denial) => return Err(denial.into()),
        }
        if latest.len() > MOST {
            latest.pop_back();
            more += 1;
        }
    }
    Ok((latest, more))
}

pub(crate) async fn records(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let now = shared.now.borrow().clone();
    let (records, more) = match read(&shared, &wanted).await {
        Ok(read) => read,
        Err(error) => {
            return problem(status(&error), &visitor, &chain(&error));
        }
    };
    let body = html! {
        form.act method="get" action="/records" {
            label { "Serial number " input name="serial" value=(wanted.serial) autocomplete="off"; }
            label {
                "Verdict "
                select name="verdict" {
                    option value="" { "all" }
                    @for verdict in ["passed", "failed", "refused", "stopped"] {
                        option value=(verdict) selected[wanted.verdict == verdict] { (verdict) }
                    }
                }
            }
            button { "Show" }
        }
        div #list {
            p { (records.len()) " records" @if wanted.serial.trim().is_empty() { " of the last 24 hours" } @if more > 0 { "; " (more) " earlier ones are not shown" } }
            table {
                thead { tr { th { "Opened" } th { "Bay" } th { "Serial number" } th { "Verdict" } th { "Why" } th { "Media" } th { "Order" } th { "Asked by" } } }
                tbody { @for record in &records { (row(record)) } }
            }
        }
    };
    page("Records", Follows::List(List::Records), &visitor, &now, &body)
}

fn row(record: &Record) -> Markup {
    html! {
        tr {
            td { a href={ "/v1/records/" (record.job) } { (record.opened.strftime("%Y-%m-%d %H:%M:%S UTC")) } }
            td { (record.bay.0) }
            td { (record.serial.as_ref().map(|serial| serial.as_str()).unwrap_or("-")) }
            td { @if let Some(verdict) = record.verdict { (verdict.mark()) " " (verdict.word()) } @else { "running" } }
            td { @if let Some(reason) = &record.reason { (reason.code.at_the_rack().short) " (" code { (reason.code) } ")" } }
            td { (record.media.as_ref().map(|media| media.name.as_str()).unwrap_or("-")) }
            td { (record.order.as_deref().unwrap_or("-")) }
            td { (record.operator.as_deref().unwrap_or("-")) }
        }
    }
}

/// The answer while nothing is known of the station.
fn no_data(visitor: &Visitor) -> Response {
    let told = "NO DATA: the daemon does not answer";
    problem(StatusCode::SERVICE_UNAVAILABLE, visitor, told)
}

pub(crate) async fn orders(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let now = shared.now.borrow().clone();
    let Some(snapshot) = now.fresh() else {
        return no_data(&visitor);
    };
    let may = shared.config.operate && visitor.may(Role::Admin);
    let act = |number: &str, act: &str| format!("/orders/{}/{act}", segment(number));
    let body = html! {
        div #list {
            @if snapshot.orders.is_empty() { p { "There are no orders." } }
            @else {
                table {
                    thead { tr { th { "Number" } th { "Passed" } th { "Running" } th { "Media" } th { "State" } th { span.unseen { "Acts" } } } }
                    tbody {
                        @for order in &snapshot.orders {
                            tr {
                                td { (order.number) }
                                td { (order.passed) " of " (order.quantity) }
                                td { (order.running) }
                                td { (order.media_name.as_deref().unwrap_or("-")) }
                                td { (order.state.word()) @if let Some(reason) = &order.reason { ": " (reason) } }
                                td {
                                    @if may && order.state.is_in_force() { form method="post" action=(act(&order.number, "hold")) { button { "Hold" } } }
                                    @if may && order.state == OrderStage::Held { form method="post" action=(act(&order.number, "resume")) { button { "Resume" } } }
                                    @if may && order.state == OrderStage::AwaitsApproval { form method="post" action=(act(&order.number, "approve")) { button.danger { "Approve" } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    page("Orders", Follows::List(List::Orders), &visitor, &now, &body)
}

pub(crate) async fn media(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let now = shared.now.borrow().clone();
    let Some(snapshot) = now.fresh() else {
        return no_data(&visitor);
    };
    let may = shared.config.operate && visitor.may(Role::Operate);
    let body = html! {
        div #list {
            @if let Some(reason) = &snapshot.no_media { p.remark { "Drives get no media unless it is named: " (reason.detail) } }
            @if let Some(trouble) = &snapshot.inbox.trouble { p.remark { "The inbox cannot be read: " (trouble) } }
            @if snapshot.media.is_empty() { p { "There is no media." } }
            @else { table {
                thead { tr { th { "Name" } th { "State" } th { "Drives get it" } th { "Size" } th { "SHA-256" } th { "Problems and warnings" } th { span.unseen { "Acts" } } } }
                tbody {
                    @for media in &snapshot.media {
                        tr {
                            td { (media.name) }
                            td { (match media.state { MediaState::Checking => "checking", MediaState::Valid => "valid", MediaState::Invalid => "INVALID" }) @if let Some(percent) = media.percent { (format!(" {percent:.0} %")) } }
                            td { @if media.current { b { "now" } } @else { (media.offer) } }
                            td { (media.size_bytes) }
                            td { @if let Some(digest) = media.sha256 { code { (digest) } } }
                            td { @for finding in media.problems.iter().chain(&media.warnings) { div { code { (finding.code) } ": " (finding.detail) } } }
                            td { @if may { form method="post" action={ "/media/" (segment(&media.name)) "/verify" } { button { "Verify again" } } } }
                        }
                    }
                }
            } }
        }
    };
    page("Media", Follows::List(List::Media), &visitor, &now, &body)
}
