//! One event as it is stored: the header that is hashed, and its way to and from [`Event`]. Authority: canon.
//!
//! Invariant: every header column takes part in the hash, so the field list below and the table's columns are one list.
//! A row whose code, outcome or ids this program does not know is not damage: it stays, verifies, and is left out of
//! typed reads.

use dcc_core::event::{Correlation, Event, EventClass, EventCode, EventOutcome};
use dcc_core::principal::{Actor, ActorKind};
use dcc_core::{Outcome, Sha256Hex, Timestamp, canonical};
use rusqlite::types::{FromSqlResult, ValueRef};
use rusqlite::{Row, Statement, params};
use serde::Serialize;
use serde_json::{Value, json};

/// Separates these hashes from every other digest of the product.
const DOMAIN: &str = "dcc.event.v1";

/// Stands for a telemetry payload that retention removed.
pub fn purged_payload() -> Value {
    json!({"purged": true})
}

macro_rules! header {
    ($($field:ident: $kind:ty = $take:ident,)*) => {
        /// Every hashed column, as stored.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct Header { $(pub $field: $kind,)* }

        impl Header {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field),)*];

            fn read(row: &Row<'_>) -> Result<Self, String> {
                let mut at = 0..Self::COLUMNS.len();
                $(let $field = column(row, at.next().unwrap_or(usize::MAX), stringify!($field), $take)?;)*
                Ok(Self { $($field,)* })
            }

            /// `INSERT` of the header and its hash.
            pub fn insert_sql() -> String {
                let marks = vec!["?"; Self::COLUMNS.len() + 1].join(", ");
                format!("INSERT INTO events ({}, hash) VALUES ({marks})", Self::COLUMNS.join(", "))
            }

            pub fn insert(&self, statement: &mut Statement<'_>, hash: &str) -> rusqlite::Result<usize> {
                statement.execute(params![$(self.$field,)* hash])
            }
        }
    };
}

header! {
    seq: i64 = integer,
    event_id: String = text,
    ts: i64 = integer,
    code: String = text,
    name: String = text,
    class: String = text,
    actor_kind: String = text,
    actor_id: String = text,
    principal: String = text,
    trace_id: Option<String> = optional,
    span_id: Option<String> = optional,
    parent_span_id: Option<String> = optional,
    job_id: Option<String> = optional,
    workflow_run_id: Option<String> = optional,
    session_id: Option<String> = optional,
    wsid: Option<String> = optional,
    project_id: String = text,
    wp_id: Option<String> = optional,
    mt_id: Option<String> = optional,
    approval_id: Option<String> = optional,
    tool_call_id: Option<String> = optional,
    capability_id: Option<String> = optional,
    policy_digest: Option<String> = optional,
    outcome: String = text,
    unique_key: Option<String> = optional,
    redactions: i64 = integer,
    payload_sha256: String = text,
    prev_hash: String = text,
    instance_id: String = text,
}

fn column<T>(row: &Row<'_>, at: usize, name: &str, take: fn(ValueRef<'_>) -> FromSqlResult<T>) -> Result<T, String> {
    let value = row.get_ref(at).map_err(|e| format!("column {name}: {e}"))?;
    take(value).map_err(|_| format!("column {name} holds a value of the wrong form"))
}

fn integer(value: ValueRef<'_>) -> FromSqlResult<i64> {
    value.as_i64()
}

fn text(value: ValueRef<'_>) -> FromSqlResult<String> {
    value.as_str().map(str::to_owned)
}

fn optional(value: ValueRef<'_>) -> FromSqlResult<Option<String>> {
    Ok(value.as_str_or_null()?.map(str::to_owned))
}

/// A nullable id; an error is a text that is no such id.
fn id<T: std::str::FromStr>(text: Option<&String>) -> Result<Option<T>, T::Err> {
    text.map(|t| t.parse()).transpose()
}

impl Header {
    /// The link of the chain: a digest over the canonical form of all fields.
    pub fn digest(&self) -> Outcome<Sha256Hex> {
        canonical::digest(DOMAIN, self)
    }

    /// The typed event; None when this program does not know the code or the shape.
    fn typed(&self, hash: &str, payload: Value) -> Option<Event> {
        Some(Event {
            seq: u64::try_from(self.seq).ok()?,
            event_id: self.event_id.parse().ok()?,
            ts: Timestamp(self.ts),
            code: EventCode::parse(&self.code)?,
            name: self.name.clone(),
            actor_kind: parse_kind(&self.actor_kind)?,
            actor_id: self.actor_id.clone(),
            actor: serde_json::from_str::<Actor>(&self.principal).ok()?,
            correlation: Correlation {
                wp_id: id(self.wp_id.as_ref()).ok()?,
                mt_id: id(self.mt_id.as_ref()).ok()?,
                session_id: id(self.session_id.as_ref()).ok()?,
                workspace_id: id(self.wsid.as_ref()).ok()?,
                job_id: id(self.job_id.as_ref()).ok()?,
                workflow_run_id: id(self.workflow_run_id.as_ref()).ok()?,
                approval_id: id(self.approval_id.as_ref()).ok()?,
                tool_call_id: self.tool_call_id.clone(),
            },
            capability_id: self.capability_id.clone(),
            policy_digest: id(self.policy_digest.as_ref()).ok()?,
            outcome: EventOutcome::parse(&self.outcome)?,
            payload,
            payload_sha256: self.payload_sha256.parse().ok()?,
            unique_key: self.unique_key.clone(),
            project_id: self.project_id.parse().ok()?,
            instance_id: self.instance_id.parse().ok()?,
            prev_hash: self.prev_hash.parse().ok()?,
            hash: hash.parse().ok()?,
        })
    }
}

/// A row with its hash, and its payload where the query asked for it.
#[derive(Clone, Debug)]
pub struct StoredRow {
    pub header: Header,
    pub hash: String,
    pub body: Option<String>,
    pub is_purged: bool,
}

impl StoredRow {
    /// Columns of the header and the hash, of the table alias `e`.
    pub fn columns() -> String {
        let mut list: Vec<String> = Header::COLUMNS.iter().map(|c| format!("e.{c}")).collect();
        list.push("e.hash".to_owned());
        list.join(", ")
    }

    /// `SELECT` of whole rows; a `WHERE` on `e`, `p` may follow.
    pub fn select() -> String {
        format!(
            "SELECT {}, p.body, g.seq FROM events e LEFT JOIN payloads p ON p.seq = e.seq LEFT JOIN purged g ON g.seq = e.seq",
            Self::columns()
        )
    }

    /// Reads the header and the hash only.
    pub fn read(row: &Row<'_>) -> Result<Self, String> {
        let header = Header::read(row)?;
        let hash = column(row, Header::COLUMNS.len(), "hash", text)?;
        Ok(Self { header, hash, body: None, is_purged: false })
    }

    /// Reads a row of [`StoredRow::select`].
    pub fn read_whole(row: &Row<'_>) -> Result<Self, String> {
        let mut stored = Self::read(row)?;
        stored.body = column(row, Header::COLUMNS.len() + 1, "body", optional)?;
        stored.is_purged = column(row, Header::COLUMNS.len() + 2, "purged", |v| Ok(v != ValueRef::Null))?;
        Ok(stored)
    }

    /// The payload: parsed, or the mark of a purged one. An error is damage.
    pub fn payload(&self) -> Result<Value, String> {
        match &self.body {
            Some(body) => serde_json::from_str(body).map_err(|e| format!("the payload of event {} is not JSON: {e}", self.header.seq)),
            None if self.is_purged && self.header.class == class_text(EventClass::Telemetry) => Ok(purged_payload()),
            None => Err(format!("the payload of event {} is missing", self.header.seq)),
        }
    }

    /// The typed event, None when its code or shape is unknown here. An error is damage.
    pub fn event(&self) -> Result<Option<Event>, String> {
        let payload = self.payload()?;
        Ok(self.event_with(payload))
    }

    /// The typed event with a payload that is at hand already.
    pub fn event_with(&self, payload: Value) -> Option<Event> {
        self.header.typed(&self.hash, payload)
    }

    /// The event as JSON for an export; one of unknown code keeps its columns as they are.
    pub fn json(&self) -> Result<Value, String> {
        if let Some(event) = self.event()? {
            return serde_json::to_value(event).map_err(|e| e.to_string());
        }
        let mut value = serde_json::to_value(&self.header).map_err(|e| e.to_string())?;
        if let Value::Object(map) = &mut value {
            map.insert("workspace_id".to_owned(), json!(self.header.wsid));
            map.insert("ts".to_owned(), json!(Timestamp(self.header.ts)));
            map.insert("hash".to_owned(), json!(self.hash));
            map.insert("payload".to_owned(), self.payload()?);
        }
        Ok(value)
    }
}

pub fn class_text(class: EventClass) -> &'static str {
    match class {
        EventClass::Audit => "audit",
        EventClass::Telemetry => "telemetry",
    }
}

pub fn kind_text(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Human => "human",
        ActorKind::Agent => "agent",
        ActorKind::System => "system",
    }
}

fn parse_kind(text: &str) -> Option<ActorKind> {
    [ActorKind::Human, ActorKind::Agent, ActorKind::System].into_iter().find(|k| kind_text(*k) == text)
}
