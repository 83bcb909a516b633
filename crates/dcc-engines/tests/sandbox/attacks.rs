//! Reaching out: files, git, network, other processes. Each attack runs inside and must be refused.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use dcc_core::ports::sandbox::Sandbox as _;
use dcc_engines::sandbox::Spec;

use crate::world::{World, git, unique_id};

#[test]
fn the_self_test_sees_files_and_network_enforced() {
    let world = World::new();
    let posture = world.sandbox.posture();
    assert!(posture.filesystem && posture.network, "{posture:?}");
    assert_eq!(posture.layers, [if posture.metadata { "namespaces+landlock+seccomp" } else { "landlock+seccomp" }]);
    assert_eq!(posture.metadata, !posture.notes.iter().any(|note| note.contains("mode and times")), "{posture:?}");
    assert!(!posture.notes.iter().any(|note| note.contains("set-user-id") || note.contains("priority")), "{posture:?}");
    assert!(!posture.processes && !posture.disk);
    assert!(posture.notes.iter().any(|note| note.contains("watchdog")));
    if posture.landlock_abi >= Some(6) {
        assert!(!posture.notes.iter().any(|note| note.contains("signals")), "{posture:?}");
    }
    assert_eq!(std::fs::read_dir(world.path("run")).unwrap().count(), 0, "the self-test left files");
}

#[test]
fn a_host_that_does_not_exist_is_no_sandbox() {
    let world = World::new();
    let sandbox = dcc_engines::sandbox::LandlockSandbox::new(vec!["/nonexistent/host".into()], world.path("run2"));
    let posture = sandbox.posture();
    assert_eq!(posture.layers, ["none"]);
    let failure = sandbox.start_recipe(crate::world::cleared(world.recipe("true"))).err().unwrap();
    assert_eq!(failure.code.as_str(), "HSK-503-SANDBOX-UNAVAILABLE");
}

#[test]
fn only_the_worktree_and_the_private_directory_are_writable() {
    let world = World::new();
    let (text, report) = world.run(
        "echo in > made && mkdir d && mv made d/made && echo worktree; echo t > \"$TMPDIR/t\" && echo tmp; echo h > ~/h && echo home
         for p in \"$W/out\" \"$W/keys/new\" \"$W/sibling/new\" \"$W/repo/new\" \"$W/repo/.handshake/new\" /etc/new /usr/new /dev/shm/new /var/tmp/new; do
           (echo x > \"$p\") 2>/dev/null && echo \"ESCAPED $p\"; done
         (echo x > \"$W/keys/id_ed25519\") 2>/dev/null && echo ESCAPED overwrite
         rm -f \"$W/keys/id_ed25519\" 2>/dev/null && echo ESCAPED unlink
         mv d \"$W/keys/\" 2>/dev/null && echo ESCAPED rename
         ln \"$W/keys/id_ed25519\" stolen 2>/dev/null && echo ESCAPED link
         ln -s \"$W/keys/id_ed25519\" pointer; cat pointer 2>/dev/null && echo ESCAPED symlink
         truncate -s 0 \"$W/keys/id_ed25519\" 2>/dev/null && echo ESCAPED truncate
         true",
    );
    assert_eq!(text, "worktree\ntmp\nhome\n", "{report:?}");
    assert!(world.path("wt/d/made").exists());
    assert_eq!(std::fs::read_to_string(world.path("keys/id_ed25519")).unwrap(), "key canary");
    assert_eq!(std::fs::read_dir(world.path("run")).unwrap().count(), 0, "the private directory stays");
}

#[test]
fn secrets_siblings_and_state_are_not_readable() {
    let world = World::new();
    let (text, _) = world.run(
        "for p in \"$W/keys/id_ed25519\" \"$W/sibling/a.txt\" \"$W/repo/a.txt\" \"$W/repo/.handshake/state\" /etc/shadow /etc/ssh/sshd_config /root/.bashrc; do
           cat \"$p\" 2>/dev/null && echo \"ESCAPED $p\"; done
         ls \"$W/keys\" /root /home /var /etc 2>/dev/null && echo ESCAPED list
         cat /proc/1/environ /proc/$PPID/environ 2>/dev/null && echo ESCAPED environ
         cat a.txt",
    );
    assert_eq!(text, "one\n");
}

#[test]
fn git_reads_and_cannot_move_anything() {
    let world = World::new();
    let refs = git(&world.path("repo"), &["for-each-ref"]);
    let (text, _) = world.run(
        "export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x
         echo two > a.txt; git status --porcelain; git log --format=%s; git diff --stat | tail -1
         for c in 'add a.txt' 'commit -qam x' 'commit --allow-empty -qm x' 'branch -f main HEAD' 'branch new' 'update-ref refs/heads/x HEAD' 'stash' 'checkout -q -- a.txt' \
                  'reset -q --hard' 'config core.fsmonitor /bin/true' 'tag t' 'worktree add -q ../other' 'gc -q' 'symbolic-ref HEAD refs/heads/main'; do
           git $c >/dev/null 2>&1 && echo \"ESCAPED git $c\"; done
         for f in hooks/pre-commit hooks/post-checkout config info/attributes worktrees/wt/HEAD worktrees/wt/index objects/evil; do
           (echo x > \"$W/repo/.git/$f\") 2>/dev/null && echo \"ESCAPED $f\"; done; true",
    );
    assert_eq!(text, " M a.txt\nfirst\n 1 file changed, 1 insertion(+), 1 deletion(-)\n");
    assert_eq!(git(&world.path("repo"), &["for-each-ref"]), refs);
    assert!(!world.common_dir().join("hooks/pre-commit").exists());
}

#[test]
#[cfg(target_arch = "x86_64")]
fn no_socket_and_no_other_process_is_reachable() {
    let world = World::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(world.path("wt/s")).unwrap();
    let (port, own) = (tcp.local_addr().unwrap().port(), std::process::id());
    let attacks = [
        format!("tcp {port}"),
        "listen".into(),
        "listen_unbound".into(),
        "udp".into(),
        "mptcp".into(),
        "netlink_audit".into(),
        format!("unix {}", world.text("wt/s")),
        format!("ptrace {own}"),
        format!("process_vm {own}"),
        format!("kill {own}"),
        format!("prlimit {own}"),
        "pidfd_getfd".into(),
        "io_uring".into(),
        "keyctl".into(),
        "bpf".into(),
        "unshare".into(),
        "clone_user".into(),
        "mount".into(),
        "x32".into(),
        "clone3".into(),
    ];
    let lines: Vec<String> = attacks.iter().map(|attack| format!("echo \"{attack}: $(\"$H\" attack {attack})\"")).collect();
    let (text, _) = world.run(&format!("{}\necho \"socketpair: $(\"$H\" attack socketpair)\"", lines.join("\n")));
    let mut want: Vec<String> = attacks.iter().map(|attack| format!("{attack}: refused")).collect();
    want.push("socketpair: worked".into());
    assert_eq!(text.lines().collect::<Vec<_>>(), want);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_host_cannot_be_reached_from_inside() {
    let world = World::new();
    // $PPID is the host; a kill that worked would end the run.
    let (text, _) = world.run("for a in kill ptrace prlimit process_vm; do \"$H\" attack $a $PPID; done; kill -9 $PPID 2>/dev/null || echo alive; kill -9 -1; true");
    assert!(text.starts_with("refused\nrefused\nrefused\nrefused\nalive\n"), "{text}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn an_agent_connects_to_granted_ports_only() {
    use std::io::Read as _;
    let world = World::new();
    let (granted, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (granted, other) = (granted.local_addr().map(|a| (a.port(), granted)).unwrap(), other.local_addr().map(|a| (a.port(), other)).unwrap());
    let script = format!("for a in 'tcp {}' 'tcp {}' listen listen_unbound udp mptcp netlink_audit 'unix {}'; do \"$H\" attack $a; done", granted.0, other.0, world.text("wt/s"));
    let _unix = UnixListener::bind(world.path("wt/s")).unwrap();
    let plan = world.agent(&script, vec![granted.0]);
    let spec = Spec::for_agent(&plan, &world.path("tmp"), &world.path("home"), &unique_id()).unwrap();
    let mut child = world.sandbox.spawn(spec).unwrap();
    drop(child.stdin.take());
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["worked", "refused", "refused", "refused", "refused", "refused", "refused", "refused"]);
}

#[test]
fn nothing_is_inherited() {
    let world = World::new();
    let mut plan = world.recipe("env; ls /proc/self/fd | tr '\\n' ' '");
    plan.env.insert("DECLARED".into(), "yes".into());
    let report = world.run_plan(plan).unwrap();
    let text = String::from_utf8(report.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
    names.sort_unstable();
    names.retain(|name| !["_", "SHLVL", "OLDPWD"].contains(name));
    assert_eq!(names, ["DCC_SESSION", "DECLARED", "GIT_OPTIONAL_LOCKS", "H", "HOME", "LANG", "PATH", "PWD", "TMPDIR", "W"]);
    // The fourth is the listing's own directory.
    assert_eq!(text.lines().last().unwrap().trim(), "0 1 2 3");
}
