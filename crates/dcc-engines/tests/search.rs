//! Code search over a real directory with a list of files as git would give it.

use std::path::Path;
use std::sync::Arc;

use dcc_core::failure::{Code, Outcome};
use dcc_core::limits;
use dcc_core::path::RepoPath;
use dcc_core::ports::search::{CodeQuery, CodeResults, CodeSearch as _};
use dcc_core::workspace::WorktreeBinding;
use dcc_engines::search::RipgrepSearch;

#[allow(clippy::disallowed_methods, reason = "a test's own files")]
fn write(root: &Path, name: &str, text: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

struct World(tempfile::TempDir);

impl World {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(dir.path(), name, text);
        }
        Self(dir)
    }
    /// Lists whatever names are given, like git would from its index, whether they exist or not.
    fn search(&self, listed: &[&str], query: CodeQuery) -> Outcome<CodeResults> {
        let list: Vec<RepoPath> = listed.iter().map(|name| RepoPath::new(name.as_bytes()).unwrap()).collect();
        let binding = WorktreeBinding {
            worktree_path: self.0.path().to_str().unwrap().into(),
            git_dir: String::new(),
            common_dir: String::new(),
            device: 0,
            inode: 0,
        };
        RipgrepSearch::new(Arc::new(move |_| Ok(list.clone()))).search(&binding, &query)
    }
}

fn literal(text: &str) -> CodeQuery {
    CodeQuery { text: text.into(), case_sensitive: true, ..CodeQuery::default() }
}

fn places(results: &CodeResults) -> Vec<String> {
    results.hits.iter().map(|hit| format!("{}:{}:{}", hit.path.display(), hit.line, hit.column)).collect()
}

#[test]
fn hits_come_by_path_then_line_with_context() {
    let world = World::new(&[("b.rs", b"one\ntwo (x)\r\nthree\n"), ("a/z.rs", b"(x) (x)\nlast"), ("c.txt", b"nothing")]);
    let results = world.search(&["c.txt", "b.rs", "a/z.rs", "b.rs", "gone.rs"], literal("(x)")).unwrap();
    assert_eq!(places(&results), ["a/z.rs:1:1", "b.rs:2:5"]);
    assert_eq!((results.files_searched, results.cut), (3, false));
    let hit = &results.hits[1];
    assert_eq!((hit.before.as_deref(), hit.text.as_str(), hit.after.as_deref()), (Some("one"), "two (x)", Some("three")));
    let hit = &results.hits[0];
    assert_eq!((hit.before.as_deref(), hit.text.as_str(), hit.after.as_deref()), (None, "(x) (x)", Some("last")));
}

#[test]
fn case_regex_and_globs() {
    let world = World::new(&[("src/a.rs", b"Alpha\nbeta42\n"), ("src/deep/b.rs", b"alpha\n"), ("doc/a.md", b"alpha\n")]);
    let all = ["src/a.rs", "src/deep/b.rs", "doc/a.md"];
    let find = |query: CodeQuery| places(&world.search(&all, query).unwrap());
    assert_eq!(find(literal("alpha")), ["doc/a.md:1:1", "src/deep/b.rs:1:1"]);
    assert_eq!(find(CodeQuery { case_sensitive: false, ..literal("alpha") }).len(), 3);
    assert_eq!(find(CodeQuery { regex: true, ..literal(r"\d+$") }), ["src/a.rs:2:5"]);
    let globbed = |glob: &str| find(CodeQuery { case_sensitive: false, globs: vec![glob.into()], ..literal("alpha") });
    assert_eq!(globbed("*.rs"), ["src/a.rs:1:1", "src/deep/b.rs:1:1"]);
    assert_eq!(globbed("src/*.rs"), ["src/a.rs:1:1"]);
    assert_eq!(globbed("doc/**"), ["doc/a.md:1:1"]);
}

#[test]
fn a_bad_query_says_where() {
    let world = World::new(&[("a", b"x")]);
    let fail = |query: CodeQuery| world.search(&["a"], query).unwrap_err();
    for (pattern, position, reason) in [("ab(c", 3, "unclosed group"), ("ab)c", 3, "unopened group"), (r"\(a\p{Nope}", 4, "Unicode property"), ("a**[z-a]", 5, "range")] {
        let failure = fail(CodeQuery { regex: true, ..literal(pattern) });
        assert_eq!(failure.code, Code::CtxQueryError);
        assert!(failure.message.contains(&format!("position {position}:")) && failure.message.contains(reason), "{pattern}: {}", failure.message);
    }
    for query in [literal(""), literal("a\nb"), literal(&"x".repeat(3000)), CodeQuery { globs: vec!["[".into()], ..literal("x") }, CodeQuery { regex: true, ..literal(r"a\nb") }] {
        assert_eq!(fail(query).code, Code::CtxQueryError);
    }
    for glob in ["/etc/*", "../*", "a/../../b"] {
        assert_eq!(fail(CodeQuery { globs: vec![glob.into()], ..literal("x") }).code, Code::CtxScopeDenied);
    }
    // A literal is never an expression.
    assert_eq!(world.search(&["a"], literal("(((")).unwrap().hits, []);
}

#[test]
fn binary_large_linked_and_special_files_are_passed_over() {
    let outside = World::new(&[("secret", b"needle outside")]);
    let world = World::new(&[("plain", b"needle"), ("binary", b"needle\0needle"), ("dir/inner", b"needle")]);
    write(world.0.path(), "large", &vec![b'x'; limits::SEARCH_FILE_BYTES_MAX as usize + 1]);
    std::os::unix::fs::symlink(outside.0.path().join("secret"), world.0.path().join("link")).unwrap();
    std::os::unix::fs::symlink(outside.0.path(), world.0.path().join("linked")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, world.0.path().join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let listed = ["plain", "binary", "large", "link", "linked/secret", "pipe", "dir", "dir/inner"];
    let results = world.search(&listed, literal("needle")).unwrap();
    assert_eq!(places(&results), ["dir/inner:1:1", "plain:1:1"]);
    assert_eq!(results.files_searched, 2);
}

#[test]
fn the_limit_cuts_the_same_way_every_time() {
    let names: Vec<String> = (0..200).map(|n| format!("f{n:03}")).collect();
    let text = "hit\n".repeat(30);
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), text.as_bytes())).collect();
    let world = World::new(&files);
    let listed: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = world.search(&listed, CodeQuery { limit: 100, ..literal("hit") }).unwrap();
    assert!(first.cut && first.hits.len() == 100);
    assert_eq!(places(&first)[99], "f003:10:1");
    assert!(first.files_searched < 20, "it went on after the limit: {}", first.files_searched);
    for _ in 0..10 {
        assert_eq!(world.search(&listed, CodeQuery { limit: 100, ..literal("hit") }).unwrap().hits, first.hits);
    }
    let most = world.search(&listed, literal("hit")).unwrap();
    assert!(most.cut && most.hits.len() == limits::SEARCH_HITS_MAX);
    let exact = world.search(&listed[..4], CodeQuery { limit: 120, ..literal("hit") }).unwrap();
    assert!(!exact.cut && exact.hits.len() == 120);
}

#[test]
fn a_missing_worktree_is_told() {
    let world = World::new(&[]);
    let binding = WorktreeBinding { worktree_path: world.0.path().join("gone").to_str().unwrap().into(), git_dir: String::new(), common_dir: String::new(), device: 0, inode: 0 };
    let failure = RipgrepSearch::new(Arc::new(|_| Ok(Vec::new()))).search(&binding, &literal("x")).unwrap_err();
    assert_eq!(failure.code, Code::NotFoundWorkspace);
}
