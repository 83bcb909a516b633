//! Between preview, approval and the moving of the branch.

use dcc_core::ids::Oid;
use dcc_core::ports::version::VersionEngine as _;

use crate::support::{Lab, cleared_commit, code, failure, id, path, stamp};

#[test]
fn an_edit_after_the_preview_does_not_change_the_commit() {
    let lab = Lab::new();
    lab.write("a.txt", "approved\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    lab.write("a.txt", "sneaked in\n");
    let prepared = lab.prepare(&plan).unwrap();
    lab.publish(&plan, &prepared).unwrap();
    assert_eq!(lab.git(&["show", "HEAD:a.txt"]), "approved");
    assert_eq!(lab.git(&["status", "--porcelain"]), " M a.txt");
    assert_eq!(std::fs::read_to_string(lab.repo.join("a.txt")).unwrap(), "sneaked in\n");
}

#[test]
fn a_moved_branch_stops_everything() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let prepared = lab.prepare(&plan).unwrap();
    lab.git(&["commit", "-q", "--allow-empty", "-m", "meanwhile"]);
    let head = lab.head();
    assert_eq!(code(lab.publish(&plan, &prepared)), "VCS_HEAD_MOVED");
    assert_eq!(lab.head(), head);
    assert_eq!(lab.git(&["status", "--porcelain"]), " M a.txt");
    lab.git(&["switch", "-q", "-c", "elsewhere", plan.parent_oid.as_str()]);
    assert_eq!(code(lab.publish(&plan, &prepared)), "VCS_HEAD_MOVED");
    assert!(!lab.repo.join(".git/index.lock").exists());
}

#[test]
fn a_foreign_index_lock_is_respected_and_named() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let prepared = lab.prepare(&plan).unwrap();
    let lock = lab.repo.join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    let head = lab.head();
    let refused = failure(lab.publish(&plan, &prepared));
    assert_eq!(refused.code.as_str(), "HSK-423-LOCKED");
    assert!(refused.message.contains("index.lock") && refused.message.contains("s old"), "{}", refused.message);
    assert!(lock.exists());
    assert_eq!(lab.head(), head);
    assert!(lab.status().index_lock.is_some());
    std::fs::remove_file(&lock).unwrap();
    lab.publish(&plan, &prepared).unwrap();
    assert_eq!(lab.head(), prepared.oid);
}

#[test]
fn publishing_twice_makes_one_commit() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let prepared = lab.prepare(&plan).unwrap();
    lab.publish(&plan, &prepared).unwrap();
    lab.publish(&plan, &prepared).unwrap();
    assert_eq!(lab.git(&["rev-list", "--count", "HEAD"]), "2");
}

#[test]
fn a_crash_between_ref_and_index_is_repaired() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    lab.write("b.txt", "staged\n");
    lab.git(&["add", "b.txt"]);
    let plan = lab.plan(&["a.txt"]).unwrap();
    let prepared = lab.prepare(&plan).unwrap();
    // As a killed process leaves it: our lock stands, the ref moved, the index did not.
    std::fs::write(lab.repo.join(".git/index.lock"), format!("dcc {}\n", plan.tree_oid)).unwrap();
    lab.git(&["update-ref", "refs/heads/work", prepared.oid.as_str()]);
    assert!(lab.engine.has_commit(&lab.common(), &plan.branch_ref, &prepared.oid).unwrap());
    lab.engine.sync_index(&lab.binding(), &plan).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "M  b.txt");
    // Repeating it, and repairing what is not broken, change nothing.
    lab.engine.sync_index(&lab.binding(), &plan).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "M  b.txt");
}

#[test]
fn repairing_leaves_newer_staging_and_an_unmoved_branch_alone() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let prepared = lab.prepare(&plan).unwrap();
    let index = std::fs::read(lab.repo.join(".git/index")).unwrap();
    lab.engine.sync_index(&lab.binding(), &plan).unwrap();
    assert_eq!(std::fs::read(lab.repo.join(".git/index")).unwrap(), index);
    lab.publish(&plan, &prepared).unwrap();
    lab.write("a.txt", "newer\n");
    lab.git(&["add", "a.txt"]);
    lab.engine.sync_index(&lab.binding(), &plan).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "M  a.txt");
}

#[test]
fn something_staged_after_the_preview_is_not_lost() {
    let lab = Lab::new();
    lab.write("a.txt", "approved\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let prepared = lab.prepare(&plan).unwrap();
    lab.write("a.txt", "third\n");
    lab.git(&["add", "a.txt"]);
    let head = lab.head();
    assert_eq!(code(lab.publish(&plan, &prepared)), "VCS_INDEX_DIVERGED");
    assert_eq!(lab.head(), head);
    assert_eq!(lab.git(&["show", ":a.txt"]), "third");
}

#[test]
fn staged_files_below_a_new_file_are_not_lost() {
    let lab = Lab::new();
    lab.write("place", "file\n");
    let plan = lab.plan(&["place"]).unwrap();
    let prepared = lab.prepare(&plan).unwrap();
    lab.remove("place");
    lab.write("place/staged", "s\n");
    lab.git(&["add", "place/staged"]);
    assert_eq!(code(lab.publish(&plan, &prepared)), "VCS_INDEX_DIVERGED");
    assert_eq!(lab.git(&["ls-files", "place"]), "place/staged");
}

#[test]
fn a_clearance_serves_its_own_plan_and_job_only() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    lab.write("b.txt", "y\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let mut other = plan.clone();
    other.message = "another".into();
    let proof = cleared_commit(&other, stamp().job_id);
    assert_eq!(code(lab.engine.prepare_commit(&lab.binding(), &plan, &stamp(), &lab.quarantine(), &proof)), "HSK-409-STALE-PREVIEW");
    let proof = cleared_commit(&plan, dcc_core::ids::JobId(id(99)));
    assert_eq!(code(lab.engine.prepare_commit(&lab.binding(), &plan, &stamp(), &lab.quarantine(), &proof)), "HSK-409-STALE-PREVIEW");
    let mut prepared = lab.prepare(&plan).unwrap();
    prepared.oid = plan.parent_oid.clone();
    assert_eq!(code(lab.publish(&plan, &prepared)), "HSK-409-STALE-PREVIEW");
}

#[test]
fn quarantined_bytes_that_were_changed_never_arrive() {
    let lab = Lab::new();
    lab.write("a.txt", "approved\n");
    let plan = lab.plan(&["a.txt"]).unwrap();
    let blob = plan.paths[0].oid.clone().unwrap();
    let (dir, rest) = blob.as_str().split_at(2);
    let object = lab.quarantine().join("objects").join(dir).join(rest);
    let forged = lab.git(&["hash-object", "-w", "b.txt"]);
    let forged = lab.repo.join(".git/objects").join(&forged[..2]).join(&forged[2..]);
    std::fs::remove_file(&object).unwrap();
    std::fs::copy(forged, &object).unwrap();
    assert!(lab.prepare(&plan).is_err());
    assert!(Oid::parse(&lab.git(&["rev-parse", "HEAD"])).unwrap() == plan.parent_oid);
    assert!(lab.git(&["cat-file", "--batch-all-objects", "--batch-check"]).lines().all(|l| !l.starts_with(blob.as_str())));
}

#[test]
fn what_was_expected_has_to_be_there() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let seen = Oid::parse(&lab.git(&["hash-object", "a.txt"])).unwrap();
    let mut intent = lab.intent(&[path("a.txt")]);
    intent.expected = vec![(path("a.txt"), Some(seen))];
    lab.engine.plan_commit(&lab.binding(), &intent).unwrap();
    lab.write("a.txt", "y\n");
    assert_eq!(code(lab.engine.plan_commit(&lab.binding(), &intent)), "HSK-409-STALE-PREVIEW");
    lab.remove("a.txt");
    assert_eq!(code(lab.engine.plan_commit(&lab.binding(), &intent)), "HSK-409-STALE-PREVIEW");
    intent.expected = vec![(path("a.txt"), None)];
    lab.engine.plan_commit(&lab.binding(), &intent).unwrap();
}
