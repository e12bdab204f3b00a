//! The pages, drawn here and not in the browser, so that they also work where no script runs.

mod detail;
mod lists;
mod scan;
mod tiles;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use view::rack::Rack;

use crate::access::Visitor;
use crate::accounts::Role;
use crate::feed::Now;
use crate::live::List;

pub(crate) use detail::detail;
pub(crate) use lists::{Wanted, media, orders, records};
pub(crate) use scan::scanned;
pub(crate) use tiles::grid;

/// A page with tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// With links to the bays.
    Rack,
    /// To be looked at from two metres: nothing that could be pressed.
    Wall,
}

/// Which news a page follows.
#[derive(Clone, Copy, Debug)]
enum Follows<'a> {
    Nothing,
    Rack,
    Wall,
    Bay(&'a str),
    List(List),
}

/// A whole page.
fn page(
    title: &str,
    follows: Follows<'_>,
    visitor: &Visitor,
    now: &Now,
    body: &Markup,
) -> Response {
    let station = now.snapshot.as_ref().map_or("prestaged", |snapshot| &snapshot.station);
    let wall = matches!(follows, Follows::Wall);
    let live = match follows {
        Follows::Nothing => None,
        Follows::Rack => Some("/live".to_owned()),
        Follows::Wall => Some("/live?wall=true".to_owned()),
        Follows::Bay(bay) => Some(format!("/live?bay={}", wire::client::segment(bay))),
        Follows::List(List::Records) => Some("/live?list=records".to_owned()),
        Follows::List(List::Orders) => Some("/live?list=orders".to_owned()),
        Follows::List(List::Media) => Some("/live?list=media".to_owned()),
    };
    let list = match follows {
        Follows::List(list) => Some(list),
        _ => None,
    };
    let script = if list.is_some() { "/list.js" } else { "/live.js" };
    let version = list.map(|list| list.now(now));
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – " (station) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                @if live.is_some() {
                    script src=(script) defer {}
                    noscript { meta http-equiv="refresh" content=(if list.is_some() { "30" } else { "3" }); }
                }
            }
            body.wall[wall].lost[live.is_some() && now.fresh().is_none()] data-live=[&live] data-version=[version] {
                @if !wall {
                    header.top {
                        nav aria-label="Pages" {
                            @for (path, name) in [("/", "Rack"), ("/records", "Records"), ("/orders", "Orders"), ("/media", "Media"), ("/wall", "Wall")] {
                                a href=(path) aria-current=[(name == title).then_some("page")] { (name) }
                            }
                        }
                        @if live_page(follows) {
                            button #sound type="button" aria-pressed="false" { "Sound off" }
                        }
                        (who(visitor))
                    }
                }
                main {
                    h1.unseen[matches!(follows, Follows::Rack | Follows::Wall)] { (title) }
                    p.unseen #news role="status" aria-live="polite" {}
                    @if live.is_some() { (still()) }
                    (body)
                }
            }
        }
    };
    Html(text.into_string()).into_response()
}

/// What a page says for as long as no script answers for it. The script takes it away.
fn still() -> Markup {
    let at = Timestamp::now().strftime("%H:%M:%S UTC");
    html! { p.nodata #still { "NOT LIVE: as it was at " (at) ". The script of this page does not run." } }
}

fn live_page(follows: Follows<'_>) -> bool {
    matches!(follows, Follows::Rack)
}

/// Who has signed in, and how to change that.
fn who(visitor: &Visitor) -> Markup {
    html! {
        div.who {
            @match &visitor.person {
                Some(person) => {
                    span { (person.name) " (" (person.role) ")" }
                    form method="post" action="/logout" { button { "Sign out" } }
                }
                None => a href="/login" { "Sign in" }
            }
        }
    }
}

/// A page that says why something is not done, or not shown.
pub(crate) fn problem(status: StatusCode, visitor: &Visitor, text: &str) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "prestaged" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
            }
            body {
                main {
                    h1 { (status.as_u16()) }
                    p role="alert" { (text) }
                    p { a href="/" { "Rack" } " " @if visitor.person.is_none() { a href="/login" { "Sign in" } } }
                }
            }
        }
    };
    (status, Html(page.into_string())).into_response()
}

pub(crate) async fn nothing_there(visitor: Option<Extension<Visitor>>) -> Response {
    let nobody = Visitor { person: None, may_look: false };
    let visitor = visitor.map_or(nobody, |Extension(visitor)| visitor);
    problem(StatusCode::NOT_FOUND, &visitor, "there is nothing here")
}

pub(crate) async fn rack(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let now = shared.now.borrow().clone();
    let arms = shared.config.arming && visitor.may(Role::Admin);
    let operates = shared.config.operate && visitor.may(Role::Operate);
    let armed = now.fresh().map(|snapshot| snapshot.armed);
    let body = html! {
        // A scanner types into the page, and what came of it is read here; nobody scrolls with a drive in each hand.
        @if operates {
            script src="/scan.js" defer {}
            (scan::field(false, &html! {}))
        }
        div #live { (grid(&now, Shape::Rack)) }
        @if armed == Some(true) && operates {
            form.act method="post" action="/station/disarm" { button { "Disarm" } }
        }
        @if armed == Some(false) && operates && arms {
            form.act method="post" action="/station/arm" {
                label { "To arm, type the station's name " input name="confirm" autocomplete="off" required; }
                button.danger { "Arm" }
            }
        }
    };
    page("Rack", Follows::Rack, &visitor, &now, &body)
}

pub(crate) async fn wall(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let now = shared.now.borrow().clone();
    let body = html! { div #live { (grid(&now, Shape::Wall)) } };
    page("Wall", Follows::Wall, &visitor, &now, &body)
}

pub(crate) async fn bay(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Response {
    let now = shared.now.borrow().clone();
    let known =
        now.snapshot.as_ref().is_none_or(|snapshot| Rack::of(snapshot).tile(&name).is_some());
    if !known {
        return problem(StatusCode::NOT_FOUND, &visitor, "there is no such bay");
    }
    let operates = shared.config.operate && visitor.may(Role::Operate);
    let body = html! {
        // Above what may be long: on a tablet they would lie below the edge of the screen.
        @if operates { (detail::controls(&name)) }
        div #live { (detail(&now, &name, &visitor)) }
    };
    page(&name, Follows::Bay(&name), &visitor, &now, &body)
}

pub(crate) async fn login(
    State(shared): crate::State,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let now = shared.now.borrow().clone();
    let body = html! {
        form.act method="post" action="/login" {
            label { "Name " input name="name" autocomplete="username" required; }
            label { "Password " input name="password" type="password" autocomplete="current-password" required; }
            button { "Sign in" }
        }
    };
    page("Sign in", Follows::Nothing, &visitor, &now, &body)
}

pub(crate) async fn style() -> Response {
    let text = include_str!("../assets/style.css");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], text).into_response()
}

pub(crate) async fn icon() -> Response {
    let text = include_str!("../assets/icon.svg");
    ([(header::CONTENT_TYPE, "image/svg+xml")], text).into_response()
}

pub(crate) async fn list_script() -> Response {
    let text = include_str!("../assets/list.js");
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

pub(crate) async fn scan_script() -> Response {
    let text = include_str!("../assets/scan.js");
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

pub(crate) async fn script() -> Response {
    let text = include_str!("../assets/live.js");
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text).into_response()
}

/// A space that does not break.
const NBSP: PreEscaped<&str> = PreEscaped("&nbsp;");
