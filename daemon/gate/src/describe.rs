//! The gate's API by OpenAPI 3.1: its own routes, and those of the daemon that it passes on.

use axum::Json;
use axum::response::{IntoResponse, Response};
use model::api::openapi::{Answer, Book, Operation, Parameter, in_path, query, taken};
use serde_json::{Value, json};
use strum::VariantArray as _;

use crate::access::{COOKIE, SignIn};
use crate::acts::{Confirmed, Typed};
use crate::live::Follow;
use crate::pages::Wanted;
use crate::routes::{Gives, Own, passed_on};

const PAGE: &str = "text/html";
const TEXT: &str = "text/plain";
const FORM: &str = "application/x-www-form-urlencoded";

/// What is described, for programs that ask.
pub(crate) async fn openapi() -> Response {
    Json(document()).into_response()
}

/// What every request may get, before anybody looks what it is: it is not believed.
fn disbelieved() -> [Answer; 4] {
    [
        Answer::text(400, "The request cannot be read, or names no host or several.", &[TEXT]),
        Answer::text(403, "It came from another site, or is not for who asks.", &[TEXT]),
        Answer::text(408, "The body did not come in time.", &[]),
        Answer::text(421, "The host that it names is not the gate.", &[TEXT]),
    ]
}

/// Adds an answer; one with the same status gets its types, too.
fn merge(answers: &mut Vec<Answer>, more: Answer) {
    match answers.iter_mut().find(|answer| answer.status == more.status) {
        Some(answer) => answer.content.extend(more.content),
        None => answers.push(more),
    }
}

fn of(own: Own) -> Operation {
    let acts: &[&str] = match own {
        Own::ActOnBay => &["release", "locate", "retry", "stop"],
        Own::ActOnStation => &["arm", "disarm"],
        _ => &["hold", "resume", "approve"],
    };
    let mut parameters: Vec<Parameter> = in_path(own.path(), |name| match name {
        "act" => json!({ "enum": acts }),
        _ => json!({ "type": "string", "minLength": 1 }),
    });
    parameters.extend(match own {
        Own::Records => query::<Wanted>(),
        Own::Live => query::<Follow>(),
        _ => Vec::new(),
    });
    let takes = match own {
        Own::SignIn => Some((FORM, taken::<SignIn>())),
        Own::ActOnBay | Own::ActOnStation | Own::ActOnOrder => Some((FORM, taken::<Confirmed>())),
        Own::Scan => Some((FORM, taken::<Typed>())),
        _ => None,
    };
    let mut answers = vec![match own.gives() {
        Gives::Page => Answer::text(200, "The page.", &[PAGE]),
        Gives::Answer => Answer::text(200, "What came of it, on a page.", &[PAGE]),
        Gives::Elsewhere => Answer::text(303, "Done; the page to go to.", &[]),
        Gives::Text("application/json") => {
            let schema = json!({ "type": "object" });
            Answer {
                status: 200,
                text: "The document.",
                content: vec![("application/json", schema)],
            }
        }
        Gives::Text(kind) => Answer::text(200, "The text.", &[kind]),
    }];
    disbelieved().into_iter().for_each(|answer| merge(&mut answers, answer));
    let page = |status, text| Answer::text(status, text, &[PAGE]);
    if own.role().is_some() {
        merge(&mut answers, page(401, "Nobody has signed in."));
    }
    let names = own.path().contains('{');
    let changes = matches!(own.gives(), Gives::Elsewhere | Gives::Answer);
    let is_scan = own == Own::Scan;
    let needs_news = matches!(own, Own::Records | Own::Orders | Own::Media);
    let is_form = takes.is_some();
    let may = [
        (400, "What was typed to confirm is something else.", changes || own == Own::Records),
        (403, "This is not for who asks, or not from here.", changes),
        (404, "There is no such thing.", names || is_scan),
        (409, "The station is not in a state for this.", (names || is_scan) && changes),
        (500, "The station made a mistake.", changes || needs_news),
        (503, "Nothing is known of the station.", needs_news || ((names || is_scan) && changes)),
    ];
    for (status, text, _) in may.into_iter().filter(|(.., is)| *is) {
        merge(&mut answers, page(status, text));
    }
    if is_form {
        merge(&mut answers, Answer::text(415, "The body is no form.", &[TEXT]));
        merge(&mut answers, Answer::text(422, "The form lacks something.", &[TEXT]));
    }
    if own == Own::SignIn {
        merge(&mut answers, page(429, "Too many passwords from there were wrong."));
    }
    if matches!(own, Own::Live | Own::Health) {
        merge(&mut answers, Answer::text(503, "Nothing is known, or too many follow.", &[TEXT]));
    }
    merge(&mut answers, Answer::text(413, "The body is too large.", &[]));
    let role = own.role().map(|role| format!(" For the role `{role}`.")).unwrap_or_default();
    Operation {
        id: format!("gate{own:?}"),
        tag: "gate",
        method: own.method(),
        path: own.path(),
        text: format!("{}{role}", own.text()),
        parameters,
        takes,
        answers,
        is_open: own.role().is_none(),
    }
}

/// The whole description.
pub fn document() -> Value {
    let mut book = Book::default();
    for own in Own::VARIANTS {
        book.add(of(*own));
    }
    for route in passed_on() {
        let mut operation = book.route(route);
        let said = operation.answers.iter_mut().filter(|answer| answer.status == 400);
        said.for_each(|answer| answer.text = "The request cannot be read.");
        disbelieved().into_iter().for_each(|answer| merge(&mut operation.answers, answer));
        let nobody = book.denial(401, "Nobody has signed in.");
        merge(&mut operation.answers, nobody);
        merge(&mut operation.answers, Answer::text(413, "The body is too large.", &[]));
        book.add(operation);
    }
    let about = "What prestaged-gate serves: its pages, and the reading part of the daemon's API. Who has signed in with \
        POST /login has a cookie; where `gate.guests` allows it, who may only look needs none. Fields are added in later \
        versions, and none is renamed or removed.";
    let session = json!({ "type": "apiKey", "in": "cookie", "name": COOKIE });
    let more = json!({
        "servers": [{ "url": "/" }],
        "security": [{ "session": [] }],
        "components": { "securitySchemes": { "session": session } },
    });
    book.finish("prestaged-gate", about, more)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_stands_in_it_and_nothing_else() {
        let document = document();
        let mut found = BTreeSet::new();
        for (path, entry) in document["paths"].as_object().unwrap() {
            for method in entry.as_object().unwrap().keys() {
                found.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let own = Own::VARIANTS.iter().map(|own| format!("{} {}", own.method(), own.path()));
        let passed = passed_on().map(|route| format!("{} {}", route.method(), route.path()));
        let routes: Vec<String> = own.chain(passed).collect();
        assert_eq!(found.len(), routes.len(), "a method of a path is given away twice");
        assert_eq!(found, routes.into_iter().collect());
    }

    /// What lets in everybody stands here, so that a new route does not do so by a slip.
    #[test]
    fn what_is_for_everybody() {
        let document = document();
        let mut open = Vec::new();
        for (path, entry) in document["paths"].as_object().unwrap() {
            for (method, operation) in entry.as_object().unwrap() {
                let is_open = operation["security"] == json!([]);
                assert_eq!(is_open, operation["responses"].get("401").is_none(), "{method} {path}");
                is_open.then(|| open.push(format!("{method} {path}")));
            }
        }
        let expected =
            ["get /healthz", "get /icon.svg", "get /login", "post /login", "get /style.css"];
        assert_eq!(open, expected);
    }
}
