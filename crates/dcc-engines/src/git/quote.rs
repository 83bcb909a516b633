//! Git's C-style quoting of path names. Pure.

/// Quotes bytes the way `git hash-object --stdin-paths` and object directory lists read them back.
pub(super) fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    out.push(b'"');
    for &b in bytes {
        match b {
            b'"' | b'\\' => out.extend([b'\\', b]),
            b'\n' => out.extend(b"\\n"),
            0x20..=0x7e => out.push(b),
            _ => out.extend(format!("\\{b:03o}").bytes()),
        }
    }
    out.push(b'"');
    out
}

/// Reads one quoted name at the start of `text`; the bytes and what follows the closing quote.
pub(super) fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        let (&first, tail) = rest.split_first()?;
        rest = tail;
        match first {
            b'"' => return Some((out, rest)),
            b'\\' => {
                let (&code, tail) = rest.split_first()?;
                rest = tail;
                match code {
                    b'a' => out.push(7),
                    b'b' => out.push(8),
                    b't' => out.push(9),
                    b'n' => out.push(10),
                    b'v' => out.push(11),
                    b'f' => out.push(12),
                    b'r' => out.push(13),
                    b'0'..=b'3' => {
                        let (digits, tail) = rest.split_at_checked(2)?;
                        let text = [code, digits[0], digits[1]];
                        out.push(u8::from_str_radix(std::str::from_utf8(&text).ok()?, 8).ok()?);
                        rest = tail;
                    }
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips() {
        let all: Vec<u8> = (1..=255).collect();
        let quoted = quote(&all);
        assert_eq!(unquote(&quoted), Some((all, &b""[..])));
        assert_eq!(unquote(br#""a\tb" "c""#), Some((b"a\tb".to_vec(), &br#" "c""#[..])));
        assert_eq!(unquote(br#""open"#), None);
    }
}
