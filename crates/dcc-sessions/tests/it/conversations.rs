//! How a conversation is opened: new, taken up again, with DCC's own tools, in the mode that asks; each by transcript.

use std::sync::Arc;

use dcc_core::ports::sessions::{AgentReport, McpHandout, ResumeStyle, StartExtras, UsageStyle};
use dcc_sessions::AgentTraits;
use serde_json::{Value, json};

use crate::fake::{Fake, error, hurried, modes, plain, result, says, update, update_of};

const TOKEN: &str = "tok-5f1c0ffee5f1c0ffee";

fn handout() -> StartExtras {
    let mcp = McpHandout { name: "dcc".into(), command: "/opt/dcc".into(), args: vec!["mcp".into()], env: vec![("DCC_TOKEN".into(), TOKEN.into())] };
    StartExtras { mcp: Some(mcp), connect_ports: vec![4711], read_paths: vec!["/opt/dcc".into()] }
}

fn kinds(fake: &Fake) -> Vec<String> {
    fake.rig.host.others()
}

#[test]
fn the_tools_are_handed_over_in_the_protocols_form() {
    let fake = Fake::new(|message| plain(message, &json!({})));
    let started = fake.start_with(handout()).unwrap();
    let servers = &fake.heard("session/new")[0]["params"]["mcpServers"];
    assert_eq!(servers, &json!([{"name": "dcc", "command": "/opt/dcc", "args": ["mcp"], "env": [{"name": "DCC_TOKEN", "value": TOKEN}]}]));
    assert!(started.capabilities.mcp);
    assert_eq!((fake.extras()[0].connect_ports.as_slice(), fake.extras()[0].read_paths.len()), (&[4711][..], 1), "the launcher knows them too");
    assert!(!format!("{:?}", fake.extras()).contains(TOKEN), "what is printed of it holds no token");
}

#[test]
fn an_agent_that_takes_no_tools_works_without_them_and_says_so() {
    let fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/new") if message["params"]["mcpServers"] != json!([]) => vec![error(message, -32_602, "mcpServers are not supported")],
        _ => plain(message, &json!({})),
    });
    let started = fake.start_with(handout()).unwrap();
    assert!(!started.capabilities.mcp && kinds(&fake).contains(&"mcpServers:refused".to_owned()));
    assert_eq!(fake.turn().unwrap(), "end_turn");
}

#[test]
fn an_agent_that_is_known_to_take_no_tools_gets_none() {
    let fake = Fake::of(AgentTraits { takes_stdio_servers: false, ..AgentTraits::default() }, |message| plain(message, &json!({})));
    assert!(!fake.start_with(handout()).unwrap().capabilities.mcp);
    assert_eq!(fake.heard("session/new")[0]["params"]["mcpServers"], json!([]));
}

#[test]
fn a_login_is_not_mistaken_for_a_refusal_of_the_tools() {
    let fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/new") => vec![error(message, -32_000, "Authentication required")],
        _ => plain(message, &json!({})),
    });
    assert!(fake.start_with(handout()).unwrap_err().message.contains("logged in first"));
    assert_eq!(fake.heard("session/new").len(), 1);
}

#[test]
fn the_token_comes_back_in_no_report_and_no_failure() {
    let chatty = |message: &Value| match message["method"].as_str() {
        Some("session/prompt") => vec![
            says("s-new", &format!("my token is {TOKEN} ")),
            says("s-new", &TOKEN[..7]),
            says("s-new", &TOKEN[7..]),
            update(json!({"sessionUpdate": "tool_call", "toolCallId": "t", "title": TOKEN, "rawInput": {"env": TOKEN}, "content": [{"type": "content", "content": {"type": "text", "text": TOKEN}}]})),
            update(json!({"sessionUpdate": "novelty", "text": TOKEN})),
            format!("debug: {TOKEN}"),
            json!({"jsonrpc": "2.0", "method": "private/note", "params": {"env": [TOKEN]}}).to_string(),
            error(message, -32_603, &format!("refused with {TOKEN}")),
        ],
        _ => plain(message, &json!({})),
    };
    let fake = Fake::with(chatty, AgentTraits::default(), crate::support::options(), &format!("started with {TOKEN}"), crate::support::ALLOW);
    fake.start_with(handout()).unwrap();
    assert!(fake.turn().unwrap_err().message.contains("[redacted]"));
    use dcc_core::ports::sessions::SessionBackend as _;
    fake.backend.stop(fake.session_id).unwrap();
    assert!(fake.rig.wait_exit().1.contains("[redacted]"));
    let told = format!("{:?}", fake.reports());
    assert!(!told.contains(TOKEN) && told.contains("my token is [redacted]"), "{told}");
}

#[test]
fn a_refusal_to_start_does_not_show_the_token() {
    let fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/new") => vec![error(message, -32_603, &format!("cannot run: {}", message["params"]))],
        _ => plain(message, &json!({})),
    });
    let failure = fake.start_with(handout()).unwrap_err();
    assert!(!failure.message.contains(TOKEN), "{failure}");
}

fn history(session: &str) -> Vec<String> {
    vec![
        update_of(session, json!({"sessionUpdate": "user_message_chunk", "content": {"type": "text", "text": "old question"}})),
        says(session, "old answer"),
        update_of(session, json!({"sessionUpdate": "tool_call", "toolCallId": "old", "title": "Old", "kind": "edit", "status": "completed"})),
        update_of(session, json!({"sessionUpdate": "plan", "entries": []})),
        update_of(session, json!({"sessionUpdate": "current_mode_update", "currentModeId": "auto"})),
        update_of(session, json!({"sessionUpdate": "usage_update", "used": 70, "size": 100})),
    ]
}

#[test]
fn a_silent_resume_is_preferred_where_it_is_offered() {
    let both = json!({"loadSession": true, "sessionCapabilities": {"resume": {}}});
    let mut fake = Fake::new(move |message| plain(message, &both));
    let started = fake.resume("s-old").unwrap();
    assert!(started.resumed && started.agent_session_id == "s-old" && started.capabilities.resume == ResumeStyle::Silent);
    assert_eq!((fake.heard("session/resume").len(), fake.heard("session/load").len(), fake.heard("session/new").len()), (1, 0, 0));
    assert_eq!(fake.heard("session/set_mode")[0]["params"], json!({"sessionId": "s-old", "modeId": "default"}), "the mode is set again");
    assert_eq!(fake.turn().unwrap(), "end_turn");
}

#[test]
fn a_loaded_history_is_counted_and_dropped() {
    let mut fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/load") => history("s-old").into_iter().chain([result(message, json!({"modes": modes()})), says("s-old", "late echo")]).collect(),
        Some("session/prompt") => vec![says("s-old", "new answer"), result(message, json!({"stopReason": "end_turn"}))],
        _ => plain(message, &json!({"loadSession": true})),
    });
    let started = fake.resume("s-old").unwrap();
    assert!(started.resumed && started.capabilities.resume == ResumeStyle::Replay);
    assert_eq!(started.capabilities.current_mode.as_deref(), Some("default"), "what the history says of the mode is not the present");
    fake.turn().unwrap();
    let reports = fake.reports();
    // The late one may or may not have come by the time it is told.
    assert!(reports.iter().any(|r| matches!(r, AgentReport::Replayed { updates: 4 | 5 })), "{reports:?}");
    assert_eq!(fake.rig.host.messages(), ["new answer"]);
    assert!(!reports.iter().any(|r| matches!(r, AgentReport::Tool(_) | AgentReport::Plan { .. })));
    assert!(reports.iter().any(|r| matches!(r, AgentReport::Usage { used: 70, .. })), "how things stand is told");
}

#[test]
fn a_history_told_after_the_answer_is_history_all_the_same() {
    let mut fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/load") => std::iter::once(result(message, json!({"modes": modes()}))).chain(history("s-old")).collect(),
        Some("session/prompt") => vec![says("s-old", "new answer"), result(message, json!({"stopReason": "end_turn"}))],
        _ => plain(message, &json!({"loadSession": true})),
    });
    assert!(fake.resume("s-old").unwrap().resumed);
    fake.turn().unwrap();
    assert_eq!(fake.rig.host.messages(), ["new answer"]);
    assert!(fake.reports().contains(&AgentReport::Replayed { updates: 4 }), "the start has waited for it");
}

#[test]
fn a_switch_that_lets_it_act_unasked_is_put_off_and_stays_off() {
    let switch = |value: &str| json!({"id": "allow_all", "name": "Allow all", "category": "permissions", "type": "select", "currentValue": value, "options": [{"value": "on", "name": "On"}, {"value": "off", "name": "Off"}]});
    let agent = move |obeys: bool| {
        move |message: &Value| match message["method"].as_str() {
            Some("session/new") => vec![result(message, json!({"sessionId": "s-new", "configOptions": [switch("on")]}))],
            Some("session/set_config_option") => vec![result(message, json!({"configOptions": [switch(if obeys { message["params"]["value"].as_str().unwrap() } else { "on" })]}))],
            Some("session/prompt") => vec![update(json!({"sessionUpdate": "config_option_update", "configOptions": [switch("on")]})), result(message, json!({"stopReason": "end_turn"}))],
            _ => plain(message, &json!({})),
        }
    };
    let fake = Fake::new(agent(true));
    fake.start().unwrap();
    assert_eq!(fake.heard("session/set_config_option")[0]["params"], json!({"sessionId": "s-new", "configId": "allow_all", "value": "off"}));
    fake.turn().unwrap();
    assert!(fake.prompt().unwrap_err().message.contains("allow_all"), "it was switched on in the turn");
    let failure = Fake::new(agent(false)).start().unwrap_err();
    assert!(failure.message.contains("cannot be switched off"), "{failure}");
}

#[test]
fn the_tools_are_handed_over_on_resume_too() {
    for capabilities in [json!({"loadSession": true}), json!({"sessionCapabilities": {"resume": {}}})] {
        let offered = capabilities.clone();
        let mut fake = Fake::new(move |message| plain(message, &offered));
        fake.plan.resume = Some("s-old".into());
        fake.start_with(handout()).unwrap();
        let heard: Vec<Value> = fake.heard("session/load").into_iter().chain(fake.heard("session/resume")).collect();
        assert_eq!((heard.len(), heard[0]["params"]["mcpServers"][0]["name"].as_str()), (1, Some("dcc")), "{capabilities}");
    }
}

#[test]
fn what_cannot_be_taken_up_becomes_a_new_conversation() {
    let mut fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/load" | "session/resume") => vec![says("s-old", "half a history"), error(message, -32_002, "Resource not found")],
        Some("session/prompt") => vec![says("s-old", "of another session"), says("s-new", "hello"), result(message, json!({"stopReason": "end_turn"}))],
        _ => plain(message, &json!({"loadSession": true, "sessionCapabilities": {"resume": {}}})),
    });
    let started = fake.resume("s-old").unwrap();
    assert!(!started.resumed && started.agent_session_id == "s-new");
    assert_eq!(kinds(&fake), ["session/resume:refused", "session/load:refused"]);
    fake.turn().unwrap();
    assert_eq!(fake.rig.host.messages(), ["hello"]);
}

#[test]
fn an_agent_that_cannot_resume_is_not_asked_to() {
    let mut fake = Fake::new(|message| plain(message, &json!({})));
    assert!(!fake.resume("s-old").unwrap().resumed);
    assert!(fake.heard("session/load").is_empty() && fake.heard("session/resume").is_empty());
}

#[test]
fn a_conversation_that_does_not_come_leaves_time_for_a_new_one() {
    let silent = |message: &Value| match message["method"].as_str() {
        Some("session/load") => Vec::new(),
        _ => plain(message, &json!({"loadSession": true})),
    };
    let mut fake = Fake::with(silent, AgentTraits::default(), hurried(), "", crate::support::ALLOW);
    assert!(!fake.resume("s-old").unwrap().resumed);
    assert_eq!(fake.turn().unwrap(), "end_turn");
}

#[test]
fn a_mode_that_a_load_does_not_tell_is_set_blindly_or_not_at_all() {
    let traits = || AgentTraits { ask_mode: Some("default".into()), ..AgentTraits::default() };
    let untold = |takes: bool| {
        move |message: &Value| match message["method"].as_str() {
            Some("session/load") => vec![result(message, Value::Null)],
            Some("session/set_mode") if !takes && message["params"]["sessionId"] == "s-old" => vec![error(message, -32_602, "no such mode")],
            _ => plain(message, &json!({"loadSession": true})),
        }
    };
    let mut takes = Fake::of(traits(), untold(true));
    let started = takes.resume("s-old").unwrap();
    assert!(started.resumed && started.capabilities.current_mode.as_deref() == Some("default"));
    let mut refuses = Fake::of(traits(), untold(false));
    assert!(!refuses.resume("s-old").unwrap().resumed, "better a new conversation than one that does not ask");
}

#[test]
fn a_load_that_resets_the_mode_for_good_is_not_taken() {
    let stuck = |message: &Value| match message["method"].as_str() {
        Some("session/set_mode") if message["params"]["sessionId"] == "s-old" => {
            vec![update_of("s-old", json!({"sessionUpdate": "current_mode_update", "currentModeId": "auto"})), result(message, json!({}))]
        }
        _ => plain(message, &json!({"loadSession": true})),
    };
    let mut fake = Fake::new(stuck);
    let started = fake.resume("s-old").unwrap();
    assert!(!started.resumed && started.capabilities.current_mode.as_deref() == Some("default"));
}

fn option(id: &str, category: &str, current: &str, values: &[&str]) -> Value {
    let values: Vec<Value> = values.iter().map(|value| json!({"value": value, "name": value.to_uppercase()})).collect();
    json!({"id": id, "name": id, "category": category, "type": "select", "currentValue": current, "options": values})
}

/// Answers as an agent of the newer spelling: options instead of lists.
fn newer(message: &Value) -> Vec<String> {
    let options = |mode: &str| json!([option("mode", "mode", mode, &["auto", "default"]), option("model", "model", "m-1", &["m-1", "m-2"])]);
    match message["method"].as_str() {
        Some("session/new") => vec![result(message, json!({"sessionId": "s-new", "configOptions": options("auto")}))],
        Some("session/set_config_option") => vec![result(message, json!({"configOptions": options(message["params"]["value"].as_str().unwrap())}))],
        _ => plain(message, &json!({"promptCapabilities": {"image": true}})),
    }
}

#[test]
fn a_newer_agent_is_set_by_options() {
    let fake = Fake::new(newer);
    let started = fake.start().unwrap();
    assert_eq!((started.model_id.as_deref(), started.capabilities.images, started.capabilities.current_mode.as_deref()), (Some("m-1"), true, Some("default")));
    assert_eq!(started.capabilities.modes, [("auto".to_owned(), "AUTO".to_owned()), ("default".to_owned(), "DEFAULT".to_owned())]);
    assert_eq!(fake.heard("session/set_config_option")[0]["params"], json!({"sessionId": "s-new", "configId": "mode", "value": "default"}));
    assert!(fake.heard("session/set_mode").is_empty());
    assert!(matches!(&fake.reports()[..], [AgentReport::Options { options }] if options.len() == 2));
}

#[test]
fn an_agent_with_both_spellings_is_set_by_whichever_works() {
    let both = |works: &'static str| {
        move |message: &Value| match message["method"].as_str() {
            Some("session/new") => {
                let options = json!([option("mode", "mode", "auto", &["auto", "default"])]);
                vec![result(message, json!({"sessionId": "s-new", "modes": modes(), "configOptions": options}))]
            }
            Some(method @ ("session/set_mode" | "session/set_config_option")) if method != works => vec![error(message, -32_601, "Method not found")],
            Some("session/set_config_option") => vec![result(message, json!({"configOptions": [option("mode", "mode", "default", &["auto", "default"])]}))],
            _ => plain(message, &json!({})),
        }
    };
    for works in ["session/set_mode", "session/set_config_option"] {
        let fake = Fake::new(both(works));
        assert_eq!(fake.start().unwrap().capabilities.current_mode.as_deref(), Some("default"), "{works}");
    }
    let failure = Fake::new(both("neither")).start().unwrap_err();
    assert!(failure.message.contains("set_config_option") && failure.message.contains("Method not found"), "{failure}");
}

#[test]
fn an_older_agents_models_are_told_as_a_setting() {
    let fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/new") => {
            let models = json!({"currentModelId": "m-2", "availableModels": [{"modelId": "m-1", "name": "One"}, {"modelId": "m-2", "name": "Two"}]});
            vec![result(message, json!({"sessionId": "s-new", "models": models}))]
        }
        _ => plain(message, &json!({})),
    });
    let started = fake.start().unwrap();
    assert_eq!((started.model_id.as_deref(), started.capabilities.modes.len(), started.capabilities.current_mode), (Some("m-2"), 0, None));
    assert!(matches!(&fake.reports()[..], [AgentReport::Options { options }] if options[0].choices.len() == 2 && options[0].current == "m-2"));
}

#[test]
fn a_change_of_model_is_told_once() {
    let fake = Fake::new(|message| match message["method"].as_str() {
        Some("session/prompt") => {
            let moved = || update(json!({"sessionUpdate": "config_option_update", "configOptions": [option("mode", "mode", "default", &["default"]), option("model", "model", "m-2", &["m-1", "m-2"])]}));
            vec![moved(), moved(), result(message, json!({"stopReason": "end_turn"}))]
        }
        _ => newer(message),
    });
    fake.start().unwrap();
    fake.turn().unwrap();
    let models: Vec<AgentReport> = fake.reports().into_iter().filter(|r| matches!(r, AgentReport::Model { .. })).collect();
    assert_eq!(models, [AgentReport::Model { model_id: "m-2".into() }]);
}

#[test]
fn consumption_is_known_once_it_is_told() {
    let turns = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let fake = Fake::of(AgentTraits { tokens_over_conversation: true, ..AgentTraits::default() }, move |message| match message["method"].as_str() {
        Some("session/prompt") => {
            let usage = json!({"totalTokens": 12, "inputTokens": 10, "outputTokens": 2});
            let cost = update(json!({"sessionUpdate": "usage_update", "used": 50, "size": 100, "cost": {"amount": 0.5, "currency": "USD"}}));
            let first = turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            (!first).then_some(cost).into_iter().chain([result(message, json!({"stopReason": "end_turn", "usage": usage}))]).collect()
        }
        _ => plain(message, &json!({})),
    });
    assert_eq!(fake.start().unwrap().capabilities.usage, UsageStyle::None);
    fake.turn().unwrap();
    fake.turn().unwrap();
    let told: Vec<String> = fake
        .reports()
        .iter()
        .filter_map(|r| match r {
            AgentReport::Capabilities(known) => Some(format!("{:?}", known.usage)),
            AgentReport::Tokens { tokens, .. } if tokens.over_conversation => Some(tokens.total.to_string()),
            AgentReport::Usage { cost, .. } => cost.clone(),
            AgentReport::TurnEnded { .. } => Some("end".into()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["Tokens", "12", "end", "0.5 USD", "Cost", "12", "end"]);
}

#[test]
fn the_profile_of_a_live_session_can_be_asked_for() {
    use dcc_core::ports::sessions::SessionBackend as _;
    let fake = Fake::new(|message| plain(message, &json!({})));
    assert_eq!(fake.backend.place(fake.session_id), None);
    fake.start().unwrap();
    assert_eq!(fake.backend.place(fake.session_id).unwrap().home, "/homes/of/it");
}
