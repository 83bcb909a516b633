//! Identifiers. Pure values, no authority of their own.
//!
//! Every id is a newtype, so a session id can never stand where a job id is wanted. Ids made by us are UUIDv7; they are
//! globally unique and say nothing about order: order is the recorder's sequence. Nothing here reads a clock: a port
//! (`IdSource`) hands ids in.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};
use uuid::Uuid;

use crate::failure::{Code, Failure};

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);
        impl $name {
            /// The last eight characters: ids made from a clock share their first eight within a minute.
            pub fn short(&self) -> String {
                let text = self.0.to_string();
                text[text.len() - 8..].to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self.0) }
        }
        impl FromStr for $name {
            type Err = Failure;
            fn from_str(text: &str) -> Result<Self, Failure> {
                Uuid::parse_str(text).map(Self).map_err(|_| {
                    Failure::new(Code::InvalidInput, format!("{text:?} is not a valid {}", stringify!($name)))
                })
            }
        }
        impl From<Uuid> for $name { fn from(value: Uuid) -> Self { Self(value) } }
    )*};
}

uuid_id! {
    /// A job: one governed operation from acceptance to its terminal state. A root job's id is the workflow_run_id.
    JobId,
    /// An approval request and its decision.
    ApprovalId,
    /// A standing permission that an approval issued.
    GrantId,
    /// An execution session: an agent or a person at work in a workspace.
    SessionId,
    /// A workspace (wsid in the recorder): the identity of a git worktree, never its directory name.
    WorkspaceId,
    /// One Flight Recorder event.
    EventId,
    /// A project: one repository under DCC's care.
    ProjectId,
    /// One running process of DCC that owned the project at some time.
    InstanceId,
    /// A note on a packet or an anchor.
    NoteId,
    /// A message of a session.
    MessageId,
    /// What a session or a packet leaves to whoever goes on.
    HandoffId,
}

impl SessionId {
    /// The session that a job makes, where it has to be known before it is: as the job's id in time and form, and with another
    /// end, by which short ids are told apart.
    pub fn born_of(job_id: JobId) -> Self {
        let mut bytes = *job_id.0.as_bytes();
        let tail = Sha256Hex::of(&bytes);
        bytes[9..].copy_from_slice(&tail.0[9..16]);
        Self(Uuid::from_bytes(bytes))
    }
}

/// A work packet's id: `WP-` then letters, digits and dashes; unique without regard to case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WpId(String);

impl WpId {
    /// Parses and checks the form. At most 64 bytes.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let rest = text.strip_prefix("WP-").unwrap_or("");
        let fits = !rest.is_empty()
            && text.len() <= 64
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::new(Code::InvalidInput, format!("{text:?} is not a packet id"))
                .hint("a packet id is WP- followed by letters, digits and dashes, such as WP-0001"))
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The form under which two ids are the same id.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// A micro-task's id inside its packet: `MT-` then three or more digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MtId(String);

impl MtId {
    /// Parses and checks the form. At most 12 digits.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let digits = text.strip_prefix("MT-").unwrap_or("");
        if (3..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::new(Code::InvalidInput, format!("{text:?} is not a micro-task id"))
                .hint("a micro-task id is MT- followed by three or more digits, such as MT-001"))
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of some bytes; on the wire 64 lower-case hex digits. Names an artifact, a digest, a chain link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Hex(pub [u8; 32]);

impl Sha256Hex {
    pub const ZERO: Self = Self([0; 32]);
    /// Hashes the bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut raw = [0u8; 32];
        hex::decode_to_slice(text, &mut raw)
            .map_err(|_| Failure::new(Code::InvalidInput, format!("{text:?} is not a SHA-256")))?;
        Ok(Self(raw))
    }
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

/// A git object id as git prints it: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Oid(String);

impl Oid {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let fits = matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::new(Code::InvalidInput, format!("{text:?} is not a full object id")))
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn short(&self) -> &str {
        &self.0[..9]
    }
    /// True for the all-zero id, git's spelling of "nothing there".
    pub fn is_zero(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }
}

macro_rules! text_id {
    ($($name:ident => $parse:expr, $show:expr);* $(;)?) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&$show(self)) }
        }
        impl FromStr for $name {
            type Err = Failure;
            fn from_str(text: &str) -> Result<Self, Failure> { $parse(text) }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&$show(self)) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                $parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_id! {
    WpId => WpId::parse, |v: &WpId| v.0.clone();
    MtId => MtId::parse, |v: &MtId| v.0.clone();
    Oid => Oid::parse, |v: &Oid| v.0.clone();
    Sha256Hex => Sha256Hex::parse, |v: &Sha256Hex| hex::encode(v.0);
}
impl fmt::Debug for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Hex({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_born_of_a_job_has_an_id_of_its_own_and_always_the_same() {
        let job: JobId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        let born = SessionId::born_of(job);
        assert_eq!(born, SessionId::born_of(job));
        assert_eq!((born.0.get_version_num(), born.0.get_variant()), (7, job.0.get_variant()));
        assert_eq!(born.to_string()[..18], job.to_string()[..18], "made at the same time");
        assert_ne!(born.short(), job.short());
    }

    #[test]
    fn packet_ids_are_strict() {
        assert!(WpId::parse("WP-0001").is_ok());
        assert!(WpId::parse("WP-Auth-2").is_ok());
        for bad in ["", "WP-", "wp-1", "WP-1 ", "WP-ü", "WP-../x", "WP-1\n"] {
            assert!(WpId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn micro_task_ids_are_strict() {
        assert!(MtId::parse("MT-001").is_ok());
        for bad in ["MT-01", "MT-", "MT-00a", "mt-001", "MT-0001234567890"] {
            assert!(MtId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
