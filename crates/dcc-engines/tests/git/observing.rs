//! What changed between two looks: by bytes, whatever git's own state does meanwhile.

use dcc_core::ports::version::{Difference, Observation, VersionEngine as _};

use crate::support::Lab;

struct Watch {
    lab: Lab,
    seen: Option<Observation>,
}

impl Watch {
    fn new() -> Self {
        let mut watch = Self { lab: Lab::new(), seen: None };
        assert!(watch.look().is_empty());
        watch
    }

    /// What changed since the last look.
    fn look(&mut self) -> Difference {
        let (seen, difference) = self.lab.engine.observe(&self.lab.binding(), self.seen.as_ref()).unwrap();
        self.seen = Some(seen);
        difference
    }

    fn changed(&mut self) -> Vec<String> {
        self.look().paths.iter().map(dcc_core::RepoPath::display).collect()
    }
}

#[test]
fn edits_additions_deletions_modes_and_links_are_seen_once() {
    let mut watch = Watch::new();
    watch.lab.write("a.txt", "other\n");
    watch.lab.write("new/file", "x\n");
    watch.lab.remove("b.txt");
    std::os::unix::fs::symlink("a.txt", watch.lab.repo.join("link")).unwrap();
    assert_eq!(watch.changed(), ["a.txt", "b.txt", "link", "new/file"]);
    assert!(watch.look().is_empty());
    std::fs::set_permissions(watch.lab.repo.join("new/file"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(watch.changed(), ["new/file"]);
    // Back to what HEAD holds is a change too.
    watch.lab.git(&["checkout", "-q", "--", "a.txt"]);
    assert_eq!(watch.changed(), ["a.txt"]);
    watch.lab.write(".git/info/exclude", "ignored\n");
    watch.lab.write("ignored", "x");
    assert!(watch.look().is_empty());
}

#[test]
fn the_same_size_and_a_set_back_time_hide_nothing() {
    let mut watch = Watch::new();
    let file = watch.lab.repo.join("a.txt");
    watch.lab.write("a.txt", "one\ntwo\nthrea\n");
    assert_eq!(watch.changed(), ["a.txt"]);
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    watch.lab.write("a.txt", "one\ntwo\nthreb\n");
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    assert_eq!(watch.changed(), ["a.txt"]);
}

#[test]
fn what_git_moves_under_unchanged_bytes_is_no_changed_file() {
    let mut watch = Watch::new();
    watch.lab.write("a.txt", "edited\n");
    watch.lab.write("added", "x\n");
    assert_eq!(watch.changed(), ["a.txt", "added"]);
    watch.lab.git(&["add", "-A"]);
    let staged = watch.look();
    assert!(staged.paths.is_empty() && staged.index_changed && !staged.head_moved, "{staged:?}");
    watch.lab.git(&["commit", "-q", "-m", "second"]);
    let committed = watch.look();
    assert!(committed.paths.is_empty() && committed.head_moved, "{committed:?}");
    watch.lab.write("b.txt", "edited later\n");
    assert_eq!(watch.changed(), ["b.txt"]);
    // Staged as before, then not at all, one of the files unknown to git afterwards.
    watch.lab.git(&["reset", "-q", "--soft", "HEAD~1"]);
    assert_eq!(watch.changed(), Vec::<String>::new());
    watch.lab.git(&["commit", "-q", "-m", "again"]);
    watch.seen = None;
    watch.look();
    watch.lab.git(&["reset", "-q", "HEAD~1"]);
    let unstaged = watch.look();
    assert!(unstaged.paths.is_empty() && unstaged.head_moved, "{unstaged:?}");
    // A file that really changed in the same moment is not covered by it.
    watch.lab.git(&["add", "-A"]);
    watch.lab.git(&["commit", "-q", "-m", "third"]);
    watch.seen = None;
    watch.look();
    watch.lab.git(&["reset", "-q", "--soft", "HEAD~1"]);
    watch.lab.write("a.txt", "meanwhile\n");
    assert_eq!(watch.changed(), ["a.txt"]);
}

#[test]
fn looking_changes_nothing() {
    let mut watch = Watch::new();
    watch.lab.write("a.txt", "edited\n");
    let index = std::fs::read(watch.lab.repo.join(".git/index")).unwrap();
    watch.look();
    assert_eq!(std::fs::read(watch.lab.repo.join(".git/index")).unwrap(), index);
}
