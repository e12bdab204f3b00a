//! Labels: who prints one asks whether it was printed before.

use axum::Json;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Path, State};
use evidence::statement::Event;
use jiff::Timestamp;
use model::api::evidence::LabelAsked;
use model::code::DenialCode as Code;
use model::failure::chain;
use uuid::Uuid;

use super::evidence::order_of;
use super::peer::Peer;
use super::records::from_ledger;
use super::{Context, Problem, Result, bad_request};

/// No template is longer.
const LONGEST: u64 = 1 << 16;

pub(super) async fn label(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(job): Path<String>,
) -> Result<Json<LabelAsked>> {
    let named: Uuid =
        job.parse().map_err(|_| bad_request(format!("{job:?} is not the name of a job")))?;
    let none = || Problem::new(Code::NoSuchRecord, format!("there is no closed record {job}"));
    let record = from_ledger(&context.ledger, move |ledger| ledger.of_job(named)).await?;
    let order = order_of(&context, &record.ok_or_else(none)?).await?;
    let own = order.and_then(|order| order.label_template.zip(Some(order.number)));
    let (template, template_of_order) = match (own, &context.label_template) {
        (Some((template, number)), _) => (Some(template), Some(number)),
        // Before anything is noted: a label that cannot be made was not printed.
        (None, Some(path)) => (Some(read(path)?), None),
        (None, None) => (None, None),
    };
    let operator = peer.operator().await?.to_string();
    let detail = serde_json::json!({ "job": named });
    let (kind, at) = ("label_printed".to_owned(), Timestamp::now());
    let event = Event { kind, at, operator: Some(operator), detail };
    let before =
        from_ledger(&context.ledger, move |ledger| ledger.note_label(named, event)).await?;
    let printed = before.ok_or_else(none)?;
    Ok(Json(LabelAsked { printed, template, template_of_order }))
}

fn read(path: &std::path::Path) -> Result<String> {
    let failed = |text: String| {
        Problem::new(Code::InternalError, format!("labels.template: {}: {text}", path.display()))
    };
    let about = std::fs::metadata(path).map_err(|error| failed(chain(&error)))?;
    if !about.is_file() || about.len() > LONGEST {
        return Err(failed(format!("not a file of at most {LONGEST} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(chain(&error)))
}
