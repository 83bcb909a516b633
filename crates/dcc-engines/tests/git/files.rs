//! Reading and writing beneath a worktree's root.

use std::os::unix::fs::MetadataExt as _;

use crate::support::{Lab, cleared, code, id, make_executable, path};
use dcc_core::ids::Sha256Hex;
use dcc_core::op::Op;
use dcc_core::plans::FileWritePlan;
use dcc_core::ports::sessions::WorktreeFiles as _;
use dcc_engines::files::WorktreeFs;

fn write(lab: &Lab, name: &str, content: &[u8]) -> dcc_core::Outcome<()> {
    let plan = FileWritePlan {
        session_id: id(3).into(),
        workspace_id: id(7).into(),
        path: path(name),
        content_sha256: Sha256Hex::of(content),
        content_bytes: content.len() as u64,
        before_sha256: None,
    };
    WorktreeFs.write(&lab.binding(), cleared(plan, Op::FsWrite), content)
}

#[test]
fn files_are_read_and_written_whole() {
    let lab = Lab::new();
    make_executable(&lab.repo.join("a.txt"));
    write(&lab, "a.txt", b"new").unwrap();
    assert_eq!(std::fs::metadata(lab.repo.join("a.txt")).unwrap().mode() & 0o777, 0o755);
    write(&lab, "deep/er/new.txt", b"x").unwrap();
    let binding = lab.binding();
    assert_eq!(WorktreeFs.read(&binding, &path("deep/er/new.txt"), 10).unwrap(), Some(b"x".to_vec()));
    assert_eq!(WorktreeFs.read(&binding, &path("none/x"), 10).unwrap(), None);
    assert_eq!(code(WorktreeFs.read(&binding, &path("dir/c.txt"), 1)), "HSK-400-INVALID-INPUT");
    let names: Vec<_> = std::fs::read_dir(lab.repo.join("deep/er")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "temporary files stayed: {names:?}");
}

#[test]
fn links_special_files_and_own_state_are_refused() {
    let lab = Lab::new();
    let outside = lab.root().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "s").unwrap();
    std::os::unix::fs::symlink(&outside, lab.repo.join("way")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), lab.repo.join("link")).unwrap();
    std::os::unix::fs::symlink("/proc/self/root", lab.repo.join("magic")).unwrap();
    for bad in ["way/secret", "link", "magic/etc/passwd", "dir", ".handshake/x", ".Handshake/x"] {
        assert_eq!(code(WorktreeFs.read(&lab.binding(), &path(bad), 1_000)), "VCS_PATH_DENIED", "{bad}");
        assert_eq!(code(write(&lab, bad, b"evil")), "VCS_PATH_DENIED", "{bad}");
    }
    assert_eq!(code(write(&lab, "way/new", b"evil")), "VCS_PATH_DENIED");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "s");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_replaced_root_is_not_written_to() {
    let lab = Lab::new();
    let binding = lab.binding();
    std::fs::rename(&lab.repo, lab.root().join("old")).unwrap();
    std::fs::create_dir(&lab.repo).unwrap();
    assert_eq!(code(WorktreeFs.read(&binding, &path("a.txt"), 10)), "VCS_REPO_INVALID");
}

#[test]
fn other_content_than_the_approved_is_refused() {
    let lab = Lab::new();
    let plan = FileWritePlan {
        session_id: id(3).into(),
        workspace_id: id(7).into(),
        path: path("a.txt"),
        content_sha256: Sha256Hex::of(b"approved"),
        content_bytes: 8,
        before_sha256: None,
    };
    assert_eq!(code(WorktreeFs.write(&lab.binding(), cleared(plan, Op::FsWrite), b"other")), "HSK-500-INTEGRITY");
}
