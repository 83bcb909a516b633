//! What was changed outside DCC is settled by a job: records edited by hand, deletion, damaged derived files.

use std::path::PathBuf;

use dcc_testkit::World;
use serde_json::{Value, json};

use crate::{DCC, approved_worktree, started_packet};

fn packet_file(world: &World, wp: &str) -> PathBuf {
    world.state_dir().join(format!("gov/work_packets/{wp}/packet.json"))
}

fn edit(file: &PathBuf, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let edited = text.replace(from, to);
    assert_ne!(text, edited, "{from} stands in {text}");
    std::fs::write(file, &edited).unwrap();
    edited
}

/// The artifact of these bytes, as the store keeps it.
fn is_kept(world: &World, bytes: &str) -> bool {
    let name = dcc_core::Sha256Hex::of(bytes.as_bytes()).to_string();
    std::fs::read(world.state_dir().join(format!("artifacts/sha256/{}/{}", &name[..2], &name[2..]))).is_ok_and(|kept| kept == bytes.as_bytes())
}

fn codes(world: &World, job: &Value) -> Vec<String> {
    let events = world.ok(&["timeline", "--job", job["job_id"].as_str().unwrap()]);
    events["items"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_edit_by_hand_is_shown_accepted_or_restored() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let file = packet_file(&world, &wp);
    let accepted = std::fs::read_to_string(&file).unwrap();
    let version = world.ok(&["wp", "show", &wp])["version"].as_u64().unwrap();

    let edited = edit(&file, "\"Greet people\"", "\"Greet everybody\"");
    let shown = world.ok(&["wp", "show", &wp]);
    assert_eq!(shown["title"], "Greet people", "the accepted version goes on: {shown}");
    let drift = &shown["drifted"][0];
    let lines: Vec<&str> = drift["diff"]["hunks"][0]["lines"].as_array().unwrap().iter().filter(|l| l["kind"] != "context").map(|l| l["text"].as_str().unwrap().trim()).collect();
    assert_eq!(lines, ["\"title\": \"Greet people\",", "\"title\": \"Greet everybody\","]);
    assert!(drift["refusal"].is_null(), "{drift}");

    // Put back: the accepted bytes stand there, the edited ones are kept.
    let done = world.ok(&["wp", "restore", &wp]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), accepted);
    assert!(is_kept(&world, &edited) && codes(&world, &done).contains(&"FR-EVT-DRIFT-002".to_owned()));
    assert_eq!(world.ok(&["wp", "show", &wp])["drifted"].as_array().unwrap().len(), 0);

    // Made again and taken in: the next version, through the record path.
    edit(&file, "\"Greet people\"", "\"Greet everybody\"");
    let done = world.ok(&["wp", "accept", &wp]);
    let shown = world.ok(&["wp", "show", &wp]);
    assert_eq!((shown["title"].as_str(), shown["version"].as_u64()), (Some("Greet everybody"), Some(version + 1)));
    assert!(shown["drift"].is_null(), "{shown}");
    let codes = codes(&world, &done);
    assert!(codes.contains(&"FR-EVT-WP-008".to_owned()) && codes.contains(&"FR-EVT-DRIFT-002".to_owned()), "{codes:?}");
    assert!(std::fs::read_to_string(world.state_dir().join("gov/TASK_BOARD.md")).unwrap().contains("Greet everybody"), "the board follows");
    let ran = world.json(&["wp", "accept", &wp]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "nothing is left to settle: {ran:?}");
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn an_illegal_edit_is_refused_by_name_and_gates_go_on_with_the_accepted_version() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let file = packet_file(&world, &wp);
    let cases = [
        ("\"status\": \"in_progress\"", "\"status\": \"done\"", "HSK-409-ILLEGAL-TRANSITION", "only by closing"),
        ("\"reporter\": \"operator\"", "\"reporter\": \"nobody\"", "HSK-409-ILLEGAL-TRANSITION", "reporter"),
        ("\"priority\": 2", "\"priority\": 9", "HSK-400-INVALID-INPUT", "priority 9"),
    ];
    for (from, to, code, says) in cases {
        edit(&file, from, to);
        let ran = world.json(&["wp", "accept", &wp]);
        assert_eq!(ran.code_text(), code, "{to}: {ran:?}");
        assert!(ran.stdout.contains(says), "{says}: {ran:?}");
        assert!(world.ok(&["wp", "show", &wp])["drifted"][0]["refusal"]["message"].as_str().unwrap().contains(says));
        world.ok(&["wp", "restore", &wp]);
    }
    // An edit that claims the gate passed moves no gate.
    edit(&file, "\"post_work\": {\n      \"status\": \"pending\"", "\"post_work\": {\n      \"status\": \"pass\"");
    world.ok(&["mt", "skip", &wp, "MT-001", "--reason", "not needed"]);
    let ran = world.json(&["wp", "close", &wp]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-GATE-NOT-PASSED"), "{ran:?}");
}

#[test]
fn a_deleted_file_comes_back_and_that_is_recorded_and_said() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (file, task) = (packet_file(&world, &wp), world.state_dir().join(format!("gov/micro_tasks/{wp}/MT-001/packet.json")));
    let accepted = [std::fs::read(&file).unwrap(), std::fs::read(&task).unwrap()];
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(&task).unwrap();
    // Looked at without opening for work, both are missing and stay so.
    let seen = world.dcc(&["doctor"]).stdout;
    assert!(seen.contains(&format!("work_packets/{wp}/packet.json is missing")) && !file.exists(), "{seen}");
    let said = world.dcc(&["wp", "list"]).stderr;
    assert!(said.contains(&format!("work_packets/{wp}/packet.json was missing")) && said.contains("MT-001/packet.json was missing"), "{said}");
    assert_eq!([std::fs::read(&file).unwrap(), std::fs::read(&task).unwrap()], accepted);
    assert_eq!(world.dcc(&["wp", "list"]).stderr, "", "it is said once");
    let events = world.ok(&["timeline", "--wp", &wp, "--code", "FR-EVT-DRIFT-001"]);
    let keys: Vec<&str> = events["items"].as_array().unwrap().iter().map(|e| e["payload"]["key"].as_str().unwrap()).collect();
    assert_eq!(keys, [wp.clone(), format!("{wp}/MT-001")]);
    let doctor = world.dcc(&["doctor"]).stdout;
    assert!(doctor.contains("was written back at"), "{doctor}");
    let server = world.serve();
    let health = server.http.browser().call("GET", "/health", None).text();
    assert!(health.contains("was written back at"), "{health}");
    // Where a server is at work it stays missing, and Health offers to restore it.
    std::fs::remove_file(&file).unwrap();
    let listed = world.ok(&["wp", "list"]);
    assert!(listed["items"][0]["drift"].as_str().unwrap().contains("is missing"), "{listed}");
    world.ok(&["wp", "restore", &wp]);
    assert_eq!(std::fs::read(&file).unwrap(), accepted[0]);
}

#[test]
fn archiving_can_be_tried_and_changes_nothing() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    std::fs::write(path.join("new.txt"), "x\n").unwrap();
    let would = world.ok(&["ws", "archive", &ws, "--dry-run"]);
    assert!(would["would"].as_str().unwrap().contains("with 1 changed path,") && would["would"].as_str().unwrap().contains(&wp), "{would}");
    let root = world.ok(&["ws", "list"])["items"].as_array().unwrap().iter().find(|w| w["kind"] == "root").unwrap()["workspace_id"].as_str().unwrap().to_owned();
    for words in [&["ws", "archive", &root, "--dry-run"][..], &["ws", "archive", &root]] {
        let ran = world.json(words);
        assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{words:?}: {ran:?}");
    }
    world.ok(&["session", "start", "--ws", &ws, "--human"]);
    assert!(world.json(&["ws", "archive", &ws, "--dry-run"]).stdout.contains("still lives in the workspace"));
    let jobs = world.ok(&["job", "list", "--op", "workspace.archive"]);
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1, "only what was asked without the flag is a job: {jobs}");
    assert_eq!(world.ok(&["ws", "show", &ws])["status"], "active");
}

/// A `workspace.json` of version 0, last changed on the second of January 2025.
fn put_version_zero(file: &std::path::Path, ids: &serde_json::Value, branch: &str, link: &str) {
    let old = json!({ "workspace_id": ids["workspace_id"], "project_id": ids["project_id"], "branch": branch, "base_branch": "main", "linked_wp_id": link });
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, old.to_string()).unwrap();
    let changed = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_735_783_200);
    std::fs::File::options().write(true).open(file).unwrap().set_modified(changed).unwrap();
}

#[test]
fn a_workspace_json_of_version_zero_is_taken_over_where_the_record_does_not_say_otherwise() {
    let world = World::new(DCC);
    let root = world.state_dir().join("workspace.json");
    // There before the project was: its date is the workspace's.
    let foreign = json!({ "workspace_id": "00000000-0000-7000-8000-000000000001", "project_id": "00000000-0000-7000-8000-000000000002" });
    put_version_zero(&root, &foreign, "main", "WP-0099");
    let said = world.dcc(&["init"]).stderr;
    assert!(said.contains("version 0 was brought to version 1.0") && said.contains("WP-0099, which is none of this project"), "{said}");
    let read = |file: &std::path::Path| serde_json::from_slice::<serde_json::Value>(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!((read(&root)["created_at"].as_str(), &read(&root)["linkage"]), (Some("2025-01-02T02:00:00.000Z"), &json!(null)));
    // Found later: a packet that the record does not contradict is a hint, and binds nothing.
    let wp = started_packet(&world);
    put_version_zero(&root, &read(&root), "other", &wp);
    let said = world.dcc(&["ws", "list"]).stderr;
    assert!(said.contains("a hint and binds nothing: dcc ws link") && said.contains("it named the branch other; main stands"), "{said}");
    let file = read(&root);
    assert_eq!((&file["schema_version"], &file["linkage"]["linked_wp_id"], &file["git"]["branch"]), (&json!("hsk.devcc.workspace@1.0"), &json!(wp), &json!("main")));
    assert_eq!(world.ok(&["ws", "list"])["items"][0]["wp_id"], json!(null));
    assert_eq!(world.dcc(&["ws", "list"]).stderr, "", "said once");
    // What the record says stands, in a worktree and after a rebuild.
    let (ws, path) = approved_worktree(&world, &wp);
    let own = path.join(".handshake/workspace.json");
    let right = read(&own);
    put_version_zero(&own, &right, right["git"]["branch"].as_str().unwrap(), "WP-0777");
    let said = world.dcc(&["ws", "show", &ws]).stderr;
    assert!(said.contains(&format!("it named the packet WP-0777; {wp} stands")), "{said}");
    assert_eq!((&read(&own)["linkage"]["linked_wp_id"], read(&own)["created_at"].as_str()), (&json!(wp), Some("2025-01-02T02:00:00.000Z")));
    for file in [&root, &own] {
        let before = read(file);
        std::fs::remove_file(file).unwrap();
        // One that is gone comes back with the next command.
        world.ok(&["ws", "list"]);
        assert_eq!(read(file)["linkage"]["linked_wp_id"], before["linkage"]["linked_wp_id"]);
        assert_eq!(read(file)["created_at"], before["created_at"]);
    }
    world.ok(&["rebuild"]);
    assert_eq!(read(&root)["linkage"]["linked_wp_id"], json!(wp));
    assert_eq!(world.ok(&["recorder", "verify"])["ok"], true);
}

#[test]
fn a_file_that_nobody_accepted_is_named() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let foreign = world.state_dir().join("gov/work_packets/WP-0088/packet.json");
    std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    std::fs::copy(packet_file(&world, &wp), &foreign).unwrap();
    std::fs::write(packet_file(&world, &wp), "{").unwrap();
    let listed = world.dcc(&["wp", "list"]).stdout;
    assert!(listed.contains("WP-0088/packet.json is not accepted: no recorded event names it"), "{listed}");
    assert_eq!(world.ok(&["wp", "list"])["not_accepted"][0]["key"], "WP-0088");
    let doctor = world.dcc(&["doctor"]).stdout;
    assert!(doctor.contains("record WP-0088") && doctor.contains("move it away"), "{doctor}");
    assert!(doctor.contains(&format!("record {wp}")) && doctor.contains("half-written") && doctor.contains("accept|restore"), "{doctor}");
    assert_eq!(world.json(&["wp", "show", "WP-0088"]).code, 6, "it is used by nobody");
}

#[test]
fn a_file_too_large_to_be_read_is_set_aside_and_the_accepted_one_written_back() {
    const LARGE: u64 = 100 << 20;
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let file = packet_file(&world, &wp);
    let accepted = std::fs::read(&file).unwrap();
    let grow = || std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(LARGE).unwrap();
    grow();
    let ran = world.json(&["wp", "accept", &wp]);
    assert!(ran.code_text() == "HSK-409-DRIFT" && ran.stdout.contains("is larger than 64 MiB"), "{ran:?}");
    let aside = |done: &serde_json::Value| {
        assert_eq!(std::fs::read(&file).unwrap(), accepted);
        let kept = world.repo().join(done["kept_as"].as_str().unwrap_or_else(|| panic!("{done}")));
        assert_eq!(std::fs::metadata(&kept).unwrap().len(), LARGE, "nothing is lost");
    };
    aside(&world.ok(&["wp", "restore", &wp]));
    // The page's button: with what it saw, and without the file in memory.
    let server = world.serve();
    let before = server.resident_kib().1;
    grow();
    let shown = server.http.get(&format!("/api/v1/wps/{wp}"))["drifted"][0]["found_sha256"].clone();
    assert!(shown.is_string(), "{shown}");
    let restore = || server.http.submit("locus.accept_edit", json!({ "wp_id": wp }), json!({ "record": wp, "action": "restore", "found_sha256": shown })).json();
    // It is written to once more.
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(LARGE + 1).unwrap();
    assert_eq!(restore()["failure"]["code"], "HSK-409-STALE-PREVIEW");
    grow();
    let shown = server.http.get(&format!("/api/v1/wps/{wp}"))["drifted"][0]["found_sha256"].clone();
    aside(&server.http.submit("locus.accept_edit", json!({ "wp_id": wp }), json!({ "record": wp, "action": "restore", "found_sha256": shown })).json());
    assert!(server.resident_kib().1 - before < 48 * 1024, "{before} KiB grew to {:?}", server.resident_kib());
}

#[test]
fn a_broken_file_is_refused_with_its_place_and_can_be_restored() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let file = packet_file(&world, &wp);
    let accepted = std::fs::read_to_string(&file).unwrap();
    let doubled = accepted.replacen("\"title\": ", "\"title\": \"twice\",\n  \"title\": ", 1);
    let cases = [("{\n  \"schema_id\": ,", "line 2 column 16"), (&accepted[..accepted.len() / 2], "cut off"), (doubled.as_str(), "duplicate field `title` at line"), ("", "cut off")];
    for (text, says) in cases {
        std::fs::write(&file, text).unwrap();
        let ran = world.json(&["wp", "accept", &wp]);
        assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-DRIFT"), "{ran:?}");
        assert!(ran.stdout.contains(says), "{says}: {ran:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "a refusal changes nothing");
        world.ok(&["wp", "restore", &wp]);
        assert!(is_kept(&world, text), "{text:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), accepted);
    }
    // A file that changes between the look and the click is left alone.
    edit(&file, "Greet people", "Greet all");
    let server = world.serve();
    let params = json!({ "record": wp, "action": "restore", "found_sha256": dcc_core::Sha256Hex::of(b"seen") });
    let refused = server.http.submit("locus.accept_edit", json!({}), params);
    assert_eq!(refused.code_text(), "HSK-409-STALE-PREVIEW", "{refused:?}");
    // Both sides and both buttons stand on the packet's page and on Health.
    let reader = crate::pages::Reader::sign_in(&server.http);
    for page in [format!("/wp/{wp}"), "/health".to_owned()] {
        let html = reader.page(&page);
        assert!(html.matches("locus.accept_edit").count() >= 2, "{page}: {html}");
    }
}

#[test]
fn a_micro_task_edited_by_hand_is_shown_and_settled_too() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let file = world.state_dir().join(format!("gov/micro_tasks/{wp}/MT-001/packet.json"));
    edit(&file, "\"status\": \"pending\"", "\"status\": \"in_progress\"");
    let shown = world.ok(&["wp", "show", &wp]);
    assert_eq!((shown["drifted"][0]["mt_id"].as_str(), shown["micro_tasks"][0]["status"].as_str()), (Some("MT-001"), Some("pending")));
    let people = world.dcc(&["wp", "show", &wp]).stdout;
    assert!(people.contains(&format!("dcc wp accept {wp} MT-001")) && people.contains("+  \"status\": \"in_progress\""), "{people}");
    world.ok(&["wp", "accept", &wp, "MT-001"]);
    let task = world.ok(&["mt", "show", &wp, "MT-001"]);
    assert!(task["status"] == "in_progress" && task["started_at"].is_string(), "the move sets its time: {task}");
    edit(&file, "\"status\": \"in_progress\"", "\"status\": \"completed\"");
    let ran = world.json(&["wp", "accept", &wp, "MT-001"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-GATE-NOT-PASSED"), "{ran:?}");
    world.ok(&["wp", "restore", &wp, "MT-001"]);
}

#[test]
fn a_deleted_packet_is_listed_on_request_and_its_id_is_never_given_again() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, _) = approved_worktree(&world, &wp);
    let ran = world.json(&["wp", "delete", &wp, "--reason", "x"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{ran:?}");
    world.ok(&["wp", "cancel", &wp, "--reason", "not needed"]);
    let ran = world.json(&["wp", "delete", &wp, "--reason", "x"]);
    assert!(ran.code == 5 && ran.stdout.contains("bound to the workspace"), "{ran:?}");
    world.ok(&["ws", "archive", &ws]);
    let parked = world.json(&["wp", "delete", &wp, "--reason", "made by mistake"]);
    assert_eq!(parked.code, 4, "deleting asks: {parked:?}");
    world.ok(&["approvals", "approve", parked.json()["approval_id"].as_str().unwrap()]);
    let ran = world.json(&["wp", "show", &wp]);
    assert!(ran.code == 6 && ran.code_text() == "HSK-404-WP" && ran.stdout.contains("was deleted at"), "{ran:?}");
    assert_eq!(world.ok(&["wp", "list"])["items"].as_array().unwrap().len(), 0);
    let all = world.ok(&["wp", "list", "--all"]);
    assert!(all["items"][0]["wp_id"] == wp.as_str() && all["items"][0]["tombstone"].is_string(), "{all}");
    assert!(!std::fs::read_to_string(world.state_dir().join("gov/TASK_BOARD.md")).unwrap().contains(&wp));
    assert!(packet_file(&world, &wp).exists(), "the record stays");
    let ran = world.json(&["wp", "create", "--title", "Again", "--id", &wp]);
    assert!(ran.code == 5 && ran.stdout.contains("never given again"), "{ran:?}");
    std::fs::remove_file(packet_file(&world, &wp)).unwrap();
    assert_eq!(world.ok(&["wp", "create", "--title", "Next"])["wp_id"], "WP-0002");
    // The projection knows it too, and a rebuild makes the same of it.
    let hits = |world: &World| world.ok(&["search", "Greet people", "--scope", "objects"])["items"].as_array().unwrap().len();
    assert_eq!(hits(&world), 0);
    world.ok(&["rebuild"]);
    assert_eq!(hits(&world), 0);
}

/// The main worktree's id.
fn root_id(world: &World) -> String {
    let all = world.ok(&["ws", "list"]);
    let root = all["items"].as_array().unwrap().iter().find(|w| w["kind"] == "root").unwrap();
    root["workspace_id"].as_str().unwrap().to_owned()
}

fn doctor_fix(world: &World) -> String {
    let checks = world.json(&["doctor"]).json();
    let check = checks["items"].as_array().unwrap().iter().find(|c| c["name"] == "workspace.json" && c["status"] == "needs").cloned();
    check.map(|c| c["fix"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[test]
fn a_workspace_file_that_is_not_understood_is_kept_and_made_anew() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let ws = root_id(&world);
    let file = world.state_dir().join("workspace.json");
    let ours = std::fs::read_to_string(&file).unwrap();
    assert_eq!(world.ok(&["ws", "repair", &ws])["items"].as_array().unwrap().len(), 0);
    let ran = world.json(&["ws", "repair", &ws, "--reinit-json"]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-ILLEGAL-TRANSITION"), "{ran:?}");
    for odd in [ours.replace("@1.0", "@9.0"), "{ half".to_owned(), String::new()] {
        std::fs::write(&file, &odd).unwrap();
        let found = world.ok(&["ws", "repair", &ws]);
        assert_eq!(found["items"][0]["fix"], "reinit_json", "{found}");
        world.ok(&["ws", "repair", &ws, "--reinit-json", "--dry-run"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), odd, "looking changes nothing");
        assert_eq!(doctor_fix(&world), format!("dcc ws repair {} --reinit-json", &ws[ws.len() - 8..]));
        let done = world.ok(&["ws", "repair", &ws, "--reinit-json"]);
        let kept = world.repo().join(done["kept_as"].as_str().unwrap());
        assert_eq!(std::fs::read_to_string(kept).unwrap(), odd);
        assert!(is_kept(&world, &odd), "and as an artifact");
        let made: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!((made["schema_version"].as_str(), made["workspace_id"].as_str()), (Some("hsk.devcc.workspace@1.0"), Some(ws.as_str())));
        assert!(codes(&world, &done).contains(&"FR-EVT-WS-009".to_owned()));
    }
    assert_eq!(doctor_fix(&world), "");
    assert_eq!(world.git(&["status", "--porcelain"]), "", "none of it shows in git");
    // A link leads nowhere and is never written through.
    let outside = world.path().join("precious");
    std::fs::write(&outside, "precious").unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&outside, &file).unwrap();
    assert!(world.ok(&["ws", "repair", &ws])["items"][0]["fix"].is_null());
    assert_eq!(world.json(&["ws", "repair", &ws, "--reinit-json"]).code, 5);
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
    // Deleted, it comes back with a rebuild.
    std::fs::remove_file(&file).unwrap();
    world.ok(&["rebuild"]);
    assert!(file.is_file());
}

#[test]
fn a_tracked_workspace_file_leaves_the_index_after_approval_and_nothing_else_changes() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let git = |arguments: &[&str]| world.git_in(&path, arguments);
    let exclude = world.repo().join(".git/info/exclude");
    std::fs::write(&exclude, "").unwrap();
    git(&["update-index", "--add", "--cacheinfo", &format!("100644,{},.handshake/workspace.json", git(&["hash-object", "-w", ".handshake/workspace.json"]).trim())]);
    git(&["commit", "--quiet", "-m", "Oops"]);
    std::fs::write(path.join("src/b.txt"), "staged\n").unwrap();
    git(&["add", "src/b.txt"]);
    let (head, file) = (git(&["rev-parse", "HEAD"]), std::fs::read(path.join(".handshake/workspace.json")).unwrap());
    assert_eq!(world.ok(&["ws", "repair", &ws])["items"][0]["fix"], "untrack_json");
    let before = git(&["ls-files", "--stage"]);

    // Denied, everything is as it was.
    let parked = world.json(&["ws", "repair", &ws, "--untrack-json"]);
    assert_eq!(parked.code, 4, "{parked:?}");
    let shown = world.ok(&["approvals", "show", parked.json()["approval_id"].as_str().unwrap()]);
    assert!(shown["preview"].to_string().contains("nothing is committed") && shown["tier"] == "R2", "{shown}");
    world.ok(&["approvals", "deny", parked.json()["approval_id"].as_str().unwrap(), "--reason", "not now"]);
    assert_eq!(git(&["ls-files", "--stage"]), before);

    // Nor is git written under a configuration that nobody accepted.
    world.git(&["config", "core.hooksPath", "hooks"]);
    assert_eq!(world.json(&["ws", "repair", &ws, "--untrack-json"]).code_text(), "VCS_UNSUPPORTED_CONFIG");
    world.git(&["config", "--unset", "core.hooksPath"]);

    // The entry moved since the preview: stale, nothing done.
    let parked = world.json(&["ws", "repair", &ws, "--untrack-json"]).json();
    git(&["update-index", "--cacheinfo", &format!("100644,{},.handshake/workspace.json", git(&["rev-parse", "HEAD:README.md"]).trim())]);
    let ran = world.json(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    assert_eq!((ran.code, ran.code_text().as_str()), (5, "HSK-409-STALE-PREVIEW"), "{ran:?}");

    let parked = world.json(&["ws", "repair", &ws, "--untrack-json"]).json();
    world.ok(&["approvals", "approve", parked["approval_id"].as_str().unwrap()]);
    let lost: Vec<String> = before.lines().filter(|l| !git(&["ls-files", "--stage"]).lines().any(|now| now == *l)).map(str::to_owned).collect();
    assert!(lost.len() == 1 && lost[0].ends_with(".handshake/workspace.json"), "{lost:?}");
    assert_eq!(git(&["rev-parse", "HEAD"]), head, "never a commit");
    assert_eq!(std::fs::read(path.join(".handshake/workspace.json")).unwrap(), file, "the file stays");
    assert_eq!(git(&["status", "--porcelain"]), "D  .handshake/workspace.json\nM  src/b.txt\n", "somebody's staged work stays, and the file is excluded");
    assert!(std::fs::read_to_string(&exclude).unwrap().contains("/.handshake/"));
    assert_eq!(world.ok(&["ws", "repair", &ws])["items"].as_array().unwrap().len(), 0);
}

#[test]
fn a_change_to_a_packet_edited_by_hand_is_recorded_once_and_says_what_did_not_follow() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let file = packet_file(&world, &wp);
    let edited = edit(&file, "\"Greet people\"", "\"Greet everybody\"");
    let done = world.ok(&["wp", "note", &wp, "hello"]);
    assert_eq!(done["state"], "completed_with_issues", "{done}");
    assert!(done["message"].as_str().unwrap().contains("did not follow"), "{done}");
    let shown = world.ok(&["wp", "show", &wp]);
    assert_eq!(shown["notes"].as_array().unwrap().iter().filter(|n| n["body"] == "hello").count(), 1, "{shown}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), edited, "the hand's bytes stay until they are settled");
    let listed = world.dcc(&["wp", "list"]).stdout;
    assert!(listed.contains(&format!("file edited by hand: dcc wp show {wp}")), "{listed}");
}

#[test]
fn two_worktrees_linked_to_one_packet_at_once_leave_one_linked() {
    let world = World::new(DCC);
    world.ok(&["init"]);
    let worktrees: Vec<String> = (0..2).map(|_| started_packet(&world)).map(|wp| approved_worktree(&world, &wp).0).collect();
    let wanted = started_packet(&world);
    let _server = world.serve();
    for _ in 0..5 {
        for ws in &worktrees {
            world.ok(&["ws", "unlink", ws]);
        }
        let both: Vec<_> = worktrees.iter().map(|ws| world.command().args(["--json", "ws", "link", ws, &wanted]).stdout(std::process::Stdio::piped()).spawn().unwrap()).collect();
        let mut codes: Vec<i32> = both.into_iter().map(|child| child.wait_with_output().unwrap().status.code().unwrap()).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 5], "the second is told of the first");
        let linked = worktrees.iter().filter(|ws| world.ok(&["ws", "show", ws])["wp_id"] == wanted.as_str()).count();
        assert_eq!(linked, 1);
    }
}
