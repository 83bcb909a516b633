//! Who sent a request: the operator's credential, a one-time sign-in link, a browser session.
//!
//! Authority: ephemeral; all of it ends with the server. Invariants: secrets are kept as SHA-256 only (but for a
//! session's write token, which the pages must show to their own script), compared in constant time; a link opens once
//! and within 60 seconds; both tables are bounded and the oldest entry gives way.
//! Failure: HSK-401-UNAUTHENTICATED, with one message for wrong, used and expired alike.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use dcc_core::{Code, Failure, InstanceId, Outcome};

/// A link is opened by the command that asked for it, or by a person who reads it on the screen.
pub const LINK_TTL_MS: u64 = 60_000;
/// Links that wait to be opened; one person starts few.
const LINKS_MAX: usize = 16;
/// Signed-in browsers; one person has few, tests have more.
const SESSIONS_MAX: usize = 64;
/// The shortest credential that is taken: 128 bits in hex.
const CREDENTIAL_BYTES_MIN: usize = 32;

type Digest = [u8; 32];

fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// 256 random bits in hex.
fn secret() -> String {
    let mut bytes = [0_u8; 32];
    // Without randomness of the system there is no secret, and without a secret no server.
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    hex::encode(bytes)
}

struct BrowserSession {
    /// Echoed in `x-dcc-token` by writes; a cookie alone changes nothing.
    token: String,
    opened_at: Instant,
}

type Now = Box<dyn Fn() -> Instant + Send + Sync>;

pub struct Auth {
    credential: Digest,
    cookie_name: String,
    links: Mutex<HashMap<Digest, Instant>>,
    sessions: Mutex<HashMap<Digest, BrowserSession>>,
    now: Now,
}

/// Characters of a link's token, as [`secret`] makes them.
const TOKEN_CHARS: usize = 64;

impl Auth {
    pub fn new(credential: &str, instance: InstanceId) -> Outcome<Self> {
        Self::with_clock(credential, instance, Box::new(Instant::now))
    }

    pub fn with_clock(credential: &str, instance: InstanceId, now: Now) -> Outcome<Self> {
        if credential.len() < CREDENTIAL_BYTES_MIN {
            return Err(Failure::new(Code::Unauthenticated, "the operator credential is too short to be one").hint("run dcc init to make a new one"));
        }
        Ok(Self {
            credential: digest(credential),
            // Cookies know no port: another instance's cookie must not stand in our place.
            cookie_name: format!("dcc_{}", instance.short()),
            links: Mutex::default(),
            sessions: Mutex::default(),
            now,
        })
    }

    pub fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// True for `Authorization: Bearer` with the operator's credential.
    pub fn is_operator(&self, bearer: &str) -> bool {
        // Equal lengths by hashing, so that not even the length shows.
        digest(bearer).ct_eq(&self.credential).into()
    }

    /// A new sign-in token.
    pub fn issue_link(&self) -> String {
        let token = secret();
        let now = (self.now)();
        let mut links = lock(&self.links);
        links.retain(|_, issued| is_young(*issued, now));
        if links.len() >= LINKS_MAX {
            let oldest = links.iter().min_by_key(|(_, issued)| **issued).map(|(key, _)| *key);
            oldest.and_then(|key| links.remove(&key));
        }
        links.insert(digest(&token), now);
        token
    }

    /// Opens a session for a token: the cookie's value. The token is gone whether or not it was still young.
    pub fn redeem(&self, token: &str) -> Outcome<String> {
        if token.len() != TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure::new(Code::Unauthenticated, "This is no sign-in link, nor the code at its end.").hint("Paste the whole line that the command below prints."));
        }
        let now = (self.now)();
        let issued = lock(&self.links).remove(&digest(token));
        if !issued.is_some_and(|issued| is_young(issued, now)) {
            return Err(Failure::new(Code::Unauthenticated, "This link was used already, is older than 60 seconds, or belongs to another server.").hint("The command below prints a new one."));
        }
        let value = secret();
        let mut sessions = lock(&self.sessions);
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.opened_at).map(|(key, _)| *key);
            oldest.and_then(|key| sessions.remove(&key));
        }
        sessions.insert(digest(&value), BrowserSession { token: secret(), opened_at: now });
        Ok(value)
    }

    /// `Set-Cookie` for a session. It has no end of its own: it ends with the server. No `Secure`: this is plain HTTP on
    /// the loopback address.
    pub fn set_cookie(&self, value: &str) -> Outcome<HeaderValue> {
        HeaderValue::from_str(&format!("{}={value}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name)).map_err(|_| Failure::engine("a cookie of hex digits was refused"))
    }

    /// The write token of the session whose cookie the request carries.
    pub fn session(&self, headers: &HeaderMap) -> Option<String> {
        let sessions = lock(&self.sessions);
        self.cookies(headers).find_map(|value| sessions.get(&digest(value)).map(|session| session.token.clone()))
    }

    /// True when the request carries a cookie of our name, valid or not.
    pub fn has_cookie(&self, headers: &HeaderMap) -> bool {
        self.cookies(headers).next().is_some()
    }

    fn cookies<'h>(&'h self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie_name)
            .map(|(_, value)| value)
    }
}

fn is_young(issued: Instant, now: Instant) -> bool {
    now.saturating_duration_since(issued) < Duration::from_millis(LINK_TTL_MS)
}

/// Every change to these tables is one call, so a poisoned lock holds good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compares a write token in constant time.
pub fn is_same_token(own: &str, given: &str) -> bool {
    digest(own).ct_eq(&digest(given)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(now: Now) -> Auth {
        let instance = "0198c0de-0000-7000-8000-0000ab12cd34".parse().unwrap();
        Auth::with_clock(&"c".repeat(64), instance, now).unwrap()
    }

    #[test]
    fn tables_are_bounded_and_the_oldest_gives_way() {
        let auth = auth(Box::new(Instant::now));
        let first = auth.issue_link();
        for _ in 0..LINKS_MAX {
            auth.issue_link();
        }
        assert!(auth.redeem(&first).is_err());
        let mut values = Vec::new();
        for _ in 0..=SESSIONS_MAX {
            values.push(auth.redeem(&auth.issue_link()).unwrap());
        }
        let signed_in = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, format!("other=1; dcc_ab12cd34={value}").parse().unwrap());
            auth.session(&headers).is_some()
        };
        assert!(!signed_in(&values[0]) && signed_in(&values[1]) && signed_in(&values[SESSIONS_MAX]));
        assert!(!signed_in("") && !signed_in("x"));
    }

    #[test]
    fn a_short_credential_is_none() {
        let instance = "0198c0de-0000-7000-8000-0000ab12cd34".parse().unwrap();
        assert_eq!(Auth::new("", instance).err().unwrap().code, Code::Unauthenticated);
    }
}
