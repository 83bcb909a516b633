//! What Landlock does not govern: owners, modes, times and attributes of files, shared memory, scheduling, and places that
//! are swapped for others while a run begins.

#![cfg(target_arch = "x86_64")]

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use dcc_core::failure::Code;
use dcc_core::ports::sandbox::Sandbox as _;
use dcc_core::session::Posture;
use dcc_engines::sandbox::{LandlockSandbox, Profile, Spec};

use crate::world::{World, host_command, unique_id, write};

/// What a chmod, chown, touch or attribute would change.
fn seen(path: &Path) -> (u32, u32, u32, i64, i64) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.mode(), metadata.uid(), metadata.gid(), metadata.mtime(), metadata.ctime_nsec())
}

fn attacks(list: &[String]) -> String {
    list.iter().map(|attack| format!("echo \"{attack}: $(\"$H\" attack {attack})\"\n")).collect()
}

fn all(list: &[String], verdict: &str) -> Vec<String> {
    list.iter().map(|attack| format!("{attack}: {verdict}")).collect()
}

/// Runs the script as an agent, with namespaces of its own or without.
fn agent(world: &World, script: &str, namespaces: bool) -> String {
    let spec = Spec::for_agent(&world.agent(script, Vec::new()), &world.path("tmp"), &world.path("home"), &unique_id()).unwrap();
    let posture = Posture { metadata: namespaces, ..world.sandbox.posture() };
    let mut child = LandlockSandbox::believing(posture, host_command(), world.path("run")).spawn(spec).unwrap();
    drop(child.stdin.take());
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text
}

#[test]
fn nothing_outside_changes_its_owner_mode_times_or_attributes() {
    let world = World::new();
    if !world.sandbox.posture().metadata {
        assert!(std::env::var_os("CI").is_none(), "nothing proves this without namespaces: {:?}", world.sandbox.posture());
        eprintln!("this machine has no namespaces for it: {:?}", world.sandbox.posture());
        return;
    }
    let victims = ["keys/id_ed25519", "keys", "sibling/a.txt", "repo/.handshake/state", "repo/.handshake", "repo/.git/HEAD", "repo", ""].map(|name| world.path(name));
    let before: Vec<_> = victims.iter().map(|path| seen(path)).collect();
    let mut list = Vec::new();
    for victim in &victims {
        list.extend(["mode", "mode_new", "set_user_id", "owner", "times", "attribute"].map(|attack| format!("{attack} {}", victim.display())));
    }
    // Readable, so that it can be had by descriptor.
    list.push(format!("owner_by_descriptor {}", world.text("repo/.git/config")));
    let (text, _) = world.run(&attacks(&list));
    assert_eq!(text.lines().collect::<Vec<_>>(), all(&list, "refused"));
    assert_eq!(agent(&world, &attacks(&list), true).lines().collect::<Vec<_>>(), all(&list, "refused"));
    assert_eq!(victims.iter().map(|path| seen(path)).collect::<Vec<_>>(), before);
}

#[test]
fn inside_files_are_the_commands_own() {
    let world = World::new();
    let (text, report) = world.run(
        "for d in . \"$TMPDIR\" ~; do touch \"$d/f\" && chmod 741 \"$d/f\" && touch -d 2001-01-01 \"$d/f\" && mkdir \"$d/d\" && mv \"$d/f\" \"$d/d/g\" && stat -c '%a %Y' \"$d/d/g\"; rm -r \"$d/d\"; done
         pwd; echo x > rel && cat rel; echo 1 > /dev/null && head -c 1 /dev/zero | wc -c",
    );
    let wt = world.text("wt");
    assert_eq!(text, format!("{}{wt}\nx\n1\n", "741 978307200\n".repeat(3)), "{report:?}");
    assert!(world.path("wt/rel").exists());
}

#[test]
fn no_program_that_runs_as_its_owner_is_made() {
    let world = World::new();
    let (own, new) = (world.text("wt/own"), world.text("wt/new"));
    write(Path::new(&own), "");
    for namespaces in [world.sandbox.posture().metadata, false] {
        let list = [format!("set_user_id {own}"), format!("set_group_id {own}"), format!("make_set_user_id {new}")];
        assert_eq!(agent(&world, &attacks(&list), namespaces).lines().collect::<Vec<_>>(), all(&list, "refused"));
        assert_eq!(agent(&world, &attacks(&[format!("plain_mode {own}")]), namespaces), format!("plain_mode {own}: worked\n"));
    }
    assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(!Path::new(&new).exists());
}

#[test]
fn without_namespaces_owners_and_shared_memory_are_refused_by_call() {
    let world = World::new();
    let key = world.text("keys/id_ed25519");
    let mut list: Vec<String> = ["owner", "attribute", "set_user_id"].map(|attack| format!("{attack} {key}")).into();
    list.extend(["shared_memory 77", "shared_memory_of_others 77"].map(str::to_owned));
    assert_eq!(agent(&world, &attacks(&list), false).lines().collect::<Vec<_>>(), all(&list, "refused"));
    assert_eq!(agent(&world, "echo x > made && chmod 600 made && cat made", false), "x\n");
}

#[test]
fn shared_memory_ends_with_the_run() {
    let world = World::new();
    let key = std::process::id();
    let (first, _) = world.run(&format!("\"$H\" attack shared_memory {key}"));
    let (second, _) = world.run(&format!("\"$H\" attack shared_memory_of_others {key}"));
    let expected = if world.sandbox.posture().metadata { "worked\n" } else { "refused\n" };
    assert_eq!(first, expected);
    assert_ne!(second, "worked\n");
    let outside = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    assert!(!outside.lines().any(|line| line.split_whitespace().next() == Some(&key.to_string())), "{outside}");
}

#[test]
fn a_pair_of_sockets_sends_nowhere_else() {
    let world = World::new();
    let listener = UnixDatagram::bind(world.path("d")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let refused = [format!("pair_datagram {}", world.text("d")), "pair_raw".into()];
    let works: Vec<String> = ["socketpair", "pair_seqpacket", "pair_stream_flags"].map(str::to_owned).into();
    let mut want = all(&refused, "refused");
    want.extend(all(&works, "worked"));
    let script = format!("{}{}", attacks(&refused), attacks(&works));
    assert_eq!(world.run(&script).0.lines().collect::<Vec<_>>(), want);
    assert_eq!(agent(&world, &script, false).lines().collect::<Vec<_>>(), want);
    assert!(listener.recv(&mut [0; 8]).is_err(), "a datagram came out");
}

#[test]
fn other_processes_keep_their_scheduling() {
    let world = World::new();
    let own = std::process::id();
    let list = [
        format!("affinity {own}"),
        format!("scheduler {own}"),
        format!("sched_attr {own}"),
        format!("priority {own}"),
        "priority_of_user".into(),
        format!("ioprio {own}"),
        "ioprio_of_user".into(),
    ];
    let works = ["affinity 0".to_owned(), "scheduler 0".to_owned(), "priority 0".to_owned(), "ioprio 0".to_owned()];
    let mut want = all(&list, "refused");
    want.extend(all(&works, "worked"));
    let (text, _) = world.run(&format!("{}{}", attacks(&list), attacks(&works)));
    assert_eq!(text.lines().collect::<Vec<_>>(), want);
}

#[test]
fn the_mounts_and_what_is_newer_stay_as_they_are() {
    let world = World::new();
    let list = [
        "remount".into(),
        format!("unmount {}", world.text("wt")),
        "mount_attributes".into(),
        "open_tree".into(),
        "chroot".into(),
        "set_namespace".into(),
        "kernel_log".into(),
        "newer".to_owned(),
    ];
    let (text, _) = world.run(&format!("{}grep -i '^cap[ipeba]' /proc/self/status", attacks(&list)));
    let mut want = all(&list, "refused");
    want.extend(["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:\t0000000000000000")));
    let got: Vec<_> = text.lines().collect();
    assert_eq!(got[..7 + 4], want[..7 + 4]);
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        assert_eq!(got[11..], want[11..]);
    }
}

#[test]
fn processes_outside_show_nothing_of_themselves() {
    let world = World::new();
    let own = std::process::id();
    let (text, _) = world.run(&format!(
        "for f in environ maps mem auxv stack syscall; do cat /proc/{own}/$f >/dev/null 2>&1 && echo \"ESCAPED $f\"; done
         for l in exe cwd root fd/0; do readlink /proc/{own}/$l && echo \"ESCAPED $l\"; done
         ls /proc/{own}/root/ /proc/$PPID/root/ 2>/dev/null && echo ESCAPED; chmod 644 /proc/$PPID/root{} 2>/dev/null && echo ESCAPED; true",
        world.text("keys/id_ed25519")
    ));
    assert_eq!(text, "");
}

/// A writer of the worktree swaps an entry for a link between the look and the opening.
#[test]
fn a_swapped_entry_opens_nothing() {
    let world = World::new();
    std::fs::create_dir(world.path("wt/x")).unwrap();
    let script = "cat x/id_ed25519 \"$W/keys/id_ed25519\" 2>/dev/null; cat a.txt";
    let mut plan = world.recipe(script);
    plan.writes = false;
    let spec = Spec::for_recipe(&plan, &world.path("tmp"), &unique_id()).unwrap();
    std::fs::remove_dir(world.path("wt/x")).unwrap();
    std::os::unix::fs::symlink(world.path("keys"), world.path("wt/x")).unwrap();
    let mut child = world.sandbox.spawn(spec).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_eq!(text, "one\n");
}

#[test]
fn a_granted_path_that_became_a_link_is_not_opened() {
    let world = World::new();
    std::fs::create_dir(world.path("tools")).unwrap();
    let mut plan = world.recipe("cat \"$W/tools/id_ed25519\" \"$W/keys/id_ed25519\" 2>/dev/null; cat a.txt");
    plan.read_paths.push(world.text("tools"));
    let spec = Spec::for_recipe(&plan, &world.path("tmp"), &unique_id()).unwrap();
    std::fs::remove_dir(world.path("tools")).unwrap();
    std::os::unix::fs::symlink(world.path("keys"), world.path("tools")).unwrap();
    let mut child = world.sandbox.spawn(spec).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    assert_eq!(text, "one\n");
}

#[test]
fn a_program_in_the_worktree_opens_nothing_beyond_it() {
    let world = World::new();
    write(&world.path("priv/bin/tool"), "");
    for (name, target) in [("check", "priv/bin/tool"), ("key", "keys/id_ed25519")] {
        std::os::unix::fs::symlink(world.path(target), world.path("wt").join(name)).unwrap();
        for writes in [true, false] {
            let mut plan = world.recipe("true");
            plan.writes = writes;
            plan.executable = world.text(&format!("wt/{name}"));
            let profile = Profile::for_recipe(&plan, &world.path("tmp")).unwrap();
            let opened = [profile.executable, profile.readable].concat();
            assert!(!opened.iter().any(|path| path.starts_with(world.path("priv")) || path.starts_with(world.path("keys"))), "{opened:?}");
        }
    }
    let mut plan = world.recipe("true");
    plan.executable = world.text("repo/.handshake/state");
    assert_eq!(Profile::for_recipe(&plan, &world.path("tmp")).unwrap_err().code, Code::SboxPolicyDenied);
}

#[test]
fn common_tools_still_run() {
    let world = World::new();
    let tools = [
        ("git", "git status --short && git log --format=%s"),
        ("python3", "python3 -c 'import subprocess,socket,tempfile,os; socket.socketpair(); f=tempfile.NamedTemporaryFile(); os.chmod(f.name,0o600); print(subprocess.check_output([\"echo\",\"ok\"]))'"),
        ("node", "node -e 'require(\"child_process\").execFile(\"echo\",[\"ok\"],(e,o)=>{if(e)throw e; require(\"fs\").writeFileSync(\"n\",o)})' && cat n"),
        ("tar", "tar cf t.tar a.txt && mkdir u && tar xf t.tar -C u && cat u/a.txt"),
        ("nice", "nice -n 5 ionice -c 3 taskset -c 0 echo ok"),
    ];
    for (program, script) in tools {
        if !Path::new("/usr/bin").join(program).exists() {
            eprintln!("no {program} here");
            continue;
        }
        let (text, report) = world.run(script);
        assert_eq!(report.exit_code, Some(0), "{program}: {text}");
    }
}
