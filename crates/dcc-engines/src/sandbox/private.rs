//! Directories that only we can enter and that go with their owner; those of an owner that was killed are swept.
//!
//! Authority: ephemeral. Invariants: a directory's name says which process owns it: pid, start time, pid namespace; it is
//! swept only when that process is proven gone, and nothing whose name is not of this form is ever touched; no symbolic
//! link is followed.
//!
//! On failure: what cannot be removed is only space; its name is never used again, and the next sweep tries anew.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dcc_core::failure::{Failure, Outcome};

use super::tree::process;

/// What such directories are for; the first part of their names.
const KINDS: [&str; 6] = ["recipe", "command", "session", "login", "probe_recipe", "probe_agent"];
/// Stands before the name of a home that is being filled.
const UNFINISHED: &str = ".new-";

/// Removed with all it holds when it is dropped.
#[derive(Debug)]
pub struct PrivateDir(PathBuf);

impl PrivateDir {
    /// A new directory below `parent`, which is made when missing. `kind` is one of [`KINDS`].
    pub fn make(parent: &Path, kind: &str) -> Outcome<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        debug_assert!(KINDS.contains(&kind), "a kind that no sweep knows");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = std::process::id();
        let started = process(own).map_or(0, |own| own.start_time);
        let path = parent.join(format!("{kind}-{own}-{started}-{}-{number}", namespace().unwrap_or(0)));
        let fail = |error: std::io::Error| Failure::engine(format!("cannot make {}: {error}", path.display()));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
        std::fs::canonicalize(&path).map(Self).map_err(fail)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The name that a home has while it is filled on behalf of whoever owns this directory.
    pub fn unfinished(&self) -> String {
        format!("{UNFINISHED}{}", self.0.file_name().map(|name| name.to_string_lossy()).unwrap_or_default())
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes what killed processes left in `dir`; how many directories went.
pub fn sweep_private(dir: &Path) -> usize {
    // Where /proc does not show even us, it proves nobody gone.
    let (Some(_), Some(here)) = (process(std::process::id()), namespace()) else { return 0 };
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let left = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let left = left.filter(|entry| entry.file_name().to_str().and_then(Owner::of).is_some_and(|owner| owner.is_gone(here)));
    left.filter(|entry| std::fs::remove_dir_all(entry.path()).is_ok()).count()
}

/// The process that a name tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Owner {
    pid: u32,
    start_time: u64,
    namespace: u64,
}

impl Owner {
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(UNFINISHED).unwrap_or(name).split('-');
        parts.next().filter(|kind| KINDS.contains(kind))?;
        let mut number = || parts.next()?.parse::<u64>().ok();
        let owner = Self { pid: number()?.try_into().ok()?, start_time: number()?, namespace: number()? };
        number()?;
        parts.next().is_none().then_some(owner)
    }

    /// No process of this pid lives, or the one that does began at another time. Of another namespace, or of a time that
    /// was not known, nothing is proven.
    fn is_gone(self, here: u64) -> bool {
        self.namespace == here && self.start_time != 0 && process(self.pid).is_none_or(|now| now.start_time != self.start_time || now.zombie)
    }
}

/// Which pids we see: those of another namespace say nothing here.
fn namespace() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/pid").ok().map(|found| found.ino())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files of their own")]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_its_owner_and_its_name_says_who_that_is() {
        let dir = tempfile::tempdir().unwrap();
        let made = PrivateDir::make(&dir.path().join("run"), "recipe").unwrap();
        let name = made.path().file_name().unwrap().to_str().unwrap().to_owned();
        let owner = Owner::of(&name).unwrap();
        assert_eq!((owner.pid, owner.namespace), (std::process::id(), namespace().unwrap()));
        assert!(!owner.is_gone(owner.namespace));
        assert_eq!(Owner::of(&made.unfinished()), Some(owner));
        assert_eq!(sweep_private(&dir.path().join("run")), 0, "its owner lives");
        let path = made.path().to_owned();
        drop(made);
        assert!(!path.exists());
    }

    #[test]
    fn only_what_is_proven_to_be_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let here = namespace().unwrap();
        let (own, started) = (std::process::id(), process(std::process::id()).unwrap().start_time);
        // A pid that was given to another process since: ours, with another beginning.
        let gone = [format!("session-{own}-{}-{here}-0", started - 1), format!(".new-session-{own}-{}-{here}-1", started - 1)];
        let kept = [
            format!("session-{own}-{started}-{here}-0"),
            format!("session-{own}-{}-{}-0", started - 1, here + 1),
            format!("session-{own}-0-{here}-0"),
            format!("other-{own}-{}-{here}-0", started - 1),
            format!("session-{own}-{}-{here}", started - 1),
            format!("session-{own}-{}-{here}-0-1", started - 1),
            format!("session-{own}-x-{here}-0"),
            "session-0198c0de-0000-7000-8000-000000000001".to_owned(),
            "claude".to_owned(),
        ];
        for name in gone.iter().chain(&kept) {
            std::fs::create_dir_all(dir.path().join(name).join("tmp/deep")).unwrap();
        }
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("file"), "kept").unwrap();
        let link = dir.path().join(format!("recipe-{own}-{}-{here}-9", started - 1));
        std::os::unix::fs::symlink(outside.path(), &link).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join(&gone[0]).join("out")).unwrap();
        assert_eq!(sweep_private(dir.path()), gone.len());
        assert!(gone.iter().all(|name| !dir.path().join(name).exists()));
        assert!(kept.iter().all(|name| dir.path().join(name).join("tmp/deep").is_dir()));
        assert!(link.symlink_metadata().is_ok() && outside.path().join("file").exists(), "no link is followed");
    }
}
