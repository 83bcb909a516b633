//! Canonical JSON (RFC 8785) and domain-separated digests. Pure.
//!
//! Invariant: equal values give equal bytes whatever map type serde_json was built with. Floats do not occur in plans
//! and are refused, so number formatting has no second form.

use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::ids::Sha256Hex;

/// RFC 8785 bytes of a serialisable value. Refuses floating-point numbers.
pub fn to_vec(value: &impl Serialize) -> Outcome<Vec<u8>> {
    let value = serde_json::to_value(value).map_err(|e| Failure::engine(format!("value cannot be written as JSON: {e}")))?;
    let mut out = Vec::new();
    write(&value, &mut out)?;
    Ok(out)
}

/// SHA-256 over `domain`, a NUL, and the canonical bytes.
pub fn digest(domain: &str, value: &impl Serialize) -> Outcome<Sha256Hex> {
    let mut bytes = domain.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend(to_vec(value)?);
    Ok(Sha256Hex::of(&bytes))
}

/// Where the first number with a fraction stands, as `limits.max_tokens`; none when there is none.
pub fn first_fraction(value: &Value) -> Option<String> {
    let below = |key: &str, value: &Value| first_fraction(value).map(|rest| if rest.is_empty() { key.to_owned() } else { format!("{key}.{rest}") });
    match value {
        Value::Number(n) => n.is_f64().then(String::new),
        Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| below(&i.to_string(), item)),
        Value::Object(map) => map.iter().find_map(|(key, item)| below(key, item)),
        _ => None,
    }
}

fn write(value: &Value, out: &mut Vec<u8>) -> Outcome<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Number(n) if n.is_f64() => return Err(Failure::engine("floating-point numbers have no place in a digest")),
        Value::Number(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::String(s) => write_string(s, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            // RFC 8785 sorts by UTF-16 code units, which differs from bytes above the basic plane.
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(&map[key], out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // serde_json escapes exactly what RFC 8785 asks: quotes, backslash, controls with short forms, the rest verbatim.
    let quoted = serde_json::to_string(text).expect("a string always serialises");
    out.extend_from_slice(quoted.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_text_is_verbatim() {
        let bytes = to_vec(&json!({"b": [1, true, null], "a": "\u{1}\n\"é\u{10000}", "": {}})).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "{\"\":{},\"a\":\"\\u0001\\n\\\"é\u{10000}\",\"b\":[1,true,null]}");
    }

    #[test]
    fn domains_separate() {
        assert_ne!(digest("a", &1).unwrap(), digest("b", &1).unwrap());
        assert!(to_vec(&1.5).is_err());
    }
}
