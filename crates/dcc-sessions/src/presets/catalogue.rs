//! The known agents, as data.
//!
//! Authority: ephemeral; a claim about programs of others.
//!
//! What `claude`, `codex`, `gemini`, `opencode`, `qwen` and `copilot` need and do was seen with the versions that
//! docs/agents.md names. The others follow the public agent registry and the agents' documentation: there each quirk is a
//! claim to be checked when that agent is first used.

use super::{BOTH, FileCap};

/// One known agent.
pub struct Entry {
    pub name: &'static str,
    pub program: &'static str,
    pub args: &'static [&'static str],
    pub env: &'static [(&'static str, &'static str)],
    /// The mode in which it asks; none = one named default or ask.
    pub ask_mode: Option<&'static str>,
    /// File requests that it handles well.
    pub file_caps: &'static [FileCap],
    /// Settings that a new home begins with: path below the home, content.
    pub home_files: &'static [(&'static str, &'static str)],
    /// How to get the program.
    pub install: &'static str,
    pub quirks: &'static [&'static str],
}

/// Agents whose answers to prompts count the tokens of the whole conversation.
pub const COUNT_THE_CONVERSATION: [&str; 1] = ["copilot"];

/// Agents that refuse MCP servers over standard input and output, without a word to the client.
pub const TAKE_NO_STDIO_SERVERS: [&str; 1] = ["copilot"];

/// Agents that take such servers by an argument of their command instead, which names a file.
const SERVERS_BY_FILE: [(&str, &str); 1] = [("copilot", "--additional-mcp-config")];

/// The argument that names a file with MCP servers; none for an agent that takes them when a session opens.
pub fn servers_argument(agent: &str) -> Option<&'static str> {
    SERVERS_BY_FILE.iter().find(|(name, _)| *name == agent).map(|(_, argument)| *argument)
}

/// For agents that run commands in a pseudo-terminal unless they are told not to: the sandbox opens none, because the
/// operator's own terminals lie in the same directory.
const NO_TERMINAL: &str = "{\n  \"tools\": { \"shell\": { \"enableInteractiveShell\": false } }\n}\n";

/// The known agents.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        name: "claude",
        program: "claude-agent-acp",
        args: &[],
        env: &[],
        ask_mode: Some("default"),
        file_caps: BOTH,
        home_files: &[],
        install: "npm package @agentclientprotocol/claude-agent-acp",
        quirks: &[
            "begins in a mode that lets a model decide what to ask; it is set to default, where it asks before each edit and command",
            "runs read-only commands without asking",
            "writes files itself after the permission",
            "an approved plan can move it into a mode that does not ask: the next prompt is then refused",
        ],
    },
    Entry {
        name: "codex",
        program: "codex-acp",
        args: &[],
        env: &[],
        ask_mode: Some("read-only"),
        file_caps: BOTH,
        home_files: &[],
        install: "npm package @agentclientprotocol/codex-acp",
        quirks: &[
            "begins in a mode that writes without asking, so it is set to read-only, where each edit is asked for",
            "its own sandbox for commands cannot start inside ours: a command fails, without a word to us, unless it asks to run it outside that sandbox",
            "a denial ends its turn",
        ],
    },
    Entry {
        name: "gemini",
        program: "gemini",
        args: &["--acp"],
        env: &[],
        ask_mode: Some("default"),
        file_caps: &[FileCap::Write],
        home_files: &[(".gemini/settings.json", NO_TERMINAL)],
        install: "npm package @google/gemini-cli",
        quirks: &[
            "shows a command in the title only",
            "cannot create files when file reads are offered, so only writes are",
            "runs commands only with tools.shell.enableInteractiveShell false in its settings, which a new home begins with",
            "may have lost a session that it is to take up again",
            "starts no MCP server in a folder that it does not trust, so DCC's own tools do not reach it",
        ],
    },
    Entry {
        name: "opencode",
        program: "opencode",
        args: &["acp", "--port", "{port}"],
        env: &[("OPENCODE_PERMISSION", "{\"edit\":\"ask\",\"bash\":\"ask\",\"webfetch\":\"ask\"}")],
        ask_mode: Some("build"),
        file_caps: BOTH,
        home_files: &[],
        install: "npm package opencode-ai",
        quirks: &[
            "serves itself over a TCP port: it needs listen_port = true in its entry",
            "its modes are agents; whether it asks is decided by its permission settings, given by environment",
        ],
    },
    Entry {
        name: "qwen",
        program: "qwen",
        args: &["--acp"],
        env: &[],
        ask_mode: Some("default"),
        file_caps: BOTH,
        home_files: &[(".qwen/settings.json", NO_TERMINAL)],
        install: "npm package @qwen-code/qwen-code",
        quirks: &[
            "begins in a mode that lets a model decide what to ask; it is set to default, also after a session was taken up again",
            "runs commands only with tools.shell.enableInteractiveShell false in its settings, which a new home begins with",
        ],
    },
    Entry {
        name: "goose",
        program: "goose",
        args: &["acp"],
        env: &[("GOOSE_MODE", "approve")],
        ask_mode: Some("approve"),
        file_caps: BOTH,
        home_files: &[],
        install: "the releases of goose",
        quirks: &["its default mode writes without asking"],
    },
    Entry {
        name: "copilot",
        program: "copilot",
        args: &["--acp"],
        env: &[],
        ask_mode: Some("https://agentclientprotocol.com/protocol/session-modes#agent"),
        file_caps: BOTH,
        home_files: &[],
        install: "npm package @github/copilot",
        quirks: &[
            "its modes are named by addresses",
            "has a switch beside its mode, allow_all, that ends all asking",
            "refuses MCP servers when a session opens; it gets DCC's own tools by a file that its command names",
        ],
    },
    Entry {
        name: "cursor",
        program: "cursor-agent",
        args: &["acp"],
        env: &[],
        ask_mode: Some("agent"),
        file_caps: BOTH,
        home_files: &[],
        install: "the installer of the Cursor command line",
        quirks: &["its mode ask only answers questions; it is set to agent, which asks before it acts"],
    },
    Entry {
        name: "vibe",
        program: "vibe-acp",
        args: &[],
        env: &[],
        ask_mode: Some("ask"),
        file_caps: BOTH,
        home_files: &[],
        install: "Python package mistral-vibe",
        quirks: &["begins in a mode that edits without asking; it is set to ask"],
    },
    Entry {
        name: "fast-agent",
        program: "fast-agent-acp",
        args: &["-x"],
        env: &[],
        ask_mode: None,
        file_caps: BOTH,
        home_files: &[],
        install: "Python package fast-agent-acp",
        quirks: &["its modes are the agents of its own configuration: name one as ask_mode when it offers any"],
    },
];

/// Settings that a new home of this agent begins with: path below the home, content.
pub fn home_files(agent: &str) -> &'static [(&'static str, &'static str)] {
    CATALOGUE.iter().find(|entry| entry.name == agent).map_or(&[], |entry| entry.home_files)
}
