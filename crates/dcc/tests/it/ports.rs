//! The one port that an agent may listen on.

use dcc_testkit::World;

use crate::{DCC, approved_worktree, started_packet, until};

/// Listens on the port that it was given and on the next, connects to itself, and writes down what worked.
const AGENT: &str = r#"
command = ["perl", "-MIO::Socket::INET", "-e", '''
my $p = shift;
sub listens { IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $_[0], Listen => 1, Proto => "tcp") }
my $own = listens($p);
my $other = listens($p > 60000 ? $p - 7 : $p + 7);
my $itself = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $p, Proto => "tcp");
open(my $out, ">", "ports.tmp");
print $out join(" ", map { $_ ? "yes" : "no" } ($own, $other, $itself)), "\n";
close $out;
rename "ports.tmp", "ports.txt";
''', "{port}"]
driver = "pty"
"#;

#[test]
fn an_agent_listens_on_its_own_port_and_on_no_other() {
    let world = World::new(DCC);
    world.configure(&format!("[agents.mine]{AGENT}"));
    world.ok(&["init"]);
    let wp = started_packet(&world);
    let (ws, path) = approved_worktree(&world, &wp);
    let server = world.serve();
    let refused = world.json(&["session", "start", "--ws", &ws, "--agent", "mine"]);
    assert_eq!(refused.code_text(), "SBOX_POLICY_DENIED", "without the operator's word: {refused:?}");
    world.ok(&["up", "--stop"]);
    drop(server);
    world.configure(&format!("[agents.mine]{AGENT}listen_port = true\n"));
    let _server = world.serve();
    let started = world.ok(&["session", "start", "--ws", &ws, "--agent", "mine"]);
    let found = until("what worked", || std::fs::read_to_string(path.join("ports.txt")).ok());
    assert_eq!(found, "yes no yes\n");
    let session = world.ok(&["session", "show", started["session_id"].as_str().unwrap()]);
    let notes = session["posture"]["notes"].to_string();
    assert!(notes.contains("may listen on TCP port "), "the posture names it: {notes}");
}
