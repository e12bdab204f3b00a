//! Who somebody is: a session begins with a password, and lies in a cookie that no page and no other site can read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Extension, Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use config::Guests;
use model::failure::chain;
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::accounts::{self, Person, Role};
use crate::{Shared, pages};

pub(crate) const COOKIE: &str = "prestaged";
/// So long somebody stays signed in: a shift, and a little more.
const SHIFT: Duration = Duration::from_secs(12 * 60 * 60);
/// So many are signed in at once; then those go first who have been for longest.
const MOST: usize = 512;

/// Who asks: somebody who has signed in, or a guest.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) person: Option<Person>,
    /// Whether guests from there may look.
    pub(crate) may_look: bool,
}

/// Why something is not done, for a person.
#[derive(Debug)]
pub(crate) struct No(pub(crate) StatusCode, pub(crate) String);

impl Visitor {
    pub(crate) fn may(&self, role: Role) -> bool {
        let guest = self.may_look && role == Role::View;
        self.person.as_ref().map_or(guest, |person| person.role >= role)
    }

    /// Somebody who may do this; the answer to anybody else.
    pub(crate) fn person(&self, role: Role) -> Result<&Person, No> {
        match &self.person {
            Some(person) if person.role >= role => Ok(person),
            Some(person) => {
                let text = format!("{} may not do this: it takes the role {role}", person.name);
                Err(No(StatusCode::FORBIDDEN, text))
            }
            None => Err(No(StatusCode::UNAUTHORIZED, "sign in first".into())),
        }
    }
}

/// Everybody who has signed in. Tokens are kept as their digests.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<[u8; 32], (Person, Instant)>>);

impl Sessions {
    fn begin(&self, person: Person, now: Instant) -> Option<String> {
        let mut token = [0_u8; 32];
        getrandom::fill(&mut token).ok()?;
        let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut known = self.0.lock();
        known.retain(|_, (_, since)| now.duration_since(*since) < SHIFT);
        if known.len() >= MOST {
            let oldest = known.iter().min_by_key(|(_, (_, since))| *since).map(|(key, _)| *key);
            oldest.map(|key| known.remove(&key));
        }
        known.insert(digest(&token), (person, now));
        Some(token)
    }

    fn of(&self, token: &str, now: Instant) -> Option<Person> {
        let known = self.0.lock();
        let (person, since) = known.get(&digest(token))?;
        (now.duration_since(*since) < SHIFT).then(|| person.clone())
    }

    fn end(&self, token: &str) {
        self.0.lock().remove(&digest(token));
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Who asks.
pub(crate) fn visitor(shared: &Shared, headers: &HeaderMap, peer: SocketAddr) -> Visitor {
    let person = token(headers).and_then(|token| shared.sessions.of(token, Instant::now()));
    let may_look = match shared.config.guests {
        Guests::Nobody => false,
        Guests::Loopback => peer.ip().to_canonical().is_loopback(),
        Guests::Everybody => true,
    };
    Visitor { person, may_look }
}

/// What somebody types to sign in.
#[derive(Deserialize, schemars::JsonSchema)]
pub(crate) struct SignIn {
    name: String,
    password: String,
}

pub(crate) async fn sign_in(
    State(shared): crate::State,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(visitor): Extension<Visitor>,
    Form(SignIn { name, password }): Form<SignIn>,
) -> Response {
    let Some(file) = shared.config.accounts.clone() else {
        let text = "nobody can sign in: gate.accounts is not set";
        return pages::problem(StatusCode::FORBIDDEN, &visitor, text);
    };
    let address = peer.ip().to_canonical();
    if let Err(wait) = shared.attempts.begin(address, Instant::now()) {
        let seconds = wait.as_secs().max(1);
        tracing::warn!("too many wrong passwords from {address}");
        let text = format!("too many wrong passwords: try again in {seconds} s");
        let response = pages::problem(StatusCode::TOO_MANY_REQUESTS, &visitor, &text);
        return ([(header::RETRY_AFTER, seconds.to_string())], response).into_response();
    }
    let Ok(_turn) = shared.checking.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let asked = name.clone();
    let verified =
        tokio::task::spawn_blocking(move || accounts::verify(&file, &asked, &password)).await;
    match verified {
        Ok(Ok(Some(person))) => {
            shared.attempts.succeed(address);
            tracing::info!("{} has signed in as {}", person.name, person.role);
            match shared.sessions.begin(person, Instant::now()) {
                Some(token) => signed_in(&shared, &token),
                None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
        Ok(Err(error)) => {
            tracing::error!("nobody can sign in: {}", chain(&error));
            let text = "nobody can sign in: the accounts cannot be read";
            pages::problem(StatusCode::INTERNAL_SERVER_ERROR, &visitor, text)
        }
        _ => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(32).collect();
            tracing::warn!("a wrong password for {shown:?} from {address}");
            pages::problem(StatusCode::FORBIDDEN, &visitor, "wrong name or password")
        }
    }
}

fn signed_in(shared: &Shared, token: &str) -> Response {
    let secure = if shared.config.certificate.is_some() { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        SHIFT.as_secs()
    );
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

pub(crate) async fn sign_out(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(token) = token(&headers) {
        shared.sessions.end(token);
    }
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_the_shift_or_by_hand() {
        let sessions = Sessions::default();
        let person = Person { name: "anna".into(), role: Role::Operate };
        let now = Instant::now();
        let token = sessions.begin(person.clone(), now).unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(sessions.of(&token, now), Some(person.clone()));
        assert_eq!(sessions.of(&token, now + SHIFT), None);
        assert_eq!(sessions.of(&token[1..], now), None);
        assert_eq!(sessions.of("", now), None);
        sessions.end(&token);
        assert_eq!(sessions.of(&token, now), None);
        let first = sessions.begin(person.clone(), now).unwrap();
        for _ in 0..MOST {
            sessions.begin(person.clone(), now + Duration::from_secs(1)).unwrap();
        }
        assert_eq!(sessions.of(&first, now), None, "the oldest gives way");
        assert_eq!(sessions.0.lock().len(), MOST);
    }

    #[test]
    fn a_token_is_found_among_other_cookies() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, text.parse().unwrap());
            token(&headers).map(str::to_owned)
        };
        assert_eq!(of("a=b; prestaged=12; c=d").as_deref(), Some("12"));
        assert_eq!(of("prestaged2=12; xprestaged=3"), None);
    }

    #[test]
    fn who_may_do_what() {
        let person = |role| Some(Person { name: "x".into(), role });
        let guest = Visitor { person: None, may_look: true };
        assert!(guest.may(Role::View) && !guest.may(Role::Operate));
        let stranger = Visitor { person: None, may_look: false };
        assert!(!stranger.may(Role::View));
        let operator = Visitor { person: person(Role::Operate), may_look: false };
        assert!(operator.may(Role::View) && operator.may(Role::Operate));
        assert!(!operator.may(Role::Admin));
    }
}
