//! A signed copy of the chain's head outside the repository, in the operator's state directory: it shows a cut tail.
//!
//! Authority: evidence beside canon. Evidence, not prevention: who can write both places and read the key can forge both
//! ([decision 11](../../../../docs/decisions/0011-the-head-is-kept-outside-signed.md)). Invariants: the file is replaced
//! atomically and by the process that owns the project only; a file whose signature does not fit is named and never
//! replaced; the key is of mode 0600 and never leaves the state directory.

use std::path::PathBuf;
use std::sync::Arc;

use dcc_core::ports::{Checkpoint, Clock, OutsideHead};
use dcc_core::{Code, Failure, Outcome, ProjectId, Sha256Hex, canonical};
use serde::{Deserialize, Serialize};

use super::dirs::{Dirs, read_small, replace_private};

/// The operator's key, for all projects.
const KEY: &str = "checkpoint.key";

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    checkpoint: Checkpoint,
    /// HMAC-SHA256 over project and checkpoint.
    signature: Sha256Hex,
}

/// A project's checkpoint in the state directory.
pub struct StateHead {
    dirs: Dirs,
    project_id: ProjectId,
}

impl StateHead {
    /// For the process that owns the project: the key is made when there is none.
    pub fn owned(dirs: &Dirs, project_id: ProjectId, clock: &dyn Clock) -> Outcome<Arc<Self>> {
        let place = Self::read(dirs, project_id);
        // A key made anew would hide that the one that signed is gone.
        if place.path().symlink_metadata().is_err() {
            dirs.require_secret(KEY, clock)?;
        }
        Ok(place)
    }

    /// For reading.
    pub fn read(dirs: &Dirs, project_id: ProjectId) -> Arc<Self> {
        Arc::new(Self { dirs: dirs.clone(), project_id })
    }

    fn path(&self) -> PathBuf {
        self.dirs.state.join("checkpoints").join(format!("{}.json", self.project_id))
    }

    fn signature(&self, key: &str, checkpoint: &Checkpoint) -> Outcome<Sha256Hex> {
        Ok(hmac_sha256(key.as_bytes(), &canonical::to_vec(&(self.project_id, checkpoint))?))
    }

    fn distrusted(&self, why: &str) -> Failure {
        Failure::new(Code::Integrity, format!("the checkpoint kept outside, {}, {why}", self.path().display()))
            .hint("compare the log with your backup; when you know why, remove that file: the next command begins a new one")
    }
}

impl OutsideHead for StateHead {
    fn load(&self) -> Outcome<Option<Checkpoint>> {
        let bytes = match read_small(&self.path()) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.distrusted(&format!("cannot be read: {e}"))),
        };
        let signed: Signed = serde_json::from_slice(&bytes).map_err(|_| self.distrusted("is damaged or not signed"))?;
        let key = self.dirs.secret(KEY)?.ok_or_else(|| self.distrusted("cannot be trusted: the key that signed it is gone"))?;
        if self.signature(&key, &signed.checkpoint)? != signed.signature {
            return Err(self.distrusted("was altered: its signature does not fit"));
        }
        Ok(Some(signed.checkpoint))
    }

    fn keep(&self, head: Checkpoint) -> Outcome<()> {
        // What somebody altered meanwhile is left as evidence.
        self.load()?;
        self.write(head)
    }
}

impl StateHead {
    fn write(&self, head: Checkpoint) -> Outcome<()> {
        let key = self.dirs.secret(KEY)?.ok_or_else(|| Failure::engine("the key of the checkpoints is gone"))?;
        let signed = Signed { checkpoint: head, signature: self.signature(&key, &head)? };
        let bytes = serde_json::to_vec(&signed).map_err(|e| Failure::engine(e.to_string()))?;
        replace_private(&self.path(), &bytes)
    }
}

/// RFC 2104 over SHA-256.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Sha256Hex {
    const BLOCK: usize = 64;
    let short = if key.len() > BLOCK { Sha256Hex::of(key).0.to_vec() } else { key.to_vec() };
    let pad = |with: u8| -> Vec<u8> { (0..BLOCK).map(|at| short.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256Hex::of(&[pad(0x36).as_slice(), message].concat());
    Sha256Hex::of(&[pad(0x5c).as_slice(), inner.0.as_slice()].concat())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files of their own")]
mod tests {
    use super::*;
    use crate::wire::clock::SystemClock;
    use dcc_core::Timestamp;

    fn dirs(at: &std::path::Path) -> Dirs {
        Dirs { config: at.join("config"), state: at.join("state"), runtime: at.join("run"), home: None }
    }

    fn head(seq: u64) -> Checkpoint {
        Checkpoint { seq, hash: Sha256Hex::of(b"head"), at: Timestamp(1) }
    }

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // RFC 4231, test cases 2 and 6.
        let wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hmac_sha256(b"Jefe", b"what do ya want for nothing?").to_string(), wanted);
        let wanted = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First").to_string(), wanted);
    }

    #[test]
    fn what_was_altered_is_named_and_never_taken() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        let project: ProjectId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
        let place = StateHead::owned(&dirs, project, &SystemClock).unwrap();
        assert_eq!(place.load().unwrap(), None);
        place.keep(head(100)).unwrap();
        assert_eq!(place.load().unwrap(), Some(head(100)));
        let kept = std::fs::read_to_string(place.path()).unwrap();
        let says = |text: &str| {
            std::fs::write(place.path(), text).unwrap();
            let failure = StateHead::read(&dirs, project).load().unwrap_err();
            assert_eq!(failure.code, Code::Integrity);
            assert_eq!(place.keep(head(200)).unwrap_err(), failure);
            assert_eq!(std::fs::read_to_string(place.path()).unwrap(), text, "it is left as evidence");
            failure.message
        };
        assert!(says(&kept.replace(":100,", ":99,")).contains("was altered"));
        assert!(says(&kept[..kept.len() / 2]).contains("damaged"));
        let bare = serde_json::to_string(&head(100)).unwrap();
        assert!(says(&bare).contains("not signed"));
        // A pipe in its place is named and not waited for; so is one in the key's.
        for taken in [place.path(), dirs.state.join(KEY)] {
            let bytes = std::fs::read(&taken).unwrap();
            std::fs::remove_file(&taken).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, &taken, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
            assert!(StateHead::read(&dirs, project).load().unwrap_err().message.contains("no small file"), "{}", taken.display());
            std::fs::remove_file(&taken).unwrap();
            std::fs::write(&taken, bytes).unwrap();
            std::fs::set_permissions(&taken, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::write(place.path(), &kept).unwrap();
        }
        // Another project's checkpoint, signed by the same key.
        let other = StateHead::owned(&dirs, "0198c0de-0000-7000-8000-000000000002".parse().unwrap(), &SystemClock).unwrap();
        other.keep(head(100)).unwrap();
        assert!(says(&std::fs::read_to_string(other.path()).unwrap()).contains("was altered"));
        std::fs::remove_file(dirs.state.join(KEY)).unwrap();
        assert!(says(&kept).contains("the key that signed it is gone"));
        assert!(says(&bare).contains("not signed"), "without a key nothing is believed either");
        StateHead::owned(&dirs, project, &SystemClock).unwrap();
        assert!(!dirs.state.join(KEY).exists(), "no new key hides that");
    }
}
