//! dcc mcp: DCC's tools for the agent inside a session, as an MCP server on standard input and output.
//!
//! A thin bridge: the tools, their schemas and all decisions are the server's; each call is one request to the agents'
//! listener with the session's token. It runs inside the agent's sandbox, started by the agent. Address and token come
//! from the environment and stand nowhere else; on failure the agent gets the code, the message and the hint.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Method;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use dcc_core::{Code, Failure, Outcome, SessionId};
use dcc_web::server::{ADDRESS_VARIABLE, TOKEN_VARIABLE};

use crate::link::http::{Client, Target};

/// As the listener describes a tool.
#[derive(Deserialize)]
struct Described {
    name: String,
    description: String,
    reads_only: bool,
    input_schema: Map<String, Value>,
}

#[derive(Deserialize)]
struct List {
    session_id: SessionId,
    items: Vec<Described>,
}

#[derive(Deserialize)]
struct Reply {
    result: Value,
    failed: bool,
}

struct Bridge {
    client: Client,
    session_id: SessionId,
}

/// Serves until the agent closes standard input.
pub fn run(session: &str) -> Outcome<u8> {
    // Other processes of this user then cannot read the token from our environment or memory; where the kernel has no
    // such switch, the sandbox around us still stands.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let bridge = Bridge { client: client()?, session_id: session.parse()? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Failure::engine(format!("no runtime: {e}")))?;
    let served = runtime.block_on(async {
        bridge.list().await?;
        let running = bridge.serve(rmcp::transport::stdio()).await.map_err(|e| Failure::engine(format!("the agent does not speak MCP: {e}")))?;
        running.waiting().await.map_err(|e| Failure::engine(format!("the MCP server broke off: {e}")))
    });
    // A read of standard input cannot be called back; nothing else is left to wait for.
    runtime.shutdown_background();
    served.map(|_| 0)
}

/// To the listener, and nowhere but the loopback address: the token goes along.
fn client() -> Outcome<Client> {
    let var = |name: &str| {
        std::env::var(name).map_err(|_| Failure::new(Code::Unauthenticated, format!("{name} is not set")).hint("an agent starts dcc mcp with the environment that its session was handed"))
    };
    let (address, token) = (var(ADDRESS_VARIABLE)?, var(TOKEN_VARIABLE)?);
    let address: SocketAddr = address.parse().map_err(|_| Failure::invalid(format!("{ADDRESS_VARIABLE} is no address with a port")))?;
    if address.ip() != std::net::Ipv4Addr::LOCALHOST {
        return Err(Failure::invalid(format!("{ADDRESS_VARIABLE} is not on 127.0.0.1")));
    }
    Ok(Client::new(Target::Tcp(address.port()), token, false))
}

impl Bridge {
    /// The tools; also the proof that the token is this session's.
    async fn list(&self) -> Outcome<List> {
        let list: List = parse(&self.client.exchange(Method::GET, "/mcp/v1/tools", None).await?)?;
        if list.session_id != self.session_id {
            return Err(Failure::new(Code::Unauthenticated, "the token belongs to another session"));
        }
        Ok(list)
    }

    async fn tool(&self, name: &str, arguments: Map<String, Value>) -> Outcome<Reply> {
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.is_empty() {
            return Err(Failure::new(Code::NotFound, "there is no tool of that name"));
        }
        let body = serde_json::to_vec(&arguments).map_err(|e| Failure::invalid(format!("the arguments cannot be written: {e}")))?;
        parse(&self.client.exchange(Method::POST, &format!("/mcp/v1/tools/{name}"), Some(body)).await?)
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    serde_json::from_slice(bytes).map_err(|e| Failure::engine(format!("the server's answer cannot be read: {e}")))
}

impl ServerHandler for Bridge {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("dcc", env!("CARGO_PKG_VERSION")))
            .with_instructions("The command center's tools for this session: read your packet, search your worktree, ask for a commit. A person decides; you approve nothing.")
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        let list = self.list().await.map_err(|failure| ErrorData::internal_error(failure.to_string(), None))?;
        Ok(ListToolsResult::with_all_items(list.items.into_iter().map(tool).collect()))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let called = self.tool(&request.name, request.arguments.unwrap_or_default());
        let reply = tokio::select! {
            reply = called => reply,
            // The agent takes the call back. What became a job goes on; the agent finds it by asking again.
            () = context.ct.cancelled() => Err(Failure::new(Code::Canceled, "the call was taken back")),
        };
        let result = match reply {
            Ok(Reply { result, failed: false }) => CallToolResult::structured(result),
            Ok(Reply { result, failed: true }) => CallToolResult::structured_error(result),
            Err(failure) => CallToolResult::structured_error(json!({ "error": failure })),
        };
        Ok(result.into())
    }
}

fn tool(described: Described) -> Tool {
    let hints = ToolAnnotations::new().read_only(described.reads_only).destructive(false).open_world(false);
    Tool::new(described.name, described.description, Arc::new(described.input_schema)).with_annotations(hints)
}
