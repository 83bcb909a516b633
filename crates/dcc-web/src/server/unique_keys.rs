//! JSON objects whose keys stand once. Of a key that stands twice two readers may take a different one: what was checked
//! and what is done must be the same text.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Refuses text in which any object names a key twice; says nothing of text that is no JSON.
pub fn check(text: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<Unique>(text) {
        Err(error) if error.is_data() => Err(error.to_string()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Any value, seen and forgotten.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Seen)
    }
}

struct Seen;

impl<'de> Visitor<'de> for Seen {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }
    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }
    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        while items.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
            }
            entries.next_value::<Unique>()?;
            keys.insert(key);
        }
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_key_stands_once_in_its_own_object() {
        for fine in [r#"{"a":1,"b":{"a":[{"a":null},{"a":1.5}]}}"#, "[]", r#""text""#, "{broken", ""] {
            assert!(check(fine.as_bytes()).is_ok(), "{fine}");
        }
        for twice in [r#"{"a":1,"a":1}"#, r#"{"params":{"message":"x","message":"y"}}"#, r#"[{"a":{"b":1,"\u0062":2}}]"#] {
            assert!(check(twice.as_bytes()).unwrap_err().contains("twice"), "{twice}");
        }
    }
}
