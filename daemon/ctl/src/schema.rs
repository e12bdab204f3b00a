//! `schema`: the JSON schema of a document, or the whole API by OpenAPI, without the daemon.

use model::api::openapi;
use model::api::schema::Document;
use strum::VariantArray as _;

use super::output::{Output, put};
use super::table::{Cell, Keep, Table};
use super::{CommandError, exit};

/// What the API as a whole is called here.
pub(super) const OPENAPI: &str = "openapi";

/// What can be printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Described {
    /// The schema of a document.
    Document(Document),
    /// The API with all its routes.
    Api,
}

/// Prints a schema, or which there are. A schema is JSON in any case.
pub(super) fn perform(out: &Output, described: Option<Described>) -> Result<u8, CommandError> {
    match described {
        Some(described) => {
            let text = match described {
                Described::Document(document) => serde_json::to_string_pretty(&document.schema()),
                Described::Api => serde_json::to_string_pretty(&openapi::of_daemon()),
            };
            put(&text.unwrap_or_default());
        }
        None => {
            let documents = Document::VARIANTS.iter().map(ToString::to_string);
            let names: Vec<String> = documents.chain([OPENAPI.to_owned()]).collect();
            out.print(&names, list);
        }
    }
    Ok(exit::DONE)
}

fn list(terminal: Option<usize>) -> String {
    let mut table = Table::new([("NAME", Keep::Always), ("DOCUMENT", Keep::Text)]);
    for document in Document::VARIANTS {
        table.row([Cell::new(document), Cell::new(document.about())]);
    }
    let about = "All routes of the daemon with what they take and answer, by OpenAPI 3.1.";
    table.row([Cell::new(OPENAPI), Cell::new(about)]);
    table.render(terminal)
}
