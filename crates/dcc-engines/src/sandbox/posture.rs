//! The self-test: what this machine really refuses, tried from inside, once.
//!
//! Authority: derived, by experiment. A flag of the posture is true only when the self-test saw the refusal; whatever
//! could not be tried counts as not enforced.

use std::ffi::OsString;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use dcc_core::failure::{Code, Failure, Outcome};
use dcc_core::session::Posture;

use super::private::PrivateDir;
use super::probe::{Attempt, Findings};
use super::profile::{Network, Profile};
use super::spawn::spawn;
use super::spec::{Ending, PROCESSES_MAX, Spec, Stdin, text_of};

const LAYERS: &str = "landlock+seccomp";
const LAYERS_ALL: &str = "namespaces+landlock+seccomp";
/// Longer than the probe's own waits on a loaded machine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// The findings are one short line.
const FINDINGS_BYTES_MAX: u64 = 64 * 1024;

/// A layer that cannot be set up.
pub fn unavailable(layer: &str, why: &str) -> Failure {
    Failure::new(Code::SandboxUnavailable, format!("the sandbox cannot be set up: {layer}: {why}"))
        .hint("dcc doctor shows what this machine can enforce; Linux 6.2 or newer with Landlock enabled is needed")
}

/// Runs the self-test with the host command; its files stand below `run_dir` only while it runs. Never fails: what
/// goes wrong is a posture without layers and a note that says why.
pub fn self_test(host_command: &[OsString], run_dir: &Path) -> Posture {
    let mut notes = Vec::new();
    let mut namespaces = true;
    let mut recipe = attempt(host_command, run_dir, "recipe", Network::None, namespaces);
    if let Err(failure) = &recipe {
        namespaces = false;
        let without = attempt(host_command, run_dir, "recipe", Network::None, namespaces);
        if without.is_ok() {
            notes.push(format!("no namespaces of its own: {}", failure.message));
            recipe = without;
        }
    }
    // Port 1 is not the one that is tried: a refusal shows that ports are told apart.
    let agent = attempt(host_command, run_dir, "agent", Network::Ports(vec![1]), namespaces);
    let Ok((recipe, abi)) = recipe.map_err(|failure| notes.push(failure.message)) else {
        return Posture { layers: vec!["none".into()], notes, ..Posture::default() };
    };
    let agent = match agent {
        Ok((findings, _)) => Some(findings),
        Err(failure) => {
            notes.push(format!("agents with network ports cannot be confined here: {}", failure.message));
            None
        }
    };
    let posture = Posture {
        layers: vec![if namespaces { LAYERS_ALL } else { LAYERS }.into()],
        landlock_abi: Some(abi),
        filesystem: recipe.write_outside_refused && recipe.read_outside_refused && recipe.write_inside_works,
        metadata: namespaces && recipe.metadata_refused && agent.as_ref().is_none_or(|agent| agent.metadata_refused),
        network: recipe.tcp_refused && recipe.unix_refused && agent.as_ref().is_none_or(|agent| agent.tcp_refused && agent.unix_refused && agent.udp_refused && agent.listen_refused),
        processes: false,
        disk: false,
        notes: Vec::new(),
    };
    notes.extend(limits_of(&recipe, abi));
    Posture { notes, ..posture }
}

/// What is not enforced, in words.
fn limits_of(findings: &Findings, abi: u32) -> Vec<String> {
    let mut notes = Vec::new();
    if !findings.metadata_refused {
        notes.push("not enforced: mode and times of files outside, which an agent can change (it needs a mount namespace; owners and attributes by path are refused)".into());
    }
    if !findings.set_id_refused {
        notes.push("not enforced: programs that run as their owner can be made (set-user-id)".into());
    }
    if !findings.scheduling_refused {
        notes.push("not enforced: priority and processors of processes outside".into());
    }
    if !findings.signal_refused {
        notes.push(format!("not enforced: signals to processes outside (Landlock ABI {abi}; 6 is needed)"));
    }
    if !findings.inspect_refused {
        notes.push("not enforced: reading the environment of processes outside".into());
    }
    notes.push("network by port only: an agent's TCP ports are enforced, the hosts behind them are not; UDP is open when port 53 is granted".into());
    notes.push(format!("not enforced: number of processes; a watchdog ends a run above {PROCESSES_MAX}, and only for users other than root a distant limit of the kernel stands behind it"));
    notes.push("not enforced: disk use; one file is limited, and a watchdog ends a run when free space runs low".into());
    notes.push("not enforced: memory and processor time".into());
    notes.push("names of files, and command lines of other processes, can be seen from inside".into());
    notes
}

fn attempt(host_command: &[OsString], run_dir: &Path, name: &str, network: Network, namespaces: bool) -> Outcome<(Findings, u32)> {
    let io = |error: std::io::Error| unavailable("self-test", &error.to_string());
    let scratch = PrivateDir::make(run_dir, &format!("probe_{name}"))?;
    let (inside, outside) = (scratch.path().join("inside"), scratch.path().join("outside"));
    std::fs::create_dir(&inside).map_err(io)?;
    std::fs::create_dir(&outside).map_err(io)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io)?;
    // A socket's path is short by nature; a deep run directory cannot hold one, and then it stays untried.
    let _unix = UnixListener::bind(outside.join("s"));
    let _datagrams = UnixDatagram::bind(outside.join("d"));
    std::fs::File::create_new(outside.join("file")).map_err(io)?;
    let plan = Attempt {
        inside: text_of(&inside),
        outside: text_of(&outside),
        port: listener.local_addr().map_err(io)?.port(),
        process: std::process::id(),
    };
    std::fs::create_dir(outside.join("readable")).map_err(io)?;
    let (findings, abi) = run_probe(host_command, &inside, network, namespaces, &plan)?;
    Ok((findings, abi))
}

fn run_probe(host_command: &[OsString], inside: &Path, network: Network, namespaces: bool, plan: &Attempt) -> Outcome<(Findings, u32)> {
    let Some((program, arguments)) = host_command.split_first() else {
        return Err(unavailable("self-test", "no host command is configured"));
    };
    let program = std::fs::canonicalize(program).map_err(|error| unavailable("self-test", &format!("{}: {error}", Path::new(program).display())))?;
    let mut argv = vec!["dcc-probe".to_owned()];
    argv.extend(arguments.iter().map(|argument| argument.to_string_lossy().into_owned()));
    argv.extend(["--probe".to_owned(), serde_json::to_string(plan).expect("plain data")]);
    let mut profile = Profile::system(inside, inside);
    profile.executable.push(program.clone());
    profile.network = network;
    let marker = format!("probe-{}-{}", std::process::id(), inside.display());
    let mut spec = Spec::new(argv, &program, inside, &std::collections::BTreeMap::new(), profile, Stdin::Null, &marker);
    spec.namespaces = namespaces;
    let mut child = spawn(host_command, spec)?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.map(|pipe| pipe.take(FINDINGS_BYTES_MAX).read_to_string(&mut text));
        text
    });
    if child.wait_timeout(PROBE_TIMEOUT)?.is_none() {
        child.end(Ending::Kill);
        child.wait()?;
    }
    let text = reader.join().map_err(|_| unavailable("self-test", "its reader failed"))?;
    let findings = serde_json::from_str(&text).map_err(|_| unavailable("self-test", "it gave no answer"))?;
    Ok((findings, child.landlock_abi))
}
