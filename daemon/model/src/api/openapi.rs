//! The HTTP API by OpenAPI 3.1, made of the tables that routers are made of, and of the types that are written and read.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use strum::VariantArray as _;

use super::requests::{LogQuery, OrderQuery, RecordQuery};
use super::routes::{Answers, Manual, Method, Route};
use super::schema::Document;
use crate::failure::Denial;

/// The version of OpenAPI.
const OPENAPI: &str = "3.1.0";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// A request that somebody answers.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its name, which no other has.
    pub id: String,
    /// What it belongs to.
    pub tag: &'static str,
    /// How it is asked.
    pub method: Method,
    /// Its path, with names in braces.
    pub path: &'static str,
    /// What it does, in sentences.
    pub text: String,
    /// What stands in the path and in the query.
    pub parameters: Vec<Parameter>,
    /// Its body: the type, and its schema.
    pub takes: Option<(&'static str, Value)>,
    /// What comes back.
    pub answers: Vec<Answer>,
    /// Whether nobody need have signed in for it.
    pub is_open: bool,
}

/// What stands in a path or a query.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Parameter {
    pub name: String,
    /// `path` or `query`.
    pub place: &'static str,
    pub schema: Value,
}

/// What comes back.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Answer {
    pub status: u16,
    pub text: &'static str,
    /// Types, each with its schema; several if it depends on the request. No type: there is no body.
    pub content: Vec<(&'static str, Value)>,
}

impl Answer {
    /// An answer with a text of some type.
    pub fn text(status: u16, text: &'static str, kinds: &[&'static str]) -> Self {
        let content = kinds.iter().map(|kind| (*kind, json!({ "type": "string" }))).collect();
        Self { status, text, content }
    }
}

/// A document that is being made.
#[derive(Debug)]
pub struct Book {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Default for Book {
    fn default() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let settings = settings.with(|settings| {
            settings.definitions_path = "/components/schemas".into();
        });
        Self { schemas: settings.into_generator(), paths: Map::new() }
    }
}

/// The schema of what others write, whole.
pub fn taken<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    settings.into_generator().subschema_for::<T>().to_value()
}

/// The parameters of a query that is read into this type.
pub fn query<T: JsonSchema>() -> Vec<Parameter> {
    let schema = taken::<T>();
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, mut schema): (String, Value)| {
        // What is not given is not there: a query has no null.
        if let Some(fields) = schema.as_object_mut() {
            fields.retain(|key, value| key != "default" || !value.is_null());
            for key in ["type", "anyOf", "enum"] {
                if let Some(Value::Array(kinds)) = fields.get_mut(key) {
                    kinds.retain(|kind| !is_null(kind));
                }
            }
        }
        Parameter { name, place: "query", schema }
    };
    fields.into_iter().map(parameter).collect()
}

/// Whether it stands for `null`, as a name, a value or a schema.
fn is_null(kind: &Value) -> bool {
    kind.is_null() || kind == "null" || kind["type"] == "null"
}

/// The parameters that stand in a path.
pub fn in_path(path: &str, schema: impl Fn(&str) -> Value) -> Vec<Parameter> {
    let names = path.split('{').skip(1).filter_map(|part| part.split('}').next());
    let parameter =
        |name: &str| Parameter { name: name.to_owned(), place: "path", schema: schema(name) };
    names.map(parameter).collect()
}

impl Book {
    /// Adds a request.
    pub fn add(&mut self, operation: Operation) {
        let Operation { id, tag, method, path, text, parameters, takes, answers, is_open } =
            operation;
        let summary = text.split_inclusive(". ").next().unwrap_or_default().trim().to_owned();
        let mut object =
            json!({ "operationId": id, "tags": [tag], "summary": summary, "description": text });
        if !parameters.is_empty() {
            let parameters = parameters.into_iter().map(|Parameter { name, place, schema }| {
                let description = schema["description"].clone();
                let mut one = json!({ "name": name, "in": place, "required": place == "path", "schema": schema });
                if description.is_string() {
                    one["description"] = description;
                }
                one
            });
            object["parameters"] = parameters.collect();
        }
        if let Some((kind, schema)) = takes {
            object["requestBody"] =
                json!({ "required": true, "content": { kind: { "schema": schema } } });
        }
        let responses = answers.into_iter().map(|Answer { status, text, content }| {
            let mut one = json!({ "description": text });
            if !content.is_empty() {
                let content = content.into_iter();
                one["content"] = content
                    .map(|(kind, schema)| (kind.to_owned(), json!({ "schema": schema })))
                    .collect();
            }
            (status.to_string(), one)
        });
        object["responses"] = responses.collect();
        if is_open {
            object["security"] = json!([]);
        }
        let entry = self.paths.entry(path).or_insert_with(|| json!({}));
        entry[method.to_string().to_lowercase()] = object;
    }

    /// The schema of a document, for an answer.
    pub fn document(&mut self, document: Document) -> Value {
        document.part(&mut self.schemas).to_value()
    }

    /// A request that is not carried out, with this status.
    pub fn denial(&mut self, status: u16, text: &'static str) -> Answer {
        let schema = self.schemas.subschema_for::<Denial>().to_value();
        Answer { status, text, content: vec![(JSON, schema)] }
    }

    /// A route of the daemon.
    pub fn route(&mut self, route: Route) -> Operation {
        let Manual { text, takes, answers } = route.manual();
        let (text_of, mut content) = match answers {
            Answers::Nothing => ("Done.", vec![(JSON, json!({ "type": "object" }))]),
            Answers::One(document) => (document.about(), vec![(JSON, self.document(document))]),
            Answers::Lines(document) => (document.about(), vec![(LINES, self.document(document))]),
            Answers::Bytes(kind) => ("Bytes.", vec![(kind, json!({}))]),
        };
        if route == Route::Records {
            content.push((LINES, self.document(Document::RecordLine)));
        }
        let mut parameters = in_path(route.path(), |name| match name {
            "job" => json!({ "type": "string", "format": "uuid" }),
            "act" => {
                json!({ "enum": ["hold", "resume", "approve", "close", "quantity", "release"] })
            }
            _ => json!({ "type": "string", "minLength": 1 }),
        });
        parameters.extend(match route {
            Route::Records => query::<RecordQuery>(),
            Route::Orders => query::<OrderQuery>(),
            Route::Log => query::<LogQuery>(),
            _ => Vec::new(),
        });
        let mut answers = vec![Answer { status: 200, text: text_of, content }];
        for (status, text) in denials(route) {
            answers.push(self.denial(status, text));
        }
        Operation {
            id: format!("{route:?}"),
            tag: "station",
            method: route.method(),
            path: route.path(),
            text: text.to_owned(),
            parameters,
            takes: takes.map(|document| (JSON, whole(document))),
            answers,
            is_open: false,
        }
    }

    /// The whole document. `more` are further fields of it, such as `servers`.
    pub fn finish(mut self, title: &str, description: &str, mut more: Value) -> Value {
        let schemas = self.schemas.take_definitions(true);
        let info = json!({
            "title": title,
            "description": description,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later" },
        });
        let mut whole = json!({ "openapi": OPENAPI, "info": info, "paths": self.paths });
        whole["jsonSchemaDialect"] = "https://json-schema.org/draft/2020-12/schema".into();
        whole["components"] = json!({ "schemas": schemas });
        for (name, value) in more.as_object_mut().into_iter().flatten() {
            match (name.as_str(), value) {
                ("components", Value::Object(parts)) => {
                    for (name, part) in parts {
                        whole["components"][name] = part.take();
                    }
                }
                (name, value) => whole[name] = value.take(),
            }
        }
        whole
    }
}

/// The schema of a document that others write.
fn whole(document: Document) -> Value {
    let settings = document.settings().with(|settings| settings.inline_subschemas = true);
    document.part(&mut settings.into_generator()).to_value()
}

/// With which status a route may say no, and why.
fn denials(route: Route) -> Vec<(u16, &'static str)> {
    let changes = route.method() != Method::Get;
    let reads_ledger = !matches!(route, Route::Status | Route::Events);
    let names = route.path().contains('{') || route.manual().takes.is_some();
    let all = [
        (400, "The request cannot be read.", true),
        (403, "Whoever asks may not ask for this.", true),
        (404, "There is no such thing.", names || route == Route::Records),
        (409, "The station is not in a state for this.", changes),
        (413, "The body is too large.", changes),
        (
            500,
            "The ledger cannot be read, or the station itself made a mistake.",
            changes || reads_ledger,
        ),
        (503, "The station is ending, or has as many connections as it takes.", true),
    ];
    all.into_iter().filter(|(.., is)| *is).map(|(status, text, _)| (status, text)).collect()
}

/// The daemon's own API, on its sockets.
pub fn of_daemon() -> Value {
    let mut book = Book::default();
    for route in Route::VARIANTS {
        let operation = book.route(*route);
        book.add(operation);
    }
    let about = "What the daemon answers on the Unix sockets `control.socket` and, as far as it only reads, \
        `control.view_socket`. It has no network socket: prestaged-gate(7) serves the reading part to others, with an API of \
        its own at `/openapi.json`. Fields are added in later versions, and none is renamed or removed.";
    let servers = json!([{ "url": "http://localhost", "description": "on the Unix socket" }]);
    book.finish("prestaged", about, json!({ "servers": servers }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every `$ref` below a value.
    fn references(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    match inner {
                        Value::String(to) if name == "$ref" => drop(into.insert(to.clone())),
                        inner => references(inner, into),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, into)),
            _ => {}
        }
    }

    #[test]
    fn every_route_stands_in_it_and_nothing_else() {
        let document = of_daemon();
        let mut found = BTreeSet::new();
        for (path, entry) in document["paths"].as_object().unwrap() {
            for (method, operation) in entry.as_object().unwrap() {
                assert!(found.insert(format!("{} {path}", method.to_uppercase())));
                assert!(operation["responses"]["200"].is_object(), "{method} {path}");
            }
        }
        let routes = Route::VARIANTS.iter();
        let routes: BTreeSet<_> =
            routes.map(|route| format!("{} {}", route.method(), route.path())).collect();
        assert_eq!(found, routes);
        // Whatever it refers to is in it.
        let mut named = BTreeSet::new();
        references(&document, &mut named);
        assert!(named.len() > 20, "{named:?}");
        for name in named {
            let pointer = name.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{name}");
        }
    }

    #[test]
    fn what_may_be_left_out_need_not_be_given() {
        let document = of_daemon();
        let body =
            &document["paths"]["/v1/image"]["post"]["requestBody"]["content"][JSON]["schema"];
        assert_eq!(body["required"], json!(["device"]), "{body:#}");
        let query = document["paths"]["/v1/records"]["get"]["parameters"].as_array().unwrap();
        let of =
            |name: &str| query.iter().find(|one| one["name"] == name).unwrap()["schema"].clone();
        assert_eq!(of("limit")["type"], json!(["integer"]), "{query:#?}");
        assert_eq!(of("limit")["maximum"], json!(u64::MAX), "what is larger is not read");
        assert_eq!(of("since")["format"], "date-time");
        assert!(!of("verdict").to_string().contains("null"), "{:#}", of("verdict"));
        let status = &document["components"]["schemas"]["Record"]["required"];
        assert!(status.as_array().unwrap().contains(&"verdict".into()), "{status:#}");
    }
}
