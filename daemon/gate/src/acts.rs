//! What people ask of the station on a page. Each request goes to the daemon on behalf of who has signed in.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use model::api::requests::{OrderRequest, ScanRequest};
use model::api::scanned::Scanned;
use model::failure::chain;
use model::hint::Hint as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use view::rack::Rack;
use wire::client::{Client, segment};

use crate::access::{No, Visitor};
use crate::accounts::{Person, Role};
use crate::{Shared, pages, reading};

/// What somebody has typed to say that it is meant.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
pub(crate) struct Confirmed {
    #[serde(default)]
    confirm: String,
    #[serde(default)]
    reason: String,
}

/// What a scanner has typed, or somebody in its place.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub(crate) struct Typed {
    #[serde(default)]
    text: String,
}

/// The daemon, on behalf of somebody who may ask for this.
fn on_behalf<'a>(
    shared: &Shared,
    visitor: &'a Visitor,
    role: Role,
) -> Result<(Client, &'a Person), No> {
    let person = visitor.person(role)?;
    let Some(client) = &shared.control else {
        let text = "this page only shows the station (gate.operate)";
        return Err(No(StatusCode::FORBIDDEN, text.into()));
    };
    Ok((client.clone().on_behalf_of(&person.name), person))
}

/// Whether what must be typed was typed.
fn confirmed(typed: &str, expected: &str) -> Result<(), No> {
    if typed.trim() == expected {
        return Ok(());
    }
    let text = format!("nothing was done: to confirm, type {expected:?}");
    Err(No(StatusCode::BAD_REQUEST, text))
}

async fn ask(
    client: &Client,
    visitor: &Visitor,
    path: &str,
    body: &impl Serialize,
    back: &str,
) -> Response {
    match client.post::<Value>(path, body).await {
        Ok(_) => Redirect::to(back).into_response(),
        Err(error) => pages::problem(reading::status(&error), visitor, &chain(&error)),
    }
}

fn no_such_act() -> No {
    No(StatusCode::NOT_FOUND, "there is no such thing to do".into())
}

/// What was done, or why it was not.
async fn told(visitor: &Visitor, done: impl Future<Output = Result<Response, No>>) -> Response {
    done.await.unwrap_or_else(|No(status, text)| pages::problem(status, visitor, &text))
}

/// The bay of this name. The daemon also takes devices and serial numbers; whoever is at a page has seen a bay, and confirms
/// its name.
fn bay_of(shared: &Shared, name: &str) -> Result<(), No> {
    let now = shared.now.borrow().clone();
    let snapshot = now.fresh().ok_or_else(|| {
        No(StatusCode::SERVICE_UNAVAILABLE, "NO DATA: the daemon does not answer".into())
    })?;
    match Rack::of(snapshot).tile(name) {
        Some(_) => Ok(()),
        None => Err(No(StatusCode::NOT_FOUND, "there is no such bay".into())),
    }
}

/// A bay: its drive is retried or stopped, or what it shows of a drive that was pulled is acknowledged.
pub(crate) async fn bay(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path((bay, act)): Path<(String, String)>,
    Form(form): Form<Confirmed>,
) -> Response {
    let done = async {
        let (client, _) = on_behalf(&shared, &visitor, Role::Operate)?;
        bay_of(&shared, &bay)?;
        let name = segment(&bay);
        let path = match act.as_str() {
            // It takes nothing away, and nothing is written.
            "release" => format!("/v1/bays/{name}/release"),
            "locate" => format!("/v1/bays/{name}/locate"),
            "retry" | "stop" => {
                confirmed(&form.confirm, &bay)?;
                format!("/v1/drives/{name}/{act}")
            }
            _ => return Err(no_such_act()),
        };
        Ok(ask(&client, &visitor, &path, &json!({}), &format!("/bay/{name}")).await)
    };
    told(&visitor, done).await
}

/// The station: armed or disarmed.
pub(crate) async fn station(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path(act): Path<String>,
    Form(form): Form<Confirmed>,
) -> Response {
    let done = async {
        let role = match act.as_str() {
            "disarm" => Role::Operate,
            "arm" => Role::Admin,
            _ => return Err(no_such_act()),
        };
        let (client, _) = on_behalf(&shared, &visitor, role)?;
        if act == "arm" {
            if !shared.config.arming {
                let text = "the station is not armed from here (gate.arming)";
                return Err(No(StatusCode::FORBIDDEN, text.into()));
            }
            let now = shared.now.borrow().clone();
            let station = now.fresh().map(|snapshot| snapshot.station.clone());
            confirmed(&form.confirm, &station.unwrap_or_default())?;
        }
        Ok(ask(&client, &visitor, &format!("/v1/{act}"), &json!({}), "/").await)
    };
    told(&visitor, done).await
}

/// An order: held, resumed, or its first drives approved.
pub(crate) async fn order(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path((number, act)): Path<(String, String)>,
    Form(form): Form<Confirmed>,
) -> Response {
    let done = async {
        let (client, _) = on_behalf(&shared, &visitor, Role::Admin)?;
        if !matches!(act.as_str(), "hold" | "resume" | "approve") {
            return Err(no_such_act());
        }
        let reason = Some(form.reason).filter(|reason| !reason.trim().is_empty());
        let request = OrderRequest { reason, ..OrderRequest::default() };
        let path = format!("/v1/orders/{}/{act}", segment(&number));
        Ok(ask(&client, &visitor, &path, &request, "/orders").await)
    };
    told(&visitor, done).await
}

/// Media is verified again.
pub(crate) async fn media(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Response {
    let done = async {
        let (client, _) = on_behalf(&shared, &visitor, Role::Operate)?;
        let path = format!("/v1/media/{}/verify", segment(&name));
        Ok(ask(&client, &visitor, &path, &json!({}), "/media").await)
    };
    told(&visitor, done).await
}

/// A scan. It is answered on a page of its own; the script of the field takes the answer out of that.
pub(crate) async fn scan(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Form(Typed { text }): Form<Typed>,
) -> Response {
    let done = async {
        let (client, _) = on_behalf(&shared, &visitor, Role::Operate)?;
        let request = ScanRequest { text: text.clone(), bay: None };
        let (status, answer) = match client.post::<Scanned>("/v1/scan", &request).await {
            Ok(scanned) => (StatusCode::OK, Ok(scanned)),
            Err(error) => {
                let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
                (reading::status(&error), Err(format!("{}{hint}", chain(&error))))
            }
        };
        let now = shared.now.borrow().clone();
        Ok(pages::scanned(status, &visitor, &now, &text, &answer))
    };
    told(&visitor, done).await
}
