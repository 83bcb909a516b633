//! A record's bytes: strict reading, and the sentence that tells how a file differs from the accepted record.
//!
//! Invariant: what does not parse completely under the schema this program knows is not a record.

use dcc_core::locus::{MT_SCHEMA_ID, MicroTask, Record, RecordKey, WP_SCHEMA_ID, WorkPacket};
use serde_json::Value;

use crate::fsroot::Found;

/// Reads the bytes as the record of this key; the error is a sentence's second half: "is not JSON: ... at line 3".
pub(crate) fn parse(key: &RecordKey, bytes: &[u8]) -> Result<Record, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| if e.is_eof() { format!("is half-written or cut off: {e}") } else { format!("is not JSON: {e}") })?;
    let schema_id = match key {
        RecordKey::Packet { .. } => WP_SCHEMA_ID,
        RecordKey::MicroTask { .. } => MT_SCHEMA_ID,
    };
    for (field, known) in [("schema_id", schema_id), ("schema_version", "1")] {
        match value.get(field) {
            Some(Value::String(found)) if found == known => {}
            Some(found) => return Err(format!("has {field} {found}, and this program knows {known:?} only")),
            None => return Err(format!("has no {field}")),
        }
    }
    let record = match key {
        RecordKey::Packet { .. } => serde_json::from_slice::<WorkPacket>(bytes).map(|p| Record::Packet(Box::new(p))),
        RecordKey::MicroTask { .. } => serde_json::from_slice::<MicroTask>(bytes).map(|m| Record::MicroTask(Box::new(m))),
    };
    let record = record.map_err(|e| format!("does not fit the schema: {e}"))?;
    if record.key() != *key {
        return Err(format!("holds the record {}", record.key().text()));
    }
    Ok(record)
}

/// One sentence on a file that is not the accepted record.
pub(crate) fn difference(found: &Found, accepted: &Record) -> String {
    let key = accepted.key();
    let path = key.relative_path();
    let version = accepted.version();
    let what = match found {
        Found::Missing => "is missing".to_owned(),
        Found::Refused(why) => why.clone(),
        Found::Large { bytes_max, .. } => too_large(*bytes_max),
        Found::File { bytes, .. } => match parse(&key, bytes) {
            Err(why) => why,
            Ok(record) => edited(&record, accepted),
        },
    };
    format!("{path} {what}; version {version} goes on being used")
}

/// The sentence's second half for a file that is not read.
pub(crate) fn too_large(bytes_max: u64) -> String {
    format!("is larger than {} MiB and is not read", bytes_max / 1024 / 1024)
}

fn edited(record: &Record, accepted: &Record) -> String {
    let (theirs, ours) = (fields(record), fields(accepted));
    let names: Vec<_> = theirs
        .keys()
        .chain(ours.keys().filter(|k| !theirs.contains_key(*k)))
        .filter(|k| theirs.get(*k) != ours.get(*k))
        .map(String::as_str)
        .collect();
    if names.is_empty() { "was written again in another layout".to_owned() } else { format!("was edited outside DCC: {} differ", names.join(", ")) }
}

fn fields(record: &Record) -> serde_json::Map<String, Value> {
    match serde_json::from_slice(&record.to_bytes()) {
        Ok(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    }
}

/// A file that no event names.
pub(crate) fn not_accepted(key: Option<&RecordKey>, path: &str, found: &Found) -> String {
    let detail = match (key, found) {
        (_, Found::Refused(why)) => format!("; it {why}"),
        (Some(_), Found::Large { bytes_max, .. }) => format!("; it {}", too_large(*bytes_max)),
        (Some(key), Found::File { bytes, .. }) => parse(key, bytes).err().map(|why| format!("; it {why}")).unwrap_or_default(),
        (None, _) => "; its directory is not a packet's or micro-task's name".to_owned(),
        (Some(_), Found::Missing) => String::new(),
    };
    format!("{path} is not accepted: no recorded event names it{detail}")
}
