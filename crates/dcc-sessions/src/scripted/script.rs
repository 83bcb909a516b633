//! The file a scripted agent plays.
//!
//! Pure. Unknown steps are errors: a script that is misread would test something else than it says.

use serde::Deserialize;
use serde_json::Value;

/// A whole script. What an agent does before its first turn stands here; the rest are steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What the script shows; the agent itself is always called `scripted`.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub turns: Vec<Turn>,
    /// Exits with code 7 instead of answering this request.
    #[serde(default)]
    pub exit_at: Option<ExitAt>,
    /// Written to standard error at start.
    #[serde(default)]
    pub stderr: Option<String>,
    /// Confirms the mode it was asked for and says that it is in another.
    #[serde(default)]
    pub bad_mode: bool,
    #[serde(default)]
    pub modes: ModeOffer,
    /// Goes on living when its input ends.
    #[serde(default)]
    pub ignore_eof: bool,
    /// Answers session/new with "authentication required".
    #[serde(default)]
    pub auth_required: bool,
    /// Never answers this request.
    #[serde(default)]
    pub silent_at: Option<ExitAt>,
    #[serde(default = "one")]
    pub protocol_version: u64,
}

fn one() -> u64 {
    1
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitAt {
    /// Before it reads anything.
    Spawned,
    Initialize,
    New,
    Mode,
    Prompt,
    /// Once its first turn is over.
    TurnOver,
}

/// How the modes are offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeOffer {
    #[default]
    Modes,
    ConfigOption,
    /// Modes, and none that asks.
    Unsafe,
    None,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Told with the answer to the prompt; of this turn.
    #[serde(default)]
    pub tokens: Option<Tokens>,
}

/// One step with how it asks.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    #[serde(flatten)]
    pub action: Action,
    /// Asks for permission first.
    #[serde(default)]
    pub ask: bool,
    #[serde(default)]
    pub on_reject: OnReject,
    #[serde(default)]
    pub asking: Asking,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReject {
    #[default]
    Continue,
    Stop,
}

/// How a permission is asked for; anything but `plain` is a misbehaviour or a rarity of real agents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asking {
    #[default]
    Plain,
    /// The request carries the tool call's id only.
    Bare,
    /// The same, and no tool call was announced.
    BareUnknown,
    NoAllowOnce,
    /// Pays no heed to session/cancel until the request is answered.
    Hang,
    /// Takes the request back at once.
    Withdraw,
    /// Sends the request twice under one id.
    Twice,
}

/// A line of the agent's plan: its text, or its text with how far it is (pending, in_progress, completed).
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum PlanLine {
    Text(String),
    State { text: String, status: String },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Say(String),
    /// The pieces of one message, one chunk each.
    SayChunks(Vec<String>),
    Think(String),
    Plan(Vec<PlanLine>),
    Read(String),
    /// A tool call reported as begun and ended: title, kind, raw_input, raw_output, status.
    Tool(Value),
    Edit(Edit),
    Run(Run),
    Usage(Usage),
    /// Runs a command in a terminal of the client's, and says what came of it.
    Terminal(TerminalRun),
    /// Calls a tool of the MCP server that was handed over.
    Mcp(McpCall),
    /// Speaks and works at a steady pace, as fast as it is told to.
    Pace(Pace),
    /// Waits until the turn is cancelled.
    WaitFor(WaitFor),
    // Short forms of an execute request that asks in a special way.
    HangOnPermission(Yes),
    BarePermission(Yes),
    NoAllowOnce(Yes),
    // Misbehaviours.
    /// Writes what it was handed, secrets and all, into this file of the worktree.
    LeakHandout(String),
    IgnoreEof(Yes),
    WriteUnasked(WriteUnasked),
    /// A child in a session of its own that sleeps for so many seconds; it keeps standard output open.
    LeaveChild(u64),
    Junk(String),
    Flood(Bytes),
    LongLine(Bytes),
    InvalidUtf8(Yes),
    Exit(Exit),
    /// Asks for permission and exits without waiting for the answer.
    AskAndExit(Exit),
    /// Heeds nothing any more.
    Deaf(Yes),
    UnknownMethod(Yes),
    UnknownUpdate(Yes),
    AnswerTwice(Yes),
    ForeignSession(Yes),
    /// Goes into another mode and says so.
    LeaveMode(String),
    /// Asks so many permissions at once, then waits for all answers.
    AskMany(u64),
    /// So many requests of an unknown method without reading the answers in between.
    FloodRequests(u64),
    /// Answers the prompt with an error.
    Error(String),
    Stderr(String),
}

/// The value of a step that has none: `true`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "bool")]
pub struct Yes;

impl TryFrom<bool> for Yes {
    type Error = &'static str;
    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("leave the step out instead of saying false") }
    }
}

/// Exactly one way to say what the file shall be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    pub path: String,
    /// The text to be replaced; none with `new` = the whole file.
    #[serde(default)]
    pub old: Option<String>,
    #[serde(default)]
    pub new: Option<String>,
    #[serde(default)]
    pub append: Option<String>,
    #[serde(default)]
    pub create: Option<String>,
}

impl Edit {
    /// The file's text after the edit, or why it cannot be made.
    pub fn applied(&self, before: Option<&str>) -> Result<String, String> {
        match (&self.old, &self.new, &self.append, &self.create) {
            (None, None, None, Some(text)) | (None, Some(text), None, None) => Ok(text.clone()),
            (None, None, Some(text), None) => {
                let before = before.unwrap_or_default();
                let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
                Ok(format!("{before}{gap}{text}"))
            }
            (Some(old), Some(new), None, None) => match before {
                Some(before) if before.contains(old.as_str()) => Ok(before.replacen(old.as_str(), new, 1)),
                Some(_) => Err(format!("{} does not contain the text that was to be replaced", self.path)),
                None => Err(format!("{} does not exist", self.path)),
            },
            _ => Err("an edit needs old and new, or new, or append, or create".to_owned()),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub argv: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    pub input: u64,
    pub output: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    pub amount: f64,
    pub currency: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpCall {
    pub tool: String,
    #[serde(default)]
    pub args: Value,
    /// Asks how the job stands until it is over.
    #[serde(default)]
    pub wait: bool,
}

/// What is done with a terminal; it is released at the end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalRun {
    pub command: String,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub cwd: Option<String>,
    /// Ends it once its output holds this text, instead of waiting for its end.
    #[serde(default)]
    pub kill_at: Option<String>,
    /// Leaves it running and unreleased.
    #[serde(default)]
    pub leave: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub used: u64,
    pub size: u64,
    /// `{"amount": 0.25, "currency": "USD"}`, cumulative.
    #[serde(default)]
    pub cost: Option<Cost>,
}

/// So many updates at so many a second. Each `call_every`th and the one after it are a tool call, whose title says when it
/// was announced (milliseconds since 1970); the others are pieces of speech.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    pub updates: u64,
    pub per_second: u32,
    pub call_every: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    Cancel,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteUnasked {
    pub path: String,
    pub text: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bytes {
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    pub code: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(json: &str) -> Edit {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn edits_say_what_they_do() {
        assert_eq!(edit(r#"{"path":"a","append":"x\n"}"#).applied(Some("1")).unwrap(), "1\nx\n");
        assert_eq!(edit(r#"{"path":"a","append":"x\n"}"#).applied(None).unwrap(), "x\n");
        assert_eq!(edit(r#"{"path":"a","old":"b","new":"c"}"#).applied(Some("abb")).unwrap(), "acb");
        assert!(edit(r#"{"path":"a","old":"z","new":"c"}"#).applied(Some("abb")).is_err());
        assert!(edit(r#"{"path":"a"}"#).applied(None).is_err());
    }

    #[test]
    fn unknown_steps_are_errors() {
        assert!(serde_json::from_str::<Step>(r#"{"sing":"la"}"#).is_err());
        let step: Step = serde_json::from_str(r#"{"edit":{"path":"a","new":"b"},"ask":true,"on_reject":"stop"}"#).unwrap();
        assert!(step.ask && step.on_reject == OnReject::Stop);
    }

    #[test]
    fn the_demo_is_a_script() {
        let script: Script = serde_json::from_str(super::super::DEMO).unwrap();
        assert!(script.turns.iter().flat_map(|t| &t.steps).filter(|s| matches!(s.action, Action::Edit(_))).all(|s| s.ask));
    }
}
