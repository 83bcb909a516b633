//! What the agent asks of us, answered: each on a thread of its own, by what the host says.
//!
//! Authority: ephemeral. Invariants: only what was offered at initialize is served; the host's failure is the answer, with
//! its code; a permission is answered with the option of the decided kind, else `cancelled`.

use agent_client_protocol_schema::v1::{
    CreateTerminalRequest, KillTerminalRequest, ReadTextFileRequest, ReleaseTerminalRequest, TerminalOutputRequest, WaitForTerminalExitRequest, WriteTextFileRequest,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use dcc_core::failure::Failure;
use dcc_core::limits::AGENT_LINE_BYTES_MAX;
use dcc_core::ports::sessions::{PermissionAnswer, TerminalExit, TerminalSpec};

use super::AgentTraits;
use super::live::{Live, RequestKind, cancelled};
use super::tools::Permission;
use super::wire::{INTERNAL_ERROR, INVALID_REQUEST, answer, answer_error, answer_failure, shown};

/// A request with its parameters read.
pub enum Call {
    Read(ReadTextFileRequest),
    Write(WriteTextFileRequest),
    Create(CreateTerminalRequest),
    Output(TerminalOutputRequest),
    Wait(WaitForTerminalExitRequest),
    Kill(KillTerminalRequest),
    Release(ReleaseTerminalRequest),
}

/// Which sort of request the method is, when it was offered.
pub fn sort_of(method: &str, traits: &AgentTraits) -> Option<RequestKind> {
    match method {
        "session/request_permission" => Some(RequestKind::Permission),
        "fs/read_text_file" => traits.read_files.then_some(RequestKind::File),
        "fs/write_text_file" => traits.write_files.then_some(RequestKind::File),
        "terminal/create" | "terminal/output" | "terminal/wait_for_exit" | "terminal/kill" | "terminal/release" => traits.terminals.then_some(RequestKind::Terminal),
        _ => None,
    }
}

impl Call {
    /// An error is one sentence for the agent.
    pub fn read(method: &str, params: &str) -> Result<Self, String> {
        match method {
            "fs/read_text_file" => typed(method, params).map(Self::Read),
            "fs/write_text_file" => typed(method, params).map(Self::Write),
            "terminal/create" => typed(method, params).map(Self::Create),
            "terminal/output" => typed(method, params).map(Self::Output),
            "terminal/wait_for_exit" => typed(method, params).map(Self::Wait),
            "terminal/kill" => typed(method, params).map(Self::Kill),
            "terminal/release" => typed(method, params).map(Self::Release),
            _ => Err(format!("{} is not offered", shown(method, 64))),
        }
    }

    /// The line that answers it.
    pub fn answer(self, live: &Live, id: &str) -> Vec<u8> {
        let result = match self {
            Self::Read(request) => return read_file(live, id, &request),
            Self::Write(request) => return write_file(live, id, &request),
            Self::Create(request) => {
                let cwd = request.cwd.as_ref().map(|cwd| cwd.to_string_lossy().into_owned());
                let spec = TerminalSpec {
                    command: request.command,
                    args: request.args,
                    env: request.env.into_iter().map(|variable| (variable.name, variable.value)).collect(),
                    cwd,
                    output_bytes_max: request.output_byte_limit,
                };
                own(live, &request.session_id.0).and_then(|()| live.host.terminal_create(live.session_id, spec)).map(|id| json!({"terminalId": id}))
            }
            Self::Output(request) => own(live, &request.session_id.0)
                .and_then(|()| live.host.terminal_output(live.session_id, &request.terminal_id.0))
                .map(|shown| json!({"output": shown.output, "truncated": shown.truncated, "exitStatus": shown.exit.as_ref().map(exit)})),
            Self::Wait(request) => {
                own(live, &request.session_id.0).and_then(|()| live.host.terminal_wait(live.session_id, &request.terminal_id.0)).map(|ended| exit(&ended))
            }
            Self::Kill(request) => own(live, &request.session_id.0).and_then(|()| live.host.terminal_kill(live.session_id, &request.terminal_id.0)).map(|()| json!({})),
            Self::Release(request) => own(live, &request.session_id.0).and_then(|()| live.host.terminal_release(live.session_id, &request.terminal_id.0)).map(|()| json!({})),
        };
        match result {
            Ok(result) => answer(id, &result),
            Err(failure) => answer_failure(id, &failure),
        }
    }
}

fn typed<T: DeserializeOwned>(method: &str, params: &str) -> Result<T, String> {
    serde_json::from_str(params).map_err(|e| format!("{method}: {e}"))
}

fn exit(ended: &TerminalExit) -> Value {
    json!({"exitCode": ended.exit_code, "signal": ended.signal})
}

/// Asks the host and puts its decision into the agent's words: the option of that kind, else `cancelled`.
pub fn decide(live: &Live, permission: Permission) -> Value {
    let tool_call_id = permission.ask.tool_call_id.clone();
    let answer = live.host.ask(live.session_id, permission.ask);
    if answer != PermissionAnswer::AllowOnce {
        live.refuse_call(&tool_call_id);
    }
    let option = match answer {
        PermissionAnswer::AllowOnce => permission.allow,
        PermissionAnswer::RejectOnce => permission.reject,
        PermissionAnswer::Cancelled => None,
    };
    option.map_or_else(cancelled, |id| json!({"outcome": {"outcome": "selected", "optionId": id}}))
}

fn own(live: &Live, session_id: &str) -> Result<(), Failure> {
    if live.own_session().as_deref() == Some(session_id) { Ok(()) } else { Err(Failure::invalid("the request names another session")) }
}

fn read_file(live: &Live, id: &str, request: &ReadTextFileRequest) -> Vec<u8> {
    let Some(path) = request.path.to_str() else {
        return answer_error(id, INVALID_REQUEST, "the path is not UTF-8");
    };
    match own(live, &request.session_id.0).and_then(|()| live.host.read_file(live.session_id, path, request.line, request.limit)) {
        Ok(content) if content.len() > AGENT_LINE_BYTES_MAX => answer_error(id, INTERNAL_ERROR, "the file is too large: ask for a part of it with line and limit"),
        Ok(content) => answer(id, &json!({"content": content})),
        Err(failure) => answer_failure(id, &failure),
    }
}

fn write_file(live: &Live, id: &str, request: &WriteTextFileRequest) -> Vec<u8> {
    let Some(path) = request.path.to_str() else {
        return answer_error(id, INVALID_REQUEST, "the path is not UTF-8");
    };
    match own(live, &request.session_id.0).and_then(|()| live.host.write_file(live.session_id, path, &request.content)) {
        Ok(()) => answer(id, &json!({})),
        Err(failure) => answer_failure(id, &failure),
    }
}
