//! The gate's own routes, and which of the daemon's it passes on. The router is made of these tables, and so is the
//! description of the API: neither can have a route that the other lacks.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use model::api::routes::{Method, Route};
use strum::VariantArray;

use crate::accounts::Role;
use crate::{Shared, access, acts, describe, live, metrics, pages, reading};

/// A route of the gate's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub(crate) enum Own {
    Rack,
    Wall,
    Bay,
    Records,
    Orders,
    Media,
    Login,
    SignIn,
    SignOut,
    Live,
    Style,
    Icon,
    Script,
    ListScript,
    ScanScript,
    Health,
    Metrics,
    OpenApi,
    ActOnBay,
    ActOnStation,
    ActOnOrder,
    VerifyMedia,
    Scan,
}

/// What a route answers with, if all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    Page,
    /// The page that comes next.
    Elsewhere,
    /// What came of what was asked for, on a page.
    Answer,
    /// A text of this type.
    Text(&'static str),
}

impl Own {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Rack => "/",
            Self::Wall => "/wall",
            Self::Bay => "/bay/{name}",
            Self::Records => "/records",
            Self::Orders => "/orders",
            Self::Media => "/media",
            Self::Login | Self::SignIn => "/login",
            Self::SignOut => "/logout",
            Self::Live => "/live",
            Self::Style => "/style.css",
            Self::Icon => "/icon.svg",
            Self::Script => "/live.js",
            Self::ListScript => "/list.js",
            Self::ScanScript => "/scan.js",
            Self::Health => "/healthz",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::ActOnBay => "/bay/{name}/{act}",
            Self::ActOnStation => "/station/{act}",
            Self::ActOnOrder => "/orders/{number}/{act}",
            Self::VerifyMedia => "/media/{name}/verify",
            Self::Scan => "/scan",
        }
    }

    pub(crate) fn method(self) -> Method {
        match self.gives() {
            Gives::Elsewhere | Gives::Answer => Method::Post,
            Gives::Page | Gives::Text(_) => Method::Get,
        }
    }

    pub(crate) fn gives(self) -> Gives {
        match self {
            Self::Rack
            | Self::Wall
            | Self::Bay
            | Self::Records
            | Self::Orders
            | Self::Media
            | Self::Login => Gives::Page,
            Self::SignIn
            | Self::SignOut
            | Self::ActOnBay
            | Self::ActOnStation
            | Self::ActOnOrder
            | Self::VerifyMedia => Gives::Elsewhere,
            Self::Scan => Gives::Answer,
            Self::Live => Gives::Text("text/event-stream"),
            Self::Style => Gives::Text("text/css"),
            Self::Icon => Gives::Text("image/svg+xml"),
            Self::Script | Self::ListScript | Self::ScanScript => Gives::Text("text/javascript"),
            Self::Health | Self::Metrics => Gives::Text("text/plain"),
            Self::OpenApi => Gives::Text("application/json"),
        }
    }

    /// What somebody must be to get it; nothing if it is for everybody.
    pub(crate) fn role(self) -> Option<Role> {
        match self {
            Self::Login | Self::SignIn | Self::Style | Self::Icon | Self::Health => None,
            Self::ActOnBay | Self::ActOnStation | Self::VerifyMedia | Self::Scan => {
                Some(Role::Operate)
            }
            Self::ActOnOrder => Some(Role::Admin),
            _ => Some(Role::View),
        }
    }

    /// What it does, for its description.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Rack => "The page of the rack. A tile for each bay.",
            Self::Wall => "The rack without anything to press.",
            Self::Bay => "The page of a bay.",
            Self::Records => {
                "The page of records. Those of the last 24 hours, or of a serial number."
            }
            Self::Orders => "The page of orders.",
            Self::Media => "The page of media.",
            Self::Login => "The page on which people sign in.",
            Self::SignIn => "Signs somebody in. The answer sets the cookie of the session.",
            Self::SignOut => "Signs somebody out.",
            Self::Live => {
                "News for pages, as server-sent events. `grid` is what the page shows, `beat` comes each second and says how \
                 old that is. It never ends by itself."
            }
            Self::Style => "The style of the pages.",
            Self::Icon => "The icon of the pages.",
            Self::Script => "The script of the pages of bays.",
            Self::ListScript => "The script of the pages of records, orders and media.",
            Self::ScanScript => "The script of the field for scans.",
            Self::Health => "Whether the gate has news of the station. `live`, or `no data`.",
            Self::Metrics => "The station in numbers. In the text format of Prometheus.",
            Self::OpenApi => "This description of the API.",
            Self::ActOnBay => {
                "Retries or stops the drive in a bay, acknowledges what the bay shows, or has its lamp blink. `retry` and `stop` want the name of \
                 the bay in `confirm`."
            }
            Self::ActOnStation => {
                "Arms or disarms the station. Arming takes the role admin and `gate.arming`, and wants the station's name in \
                 `confirm`."
            }
            Self::ActOnOrder => "Holds, resumes or approves an order.",
            Self::VerifyMedia => "Verifies media again, from end to end.",
            Self::Scan => {
                "Takes what a barcode scanner has read: an order, a serial number, a bay, or a command card. The page says what \
                 came of it."
            }
        }
    }

    fn handler(self) -> MethodRouter<Arc<Shared>> {
        match self {
            Self::Rack => get(pages::rack),
            Self::Wall => get(pages::wall),
            Self::Bay => get(pages::bay),
            Self::Records => get(pages::records),
            Self::Orders => get(pages::orders),
            Self::Media => get(pages::media),
            Self::Login => get(pages::login),
            Self::SignIn => post(access::sign_in),
            Self::SignOut => post(access::sign_out),
            Self::Live => get(live::stream),
            Self::Style => get(pages::style),
            Self::Icon => get(pages::icon),
            Self::Script => get(pages::script),
            Self::ListScript => get(pages::list_script),
            Self::ScanScript => get(pages::scan_script),
            Self::Health => get(reading::health),
            Self::Metrics => get(metrics::metrics),
            Self::OpenApi => get(describe::openapi),
            Self::ActOnBay => post(acts::bay),
            Self::ActOnStation => post(acts::station),
            Self::ActOnOrder => post(acts::order),
            Self::VerifyMedia => post(acts::media),
            Self::Scan => post(acts::scan),
        }
    }
}

/// Whether a path is for everybody, whoever may look.
pub(crate) fn is_open(path: &str) -> bool {
    Own::VARIANTS.iter().any(|own| own.path() == path && own.role().is_none())
}

/// The routes of the daemon that are passed on: those that only read.
pub(crate) fn passed_on() -> impl Iterator<Item = Route> {
    Route::VARIANTS.iter().copied().filter(|route| route.method() == Method::Get)
}

/// All routes.
pub(crate) fn router() -> Router<Arc<Shared>> {
    let own = Own::VARIANTS.iter();
    let own = own.fold(Router::new(), |router, own| router.route(own.path(), own.handler()));
    passed_on()
        .fold(own, |router, route| router.route(route.path(), get(reading::pass_on)))
        .route("/v1/{*path}", get(reading::no_such_path))
        .fallback(pages::nothing_there)
}
