//! Paths inside a repository, as bytes, because git's paths are bytes. Pure.
//!
//! Invariant: a `RepoPath` is relative, has no empty, `.` or `..` component, does not enter a git directory under any of
//! the spellings that file systems fold to `.git` (GOVERNANCE 9), and holds no NUL. Whoever has one may join it to a
//! worktree root; symbolic links are still the engine's to refuse.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use std::fmt;

use crate::failure::{Code, Failure};

/// A checked path relative to a worktree's root, `/` between components on every platform.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(Vec<u8>);

impl RepoPath {
    /// Checks the bytes against the invariant above.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Failure> {
        let bytes = bytes.into();
        let refuse = |why: &str| {
            Err(Failure::new(Code::VcsPathDenied, format!("path {:?}: {why}", String::from_utf8_lossy(&bytes)))
                .hint("give a path inside the workspace, relative to its root"))
        };
        if bytes.is_empty() {
            return refuse("it is empty");
        }
        if bytes.len() > crate::limits::PATH_BYTES_MAX {
            return refuse("it is too long");
        }
        if bytes.contains(&0) {
            return refuse("it contains a NUL byte");
        }
        if bytes[0] == b'/' {
            return refuse("it is absolute");
        }
        for part in bytes.split(|b| *b == b'/') {
            if part.is_empty() || part == b"." || part == b".." {
                return refuse("it has an empty, '.' or '..' component");
            }
            if folds_to_dot_git(part) {
                return refuse("it enters a git directory");
            }
        }
        Ok(Self(bytes))
    }
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// For people: bytes that are not UTF-8 become the replacement character. Never parse this back.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
    #[cfg(unix)]
    pub fn to_os_path(&self) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        std::path::PathBuf::from(std::ffi::OsStr::from_bytes(&self.0))
    }
    /// Names that usually hold credentials: agents do not read them through us, and a commit of one is remarked.
    pub fn usually_holds_secrets(&self) -> bool {
        let name = String::from_utf8_lossy(self.file_name()).to_ascii_lowercase();
        let (fronts, ends) = ([".env.", "id_rsa", "id_ed25519"], [".pem", ".key"]);
        name == ".env" || name == ".netrc" || fronts.iter().any(|front| name.starts_with(front)) || ends.iter().any(|end| name.ends_with(end))
    }
    /// The last component.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or(&self.0)
    }
}

/// True when a file system could take this component for `.git`: case folding, NTFS short names, trailing dots and
/// spaces, alternate streams, and the code points HFS+ ignores.
fn folds_to_dot_git(part: &[u8]) -> bool {
    let text = String::from_utf8_lossy(part);
    let visible: String = text
        .chars()
        .filter(|c| !matches!(*c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .collect();
    let stem = visible.split(':').next().unwrap_or("");
    let stem = stem.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    stem == ".git" || stem == "git~1"
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
impl Serialize for RepoPath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            s.serialize_str(text)
        } else {
            let mut map = s.serialize_map(Some(1))?;
            map.serialize_entry("b64", &base64(&self.0))?;
            map.end()
        }
    }
}
impl<'de> Deserialize<'de> for RepoPath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Text(String),
            Bytes { b64: String },
        }
        let bytes = match Wire::deserialize(d)? {
            Wire::Text(text) => text.into_bytes(),
            Wire::Bytes { b64 } => unbase64(&b64).ok_or_else(|| de::Error::custom("b64 is not base64"))?,
        };
        Self::new(bytes).map_err(de::Error::custom)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding (RFC 4648 section 4).
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let n = u32::from(chunk[0]) << 16
            | u32::from(*chunk.get(1).unwrap_or(&0)) << 8
            | u32::from(*chunk.get(2).unwrap_or(&0));
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            if i <= chunk.len() {
                out.push(char::from(ALPHABET[(n >> shift & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The inverse of [`base64`]; padding is optional, anything else outside the alphabet is refused.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(body.len() * 3 / 4);
    let (mut acc, mut bits) = (0u32, 0u32);
    for byte in body.bytes() {
        let value = ALPHABET.iter().position(|a| *a == byte)? as u32;
        acc = acc << 6 | value;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((acc >> bits & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_or_enter_git_are_refused() {
        for bad in [
            "", "/etc/passwd", "../x", "a/../b", "a//b", "./a", ".git/config", "a/.GIT/x", "GIT~1/x", ".git. /x", ".g\u{200c}it/x",
            ".git::$INDEX_ALLOCATION/x", "a\0b",
        ] {
            assert!(RepoPath::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "-rf", ":(glob)*", "a b/c\nd", ".gitignore", ".github/x", "..."] {
            assert!(RepoPath::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn bytes_survive_the_wire() {
        let path = RepoPath::new(vec![b'a', 0xff, b'b']).unwrap();
        let json = serde_json::to_string(&path).unwrap();
        assert_eq!(json, r#"{"b64":"Yf9i"}"#);
        assert_eq!(serde_json::from_str::<RepoPath>(&json).unwrap(), path);
        for n in 0..9u8 {
            let bytes: Vec<u8> = (0..n).map(|i| i.wrapping_mul(77)).collect();
            assert_eq!(unbase64(&base64(&bytes)).unwrap(), bytes);
        }
    }
}
