//! `log`: the ledger's log, which shows whether somebody has changed a record.

use clap::Subcommand;
use model::api::evidence::{CheckpointView, LogVerified};
use model::api::requests::AcknowledgeRequest;
use serde_json::{Value, json};

use super::arguments::reason;
use super::client::Client;
use super::output::Output;
use super::{CommandError, exit};

#[derive(Debug, Subcommand)]
pub(super) enum LogVerb {
    /// Print the latest checkpoint, signed; whoever keeps it sees later if the log was cut.
    Checkpoint,
    /// Print the public key of the station, by which others check its records: `log key > station.pem`.
    Key,
    /// Compare the log with itself, with the records, and with what is known outside of the ledger.
    Verify,
    /// Go on with a ledger that somebody has changed, as it is; the log says so for good.
    Acknowledge {
        /// Why it is right to go on.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

pub(super) async fn perform(
    client: &Client,
    out: &Output,
    verb: &LogVerb,
) -> Result<u8, CommandError> {
    match verb {
        LogVerb::Checkpoint => {
            let view: CheckpointView = client.get("/v1/log/checkpoint").await?;
            out.print(&view, |_| format!("{}\n{}", view.checkpoint, view.key));
            Ok(exit::DONE)
        }
        LogVerb::Key => {
            let view: CheckpointView = client.get("/v1/log/checkpoint").await?;
            out.print(&json!({ "key": view.key }), |_| view.key.clone());
            Ok(exit::DONE)
        }
        LogVerb::Verify => {
            let whole: LogVerified = client.post("/v1/log/verify", &json!({})).await?;
            let LogVerified { entries, records, .. } = &whole;
            out.print(&whole, |_| {
                format!("the log is whole: {entries} entries, and {records} records are as it says")
            });
            Ok(exit::DONE)
        }
        LogVerb::Acknowledge { reason } => {
            let request = AcknowledgeRequest { reason: reason.clone() };
            let _: Value = client.post("/v1/log/acknowledge", &request).await?;
            out.done("acknowledged; the log is begun anew, and the station stays disarmed until `prestagectl arm`")
        }
    }
}
