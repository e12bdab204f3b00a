//! A JSON schema for each document, made from the types that are written.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use strum::{Display, EnumMessage, EnumString, IntoStaticStr, VariantArray};

use super::answers::{
    ArmedDocument, Audited, DoneDocument, ErrorDocument, Explanation, StoppedDocument, Unrecorded,
};
use super::evidence::{Certificate, CheckpointView, LabelAsked, LogPage, LogVerified};
use super::line::{Line, RecordLine};
use super::orders::{OrderDetail, OrderView};
use super::requests::{
    AcceptRequest, AcknowledgeRequest, Armed, Attempt, DriveRequest, ImageRequest, LampsReport,
    LocateRequest, OfferRequest, OrderRequest, PressRequest, Pressed, ScanRequest, Stopped,
    VerifyRequest,
};
use super::scanned::Scanned;
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
    /// The answer of POST /v1/arm and POST /v1/disarm.
    ArmedAnswer,
    /// `stop --json`.
    Stopped,
    /// The answer of POST /v1/stop/{drive}.
    StoppedAnswer,
    /// `explain CODE --json`.
    Explanation,
    /// An array of codes: `explain --json`.
    Codes,
    /// What a command has done that shows nothing else, such as `order hold --json` or `log acknowledge --json`.
    Done,
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
    /// Entries of the ledger's log: GET /v1/log.
    LogPage,
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
    /// The body of POST /v1/scan.
    ScanRequest,
    /// What came of a scan: `scan --json`, POST /v1/scan.
    Scanned,
    /// The body of POST /v1/bays/{bay}/locate.
    LocateRequest,
    /// The body of POST /v1/lamps.
    LampsReport,
    /// The answer to POST /v1/image and POST /v1/drives/{drive}/retry.
    Attempt,
    /// A line of the answer to POST /v1/audit and POST /v1/verify.
    AuditLine,
    /// The answer to POST /v1/masters.
    Pressed,
}

impl Document {
    /// What it is, in one line.
    pub fn about(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }

    /// Whether others write it, so that what has a default may be left out.
    pub fn is_taken(self) -> bool {
        matches!(
            self,
            Self::ImageRequest
                | Self::AuditRequest
                | Self::VerifyRequest
                | Self::NewOrders
                | Self::OrderRequest
                | Self::AcknowledgeRequest
                | Self::OfferRequest
                | Self::AcceptRequest
                | Self::PressRequest
                | Self::ScanRequest
                | Self::LocateRequest
                | Self::LampsReport
        )
    }

    /// How a schema of it is made.
    pub(super) fn settings(self) -> SchemaSettings {
        let settings = SchemaSettings::draft2020_12();
        match self.is_taken() {
            true => settings.for_deserialize(),
            // A field that is always written is required.
            false => settings.for_serialize(),
        }
    }

    /// Its schema, by JSON Schema 2020-12.
    pub fn schema(self) -> Schema {
        self.root(self.settings().into_generator())
    }
}

/// Says once of which type each document is.
macro_rules! types {
    ($($document:ident: $type:ty,)*) => {
        impl Document {
            fn root(self, generator: SchemaGenerator) -> Schema {
                match self {
                    $(Self::$document => generator.into_root_schema_for::<$type>(),)*
                }
            }

            /// Its schema as a part of a document with several.
            pub(super) fn part(self, generator: &mut SchemaGenerator) -> Schema {
                match self {
                    $(Self::$document => generator.subschema_for::<$type>(),)*
                }
            }
        }
    };
}

types! {
    Status: Snapshot,
    Record: Record,
    Records: Vec<Record>,
    RecordLine: RecordLine,
    MediaList: Vec<MediaView>,
    Media: MediaView,
    Masters: Vec<MasterView>,
    Drives: Vec<DeviceView>,
    Audit: Audited<'_>,
    Verify: VerifyReport,
    Unrecorded: Unrecorded,
    Armed: ArmedDocument<'_>,
    ArmedAnswer: Armed,
    Stopped: StoppedDocument<'_>,
    StoppedAnswer: Stopped,
    Explanation: Explanation<'_>,
    Codes: Vec<Entry>,
    Done: DoneDocument,
    Error: ErrorDocument,
    Denial: Denial,
    ImageRequest: ImageRequest,
    AuditRequest: DriveRequest,
    VerifyRequest: VerifyRequest,
    Orders: Vec<OrderView>,
    Order: OrderDetail,
    NewOrders: Vec<Order>,
    OrderRequest: OrderRequest,
    Certificate: Certificate,
    LabelAsked: LabelAsked,
    Checkpoint: CheckpointView,
    LogPage: LogPage,
    LogVerified: LogVerified,
    AcknowledgeRequest: AcknowledgeRequest,
    OfferRequest: OfferRequest,
    AcceptRequest: AcceptRequest,
    PressRequest: PressRequest,
    ScanRequest: ScanRequest,
    Scanned: Scanned,
    LocateRequest: LocateRequest,
    LampsReport: LampsReport,
    Attempt: Attempt,
    AuditLine: Line,
    Pressed: Pressed,
}
