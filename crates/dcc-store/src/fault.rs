//! What can go wrong inside the store, and its translation to the one `Failure` of the boundary.
//!
//! Authority: none. Invariant: damage of the file is told apart from every other error, because only damage may move
//! the file aside.

use dcc_core::{Code, Failure};
use rusqlite::ErrorCode;

/// An error inside the store.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    /// The file is not one that this program can have written.
    Foreign(String),
    /// A complete answer already.
    Refused(Failure),
}

impl Fault {
    /// True when the file itself is bad, not the request and not the disk.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Sql(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            Self::Foreign(_) => true,
            Self::Refused(_) => false,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}
impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(failure) => failure,
            Fault::Foreign(why) => Failure::engine(format!("devcc.db: {why}")).hint("it is derived: dcc rebuild makes it anew"),
            Fault::Sql(error) => sql(&error),
        }
    }
}

fn sql(error: &rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Failure::new(Code::Locked, "devcc.db is held by another program").hint("close the program that reads it and try again")
        }
        Some(ErrorCode::DiskFull) => Failure::engine("devcc.db cannot grow: the disk is full").hint("free disk space; views catch up by themselves"),
        _ => Failure::engine(format!("devcc.db: {error}")).hint("it is derived: dcc rebuild makes it anew"),
    }
}

/// An error of the file system around the database.
pub(crate) fn io(what: &str, error: &std::io::Error) -> Fault {
    Fault::Refused(Failure::engine(format!("{what}: {error}")))
}

/// A stored record that no longer reads as its type.
pub(crate) fn unreadable(what: &str, error: &serde_json::Error) -> Fault {
    Fault::Refused(Failure::engine(format!("a {what} row of devcc.db cannot be read: {error}")).hint("it is derived: dcc rebuild makes it anew"))
}
