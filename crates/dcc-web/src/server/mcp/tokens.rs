//! Tokens of sessions: 256 random bits each, kept as SHA-256, gone with the session or the process.
//!
//! Authority: ephemeral. Invariants: a session has at most one token; what admits a request is looked up by hash, so no
//! comparison tells how much of a guess was right; calls of one session are bounded in rate and in number at once.
//! Failure: HSK-401-UNAUTHENTICATED, HSK-429-RATE-LIMIT.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use dcc_core::ports::{AgentDoor, McpHandout, StartExtras};
use dcc_core::{Code, Failure, Outcome, SessionId, limits};

/// Names of the variables in the environment of `dcc mcp`.
pub const ADDRESS_VARIABLE: &str = "DCC_MCP_ADDR";
pub const TOKEN_VARIABLE: &str = "DCC_MCP_TOKEN";
/// The MCP server's name, as agents show it.
const SERVER_NAME: &str = "dcc";

type Digest = [u8; 32];

fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// What one session may still do.
struct Budget {
    /// Calls left, in thousandths, so that they come back evenly.
    left_milli: u64,
    counted_at: Instant,
    at_once: u32,
}

struct Entry {
    session_id: SessionId,
    budget: Arc<Mutex<Budget>>,
}

pub struct Tokens {
    port: u16,
    /// Absolute path of this program.
    program: String,
    entries: Mutex<HashMap<Digest, Entry>>,
}

/// A request that was let in; dropping it gives its place back.
pub struct Admitted {
    pub session_id: SessionId,
    budget: Arc<Mutex<Budget>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.budget).at_once -= 1;
    }
}

/// Every change to these values is one step, so a poisoned lock holds good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tokens {
    pub fn new(port: u16, program: &Path) -> Outcome<Self> {
        let program = program.to_str().ok_or_else(|| Failure::engine("this program's path is not text, so agents cannot be told of it"))?;
        Ok(Self { port, program: program.to_owned(), entries: Mutex::default() })
    }

    /// The session of a token, and a place among its calls.
    pub fn admit(&self, token: &str) -> Outcome<Admitted> {
        let entries = lock(&self.entries);
        let entry = entries.get(&digest(token)).ok_or_else(super::unauthenticated)?;
        lock(&entry.budget).take(Instant::now())?;
        Ok(Admitted { session_id: entry.session_id, budget: Arc::clone(&entry.budget) })
    }

    /// A new token for the session; an earlier one is void.
    fn issue(&self, session_id: SessionId) -> String {
        let mut bytes = [0_u8; 32];
        // Without randomness of the system there is no secret, and without a secret no session.
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        let token = hex::encode(bytes);
        let budget = Budget { left_milli: u64::from(limits::AGENT_CALLS_BURST) * 1000, counted_at: Instant::now(), at_once: 0 };
        let mut entries = lock(&self.entries);
        entries.retain(|_, entry| entry.session_id != session_id);
        entries.insert(digest(&token), Entry { session_id, budget: Arc::new(Mutex::new(budget)) });
        token
    }
}

impl Budget {
    fn take(&mut self, now: Instant) -> Outcome<()> {
        let passed_ms = u64::try_from(now.saturating_duration_since(self.counted_at).as_millis()).unwrap_or(u64::MAX);
        let most = u64::from(limits::AGENT_CALLS_BURST) * 1000;
        self.left_milli = most.min(self.left_milli.saturating_add(passed_ms.saturating_mul(u64::from(limits::AGENT_CALLS_PER_SECOND))));
        // What is less than a millisecond counts the next time.
        self.counted_at = self.counted_at.checked_add(Duration::from_millis(passed_ms)).unwrap_or(now);
        if self.at_once >= limits::AGENT_CALLS_AT_ONCE_MAX {
            return Err(Failure::new(Code::RateLimit, format!("{} calls of this session are being worked on", self.at_once)).hint("wait for one of them"));
        }
        if self.left_milli < 1000 {
            return Err(Failure::new(Code::RateLimit, "this session calls too often").hint(format!("{} calls come back each second", limits::AGENT_CALLS_PER_SECOND)));
        }
        self.left_milli -= 1000;
        self.at_once += 1;
        Ok(())
    }
}

impl AgentDoor for Tokens {
    fn hand_out(&self, session_id: SessionId) -> Outcome<StartExtras> {
        let token = self.issue(session_id);
        Ok(StartExtras {
            mcp: Some(McpHandout {
                name: SERVER_NAME.to_owned(),
                command: self.program.clone(),
                args: vec!["mcp".to_owned(), "--session".to_owned(), session_id.to_string()],
                env: vec![(ADDRESS_VARIABLE.to_owned(), format!("127.0.0.1:{}", self.port)), (TOKEN_VARIABLE.to_owned(), token)],
            }),
            connect_ports: vec![self.port],
            read_paths: vec![self.program.clone()],
        })
    }

    fn revoke(&self, session_id: SessionId) {
        lock(&self.entries).retain(|_, entry| entry.session_id != session_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "0198c0de-0000-7000-8000-0000000000aa";

    fn tokens() -> Tokens {
        Tokens::new(7, Path::new("/usr/bin/dcc")).unwrap()
    }

    fn token_of(extras: &StartExtras) -> String {
        extras.mcp.as_ref().unwrap().env[1].1.clone()
    }

    #[test]
    fn a_session_has_one_token_and_it_ends_with_it() {
        let tokens = tokens();
        let session: SessionId = SESSION.parse().unwrap();
        let first = tokens.hand_out(session).unwrap();
        assert_eq!((first.connect_ports.as_slice(), first.read_paths[0].as_str()), (&[7][..], "/usr/bin/dcc"));
        assert_eq!(token_of(&first).len(), 64);
        assert_eq!(tokens.admit(&token_of(&first)).unwrap().session_id, session);
        let second = tokens.hand_out(session).unwrap();
        for void in [token_of(&first), String::new(), token_of(&second)[..63].to_owned(), token_of(&second).to_uppercase() + " "] {
            assert_eq!(tokens.admit(&void).err().unwrap().code, Code::Unauthenticated, "{void:?}");
        }
        assert!(tokens.admit(&token_of(&second)).is_ok());
        tokens.revoke(session);
        assert_eq!(tokens.admit(&token_of(&second)).err().unwrap().code, Code::Unauthenticated);
    }

    #[test]
    fn a_token_shows_nowhere_by_accident() {
        let extras = tokens().hand_out(SESSION.parse().unwrap()).unwrap();
        assert!(!format!("{extras:?}").contains(&token_of(&extras)));
        assert!(!extras.mcp.as_ref().unwrap().args.concat().contains(&token_of(&extras)));
    }

    #[test]
    fn whoever_calls_more_often_than_once_a_millisecond_earns_calls_back_too() {
        let begin = Instant::now();
        let mut budget = Budget { left_milli: 0, counted_at: begin, at_once: 0 };
        let let_in = (1..=10_000).filter(|tenth| budget.take(begin + Duration::from_micros(tenth * 100)).inspect(|()| ()).is_ok()).count();
        assert_eq!(let_in, limits::AGENT_CALLS_PER_SECOND as usize);
    }

    #[test]
    fn calls_are_bounded_in_rate_and_number() {
        let begin = Instant::now();
        let mut budget = Budget { left_milli: u64::from(limits::AGENT_CALLS_BURST) * 1000, counted_at: begin, at_once: 0 };
        for _ in 0..limits::AGENT_CALLS_AT_ONCE_MAX {
            budget.take(begin).unwrap();
        }
        assert_eq!(budget.take(begin).unwrap_err().code, Code::RateLimit, "too many at once");
        budget.at_once = 0;
        for _ in limits::AGENT_CALLS_AT_ONCE_MAX..limits::AGENT_CALLS_BURST {
            budget.take(begin).unwrap();
            budget.at_once = 0;
        }
        assert_eq!(budget.take(begin).unwrap_err().code, Code::RateLimit, "too often");
        let second = begin + Duration::from_secs(1);
        for _ in 0..limits::AGENT_CALLS_PER_SECOND {
            budget.take(second).unwrap();
            budget.at_once = 0;
        }
        assert!(budget.take(second).is_err());
        assert!(budget.take(second + Duration::from_secs(1_000_000)).is_ok() && budget.left_milli < u64::from(limits::AGENT_CALLS_BURST) * 1000);
    }
}
