//! DCC's tools as a real MCP client sees them: the client of the public SDK around `dcc mcp`.

use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::RunningService;
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::{Map, Value, json};

use crate::DCC;
use crate::mcp::{Played, handout, http, leaking, play};

type Client = RunningService<RoleClient, ()>;

fn command(session: &str, port: u16, token: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(DCC);
    command.args(["mcp", "--session", session]).env_clear().env("DCC_MCP_ADDR", format!("127.0.0.1:{port}")).env("DCC_MCP_TOKEN", token);
    command
}

async fn connect(session: &str, port: u16, token: &str) -> Client {
    ().serve(TokioChildProcess::new(command(session, port, token)).unwrap()).await.expect("the client and dcc mcp agree")
}

fn arguments(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

async fn call(client: &Client, tool: &'static str, value: Value) -> CallToolResult {
    client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments(value))).await.unwrap_or_else(|e| panic!("{tool}: {e}"))
}

fn told(result: &CallToolResult) -> &Value {
    result.structured_content.as_ref().expect("a structured answer")
}

#[test]
fn a_real_client_lists_and_calls() {
    let Played { world, wp, path, session, .. } = play(&leaking());
    let (port, token, _) = handout(&path);
    let (_, listed) = http(port, "GET", "/mcp/v1/tools", &token, "");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = connect(&session, port, &token).await;
        assert_eq!(client.peer_info().unwrap().server_info.as_ref().unwrap().name, "dcc");
        let tools = client.list_all_tools().await.unwrap();
        // The very schemas of the listener, whose equality with HTTP is tested there.
        let items = listed["items"].as_array().unwrap();
        assert_eq!(tools.len(), items.len());
        for (tool, item) in tools.iter().zip(items) {
            assert_eq!((json!(tool.name), json!(tool.input_schema), json!(tool.description)), (item["name"].clone(), item["input_schema"].clone(), item["description"].clone()));
        }
        let packet = call(&client, "locus_get_wp", json!({})).await;
        assert_eq!((told(&packet)["wp_id"].as_str(), packet.is_error), (Some(wp.as_str()), Some(false)));
        // What the schema does not know is refused, by every tool.
        for tool in &tools {
            let result = client.call_tool(CallToolRequestParams::new(tool.name.clone()).with_arguments(arguments(json!({ "no_such_field": 1 })))).await.unwrap();
            let told = told(&result);
            let code = if told["error"].is_object() { &told["error"]["code"] } else { &told["failure"]["code"] };
            assert_eq!((result.is_error, code.as_str()), (Some(true), Some("HSK-400-INVALID-INPUT")), "{}: {told}", tool.name);
        }
        let ran = call(&client, "sandbox_run_recipe", json!({ "recipe": "fine" })).await;
        assert_eq!((told(&ran)["exit_code"].as_i64(), told(&ran)["stdout_tail"].as_str()), (Some(0), Some("fine\n")), "{ran:?}");
        let outside = call(&client, "context_open_ref", json!({ "path": "/etc/passwd" })).await;
        assert_eq!((outside.is_error, told(&outside)["error"]["code"].as_str()), (Some(true), Some("HSK-403-SCOPE")));
        // Two at once: the second is answered while the first waits for a person.
        std::fs::write(path.join("src/two.txt"), "two\n").unwrap();
        let waiting = call(&client, "version_commit", json!({ "paths": ["src/two.txt"], "message": "Two", "wait_ms": 50_000 }));
        let beside = async {
            let approval = loop {
                if let Some(approval) = crate::pending(&world) {
                    break approval;
                }
                tokio::task::yield_now().await;
            };
            let status = call(&client, "version_status", json!({})).await;
            assert_eq!(status.is_error, Some(false));
            let world = &world;
            std::thread::scope(|scope| scope.spawn(|| world.ok(&["approvals", "approve", &approval])).join()).unwrap();
        };
        let (committed, ()) = tokio::join!(waiting, beside);
        assert_eq!((told(&committed)["state"].as_str(), committed.is_error), (Some("completed"), Some(false)), "{committed:?}");
        assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]).trim(), told(&committed)["commit_oid"].as_str().unwrap());
        client.cancel().await.unwrap();
    });
}

#[test]
fn a_client_that_leaves_leaves_its_request() {
    let Played { world, path, session, .. } = play(&leaking());
    let (port, token, _) = handout(&path);
    std::fs::write(path.join("src/late.txt"), "late\n").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = connect(&session, port, &token).await;
        let asked = call(&client, "version_commit", json!({ "paths": ["src/late.txt"], "message": "Late", "wait_ms": 50_000 }));
        let parked = async {
            while crate::pending(&world).is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = asked => panic!("nobody decided"),
            () = parked => {}
        }
        client.cancel().await.unwrap();
    });
    // The person decides later; the commit is made although nobody waits for the answer.
    let approval = crate::pending(&world).expect("the request stays");
    let done = world.ok(&["approvals", "approve", &approval]);
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]).trim(), done["commit_oid"].as_str().unwrap());
}

#[test]
fn without_its_environment_it_says_so() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let session = "0198c0de-0000-7000-8000-0000000000aa";
    runtime.block_on(async {
        let mut bare = tokio::process::Command::new(DCC);
        bare.args(["--json", "mcp", "--session", session]).env_clear();
        let cases = [(bare, "DCC_MCP_ADDR"), (command(session, 1, "t"), "does not answer")];
        for (mut command, part) in cases {
            let output = tokio::time::timeout(Duration::from_secs(20), command.stdin(std::process::Stdio::null()).output()).await.expect("it ends by itself").unwrap();
            let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(!output.status.success() && text.contains(part), "{text}");
        }
        let mut elsewhere = command(session, 1, "t");
        elsewhere.env("DCC_MCP_ADDR", "203.0.113.1:80").stdin(std::process::Stdio::null());
        let output = elsewhere.output().await.unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1"), "the token goes to no other machine");
    });
}
