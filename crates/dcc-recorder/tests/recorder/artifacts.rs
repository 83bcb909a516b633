//! The artifact store.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use dcc_core::ports::ArtifactStore;
use dcc_core::{Code, Sha256Hex, limits};
use dcc_recorder::FileArtifacts;

fn path_of(dir: &Path, sha256: Sha256Hex) -> PathBuf {
    let name = sha256.to_string();
    dir.join("sha256").join(&name[..2]).join(&name[2..])
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn bytes_come_back_and_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/artifacts");
    let store = FileArtifacts::open(&root).unwrap();
    for bytes in [b"".as_slice(), b"hello", &vec![0xFF; 100_000]] {
        let sha256 = store.put(bytes).unwrap();
        assert_eq!(sha256, Sha256Hex::of(bytes));
        assert_eq!(store.put(bytes).unwrap(), sha256);
        assert_eq!(store.get(sha256).unwrap(), bytes);
        assert!(store.has(sha256));
        let path = path_of(&root, sha256);
        assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(&root)), (0o600, 0o700, 0o700));
    }
    let absent = Sha256Hex::of(b"absent");
    assert!(!store.has(absent));
    assert_eq!(store.get(absent).unwrap_err().code, Code::NotFoundArtifact);
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    assert_eq!(FileArtifacts::open(&root).unwrap().get(Sha256Hex::of(b"hello")).unwrap(), b"hello");
    assert_eq!(store.put(&vec![0; limits::ARTIFACT_BYTES_MAX + 1]).unwrap_err().code, Code::InvalidInput);
}

#[test]
fn changed_bytes_are_found_and_healed_by_the_right_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileArtifacts::open(dir.path()).unwrap();
    let sha256 = store.put(b"true words").unwrap();
    let path = path_of(dir.path(), sha256);
    for false_bytes in [b"false words".as_slice(), b"", b"true wordz"] {
        std::fs::write(&path, false_bytes).unwrap();
        assert_eq!(store.get(sha256).unwrap_err().code, Code::Integrity);
    }
    store.put(b"true words").unwrap();
    assert_eq!(store.get(sha256).unwrap(), b"true words");
}

#[test]
fn many_may_put_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let barrier = Barrier::new(16);
    std::thread::scope(|scope| {
        for n in 0..16u8 {
            let (dir, barrier) = (dir.path(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                let store = FileArtifacts::open(dir).unwrap();
                for i in 0..20u8 {
                    let sha256 = store.put(&[i; 5_000]).unwrap();
                    assert_eq!(store.get(sha256).unwrap(), [i; 5_000]);
                    store.put(&[n, i]).unwrap();
                }
            });
        }
    });
    let store = FileArtifacts::open(dir.path()).unwrap();
    assert!((0..20u8).all(|i| store.has(Sha256Hex::of(&[i; 5_000]))));
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn links_are_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = dir.path().join("artifacts");
    symlink(elsewhere.path(), &link).unwrap();
    assert_eq!(FileArtifacts::open(&link).err().unwrap().code, Code::Integrity);

    let root = dir.path().join("store");
    std::fs::create_dir(&root).unwrap();
    symlink(elsewhere.path(), root.join("sha256")).unwrap();
    assert_eq!(FileArtifacts::open(&root).err().unwrap().code, Code::Integrity);
    std::fs::remove_file(root.join("sha256")).unwrap();

    let store = FileArtifacts::open(&root).unwrap();
    let sha256 = Sha256Hex::of(b"words");
    let path = path_of(&root, sha256);
    symlink(elsewhere.path(), path.parent().unwrap()).unwrap();
    assert_eq!(store.put(b"words").unwrap_err().code, Code::Integrity);
    assert_eq!(store.get(sha256).unwrap_err().code, Code::Integrity);
    std::fs::remove_file(path.parent().unwrap()).unwrap();

    // A link in place of the file itself: not read, and replaced by the bytes.
    let target = elsewhere.path().join("target");
    std::fs::write(&target, b"words").unwrap();
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    symlink(&target, &path).unwrap();
    assert!(!store.has(sha256));
    assert_eq!(store.get(sha256).unwrap_err().code, Code::Integrity);
    store.put(b"words").unwrap();
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(std::fs::read(&target).unwrap(), b"words");
}

#[test]
fn leftovers_of_dead_processes_go() {
    let dir = tempfile::tempdir().unwrap();
    drop(FileArtifacts::open(dir.path()).unwrap());
    // No process has this number: it is above the kernel's greatest.
    let dead = dir.path().join("tmp/2000000000-1");
    let living = dir.path().join(format!("tmp/{}-999999", std::process::id()));
    std::fs::write(&dead, b"half").unwrap();
    std::fs::write(&living, b"half").unwrap();
    FileArtifacts::open(dir.path()).unwrap();
    assert!(!dead.exists() && living.exists());
}

#[test]
fn a_read_only_store_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileArtifacts::open(dir.path()).unwrap();
    let sha256 = store.put(b"words").unwrap();
    let shard = path_of(dir.path(), sha256).parent().unwrap().to_owned();
    std::fs::remove_dir(dir.path().join("tmp")).unwrap();
    assert_eq!(store.put(b"other").unwrap_err().code, Code::Recorder);
    assert_eq!(store.get(sha256).unwrap(), b"words");
    assert_eq!(std::fs::read_dir(shard).unwrap().count(), 1);
}
