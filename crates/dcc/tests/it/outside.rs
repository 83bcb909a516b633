//! What is done without DCC is found, recorded once and shown as ungoverned: plain git, and edits outside the scope.

use std::path::{Path, PathBuf};

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, started_packet, until};

const OUTSIDE: &str = "FR-EVT-WS-008";

fn events(world: &World, filter: &[&str], code: &str) -> Vec<Value> {
    let arguments: Vec<&str> = ["timeline"].iter().chain(filter).copied().chain(["--code", code]).collect();
    world.ok(&arguments)["items"].as_array().unwrap().clone()
}

/// (kind, from, to, branch) of each outside change of a workspace, in order.
fn moves(world: &World, ws: &str) -> Vec<(String, String, String, String)> {
    let text = |e: &Value, key: &str| e["payload"][key].as_str().unwrap_or_default().to_owned();
    events(world, &["--ws", ws], OUTSIDE).iter().map(|e| (text(e, "kind"), text(e, "from_oid"), text(e, "to_oid"), text(e, "branch"))).collect()
}

fn oid(world: &World, path: &Path, revision: &str) -> String {
    world.git_in(path, &["rev-parse", revision]).trim().to_owned()
}

fn commit_by_hand(world: &World, path: &Path, text: &str) -> String {
    std::fs::write(path.join("src/a.txt"), text).unwrap();
    world.git_in(path, &["commit", "--quiet", "-am", "by hand"]);
    oid(world, path, "HEAD")
}

fn worktree(world: &World) -> (String, String, PathBuf) {
    world.ok(&["init"]);
    let wp = started_packet(world);
    let (ws, path) = approved_worktree(world, &wp);
    (wp, ws, path)
}

fn commit_by_dcc(world: &World, ws: &str, path: &Path, text: &str) -> String {
    std::fs::write(path.join("src/b.txt"), text).unwrap();
    let parked = world.json(&["vcs", "commit", "--ws", ws, "-m", "By DCC", "src/b.txt"]).json();
    world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()])["commit_oid"].as_str().unwrap().to_owned()
}

#[test]
fn plain_git_is_found_by_the_next_command_and_recorded_once() {
    let world = World::new(DCC);
    let (wp, ws, path) = worktree(&world);
    let base = oid(&world, &path, "HEAD");
    let branch = world.git_in(&path, &["branch", "--show-current"]).trim().to_owned();
    assert!(moves(&world, &ws).is_empty());
    let governed = commit_by_dcc(&world, &ws, &path, "governed\n");
    assert!(moves(&world, &ws).is_empty(), "a commit of DCC is not reported");

    let first = commit_by_hand(&world, &path, "one\n");
    let second = commit_by_hand(&world, &path, "two\n");
    let found = moves(&world, &ws);
    assert_eq!(found, [("commit".into(), governed.clone(), second.clone(), branch.clone())]);
    assert_eq!(moves(&world, &ws), found, "once");
    let event = &events(&world, &["--ws", &ws], OUTSIDE)[0];
    assert_eq!((event["wp_id"].as_str(), event["actor_kind"].as_str(), event["outcome"].as_str()), (Some(wp.as_str()), Some("system"), Some("unknown")));
    assert_eq!(event["payload"]["commits"], 2);
    assert!(event["job_id"].is_null() && event["payload"]["message"].as_str().unwrap().contains("went forward by 2 commits"), "{event}");

    world.git_in(&path, &["reset", "--quiet", "--hard", &first]);
    world.git_in(&path, &["commit", "--quiet", "--amend", "-m", "other words"]);
    let amended = oid(&world, &path, "HEAD");
    assert_eq!(moves(&world, &ws).last().unwrap(), &("reset".to_owned(), second, amended.clone(), branch.clone()));
    world.git_in(&path, &["switch", "--quiet", "-c", "elsewhere"]);
    assert_eq!(moves(&world, &ws).last().unwrap(), &("switch".to_owned(), amended.clone(), amended.clone(), "elsewhere".to_owned()));
    world.git_in(&path, &["switch", "--quiet", &branch]);
    // A branch that is moved from elsewhere, under the worktree.
    world.git(&["update-ref", &format!("refs/heads/{branch}"), &base]);
    let all = moves(&world, &ws);
    assert_eq!(all.last().unwrap(), &("switch".to_owned(), amended, base, branch), "{all:?}");
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn the_main_worktree_is_watched_like_the_others_and_after_it_dcc_goes_on() {
    let world = World::new(DCC);
    let (_, ws, path) = worktree(&world);
    let root = world.ok(&["ws", "list"])["items"].as_array().unwrap().iter().find(|w| w["kind"] == "root").unwrap()["workspace_id"].as_str().unwrap().to_owned();
    let by_hand = commit_by_hand(&world, &world.repo(), "main\n");
    assert_eq!(moves(&world, &root).iter().map(|m| (m.0.as_str(), m.2.clone())).collect::<Vec<_>>(), [("commit", by_hand)]);
    assert!(moves(&world, &ws).is_empty());
    commit_by_hand(&world, &path, "mine\n");
    commit_by_dcc(&world, &ws, &path, "governed\n");
    commit_by_dcc(&world, &ws, &path, "governed again\n");
    assert_eq!(moves(&world, &ws).len(), 1);
}

#[test]
fn a_server_finds_plain_git_at_once_and_not_its_own_commits() {
    let world = World::new(DCC);
    let (_, ws, path) = worktree(&world);
    let server = world.serve();
    until("that both worktrees are followed", || (server.http.get("/api/v1/health")["watching"]["trees"] == 2).then_some(()));
    for n in 0..5 {
        commit_by_dcc(&world, &ws, &path, &format!("{n}\n"));
    }
    let last = commit_by_hand(&world, &path, "by hand\n");
    let found = until("the commit by hand", || Some(moves(&world, &ws)).filter(|m| !m.is_empty()));
    assert_eq!(found.iter().map(|m| (m.0.as_str(), m.2.clone())).collect::<Vec<_>>(), [("commit", last)]);
    commit_by_dcc(&world, &ws, &path, "after\n");
    assert_eq!(moves(&world, &ws).len(), 1);
}

#[test]
fn a_forged_trailer_is_not_governed() {
    let world = World::new(DCC);
    let (_, ws, path) = worktree(&world);
    let governed = commit_by_dcc(&world, &ws, &path, "governed\n");
    let body = world.git_in(&path, &["log", "-1", "--format=%B"]);
    let trailers = &body[body.find("DCC-Job").unwrap()..];
    std::fs::write(path.join("src/a.txt"), "forged\n").unwrap();
    world.git_in(&path, &["commit", "--quiet", "-am", &format!("Looks right\n\n{trailers}")]);
    let log = world.ok(&["vcs", "log", "--ws", &ws]);
    let governed_oids: Vec<&str> = log["items"].as_array().unwrap().iter().filter(|c| c["governed"] == true).map(|c| c["commit_oid"].as_str().unwrap()).collect();
    assert_eq!(governed_oids, [governed.as_str()], "{log}");
}

#[test]
fn an_edit_outside_the_scope_is_named_once_and_a_governed_one_is_not() {
    let world = World::new(DCC);
    world.configure("[recipes.tidy]\nargv = [\"sh\", \"-c\", \"echo tidied >> README.md\"]\nwrites = true\n");
    world.ok(&["init"]);
    let wp = started_packet(&world);
    world.ok(&["wp", "set", &wp, "in_scope_paths=src"]);
    let (ws, path) = approved_worktree(&world, &wp);
    let server = world.serve();
    until("that both worktrees are followed", || (server.http.get("/api/v1/health")["watching"]["trees"] == 2).then_some(()));
    world.ok(&["run", "--ws", &ws, "tidy"]);
    std::fs::write(path.join("src/a.txt"), "inside\n").unwrap();
    std::fs::write(path.join("notes.md"), "outside\n").unwrap();
    let edits = || events(&world, &["--ws", &ws], OUTSIDE);
    let found = until("the edit outside", || Some(edits()).filter(|e| !e.is_empty()));
    assert_eq!((&found[0]["payload"]["kind"], &found[0]["payload"]["paths"]), (&json!("edit"), &json!(["notes.md"])), "{found:?}");
    assert_eq!(found[0]["wp_id"], json!(wp));
    std::fs::write(path.join("notes.md"), "outside again\n").unwrap();
    std::fs::remove_file(path.join("src/b.txt")).unwrap();
    std::fs::write(path.join("other.md"), "outside too\n").unwrap();
    let found = until("the second edit outside", || Some(edits()).filter(|e| e.len() > 1));
    assert_eq!((found.len(), &found[1]["payload"]["paths"]), (2, &json!(["other.md"])), "{found:?}");
}

/// The preview's changed keys as (label, text).
fn changed_keys(world: &World, approval: &str) -> Vec<(String, String)> {
    let shown = world.ok(&["approvals", "show", approval]);
    let texts = shown["preview"]["exactly"].as_array().unwrap().iter().filter(|item| item["item"] == "text");
    texts.map(|item| (item["label"].as_str().unwrap().to_owned(), item["text"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_changed_configuration_stops_writes_until_a_person_accepts_it() {
    let world = World::new(DCC);
    let (wp, ws, path) = worktree(&world);
    commit_by_dcc(&world, &ws, &path, "before\n");
    // An ordinary key changes nothing.
    world.git(&["config", "branch.main.remote", "origin"]);
    commit_by_dcc(&world, &ws, &path, "still\n");

    let included = world.path().join("included");
    std::fs::write(&included, "[core]\n\tfsmonitor = touch canary\n").unwrap();
    world.git(&["config", "include.path", included.to_str().unwrap()]);
    std::fs::write(path.join("src/a.txt"), "changed\n").unwrap();
    let refused = world.json(&["vcs", "commit", "--ws", &ws, "-m", "No", "src/a.txt"]);
    assert_eq!((refused.code, refused.code_text().as_str()), (3, "VCS_UNSUPPORTED_CONFIG"), "{refused:?}");
    assert!(refused.stdout.contains("core.fsmonitor") && refused.stdout.contains("include.path"), "{refused:?}");
    let other = started_packet(&world);
    assert_eq!(world.json(&["ws", "create", "--wp", &other]).code_text(), "VCS_UNSUPPORTED_CONFIG");
    // Reads go on, and run nothing of it.
    assert_eq!(world.ok(&["vcs", "status", "--ws", &ws])["entries"].as_array().unwrap().len(), 1);
    assert!(!path.join("canary").exists() && !world.repo().join("canary").exists());
    let found = events(&world, &[], "FR-EVT-SEC-003");
    assert_eq!(found.len(), 1, "once for one configuration: {found:?}");
    assert!(found[0]["actor_kind"] == "system" && found[0]["payload"]["change_count"] == 2, "{found:?}");

    let parked = world.json(&["ws", "repair", &ws, "--accept-config"]);
    assert_eq!(parked.code, 4, "{parked:?}");
    let approval = parked.json()["approval_id"].as_str().unwrap().to_owned();
    let keys = changed_keys(&world, &approval);
    assert!(keys[0].0.starts_with("core.fsmonitor (local, file:") && keys[0].0.contains("included"), "{keys:?}");
    assert_eq!(keys[0].1, "was: not set\nis:  touch canary");
    let shown = world.ok(&["approvals", "show", &approval]);
    assert_eq!((shown["tier"].as_str(), shown["op"].as_str()), (Some("R2"), Some("workspace.repair")), "{shown}");
    // What was shown is what is accepted: it moved on meanwhile.
    std::fs::write(&included, "[core]\n\tfsmonitor = touch other\n").unwrap();
    assert_eq!(world.json(&["approvals", "approve", &approval]).code_text(), "HSK-409-STALE-PREVIEW");
    let parked = world.json(&["ws", "repair", &ws, "--accept-config"]).json();
    let approval = parked["approval_id"].as_str().unwrap().to_owned();
    world.ok(&["approvals", "approve", &approval]);
    let accepted = events(&world, &["--ws", &ws], "FR-EVT-SEC-007");
    assert_eq!((accepted.len(), accepted[0]["wp_id"].as_str(), accepted[0]["actor_kind"].as_str()), (1, Some(wp.as_str()), Some("human")));
    commit_by_dcc(&world, &ws, &path, "after\n");
    assert!(!path.join("canary").exists() && !path.join("other").exists());

    // Taking it away again is a change like any other.
    world.git(&["config", "--unset", "include.path"]);
    let refused = world.json(&["vcs", "commit", "--ws", &ws, "-m", "No", "src/a.txt"]);
    assert_eq!(refused.code_text(), "VCS_UNSUPPORTED_CONFIG");
    let nothing = world.json(&["ws", "repair", &ws, "--accept-config"]).json();
    let approval = nothing["approval_id"].as_str().unwrap().to_owned();
    assert_eq!(changed_keys(&world, &approval)[0].1, "was: touch other\nis:  not set");
    world.ok(&["approvals", "approve", &approval]);
    assert_eq!(world.json(&["ws", "repair", &ws, "--accept-config"]).code_text(), "HSK-409-ILLEGAL-TRANSITION");
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn a_worktrees_own_configuration_stops_that_worktree_alone() {
    let world = World::new(DCC);
    let (_, ws, path) = worktree(&world);
    world.git(&["config", "extensions.worktreeConfig", "true"]);
    let accept = |ws: &str| {
        let parked = world.json(&["ws", "repair", ws, "--accept-config"]).json();
        world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    };
    accept(&ws);
    commit_by_dcc(&world, &ws, &path, "shared\n");
    world.git_in(&path, &["config", "--worktree", "core.hooksPath", "hooks"]);
    std::fs::write(path.join("src/a.txt"), "changed\n").unwrap();
    assert_eq!(world.json(&["vcs", "commit", "--ws", &ws, "-m", "No", "src/a.txt"]).code_text(), "VCS_UNSUPPORTED_CONFIG");
    let other = started_packet(&world);
    let (second, second_path) = approved_worktree(&world, &other);
    commit_by_dcc(&world, &second, &second_path, "the other\n");
    accept(&ws);
    commit_by_dcc(&world, &ws, &path, "own\n");
    commit_by_dcc(&world, &second, &second_path, "again\n");
}
