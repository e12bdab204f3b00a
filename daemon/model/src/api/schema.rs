//! A JSON schema for each document, made from the types that are written.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use strum::{Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

use super::answers::{
    ArmedDocument, Audited, ErrorDocument, Explanation, StoppedDocument, Unrecorded,
};
use super::evidence::{Certificate, CheckpointView, LabelAsked, LogVerified};
use super::line::RecordLine;
use super::orders::{OrderDetail, OrderView};
use super::requests::{
    AcceptRequest, AcknowledgeRequest, Attempt, DriveRequest, ImageRequest, LampsReport,
    LocateRequest, OfferRequest, OrderRequest, PressRequest, VerifyRequest,
};
use super::snapshot::{DeviceView, MasterView, MediaView, Snapshot};
use super::verify::VerifyReport;
use crate::advice::Entry;
use crate::failure::Denial;
use crate::orders::Order;
use crate::record::Record;

/// A document that prestaged or prestagectl writes or reads. The doc comments are shown by `prestagectl schema`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Display, EnumMessage, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Document {
    /// The station: `status --json`, each line of `watch --json`, GET /v1/status, each line of GET /v1/events.
    Status,
    /// One record: GET /v1/records/{job}, the column `record` of the ledger, `image --json`, `retry --json`.
    Record,
    /// An array of records: `records --json`, GET /v1/records.
    Records,
    /// One line of GET /v1/records with `Accept: application/x-ndjson`.
    RecordLine,
    /// An array of media: `media list --json`.
    MediaList,
    /// One media: `media show --json`, `media verify --json`.
    Media,
    /// An array of masters: `master list --json`.
    Masters,
    /// An array of devices: `drives --json`.
    Drives,
    /// `audit --json`.
    Audit,
    /// `verify --json`.
    Verify,
    /// `image --json` and `retry --json` where the attempt has no record.
    Unrecorded,
    /// `arm --json`, `disarm --json`.
    Armed,
    /// `stop --json`.
    Stopped,
    /// `explain CODE --json`.
    Explanation,
    /// An array of codes: `explain --json`.
    Codes,
    /// An error of prestagectl with `--json`.
    Error,
    /// The answer to a request that is not carried out.
    Denial,
    /// The body of POST /v1/image.
    ImageRequest,
    /// The body of POST /v1/audit.
    AuditRequest,
    /// The body of POST /v1/verify.
    VerifyRequest,
    /// An array of orders with how they stand: `order list --json`, GET /v1/orders.
    Orders,
    /// One order with its history and the drives: `order show --json`, GET /v1/orders/{number}.
    Order,
    /// The body of POST /v1/orders: an array of orders.
    NewOrders,
    /// The body of POST /v1/orders/{number}/{act}.
    OrderRequest,
    /// The latest record of a drive with what proves it: `certificate --json`, GET /v1/certificates/{serial}.
    Certificate,
    /// The answer to POST /v1/records/{job}/label.
    LabelAsked,
    /// The end of the ledger's log: `log checkpoint --json`, GET /v1/log/checkpoint.
    Checkpoint,
    /// `log verify --json`, POST /v1/log/verify.
    LogVerified,
    /// The body of POST /v1/log/acknowledge.
    AcknowledgeRequest,
    /// The body of POST /v1/media/{name}/offer.
    OfferRequest,
    /// The body of POST /v1/media/{name}/accept.
    AcceptRequest,
    /// The body of POST /v1/masters.
    PressRequest,
    /// The body of POST /v1/bays/{bay}/locate.
    LocateRequest,
    /// The body of POST /v1/lamps.
    LampsReport,
    /// The answer to POST /v1/image and POST /v1/drives/{drive}/retry.
    Attempt,
}

impl Document {
    /// What it is, in one line.
    pub fn about(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }

    /// Its schema, by JSON Schema 2020-12.
    pub fn schema(self) -> Schema {
        match self {
            Self::Status => of::<Snapshot>(),
            Self::Record => of::<Record>(),
            Self::Records => of::<Vec<Record>>(),
            Self::RecordLine => of::<RecordLine>(),
            Self::MediaList => of::<Vec<MediaView>>(),
            Self::Media => of::<MediaView>(),
            Self::Masters => of::<Vec<MasterView>>(),
            Self::Drives => of::<Vec<DeviceView>>(),
            Self::Audit => of::<Audited<'_>>(),
            Self::Verify => of::<VerifyReport>(),
            Self::Unrecorded => of::<Unrecorded>(),
            Self::Armed => of::<ArmedDocument<'_>>(),
            Self::Stopped => of::<StoppedDocument<'_>>(),
            Self::Explanation => of::<Explanation<'_>>(),
            Self::Codes => of::<Vec<Entry>>(),
            Self::Error => of::<ErrorDocument>(),
            Self::Denial => of::<Denial>(),
            Self::ImageRequest => of::<ImageRequest>(),
            Self::AuditRequest => of::<DriveRequest>(),
            Self::VerifyRequest => of::<VerifyRequest>(),
            Self::Orders => of::<Vec<OrderView>>(),
            Self::Order => of::<OrderDetail>(),
            Self::NewOrders => of::<Vec<Order>>(),
            Self::OrderRequest => of::<OrderRequest>(),
            Self::Certificate => of::<Certificate>(),
            Self::LabelAsked => of::<LabelAsked>(),
            Self::Checkpoint => of::<CheckpointView>(),
            Self::LogVerified => of::<LogVerified>(),
            Self::AcknowledgeRequest => of::<AcknowledgeRequest>(),
            Self::OfferRequest => of::<OfferRequest>(),
            Self::AcceptRequest => of::<AcceptRequest>(),
            Self::PressRequest => of::<PressRequest>(),
            Self::LocateRequest => of::<LocateRequest>(),
            Self::LampsReport => of::<LampsReport>(),
            Self::Attempt => of::<Attempt>(),
        }
    }
}

/// The schema of what is written, so a field that is always written is required.
fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
