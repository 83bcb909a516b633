//! A worktree and git's registration that lost each other: nothing is touched by looking, and a repair brings them
//! together again with every byte that was there.

use std::path::{Path, PathBuf};

use dcc_testkit::World;
use serde_json::Value;

use crate::{DCC, approved_worktree, started_packet};

/// A worktree with work of three kinds in it that was never committed.
fn worked_in(world: &World) -> (String, PathBuf) {
    world.ok(&["init"]);
    let wp = started_packet(world);
    let (ws, path) = approved_worktree(world, &wp);
    std::fs::write(path.join("src/a.txt"), "precious\n").unwrap();
    std::fs::write(path.join("new.txt"), "untracked\n").unwrap();
    std::fs::remove_file(path.join("src/b.txt")).unwrap();
    (ws, path)
}

fn assert_work_is_there(path: &Path) {
    assert_eq!(std::fs::read_to_string(path.join("src/a.txt")).unwrap(), "precious\n");
    assert_eq!(std::fs::read_to_string(path.join("new.txt")).unwrap(), "untracked\n");
    assert!(!path.join("src/b.txt").exists());
}

fn entry(world: &World) -> PathBuf {
    std::fs::read_dir(world.repo().join(".git/worktrees")).unwrap().next().unwrap().unwrap().path()
}

/// The one finding of a broken worktree.
fn finding(world: &World, ws: &str) -> Value {
    let before = world.snapshot();
    let found = world.ok(&["ws", "repair", ws]);
    assert_eq!(before.difference(&world.snapshot()), Vec::<PathBuf>::new(), "looking changes nothing");
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    let (doctor, status) = (world.dcc(&["doctor"]).stdout, world.dcc(&["status"]).stdout);
    assert!(doctor.contains(&format!("dcc ws repair {}", &ws[ws.len() - 8..])), "{doctor}");
    assert!(status.contains("1 worktrees do not stand as they were registered"), "{status}");
    found["items"][0].clone()
}

/// Asks for the repair, denies it once with everything as it was, then approves it.
fn mended(world: &World, arguments: &[&str]) {
    let before = world.snapshot();
    let parked = world.json(arguments);
    assert_eq!(parked.code, 4, "{parked:?}");
    world.ok(&["approvals", "deny", parked.json()["approval_id"].as_str().unwrap(), "--reason", "not yet"]);
    assert_eq!(before.difference(&world.snapshot()), Vec::<PathBuf>::new(), "a denied repair leaves nothing");
    let parked = world.json(arguments).json();
    let done = world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    assert_eq!(done["state"], "completed", "{done}");
}

fn health(world: &World, ws: &str) -> String {
    world.ok(&["ws", "show", ws])["health"].as_str().unwrap().to_owned()
}

#[test]
fn a_worktree_that_was_moved_is_followed() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    let moved = path.with_file_name("elsewhere");
    std::fs::rename(&path, &moved).unwrap();
    assert_eq!(health(&world, &ws), "moved");
    assert_eq!(finding(&world, &ws)["fix"], "relocate");
    mended(&world, &["ws", "repair", &ws, "--relocate"]);

    let shown = world.ok(&["ws", "show", &ws]);
    assert_eq!((shown["health"].as_str(), shown["path"].as_str()), (Some("ok"), moved.to_str()));
    assert_work_is_there(&moved);
    assert!(world.git(&["worktree", "list"]).contains(moved.to_str().unwrap()), "git follows too");
    let changed = world.ok(&["vcs", "status", "--ws", &ws]);
    assert_eq!(changed["entries"].as_array().map(Vec::len), Some(3), "{changed}");

    // Derived rows say the same after a rebuild.
    std::fs::remove_file(world.state_dir().join("devcc.db")).unwrap();
    assert_eq!(world.ok(&["ws", "show", &ws])["path"].as_str(), moved.to_str());
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn a_worktree_moved_out_of_sight_is_named_by_its_path() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    let far = world.path().join("far/away");
    std::fs::create_dir_all(far.parent().unwrap()).unwrap();
    std::fs::rename(&path, &far).unwrap();
    assert_eq!(health(&world, &ws), "missing");

    // A directory that nothing ties to this worktree is not adopted.
    let stranger = world.path().join("stranger");
    std::fs::create_dir(&stranger).unwrap();
    let ran = world.json(&["ws", "repair", &ws, "--relocate", "--path", stranger.to_str().unwrap()]);
    assert_eq!((ran.code, ran.code_text().as_str()), (1, "VCS_REPO_INVALID"), "{ran:?}");
    assert_eq!(std::fs::read_dir(&stranger).unwrap().count(), 0);
    // Nor is another repository's main worktree.
    let ran = world.json(&["ws", "repair", &ws, "--relocate", "--path", world.repo().to_str().unwrap()]);
    assert_eq!(ran.code_text(), "VCS_REPO_INVALID", "{ran:?}");

    mended(&world, &["ws", "repair", &ws, "--relocate", "--path", far.to_str().unwrap()]);
    assert_eq!(health(&world, &ws), "ok");
    assert_work_is_there(&far);
}

#[test]
fn a_lost_registration_is_made_anew_around_uncommitted_work() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    std::fs::remove_dir_all(entry(&world)).unwrap();
    assert_eq!(health(&world, &ws), "registration_lost");
    assert_eq!(finding(&world, &ws)["fix"], "reregister");
    // The fix that does not fit is refused with the one that does.
    let ran = world.json(&["ws", "repair", &ws, "--recreate"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{ran:?}");
    assert!(format!("{ran:?}").contains("--reregister"));

    mended(&world, &["ws", "repair", &ws, "--reregister"]);
    assert_eq!(health(&world, &ws), "ok");
    assert_work_is_there(&path);
    let status = world.git_in(&path, &["status", "--porcelain"]);
    assert_eq!(status, " M src/a.txt\n D src/b.txt\n?? new.txt\n", "git sees the same work again");
    assert_eq!(world.git_in(&path, &["fsck", "--no-dangling"]), "");
    assert!(!world.repo().join(".git").read_dir().unwrap().any(|e| e.unwrap().file_name().to_string_lossy().starts_with("dcc-entry")));
}

#[test]
fn a_branch_checked_out_elsewhere_is_not_registered_twice() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    let branch = world.ok(&["ws", "show", &ws])["branch"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(entry(&world)).unwrap();
    world.git(&["worktree", "add", "-q", world.path().join("other").to_str().unwrap(), &branch]);
    let ran = world.json(&["ws", "repair", &ws, "--reregister"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-WORKTREE-CONFLICT"), "{ran:?}");
    assert_work_is_there(&path);
}

#[test]
fn a_missing_directory_is_checked_out_again_from_its_branch() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    std::fs::remove_dir_all(&path).unwrap();
    assert_eq!(finding(&world, &ws)["fix"], "recreate");
    mended(&world, &["ws", "repair", &ws, "--recreate"]);
    assert_eq!(health(&world, &ws), "ok");
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "");
    assert!(path.join(".handshake/workspace.json").is_file(), "the derived file is back");
}

#[test]
fn what_was_staged_in_a_lost_directory_stops_its_recreation() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    world.git_in(&path, &["add", "src/a.txt"]);
    std::fs::remove_dir_all(&path).unwrap();
    let index = std::fs::read(entry(&world).join("index")).unwrap();
    let found = finding(&world, &ws);
    assert!(found["fix"].is_null() && found["would"].as_str().unwrap().contains("src/a.txt"), "{found}");
    assert_eq!(world.json(&["ws", "repair", &ws, "--recreate"]).code_text(), "VCS_INDEX_DIVERGED");
    assert_eq!(std::fs::read(entry(&world).join("index")).unwrap(), index);
}

#[test]
fn a_swapped_or_lost_pointer_is_written_anew() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    let pointer = std::fs::read(path.join(".git")).unwrap();
    let evil = world.path().join("evil");
    world.git(&["init", "-q", evil.to_str().unwrap()]);
    std::fs::write(path.join(".git"), format!("gitdir: {}\n", evil.join(".git").display())).unwrap();
    assert_eq!(health(&world, &ws), "foreign");
    mended(&world, &["ws", "repair", &ws, "--relocate"]);
    assert_eq!(std::fs::read(path.join(".git")).unwrap(), pointer);

    std::fs::remove_file(path.join(".git")).unwrap();
    assert_eq!(health(&world, &ws), "registration_lost");
    mended(&world, &["ws", "repair", &ws, "--relocate"]);
    assert_eq!((std::fs::read(path.join(".git")).unwrap(), health(&world, &ws).as_str()), (pointer, "ok"));
    assert_work_is_there(&path);

    // A repository of its own at that place is somebody's: left alone.
    std::fs::remove_file(path.join(".git")).unwrap();
    world.git(&["init", "-q", path.to_str().unwrap()]);
    assert!(finding(&world, &ws)["fix"].is_null());
    let ran = world.json(&["ws", "repair", &ws, "--relocate"]);
    assert_eq!(ran.code_text(), "VCS_REPO_INVALID", "{ran:?}");
    assert!(path.join(".git/HEAD").is_file());
}

#[test]
fn a_copy_beside_the_registered_worktree_is_not_taken_for_it() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    let copy = path.with_file_name("copy");
    assert!(std::process::Command::new("cp").arg("-a").arg(&path).arg(&copy).status().unwrap().success());
    let ran = world.json(&["ws", "repair", &ws, "--relocate", "--path", copy.to_str().unwrap()]);
    assert_eq!(ran.code_text(), "HSK-409-WORKTREE-CONFLICT", "{ran:?}");
    assert_eq!(health(&world, &ws), "ok");
}

/// What an agent writes into its own worktree's `.git` gives nobody another's place.
#[test]
fn a_directory_that_belongs_to_somebody_is_not_taken_whatever_its_pointer_says() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    let entry = entry(&world);
    let second = started_packet(&world);
    let (other_ws, other) = approved_worktree(&world, &second);
    std::fs::rename(&path, world.path().join("aside")).unwrap();
    let forged = format!("gitdir: {}\n", entry.display());
    let pointer = std::fs::read(other.join(".git")).unwrap();
    std::fs::write(other.join(".git"), &forged).unwrap();
    for place in [other.clone(), other.join("src"), world.repo().join("src"), world.repo().join(".git/hooks"), world.state_dir().join("tmp")] {
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join(".git"), &forged).unwrap();
        let ran = world.json(&["ws", "repair", &ws, "--relocate", "--path", place.to_str().unwrap()]);
        assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-WORKTREE-CONFLICT"), "{}: {ran:?}", place.display());
    }
    std::fs::write(other.join(".git"), pointer).unwrap();
    assert_eq!((health(&world, &ws).as_str(), health(&world, &other_ws).as_str()), ("missing", "ok"));

    // A link to the right directory is named by what it leads to, a copy by what it is.
    let link = world.path().join("link");
    std::os::unix::fs::symlink(world.path().join("aside"), &link).unwrap();
    let ran = world.json(&["ws", "repair", &ws, "--relocate", "--path", link.to_str().unwrap()]);
    assert_eq!(ran.code_text(), "VCS_REPO_INVALID", "{ran:?}");
    let copy = world.path().join("copy");
    assert!(std::process::Command::new("cp").arg("-a").arg(world.path().join("aside")).arg(&copy).status().unwrap().success());
    let parked = world.json(&["ws", "repair", &ws, "--relocate", "--path", copy.to_str().unwrap()]).json();
    let shown = world.ok(&["approvals", "show", parked["approval_id"].as_str().unwrap()]);
    assert!(shown["preview"].to_string().contains("not the directory that was registered"), "{shown}");
}

/// The sandbox of a live agent holds the directory that was there at its start: what it writes after a repair would stand
/// outside every worktree that anybody looks at.
#[test]
fn nothing_is_mended_under_a_living_session() {
    let world = World::new(DCC);
    let (ws, path) = worked_in(&world);
    let (gone, entry) = (world.path().join("gone"), entry(&world));
    let away = entry.with_file_name("entry-away");
    let _server = world.serve();
    // Asked for while nobody lived there.
    std::fs::rename(&path, &gone).unwrap();
    let parked = world.json(&["ws", "repair", &ws, "--recreate"]).json();
    let approval = parked["approval_id"].as_str().unwrap_or_else(|| panic!("{parked}"));
    std::fs::rename(&gone, &path).unwrap();
    let session = world.ok(&["session", "start", "--ws", &ws, "--agent", "scripted"])["session_id"].as_str().unwrap().to_owned();

    std::fs::rename(&path, &gone).unwrap();
    let refused = |ran: dcc_testkit::Ran| {
        assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{ran:?}");
        assert!(format!("{ran:?}").contains("still lives in the workspace"), "{ran:?}");
    };
    refused(world.json(&["approvals", "approve", approval]));
    refused(world.json(&["ws", "repair", &ws, "--recreate"]));
    refused(world.json(&["ws", "repair", &ws, "--relocate", "--path", gone.to_str().unwrap()]));
    assert!(!path.exists() && gone.join("new.txt").exists());
    std::fs::rename(&gone, &path).unwrap();
    std::fs::rename(&entry, &away).unwrap();
    refused(world.json(&["ws", "repair", &ws, "--reregister"]));
    assert!(!entry.exists());
    std::fs::rename(&away, &entry).unwrap();

    world.ok(&["session", "cancel", &session]);
    std::fs::rename(&path, &gone).unwrap();
    mended(&world, &["ws", "repair", &ws, "--relocate", "--path", gone.to_str().unwrap()]);
    assert_work_is_there(&gone);
}
