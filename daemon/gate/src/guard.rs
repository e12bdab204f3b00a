//! Which requests are believed. A browser on this machine carries out what any page in it asks for, so neither an address nor
//! a cookie proves that a person wanted something.
//!
//! - **Host**: only names that are the gate's own. A page of another site can make its name lead here (DNS rebinding); then
//!   everything else looks right.
//! - **Origin**: what changes something must come from a page of the gate. Browsers say so; what says neither is a program.
//! - **Headers of answers**: no page of another site may frame, read or extend ours.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::code::DenialCode;
use model::failure::Denial;
use tokio::time::timeout;

use crate::accounts::Role;
use crate::{Shared, access, pages, routes};

/// The largest body of a request, in bytes.
const BODY: usize = 16 << 10;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disbelief {
    /// It names no host, or several.
    NoHost,
    /// It was meant for another host.
    OtherHost,
    /// A page of another site has made it.
    OtherSite,
}

/// The gate's own names.
#[derive(Debug)]
struct Names<'a> {
    address: SocketAddr,
    hosts: &'a [String],
    origins: &'a [String],
    scheme: &'static str,
}

impl Names<'_> {
    /// Whether a host, without its port, is the gate.
    fn has(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let own = match bare.parse::<IpAddr>() {
            // An address cannot be made to lead elsewhere.
            Ok(address) => {
                let address = address.to_canonical();
                let bound = self.address.ip().to_canonical();
                address == bound
                    || bound.is_unspecified()
                    || (bound.is_loopback() && address.is_loopback())
            }
            Err(_) => self.address.ip().is_loopback() && host.eq_ignore_ascii_case("localhost"),
        };
        own || self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn believe(
        &self,
        method: &Method,
        headers: &HeaderMap,
        in_line: Option<&str>,
    ) -> Result<(), Disbelief> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Disbelief::NoHost);
        };
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let host = host.filter(|host| !host.as_str().contains('@')).ok_or(Disbelief::NoHost)?;
        if !self.has(host.host()) || in_line.is_some_and(|in_line| in_line != host.as_str()) {
            return Err(Disbelief::OtherHost);
        }
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, second) = (origins.next(), origins.next());
        let own = format!("{}://{host}", self.scheme);
        let known = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            origin.eq_ignore_ascii_case(&own) || self.origins.iter().any(|known| known == origin)
        };
        match (site, origin, second) {
            (_, _, Some(_)) => Err(Disbelief::OtherSite),
            (None, None, None) => Ok(()),
            (None | Some(b"same-origin"), Some(origin), None) if known(origin) => Ok(()),
            (Some(b"same-origin"), None, None) => Ok(()),
            _ => Err(Disbelief::OtherSite),
        }
    }
}

/// Lets through what is believed, from who may look; marks every answer.
pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let visitor = access::visitor(&shared, request.headers(), peer);
    let names = Names {
        address: shared.address,
        hosts: &shared.config.hosts,
        origins: &shared.config.origins,
        scheme: if shared.config.certificate.is_some() { "https" } else { "http" },
    };
    let in_line = request.uri().authority().map(Authority::as_str);
    let believed = names.believe(request.method(), request.headers(), in_line);
    let path = request.uri().path().to_owned();
    let open = routes::is_open(&path);
    let response = match believed {
        Err(why) => {
            let said = |name| request.headers().get(name).map(|value| format!("{value:?}"));
            let (host, origin) = (said(header::HOST), said(header::ORIGIN));
            tracing::warn!(?host, ?origin, "a request from {peer} is not believed: {why:?}");
            let (status, text) = match why {
                Disbelief::NoHost => (StatusCode::BAD_REQUEST, "the request names no host\n"),
                Disbelief::OtherHost => {
                    (StatusCode::MISDIRECTED_REQUEST, "this is another host (gate.hosts)\n")
                }
                Disbelief::OtherSite => {
                    (StatusCode::FORBIDDEN, "this came from another site (gate.origins)\n")
                }
            };
            (status, text).into_response()
        }
        Ok(()) if !open && !visitor.may(Role::View) => match path.starts_with("/v1/") {
            true => {
                let denial = Denial::new(DenialCode::NotPermitted, "sign in first");
                (StatusCode::UNAUTHORIZED, Json(denial)).into_response()
            }
            false => pages::problem(StatusCode::UNAUTHORIZED, &visitor, "sign in first"),
        },
        Ok(()) => {
            request.extensions_mut().insert(visitor);
            let (head, body) = request.into_parts();
            match timeout(PATIENCE, axum::body::to_bytes(body, BODY)).await {
                Ok(Ok(body)) => next.run(Request::from_parts(head, Body::from(body))).await,
                Ok(Err(_)) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
                Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
            }
        }
    };
    marked(response)
}

/// The answer with what browsers must know of it.
fn marked(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With "no-referrer", browsers hide the origin even from us, and no form of ours would be believed.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What stands on a page was so at one moment.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believe(method: Method, headers: &[(&str, &str)]) -> Result<(), Disbelief> {
        let (hosts, origins) = (["rack.example".to_owned()], ["https://rack.example".to_owned()]);
        let address = "127.0.0.1:8480".parse().unwrap();
        let names = Names { address, hosts: &hosts, origins: &origins, scheme: "http" };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, value.parse().unwrap());
        }
        names.believe(&method, &map, None)
    }

    #[test]
    fn only_the_gate_s_own_names_are_answered() {
        for good in [
            "localhost:8480",
            "127.0.0.1:8480",
            "[::1]:8480",
            "LOCALHOST",
            "rack.example",
            "127.0.0.2",
        ] {
            assert_eq!(believe(Method::GET, &[("host", good)]), Ok(()), "{good}");
        }
        for bad in [
            "evil.example:8480",
            "192.0.2.1:8480",
            "localhost.evil.example",
            "evil.example.localhost",
            "rack.example.evil",
            "xrack.example",
            "127.0.0.1.evil.example",
            "2130706433",
            "0x7f000001",
        ] {
            assert_eq!(believe(Method::GET, &[("host", bad)]), Err(Disbelief::OtherHost), "{bad}");
        }
        for none in [
            &[][..],
            &[("host", "")],
            &[("host", "a"), ("host", "localhost")],
            &[("host", "x@localhost")],
        ] {
            assert_eq!(believe(Method::GET, none), Err(Disbelief::NoHost), "{none:?}");
        }
    }

    #[test]
    fn what_another_site_asks_for_is_not_done() {
        let host = ("host", "localhost:8480");
        let post = |more: &[(&str, &str)]| believe(Method::POST, &[&[host], more].concat());
        for good in [
            &[][..],
            &[("origin", "http://localhost:8480")],
            &[("origin", "http://localhost:8480"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-origin")],
            // A proxy that the configuration names.
            &[("origin", "https://rack.example"), ("sec-fetch-site", "same-origin")],
        ] {
            assert_eq!(post(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:9999")],
            &[("origin", "https://localhost:8480")],
            &[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://localhost:8480"), ("origin", "https://evil.example")],
            &[("origin", "http://localhost:8480"), ("sec-fetch-site", "cross-site")],
            &[("origin", "https://rack.example"), ("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(post(bad), Err(Disbelief::OtherSite), "{bad:?}");
        }
        // Rebinding: everything fits together, and only the name is wrong.
        let evil = [
            ("host", "evil.example"),
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(believe(Method::POST, &evil), Err(Disbelief::OtherHost));
    }
}
