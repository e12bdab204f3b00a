//! The routes of the HTTP API. The daemon makes its router of them, and prestaged-api(7) is made of them.

use strum::VariantArray;

use super::schema::Document;

/// How a route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Method {
    Get,
    Post,
    Delete,
}

/// A method and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
#[expect(missing_docs, reason = "`manual` says it")]
pub enum Route {
    Status,
    Events,
    Arm,
    Disarm,
    Image,
    Retry,
    Stop,
    Release,
    Locate,
    Lamps,
    Audit,
    Verify,
    VerifyMedia,
    OfferMedia,
    AcceptMedia,
    Press,
    RemoveMaster,
    Records,
    RecordOf,
    Orders,
    AddOrders,
    OrderOf,
    ChangeOrder,
    Log,
    Checkpoint,
    VerifyLog,
    AcknowledgeLog,
    CertificateOf,
    Label,
    BackUpLedger,
    Scan,
}

/// What a route does, for its manual.
#[derive(Clone, Copy, Debug)]
pub struct Manual {
    /// In sentences; back quotes as in Markdown.
    pub text: &'static str,
    /// The document that it takes as its body.
    pub takes: Option<Document>,
    /// The document that it answers with, and whether there is one on each line of a stream.
    pub answers: Answers,
}

/// What a route answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// An empty object.
    Nothing,
    /// One document.
    One(Document),
    /// A document on each line, for as long as the connection is open or the work takes.
    Lines(Document),
    /// Bytes of this type, which `text` describes.
    Bytes(&'static str),
}

impl Route {
    /// How it is asked.
    pub fn method(self) -> Method {
        match self {
            Self::Status
            | Self::Events
            | Self::Records
            | Self::RecordOf
            | Self::Orders
            | Self::OrderOf
            | Self::Log
            | Self::Checkpoint
            | Self::CertificateOf => Method::Get,
            Self::RemoveMaster => Method::Delete,
            Self::Arm
            | Self::Disarm
            | Self::Image
            | Self::Retry
            | Self::Stop
            | Self::Release
            | Self::Locate
            | Self::Lamps
            | Self::Audit
            | Self::Verify
            | Self::VerifyMedia
            | Self::OfferMedia
            | Self::AcceptMedia
            | Self::AddOrders
            | Self::ChangeOrder
            | Self::VerifyLog
            | Self::AcknowledgeLog
            | Self::Label
            | Self::BackUpLedger
            | Self::Scan
            | Self::Press => Method::Post,
        }
    }

    /// Its path; a name in braces stands for one segment, which is percent-encoded.
    pub fn path(self) -> &'static str {
        match self {
            Self::Status => "/v1/status",
            Self::Events => "/v1/events",
            Self::Arm => "/v1/arm",
            Self::Disarm => "/v1/disarm",
            Self::Image => "/v1/image",
            Self::Retry => "/v1/drives/{drive}/retry",
            Self::Stop => "/v1/drives/{drive}/stop",
            Self::Release => "/v1/bays/{bay}/release",
            Self::Locate => "/v1/bays/{bay}/locate",
            Self::Lamps => "/v1/lamps",
            Self::Audit => "/v1/audit",
            Self::Verify => "/v1/verify",
            Self::VerifyMedia => "/v1/media/{name}/verify",
            Self::OfferMedia => "/v1/media/{name}/offer",
            Self::AcceptMedia => "/v1/media/{name}/accept",
            Self::Press => "/v1/masters",
            Self::RemoveMaster => "/v1/masters/{id}",
            Self::Records => "/v1/records",
            Self::RecordOf => "/v1/records/{job}",
            Self::Orders | Self::AddOrders => "/v1/orders",
            Self::OrderOf => "/v1/orders/{number}",
            Self::ChangeOrder => "/v1/orders/{number}/{act}",
            Self::Log => "/v1/log",
            Self::Checkpoint => "/v1/log/checkpoint",
            Self::VerifyLog => "/v1/log/verify",
            Self::AcknowledgeLog => "/v1/log/acknowledge",
            Self::CertificateOf => "/v1/certificates/{serial}",
            Self::Label => "/v1/records/{job}/label",
            Self::BackUpLedger => "/v1/ledger/backup",
            Self::Scan => "/v1/scan",
        }
    }

    /// What it does.
    pub fn manual(self) -> Manual {
        let nothing = |text| Manual { text, takes: None, answers: Answers::Nothing };
        let one = |text, document| Manual { text, takes: None, answers: Answers::One(document) };
        match self {
            Self::Status => one(
                "The station with its media, masters, presses, drives and devices, at this moment.",
                Document::Status,
            ),
            Self::Events => Manual {
                text: "The station, and the station again whenever something changes, several times a second at most.",
                takes: None,
                answers: Answers::Lines(Document::Status),
            },
            Self::Arm => one(
                "Allows the station to write, until it is disarmed or restarted. The answer has the drives that \
                 nothing else speaks against.",
                Document::ArmedAnswer,
            ),
            Self::Disarm => one(
                "Forbids writing. Drives that are being imaged are finished; the answer has them.",
                Document::ArmedAnswer,
            ),
            Self::Image => Manual {
                text: "Begins an attempt at one drive, through the same admission as when it is plugged in. `again` \
                       goes for a drive that has passed with the same media. `overwrite` is the reason for which what \
                       the drive holds may be lost; it waives `not_blank` and nothing else, is good for this attempt, \
                       and is kept in the record with the user at the other end of the socket. How the attempt goes \
                       on is in the status, under the same device and the same number of the attempt.",
                takes: Some(Document::ImageRequest),
                answers: Answers::One(Document::Attempt),
            },
            Self::Retry => one(
                "Begins another attempt at an attached drive, also one that has passed. A drive that is being \
                 imaged goes on.",
                Document::Attempt,
            ),
            Self::Stop => one(
                "Stops a drive that is being imaged, or waits for its master.",
                Document::StoppedAnswer,
            ),
            Self::Release => nothing(
                "Takes the verdict of a drive that was pulled off its bay, as acknowledged.",
            ),
            Self::Locate => Manual {
                text: "Has the locate lamp of a bay blink, and views mark it, until `lamps.locate_for` is over, a drive comes \
                       into it or goes out of it, or the same is asked for with `off`. `bay` is its name, or what a drive in \
                       it is called, or was until it was pulled.",
                takes: Some(Document::LocateRequest),
                answers: Answers::Nothing,
            },
            Self::Lamps => Manual {
                text: "What `prestaged-lamps` says of the lamps; it stands in the status. Nobody else but root may say it.",
                takes: Some(Document::LampsReport),
                answers: Answers::Nothing,
            },
            Self::Audit => Manual {
                text: "Compares a drive with media, and only reads. Lines `{\"progress\": {\"step\", \"fraction\"}}` come \
                       while it runs, and at last `{\"done\": REPORT}` or `{\"failed\": {\"code\", \"detail\"}}`.",
                takes: Some(Document::AuditRequest),
                answers: Answers::Lines(Document::AuditLine),
            },
            Self::Verify => Manual {
                text: "Compares a drive with its own last record that has passed, and only reads. Lines come as with \
                       `/v1/audit`; the REPORT is the document `verify`. Without such a record, or without the digests of \
                       what it was given, the answer is a denial.",
                takes: Some(Document::VerifyRequest),
                answers: Answers::Lines(Document::AuditLine),
            },
            Self::VerifyMedia => nothing(
                "Reads media again from end to end and verifies it. How far it is stands in the status.",
            ),
            Self::OfferMedia => Manual {
                text: "Makes media available to other drives than before: `automatic`, `by_hand` or `hidden`. The change \
                       is in the ledger, with the user at the other end of the socket, before it is answered.",
                takes: Some(Document::OfferRequest),
                answers: Answers::Nothing,
            },
            Self::AcceptMedia => Manual {
                text: "Lets media be used although later media of its product has been seen (`media_rollback`). The \
                       reason is kept in the ledger, with the user at the other end of the socket.",
                takes: Some(Document::AcceptRequest),
                answers: Answers::Nothing,
            },
            Self::Press => Manual {
                text: "Presses a master for drives of this size, unless there is one. The answer has its name; how far it is \
                       stands in the status.",
                takes: Some(Document::PressRequest),
                answers: Answers::One(Document::Pressed),
            },
            Self::RemoveMaster => nothing("Removes a master from the store, or cancels its press."),
            Self::Records => Manual {
                text: "Records, oldest first. The query `serial`, `order`, `bay`, `verdict`, `since` and `until` (times by \
                       RFC 3339; opened then or later, and before) selects some, `last` the last so many of these. `limit` and \
                       `after`, the job of a page's last record, give them page by page. With `Accept: application/x-ndjson` a line for each row of the ledger: `{\"record\": …}`, \
                       `{\"unreadable\": {\"code\", \"detail\", \"hint\"}}` for a row that holds no record, and at last \
                       `{\"failed\": …}` if the ledger cannot be read to its end.",
                takes: None,
                answers: Answers::One(Document::Records),
            },
            Self::RecordOf => one("The record of one job.", Document::Record),
            Self::Orders => one(
                "The orders that are not closed, with how they stand. With the query `all=true` also those that are \
                 closed or hidden.",
                Document::Orders,
            ),
            Self::AddOrders => Manual {
                text: "Adds orders, all of them or none. One whose number is there already takes its place, if that is \
                       not closed; what has been counted stays.",
                takes: Some(Document::NewOrders),
                answers: Answers::Nothing,
            },
            Self::OrderOf => one(
                "One order with its history, and every attached drive with why it does or does not belong to it.",
                Document::Order,
            ),
            Self::ChangeOrder => Manual {
                text: "Changes an order; `act` is `hold`, `resume`, `approve`, `close`, `quantity` or `release`. The \
                       change is in the ledger, with the user at the other end of the socket, before it is answered.",
                takes: Some(Document::OrderRequest),
                answers: Answers::Nothing,
            },
            Self::Log => one(
                "Entries of the ledger's log, oldest first: each closed record, and what operators have done. The query \
                 `after` is the number of an entry, `limit` how many there are at most after it. Whoever remembers ledger and \
                 number goes on from there, misses nothing and gets nothing twice.",
                Document::LogPage,
            ),
            Self::Checkpoint => one(
                "The latest checkpoint of the ledger's log, signed, with the key by which others check it.",
                Document::Checkpoint,
            ),
            Self::VerifyLog => one(
                "Compares all of the log with itself, with the records, and with what is known outside of the ledger. \
                 What somebody has changed is the denial `ledger_tampered`.",
                Document::LogVerified,
            ),
            Self::AcknowledgeLog => Manual {
                text: "Goes on with a ledger that somebody has changed, as it is. Its log is begun anew, and says for good \
                       what was found, why it goes on, and which user at the other end of the socket says so.",
                takes: Some(Document::AcknowledgeRequest),
                answers: Answers::Nothing,
            },
            Self::BackUpLedger => Manual {
                text: "A copy of the ledger as it is at this moment: the bytes of an SQLite database, with their number in \
                       Content-Length.",
                takes: None,
                answers: Answers::Bytes("application/vnd.sqlite3"),
            },
            Self::Scan => Manual {
                text: "What a barcode scanner has read. An order waits for the next drive that is plugged in, or for \
                       the drive in `bay`, for ten minutes, or until the station ends; a serial number or the name of a bay \
                       is looked up; a command card (prestagectl(1)) is carried out. What is none of these is the \
                       denial `unclear_scan`.",
                takes: Some(Document::ScanRequest),
                answers: Answers::One(Document::Scanned),
            },
            Self::CertificateOf => one(
                "The latest record of a drive, signed, with the proof that the log has it.",
                Document::Certificate,
            ),
            Self::Label => one(
                "Notes in the log that the label of a record is printed, and tells how often it was printed before. Who \
                 asks prints it.",
                Document::LabelAsked,
            ),
        }
    }
}
