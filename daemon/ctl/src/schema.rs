//! `schema`: the JSON schema of a document, without the daemon.

use model::api::schema::Document;
use strum::VariantArray as _;

use super::output::{Output, put};
use super::table::{Cell, Keep, Table};
use super::{CommandError, exit};

/// Prints a schema, or which there are. A schema is JSON in any case.
pub(super) fn perform(out: &Output, document: Option<Document>) -> Result<u8, CommandError> {
    match document {
        Some(document) => {
            put(&serde_json::to_string_pretty(&document.schema()).unwrap_or_default());
        }
        None => {
            let names: Vec<String> = Document::VARIANTS.iter().map(ToString::to_string).collect();
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
    table.render(terminal)
}
