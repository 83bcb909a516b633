//! Events and records with recognisable values.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use dcc_core::event::{Correlation, Event, EventCode, EventOutcome};
use dcc_core::ports::Clock;
use dcc_core::principal::{Actor, Surface};
use dcc_core::{Sha256Hex, Timestamp};
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;
use serde_json::{Value, json};

use crate::{Opened, SqliteStore};

pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_769_850_611_120)
    }
    fn fresh_id(&self) -> uuid_of::Uuid {
        uuid_of::uuid(0xffff)
    }
    fn random(&self) -> [u8; 32] {
        [7; 32]
    }
}

/// The UUID type behind the ids, without naming its crate.
pub(crate) mod uuid_of {
    pub(crate) type Uuid = <dcc_core::JobId as Inner>::Of;
    pub(crate) trait Inner {
        type Of;
    }
    impl<T, U> Inner for T
    where
        T: Into2<U>,
    {
        type Of = U;
    }
    pub(crate) trait Into2<U> {}
    pub(crate) fn uuid(_n: u64) -> Uuid {
        unimplemented!()
    }
}
