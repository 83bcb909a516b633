//! Names that look like something else.

use crate::support::{Lab, path};
use dcc_core::ports::version::{DiffSource, VersionEngine as _};

const ODD: &[&[u8]] = &[
    b"with space",
    b"new\nline",
    b"-rf",
    b"--all",
    b":(glob)*",
    b":!x",
    b"*",
    b"[a]",
    b"q\"uote",
    b"back\\slash",
    b"tab\tname",
    b"not-utf8-\xff\xfe",
    b"diff --git a",
    b" lead",
    b"trail ",
    b"a => b",
    "größe/日本".as_bytes(),
    b"HEAD",
    b"dir/-n",
];

#[test]
fn odd_names_are_seen_diffed_and_committed_one_by_one() {
    let lab = Lab::new();
    for name in ODD {
        lab.write(name, [name, &b"\n"[..]].concat());
    }
    let status = lab.status();
    assert_eq!(status.entries.len(), ODD.len());
    let diff = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], true).unwrap();
    for name in ODD {
        let file = diff.iter().find(|f| f.path == path(name)).unwrap();
        assert!(file.new_oid.is_some() && !file.hunks.is_empty());
        let (plan, oid) = lab.commit_paths(&[path(name)]).unwrap();
        assert_eq!(plan.paths[0].oid, file.new_oid);
        assert_eq!(lab.changed_in(&oid), [name.to_vec()]);
        assert!(lab.engine.is_tracked(&lab.binding(), &path(name)).unwrap());
        assert_eq!(lab.engine.log(&lab.binding(), 5, &[path(name)]).unwrap().len(), 1);
    }
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
    // As changes of tracked files too.
    for name in ODD {
        lab.write(name, "changed\n");
    }
    let diff = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, &[], true).unwrap();
    assert_eq!(diff.len(), ODD.len());
    for file in &diff {
        assert_eq!((file.change.as_str(), file.hunks.len()), ("modified", 1), "{:?}", file.path);
        assert!(file.new_oid.is_some());
        let one = lab.engine.diff(&lab.binding(), &DiffSource::Uncommitted, std::slice::from_ref(&file.path), true).unwrap();
        assert_eq!(one, std::slice::from_ref(file));
    }
    for name in ODD {
        lab.remove(name);
    }
    let all: Vec<_> = ODD.iter().map(path).collect();
    let (_, oid) = lab.commit_paths(&all).unwrap();
    assert_eq!(lab.changed_in(&oid).len(), ODD.len());
}

#[test]
fn names_that_differ_in_case_only_stay_apart() {
    let lab = Lab::new();
    lab.write("Readme", "upper\n");
    lab.write("readme", "lower\n");
    let (_, oid) = lab.commit(&["Readme"]).unwrap();
    assert_eq!(lab.changed_in(&oid), [b"Readme".to_vec()]);
    lab.git(&["config", "core.ignoreCase", "true"]);
    let planned = lab.plan(&["readme"]);
    // Git that was told to fold case may refuse; it must not put one name's bytes under the other.
    if let Ok(plan) = planned {
        assert_eq!(plan.paths.iter().map(|p| p.path.clone()).collect::<Vec<_>>(), [path("readme")]);
    }
    lab.git(&["config", "core.ignoreCase", "false"]);
    let (_, oid) = lab.commit(&["readme"]).unwrap();
    assert_eq!(lab.changed_in(&oid), [b"readme".to_vec()]);
    assert_eq!(lab.git(&["show", "HEAD:Readme"]), "upper");
}

#[test]
fn a_quarantine_path_with_a_colon_works() {
    let lab = Lab::new();
    lab.write("a.txt", "x\n");
    let root = lab.root();
    let odd = root.join("odd: \"name\"");
    std::fs::rename(&lab.repo, &odd).unwrap();
    let lab = Lab { repo: odd.clone(), ..lab };
    let mut intent = lab.intent(&[path("a.txt")]);
    intent.quarantine = odd.join(".handshake/tmp/job:1");
    std::fs::write(odd.join(".git/info/exclude"), "/.handshake/\n").unwrap();
    let plan = lab.engine.plan_commit(&lab.binding(), &intent).unwrap();
    let proof = crate::support::cleared_commit(&plan, crate::support::stamp().job_id);
    let prepared = lab.engine.prepare_commit(&lab.binding(), &plan, &crate::support::stamp(), &intent.quarantine, &proof).unwrap();
    lab.engine.publish_commit(&lab.binding(), proof, &prepared).unwrap();
    assert_eq!(lab.git(&["status", "--porcelain"]), "");
}
