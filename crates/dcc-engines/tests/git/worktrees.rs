//! Making worktrees, finding them again, and saying what became of them.

use crate::support::{Lab, cleared, code, failure, assert_untouched, fingerprint, path};
use dcc_core::op::Op;
use dcc_core::ports::version::{DiffSource, VersionEngine as _};
use dcc_core::workspace::{WorkspaceHealth, WorktreeBinding};

#[test]
fn a_worktree_is_made_beside_the_repository() {
    let lab = Lab::new();
    let to = lab.root().join("repo.wt/deep/WP-0001-x");
    let plan = lab.worktree_plan("dcc/WP-0001-x", &to);
    assert_eq!(lab.engine.find_worktree(&plan).unwrap(), None);
    let binding = lab.engine.create_worktree(cleared(plan.clone(), Op::WorkspaceCreate), Some("session 1")).unwrap();
    assert_eq!(binding.worktree(), to);
    assert_eq!(lab.engine.find_worktree(&plan).unwrap(), Some(binding.clone()));
    assert_eq!(lab.engine.bind(&binding.common_dir, &binding.worktree_path).unwrap(), binding);
    assert_eq!(lab.git_in(&to, &["status", "--porcelain", "--branch"]), "## dcc/WP-0001-x");
    let list = lab.engine.worktrees(&lab.common()).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!((list[1].branch.as_deref(), list[1].locked.as_deref()), (Some("dcc/WP-0001-x"), Some("session 1")));
    let probe = lab.engine.probe(&binding).unwrap();
    assert_eq!(probe.health, WorkspaceHealth::Locked);
    assert!(probe.message.contains("session 1"));
    let facts = lab.engine.inspect(&to).unwrap();
    assert_eq!(facts.main.unwrap().worktree(), lab.repo);
}

#[test]
fn what_exists_is_never_taken() {
    let lab = Lab::new();
    let make = |branch: &str, to: &std::path::Path| lab.engine.create_worktree(cleared(lab.worktree_plan(branch, to), Op::WorkspaceCreate), None);
    let free = lab.root().join("wt/free");
    let taken = lab.root().join("taken");
    std::fs::create_dir(&taken).unwrap();
    lab.git(&["branch", "topic"]);
    let before = fingerprint(&lab.root());
    assert_eq!(code(make("topic", &free)), "HSK-409-WORKTREE-CONFLICT");
    assert_eq!(code(make("topic/below", &free)), "HSK-409-WORKTREE-CONFLICT");
    assert_eq!(code(make("fresh", &taken)), "HSK-409-WORKTREE-CONFLICT");
    assert_eq!(code(make("-x", &free)), "HSK-400-INVALID-INPUT");
    for inside in [lab.repo.join("wt"), lab.repo.join(".git/wt"), lab.repo.join("a/b/c")] {
        assert_eq!(code(make("fresh", &inside)), "VCS_PATH_DENIED");
    }
    std::os::unix::fs::symlink(&lab.repo, lab.root().join("alias")).unwrap();
    assert_eq!(code(make("fresh", &lab.root().join("alias/wt"))), "VCS_PATH_DENIED");
    std::fs::remove_file(lab.root().join("alias")).unwrap();
    assert_eq!(code(make("fresh", &lab.root().join("x/../repo/y"))), "VCS_PATH_DENIED");
    assert_untouched(&before, &lab.root());
}

#[test]
fn a_failed_checkout_leaves_nothing_behind() {
    let lab = Lab::new();
    // A commit whose tree lacks a blob: the checkout fails half way.
    lab.write("z.txt", "will be lost\n");
    lab.git(&["add", "z.txt"]);
    lab.git(&["commit", "-q", "-m", "z"]);
    let blob = lab.git(&["rev-parse", "HEAD:z.txt"]);
    std::fs::remove_file(lab.repo.join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    let refs = |lab: &Lab| lab.git(&["for-each-ref"]);
    let before = refs(&lab);
    let to = lab.root().join("wt/x");
    let plan = lab.worktree_plan("dcc/x", &to);
    assert!(lab.engine.create_worktree(cleared(plan.clone(), Op::WorkspaceCreate), Some("lock")).is_err());
    assert_eq!(refs(&lab), before);
    assert!(!lab.root().join("wt").exists());
    assert_eq!(lab.engine.worktrees(&lab.common()).unwrap().len(), 1);
    assert_eq!(lab.engine.find_worktree(&plan).unwrap(), None);
}

fn assert_refused_untouched(lab: &Lab, binding: &WorktreeBinding, health: WorkspaceHealth) {
    let before = fingerprint(&lab.root());
    let probe = lab.engine.probe(binding).unwrap();
    assert_eq!(probe.health, health, "{}", probe.message);
    assert!(probe.head.is_none() && !probe.message.is_empty());
    assert_eq!(code(lab.engine.status(binding)), "VCS_REPO_INVALID");
    assert_eq!(code(lab.engine.diff(binding, &DiffSource::Uncommitted, &[], false)), "VCS_REPO_INVALID");
    assert_eq!(code(lab.engine.log(binding, 1, &[])), "VCS_REPO_INVALID");
    assert_eq!(code(lab.engine.plan_commit(binding, &lab.intent(&[path("a.txt")]))), "VCS_REPO_INVALID");
    lab.engine.worktrees(&lab.common()).unwrap();
    assert_untouched(&before, &lab.root());
}

#[test]
fn a_deleted_directory_is_missing() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    std::fs::remove_dir_all(binding.worktree()).unwrap();
    assert_refused_untouched(&lab, &binding, WorkspaceHealth::Missing);
    assert!(lab.engine.worktrees(&lab.common()).unwrap()[1].prunable.is_some());
}

#[test]
fn a_moved_directory_is_found_beside() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    let to = binding.worktree().with_file_name("renamed");
    std::fs::rename(binding.worktree(), &to).unwrap();
    assert_refused_untouched(&lab, &binding, WorkspaceHealth::Moved);
    assert!(lab.engine.probe(&binding).unwrap().message.contains("renamed"));
}

#[test]
fn git_worktree_move_is_followed_by_its_registration() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    let to = lab.root().join("far/away");
    std::fs::create_dir(lab.root().join("far")).unwrap();
    lab.git(&["worktree", "move", &binding.worktree_path, to.to_str().unwrap()]);
    assert_refused_untouched(&lab, &binding, WorkspaceHealth::Moved);
}

#[test]
fn a_lost_registration_is_said_and_nothing_is_touched() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    std::fs::remove_dir_all(binding.git_dir()).unwrap();
    assert_refused_untouched(&lab, &binding, WorkspaceHealth::RegistrationLost);
}

#[test]
fn another_directory_at_the_path_is_foreign() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    let parked = lab.root().join("parked");
    std::fs::rename(binding.worktree(), &parked).unwrap();
    std::fs::create_dir(binding.worktree()).unwrap();
    std::fs::copy(parked.join(".git"), binding.worktree().join(".git")).unwrap();
    assert_refused_untouched(&lab, &binding, WorkspaceHealth::Foreign);
    std::fs::remove_dir_all(binding.worktree()).unwrap();
    std::os::unix::fs::symlink(&parked, binding.worktree()).unwrap();
    assert_refused_untouched(&lab, &binding, WorkspaceHealth::Foreign);
}

#[test]
fn a_binding_of_another_repository_is_foreign() {
    let lab = Lab::new();
    let other = Lab::new();
    let mut binding = lab.add_worktree("dcc/x");
    binding.common_dir = other.common();
    assert_eq!(lab.engine.probe(&binding).unwrap().health, WorkspaceHealth::Foreign);
    assert_eq!(code(lab.engine.status(&binding)), "VCS_REPO_INVALID");
    assert_eq!(code(lab.engine.bind(&other.common(), &binding.worktree_path)), "VCS_REPO_INVALID");
}

#[test]
fn a_lost_pointer_can_be_read_but_not_written() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    std::fs::remove_file(binding.worktree().join(".git")).unwrap();
    assert_eq!(lab.engine.probe(&binding).unwrap().health, WorkspaceHealth::RegistrationLost);
    assert!(lab.engine.status(&binding).unwrap().entries.is_empty());
    let refused = failure(lab.engine.plan_commit(&binding, &lab.intent(&[path("a.txt")])));
    assert!(refused.hint.is_some_and(|hint| hint.contains("dcc ws repair")));
}

#[test]
fn exclude_appends_once_and_keeps_what_is_there() {
    let lab = Lab::new();
    let file = lab.repo.join(".git/info/exclude");
    std::fs::write(&file, b"# mine \xff\n*.tmp").unwrap();
    assert_eq!(lab.engine.exclude(&lab.common(), &["/.handshake/", "*.tmp", "/.handshake/"]).unwrap(), ["/.handshake/"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"# mine \xff\n*.tmp\n/.handshake/\n");
    assert!(lab.engine.exclude(&lab.common(), &["/.handshake/"]).unwrap().is_empty());
    std::fs::remove_dir_all(lab.repo.join(".git/info")).unwrap();
    assert_eq!(lab.engine.exclude(&lab.common(), &["x"]).unwrap(), ["x"]);
    assert_eq!(code(lab.engine.exclude(&lab.common(), &["a\nb"])), "HSK-400-INVALID-INPUT");
}

#[test]
fn worktrees_of_a_bare_repository() {
    let lab = Lab::new();
    lab.git_in(&lab.root(), &["clone", "-q", "--bare", "repo", "bare.git"]);
    let bare = lab.root().join("bare.git");
    let mut plan = lab.worktree_plan("dcc/x", &lab.root().join("wt/x"));
    plan.common_dir = bare.to_str().unwrap().to_owned();
    let binding = lab.engine.create_worktree(cleared(plan, Op::WorkspaceCreate), None).unwrap();
    let facts = lab.engine.inspect(&binding.worktree()).unwrap();
    assert!(facts.bare);
    assert_eq!(facts.main, Some(binding.clone()));
    std::fs::write(binding.worktree().join("a.txt"), "x\n").unwrap();
    assert_eq!(lab.engine.status(&binding).unwrap().entries.len(), 1);
    lab.engine.plan_commit(&binding, &lab.intent(&[path("a.txt")])).unwrap();
}

#[test]
fn an_entry_in_the_making_is_waited_for() {
    let lab = Lab::new();
    lab.add_worktree("dcc/x");
    let commondir = lab.repo.join(".git/worktrees/dcc-x/commondir");
    let whole = lab.root().join("whole");
    std::fs::rename(&commondir, &whole).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &commondir, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    std::thread::scope(|scope| {
        let listed = scope.spawn(|| lab.engine.worktrees(&lab.common()));
        // Opens as soon as git reads it: that git then finds nothing in it, the next one finds it whole.
        let empty = std::fs::OpenOptions::new().write(true).open(&commondir).unwrap();
        std::fs::rename(&whole, &commondir).unwrap();
        drop(empty);
        assert_eq!(listed.join().unwrap().unwrap().len(), 2);
    });
}

#[test]
fn an_entry_that_stays_half_made_is_named_with_what_to_do() {
    let lab = Lab::new();
    let binding = lab.add_worktree("dcc/x");
    std::fs::write(binding.git_dir().join("commondir"), "").unwrap();
    let before = fingerprint(&lab.root());
    let refused = failure(lab.engine.worktrees(&lab.common()));
    assert_eq!(refused.code.as_str(), "VCS_REPO_INVALID");
    assert!(refused.message.contains("worktrees/dcc-x/commondir") && refused.hint.unwrap().contains("move the directory"), "{}", refused.message);
    assert_untouched(&before, &lab.root());
}

#[test]
fn a_worktree_that_git_still_fills_is_not_taken_for_whole() {
    let lab = Lab::new();
    let plan = lab.worktree_plan("dcc/x", &lab.root().join("repo.wt/dcc-x"));
    let binding = lab.engine.create_worktree(cleared(plan.clone(), Op::WorkspaceCreate), None).unwrap();
    let lock = binding.git_dir().join("locked");
    std::fs::write(&lock, "initializing").unwrap();
    std::thread::scope(|scope| {
        let looks = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).unwrap();
        rustix::fs::inotify::add_watch(&looks, &lock, rustix::fs::inotify::WatchFlags::OPEN).unwrap();
        let asked = scope.spawn(|| lab.engine.find_worktree(&plan).unwrap());
        // It looks again and again, which is to say that the answer waits for git.
        let (mut seen, mut events) = (0, [0; 1024]);
        while seen < 6 {
            seen += rustix::io::read(&looks, &mut events).unwrap() / 16;
        }
        assert!(!asked.is_finished());
        std::fs::remove_file(&lock).unwrap();
        assert_eq!(asked.join().unwrap(), Some(binding.clone()));
    });
}
