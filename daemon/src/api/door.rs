//! Who may ask for what: through which socket somebody has come, and as whom.
//!
//! The socket's mode is the first check; this second one also holds if the mode was set too wide. The gate is told by its
//! user, whatever groups that is in: it speaks for people on the network, and never gets more than the configuration says.

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::api::routes::Route;
use model::code::DenialCode;
use strum::VariantArray as _;
use wire::client::ACTOR;

use super::peer::Peer;
use super::{Context, Problem, bad_request};
use crate::doors::Visitors;

/// A socket of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Whoever may use it may ask for everything.
    Control,
    /// Everything can be looked at, and nothing be asked for.
    View,
}

/// What the gate may ask for on behalf of people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the configuration")]
pub struct GateRights {
    pub operate: bool,
    pub arming: bool,
}

/// What a request amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// To look.
    Look,
    /// What an operator does to a drive, an order or media that the station has.
    Operate,
    /// To let the station write.
    Arm,
    /// To say how the lamps are.
    Tell,
    /// What nobody asks for through the gate: above all, consent to lose what a drive holds.
    Here,
}

impl Asks {
    fn of(route: Route) -> Self {
        match route {
            Route::Status
            | Route::Events
            | Route::Records
            | Route::RecordOf
            | Route::Orders
            | Route::OrderOf
            | Route::Log
            | Route::Checkpoint
            | Route::CertificateOf => Self::Look,
            Route::Disarm
            | Route::Retry
            | Route::Stop
            | Route::Release
            | Route::Locate
            | Route::VerifyMedia
            | Route::Label
            | Route::Scan
            | Route::ChangeOrder => Self::Operate,
            Route::Arm => Self::Arm,
            Route::Lamps => Self::Tell,
            _ => Self::Here,
        }
    }
}

/// The longest name of somebody who has signed in at the gate.
const LONGEST_ACTOR: usize = 64;

/// On whose behalf the gate asks.
fn actor(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut names = headers.get_all(ACTOR).iter();
    let (first, second) = (names.next(), names.next());
    let Some(name) = first else { return Ok(None) };
    let name = name.to_str().ok().map(str::trim).filter(|name| {
        (1..=LONGEST_ACTOR).contains(&name.len()) && !name.contains(|c: char| c.is_control())
    });
    match (name, second) {
        (Some(name), None) => Ok(Some(name.to_owned())),
        _ => Err(bad_request(format!("{ACTOR} names nobody"))),
    }
}

/// Whether somebody who came through a door may ask for this; the refusal says why not.
fn permit(
    door: Door,
    peer: &Peer,
    visitors: Visitors,
    rights: GateRights,
    asks: Asks,
) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    let is_gate = peer.user().is_some() && peer.user() == visitors.gate;
    if is_gate {
        return match (door, asks) {
            (_, Asks::Look) => Ok(()),
            (Door::Control, Asks::Operate) if rights.operate => Ok(()),
            (Door::Control, Asks::Arm) if rights.operate && rights.arming => Ok(()),
            (_, Asks::Here | Asks::Tell) => {
                Err("this can be asked for on the station itself only".into())
            }
            (_, Asks::Arm) => Err("the gate may not arm the station (gate.arming)".into()),
            _ => Err("the gate may only look (gate.operate)".into()),
        };
    }
    // Whatever groups the lamps' user is in, by which it reaches the socket.
    let is_lamps = peer.user().is_some() && peer.user() == visitors.lamps;
    if is_lamps {
        return match (door, asks) {
            (_, Asks::Look) | (Door::Control, Asks::Tell) => Ok(()),
            _ => Err("the lamps may only look, and say how they are".into()),
        };
    }
    let is_root = peer.user().is_some_and(|uid| uid == 0 || uid == own);
    if asks == Asks::Tell && !is_root {
        return Err("only prestaged-lamps says how the lamps are (lamps.user)".into());
    }
    let controls = peer.may_control(own, visitors.group);
    match door {
        Door::Control if controls => Ok(()),
        Door::View if controls || peer.is_of(visitors.view_group) => match asks {
            Asks::Look => Ok(()),
            _ => Err("this socket is for looking only; use the control socket".into()),
        },
        Door::Control => Err(stranger(peer, "control.group", visitors.group)),
        Door::View => Err(stranger(peer, "control.view_group", visitors.view_group)),
    }
}

fn stranger(peer: &Peer, key: &str, group: Option<u32>) -> String {
    let user = peer.user().map_or("an unknown user".to_owned(), |uid| format!("user {uid}"));
    match group {
        Some(group) => format!("{user} is neither root nor a member of group {group} ({key})"),
        None => format!("{user} is not root, and no group is allowed ({key})"),
    }
}

/// Passes on what may be asked for, and refuses all else.
pub(super) async fn guard(
    State((context, door)): State<(Context, Door)>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let method = request.method();
    let is = |route: &&Route| {
        path == Some(route.path()) && method.as_str() == route.method().to_string()
    };
    // What is no route is looked for in vain, and answered so.
    let asks = Route::VARIANTS.iter().find(is).map_or(Asks::Look, |route| Asks::of(*route));
    let harmless = matches!(*method, Method::GET | Method::HEAD);
    let asks = if asks == Asks::Look && path.is_some() && !harmless { Asks::Here } else { asks };
    if let Err(detail) = permit(door, &peer, context.visitors, context.rights, asks) {
        tracing::warn!("a request was denied: {detail}");
        return Problem::new(DenialCode::NotPermitted, detail).into_response();
    }
    if peer.user().is_some() && peer.user() == context.visitors.gate {
        match actor(request.headers()) {
            Ok(None) if asks != Asks::Look => {
                let detail = format!(
                    "user {} is the gate's (gate.user), and the gate must name who asks ({ACTOR})",
                    peer.user().unwrap_or_default()
                );
                return bad_request(detail).into_response();
            }
            Ok(actor) => {
                let peer = Peer { actor, ..peer };
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            Err(problem) => return problem.into_response(),
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const GATE: u32 = 700;
    const LAMPS: u32 = 701;
    const ALL: [Asks; 5] = [Asks::Look, Asks::Operate, Asks::Arm, Asks::Tell, Asks::Here];
    const MEMBER: [Asks; 4] = [Asks::Look, Asks::Operate, Asks::Arm, Asks::Here];

    fn may(door: Door, peer: (Option<u32>, &[u32]), rights: GateRights) -> Vec<Asks> {
        let (gate, lamps) = (Some(GATE), Some(LAMPS));
        let visitors = Visitors { group: Some(42), view_group: Some(43), gate, lamps };
        let peer = Peer { uid: peer.0, groups: peer.1.to_vec(), actor: None };
        let may = |asks: &Asks| permit(door, &peer, visitors, rights, *asks).is_ok();
        ALL.into_iter().filter(may).collect()
    }

    #[test]
    fn the_gate_gets_what_the_configuration_says_whatever_groups_it_is_in() {
        let none = GateRights::default();
        let operate = GateRights { operate: true, arming: false };
        let arming = GateRights { operate: true, arming: true };
        let gate = (Some(GATE), &[42, 43, 0][..]);
        assert_eq!(may(Door::Control, gate, none), [Asks::Look]);
        assert_eq!(may(Door::Control, gate, operate), [Asks::Look, Asks::Operate]);
        assert_eq!(may(Door::Control, gate, arming), [Asks::Look, Asks::Operate, Asks::Arm]);
        for rights in [none, operate, arming] {
            assert_eq!(may(Door::View, gate, rights), [Asks::Look]);
        }
    }

    #[test]
    fn the_socket_for_viewing_is_for_viewing() {
        let rights = GateRights { operate: true, arming: true };
        for peer in [(Some(0), &[][..]), (Some(500), &[42]), (Some(500), &[43])] {
            assert_eq!(may(Door::View, peer, rights), [Asks::Look]);
        }
        for peer in [(Some(500), &[7][..]), (None, &[])] {
            assert_eq!(may(Door::View, peer, rights), []);
            assert_eq!(may(Door::Control, peer, rights), []);
        }
        assert_eq!(may(Door::Control, (Some(500), &[43]), rights), [], "viewers only view");
        assert_eq!(may(Door::Control, (Some(500), &[42]), rights), MEMBER);
        assert_eq!(may(Door::Control, (Some(0), &[]), rights), ALL);
    }

    #[test]
    fn the_lamps_look_and_say_how_they_are() {
        let rights = GateRights { operate: true, arming: true };
        let lamps = (Some(LAMPS), &[42, 43, 0][..]);
        assert_eq!(may(Door::Control, lamps, rights), [Asks::Look, Asks::Tell]);
        assert_eq!(may(Door::View, lamps, rights), [Asks::Look]);
    }

    /// What a person at the gate can do to a drive stands here: a new route is none of it until somebody says so.
    #[test]
    fn what_can_be_asked_for_through_the_gate() {
        let through: Vec<Route> = Route::VARIANTS
            .iter()
            .copied()
            .filter(|route| matches!(Asks::of(*route), Asks::Operate | Asks::Arm))
            .collect();
        let expected = [
            Route::Arm,
            Route::Disarm,
            Route::Retry,
            Route::Stop,
            Route::Release,
            Route::Locate,
            Route::VerifyMedia,
            Route::ChangeOrder,
            Route::Label,
            Route::Scan,
        ];
        assert_eq!(through, expected);
        for route in Route::VARIANTS {
            let looks = Asks::of(*route) == Asks::Look;
            assert_eq!(looks, route.method() == model::api::routes::Method::Get, "{route:?}");
        }
    }

    #[test]
    fn an_actor_has_one_name_that_can_be_written_down() {
        let named = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACTOR, HeaderValue::from_bytes(value).unwrap());
            }
            actor(&headers).ok()
        };
        assert_eq!(named(&[]), Some(None));
        assert_eq!(named(&[b"anna"]), Some(Some("anna".into())));
        assert_eq!(named(&[b"anna", b"root"]), None);
        assert_eq!(named(&[b""]), None);
        assert_eq!(named(&[b"\xff"]), None);
        assert_eq!(named(&[&[b'x'; 65]]), None);
    }
}
