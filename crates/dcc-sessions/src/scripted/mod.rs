//! The scripted agent: an honest agent of the protocol on standard input and output that plays a file, for the demo and
//! for tests (SESSIONS 5). It calls itself `scripted` wherever it shows.
//!
//! Authority: none; it is an agent like any other, runs in its own process, and can do what its sandbox lets it do. Its
//! misbehaviours stand in the script by name. Written without the client's code on purpose: both sides meet in the
//! protocol alone.

mod mcp;
mod mischief;
mod pace;
mod peer;
mod play;
mod script;
mod terminal;

use serde_json::{Value, json};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use peer::Peer;
use play::Player;
use script::{ExitAt, ModeOffer, Script};

/// In place of a file: the script of the demo, which is part of the program.
pub const DEMO_FILE: &str = "builtin:demo";
const DEMO: &str = include_str!("../../scripts/demo.json");
/// A script is written by hand; the largest of the tests has a few kilobytes.
const SCRIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The exit code of a scripted death.
const DEATH: i32 = 7;

/// Plays the file on standard input and output until the input ends. Exit code 2: the file cannot be played.
pub fn scripted_main(file: &Path) -> ExitCode {
    match load(file) {
        Ok(script) => serve(&script),
        Err(why) => {
            eprintln!("the scripted agent cannot play {}: {why}", file.display());
            ExitCode::from(2)
        }
    }
}

fn load(file: &Path) -> Result<Script, String> {
    if file == Path::new(DEMO_FILE) {
        return serde_json::from_str(DEMO).map_err(|e| e.to_string());
    }
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(|e| e.to_string())?;
    opened.take(SCRIPT_BYTES_MAX).read_to_string(&mut text).map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

fn serve(script: &Script) -> ExitCode {
    if let Some(text) = &script.stderr {
        eprintln!("{text}");
    }
    gone_or_silent(script, ExitAt::Spawned, || ());
    let mut peer = Peer::start();
    peer.ignore_eof = script.ignore_eof;
    let mut cwd = PathBuf::new();
    let mut turns = script.turns.iter();
    loop {
        let message = peer.receive();
        let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else { continue };
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                gone_or_silent(script, ExitAt::Initialize, || initialize(&mut peer, script, id, params));
            }
            "session/new" => gone_or_silent(script, ExitAt::New, || {
                cwd = PathBuf::from(params["cwd"].as_str().unwrap_or_default());
                peer.handed = params["mcpServers"].clone();
                new_session(&mut peer, script, id);
            }),
            "session/set_mode" => gone_or_silent(script, ExitAt::Mode, || {
                say_mode(&peer, script, params["modeId"].as_str().unwrap_or_default());
                peer.result(id, &json!({}));
            }),
            "session/set_config_option" => gone_or_silent(script, ExitAt::Mode, || {
                let mode = if script.bad_mode { "unattended" } else { params["value"].as_str().unwrap_or_default() };
                peer.result(id, &json!({"configOptions": [mode_option(mode)]}));
            }),
            "session/prompt" => gone_or_silent(script, ExitAt::Prompt, || {
                peer.cancelled = false;
                Player::new(&mut peer, &cwd).turn(turns.next(), id);
                gone_or_silent(script, ExitAt::TurnOver, || ());
            }),
            method => peer.error(id, -32_601, &format!("the scripted agent knows no {method}")),
        }
    }
}

fn gone_or_silent(script: &Script, here: ExitAt, answer: impl FnOnce()) {
    if script.exit_at == Some(here) {
        eprintln!("the script says: exit at {here:?}");
        std::process::exit(DEATH);
    }
    if script.silent_at != Some(here) {
        answer();
    }
}

fn initialize(peer: &mut Peer, script: &Script, id: &Value, params: &Value) {
    let files = &params["clientCapabilities"]["fs"];
    peer.can_read = files["readTextFile"] == true;
    peer.can_write = files["writeTextFile"] == true;
    peer.result(
        id,
        &json!({
            "protocolVersion": script.protocol_version,
            "agentCapabilities": {"loadSession": false},
            "agentInfo": {"name": "scripted", "version": env!("CARGO_PKG_VERSION"), "title": format!("scripted: {}", script.name)},
            "authMethods": [],
        }),
    );
}

fn new_session(peer: &mut Peer, script: &Script, id: &Value) {
    if script.auth_required {
        return peer.error(id, -32_000, "Authentication required");
    }
    peer.session_id = format!("scripted-{}", std::process::id());
    let mut result = json!({"sessionId": peer.session_id});
    match script.modes {
        ModeOffer::None => {}
        ModeOffer::ConfigOption => result["configOptions"] = json!([mode_option("unattended")]),
        ModeOffer::Modes | ModeOffer::Unsafe => {
            let mut modes = vec![json!({"id": "unattended", "name": "Unattended"})];
            if script.modes == ModeOffer::Modes {
                modes.push(json!({"id": "default", "name": "Ask before each step"}));
            }
            // Born in the mode that does not ask, like some real agents.
            result["modes"] = json!({"currentModeId": "unattended", "availableModes": modes});
        }
    }
    peer.result(id, &result);
    peer.update(&json!({"sessionUpdate": "available_commands_update", "availableCommands": []}));
}

fn say_mode(peer: &Peer, script: &Script, asked: &str) {
    let mode = if script.bad_mode { "unattended" } else { asked };
    peer.update(&json!({"sessionUpdate": "current_mode_update", "currentModeId": mode}));
}

fn mode_option(current: &str) -> Value {
    json!({"id": "mode", "name": "Mode", "category": "mode", "type": "select", "currentValue": current,
        "options": [{"value": "unattended", "name": "Unattended"}, {"value": "default", "name": "Ask before each step"}]})
}
