//! `--raw --numstat --patch -z` in one answer, read as bytes. Pure.

use std::collections::HashMap;

use dcc_core::failure::{Failure, Outcome};
use dcc_core::ids::Oid;

/// One changed path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record<'a> {
    pub(super) old_mode: &'a str,
    pub(super) new_mode: &'a str,
    pub(super) old_oid: Option<Oid>,
    /// None for nothing, and for worktree content that git did not hash.
    pub(super) new_oid: Option<Oid>,
    pub(super) letter: char,
    pub(super) path: &'a [u8],
    pub(super) from: Option<&'a [u8]>,
}

/// Lines added and deleted; none for binary.
pub(super) type Counts = (Option<u32>, Option<u32>);

#[derive(Debug, Default)]
pub(super) struct Parsed<'a> {
    pub(super) records: Vec<Record<'a>>,
    /// By the path after the change.
    pub(super) counts: HashMap<&'a [u8], Counts>,
    pub(super) patch: &'a [u8],
}

pub(super) fn parse(bytes: &[u8]) -> Outcome<Parsed<'_>> {
    let mut parsed = Parsed::default();
    let mut reader = Reader(bytes);
    loop {
        match reader.0.first() {
            None => break,
            Some(b':') => parsed.records.push(record(&mut reader)?),
            Some(b'0'..=b'9' | b'-') => {
                let (path, counts) = numstat(&mut reader)?;
                parsed.counts.insert(path, counts);
            }
            Some(0) => {
                parsed.patch = &reader.0[1..];
                break;
            }
            Some(_) => {
                // A patch follows without a separator when there was nothing before it.
                parsed.patch = reader.0;
                break;
            }
        }
    }
    Ok(parsed)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Up to the next NUL, which is passed over.
    fn field(&mut self) -> Outcome<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(unknown_form)?;
        let field = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(field)
    }
}

fn unknown_form() -> Failure {
    Failure::engine("git diff answered in an unknown form")
}

/// `:MODE MODE OID OID LETTER[score]`, then one path, or two for renames and copies.
fn record<'a>(reader: &mut Reader<'a>) -> Outcome<Record<'a>> {
    let head = std::str::from_utf8(reader.field()?).map_err(|_| unknown_form())?;
    let mut parts = head[1..].split(' ');
    let mut part = || parts.next().ok_or_else(unknown_form);
    let (old_mode, new_mode, old, new, letter) = (part()?, part()?, part()?, part()?, part()?);
    let letter = letter.chars().next().ok_or_else(unknown_form)?;
    let first = reader.field()?;
    let (path, from) = if matches!(letter, 'R' | 'C') { (reader.field()?, Some(first)) } else { (first, None) };
    let oid = |text: &str| Oid::parse(text).ok().filter(|oid| !oid.is_zero());
    Ok(Record { old_mode, new_mode, old_oid: oid(old), new_oid: oid(new), letter, path, from })
}

/// `ADDED\tDELETED\tPATH`, or with an empty path and then two fields for renames.
fn numstat<'a>(reader: &mut Reader<'a>) -> Outcome<(&'a [u8], Counts)> {
    let field = reader.field()?;
    let mut parts = field.splitn(3, |b| *b == b'\t');
    let mut number = || -> Outcome<Option<u32>> {
        let text = parts.next().ok_or_else(unknown_form)?;
        Ok(std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()))
    };
    let counts = (number()?, number()?);
    let mut path = parts.next().ok_or_else(unknown_form)?;
    if path.is_empty() {
        reader.field()?;
        path = reader.field()?;
    }
    Ok((path, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_holds_list_counts_and_text() {
        let oid = "b".repeat(40);
        let zero = "0".repeat(40);
        let text = format!(":100644 100755 {oid} {zero} M\0f\0:100644 100644 {oid} {oid} R100\0n\nl\0q r\x001\t2\tf\0-\t-\t\0n\nl\0q r\0\0diff --git x\n");
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.records.len(), 2);
        assert_eq!((parsed.records[1].from, parsed.records[1].path), (Some(&b"n\nl"[..]), &b"q r"[..]));
        assert_eq!(parsed.counts[&b"f"[..]], (Some(1), Some(2)));
        assert_eq!(parsed.counts[&b"q r"[..]], (None, None));
        assert!(parsed.patch.starts_with(b"diff"));
        assert!(parsed.records[0].new_oid.is_none());
    }
}
