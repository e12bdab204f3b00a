//! The field for scans, and what came of one.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use model::api::scanned::Scanned;
use model::api::snapshot::DriveView;
use model::verdict::Verdict;
use view::scanned::{Words, sentence};
use view::tile;

use super::{Follows, page};
use crate::access::Visitor;
use crate::feed::Now;

/// The longest text that is taken; a command card with the longest name is shorter.
const LONGEST: u16 = 256;

/// Takes what a scanner types, which ends with Enter; what came of it is said below. `focused` is for a page that is there for
/// nothing else.
pub(super) fn field(focused: bool, answer: &Markup) -> Markup {
    html! {
        form.act #scan method="post" action="/scan" {
            label {
                "Scan "
                input name="text" autocomplete="off" autocapitalize="off" spellcheck="false" maxlength=(LONGEST) required autofocus[focused];
            }
            button { "Look up" }
        }
        div #scanned role="status" aria-live="polite" { (answer) }
    }
}

/// The page that says what came of a scan.
pub(crate) fn scanned(
    status: StatusCode,
    visitor: &Visitor,
    now: &Now,
    text: &str,
    answer: &Result<Scanned, String>,
) -> Response {
    let told = match answer {
        Ok(scanned) => html! { p.remark { (said(scanned)) } },
        Err(why) => html! { p.remark { b { "✕ " (text) } ": " (why) } },
    };
    let body = html! { (field(true, &told)) };
    (status, page("Scan", Follows::Nothing, visitor, now, &body)).into_response()
}

fn said(scanned: &Scanned) -> String {
    let drive = |drive: &DriveView| {
        let order = drive.order.as_ref().map(|order| format!(" (order {order})"));
        format!("{}{}", tile::word(drive), order.unwrap_or_default())
    };
    let words = Words {
        drive: &drive,
        verdict: &|verdict: Option<Verdict>| verdict.map_or("not closed", Verdict::word).to_owned(),
        clock: &|at: Timestamp| at.strftime("%H:%M:%S UTC").to_string(),
        date: &|at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    };
    sentence(scanned, &words)
}
