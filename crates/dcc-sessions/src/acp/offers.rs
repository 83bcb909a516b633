//! What an agent offers, read from its own answers: capabilities, modes in both spellings, settings, models.
//!
//! Pure. Invariant: nothing is read from an agent's name; what it did not say counts as not offered.

use serde_json::Value;

use dcc_core::ports::sessions::{AgentOption, ApprovalStyle, BackendCapabilities, Driver, ResumeStyle, TokenUsage, UsageStyle};

use super::modes;
use super::wire::shown;

/// Settings of one session, and values of one setting, that are passed on.
const OPTIONS_MAX: usize = 50;
const CHOICES_MAX: usize = 200;

/// Ways to take an earlier conversation up, the silent one first.
pub fn resume_methods(initialized: &Value) -> Vec<&'static str> {
    let agent = &initialized["agentCapabilities"];
    // An empty object says yes; the field's absence, null or false says no.
    let resumes = matches!(&agent["sessionCapabilities"]["resume"], Value::Object(_) | Value::Bool(true));
    let loads = agent["loadSession"].as_bool() == Some(true);
    let named = [(resumes, "session/resume"), (loads, "session/load")];
    named.into_iter().filter(|(offered, _)| *offered).map(|(_, method)| method).collect()
}

/// What is known before the first prompt. Every agent of version 1 takes MCP servers over standard input and output and
/// asks while it works; consumption shows only once it is told.
pub fn capabilities(initialized: &Value, session: &Value) -> BackendCapabilities {
    let modes = modes::offered(session).into_iter().next();
    BackendCapabilities {
        driver: Driver::Acp,
        approvals: ApprovalStyle::Interactive,
        resume: match resume_methods(initialized).first() {
            Some(&"session/resume") => ResumeStyle::Silent,
            Some(_) => ResumeStyle::Replay,
            None => ResumeStyle::None,
        },
        usage: UsageStyle::None,
        mcp: true,
        images: initialized["agentCapabilities"]["promptCapabilities"]["image"].as_bool() == Some(true),
        current_mode: modes.as_ref().map(|offered| offered.current.clone()),
        modes: modes.map(|offered| offered.modes).unwrap_or_default(),
    }
}

/// The model where the agent tells it: the older model list, else the setting of that category.
pub fn model(session: &Value) -> Option<String> {
    let listed = session["models"]["currentModelId"].as_str().map(|id| shown(id, 120));
    listed.or_else(|| model_of(&options(&session["configOptions"])))
}

/// The model among the settings.
pub fn model_of(options: &[AgentOption]) -> Option<String> {
    options.iter().find(|option| option.category.as_deref() == Some("model")).map(|option| option.current.clone())
}

/// Everything that can be set in the session, modes apart: the settings, and the older model list as one.
pub fn session_options(session: &Value) -> Vec<AgentOption> {
    let mut all = options(&session["configOptions"]);
    let models = &session["models"];
    if model_of(&all).is_none()
        && let Some(current) = models["currentModelId"].as_str()
    {
        let choices = choices(&models["availableModels"], "modelId");
        all.push(AgentOption { id: "model".into(), name: "Model".into(), category: Some("model".into()), current: shown(current, 120), choices });
    }
    all
}

/// `configOptions` as it stands in answers and updates. What is no choice between values is shown by its value.
pub fn options(list: &Value) -> Vec<AgentOption> {
    let one = |option: &Value| {
        let id = option["id"].as_str()?;
        let current = match &option["currentValue"] {
            Value::String(text) => shown(text, 120),
            Value::Bool(value) => value.to_string(),
            _ => return None,
        };
        let flat = choices(&option["options"], "value");
        let grouped = option["options"].as_array().into_iter().flatten().flat_map(|group| choices(&group["options"], "value"));
        Some(AgentOption {
            id: shown(id, 120),
            name: shown(option["name"].as_str().unwrap_or(id), 120),
            category: option["category"].as_str().map(|category| shown(category, 64)),
            current,
            choices: flat.into_iter().chain(grouped).take(CHOICES_MAX).collect(),
        })
    };
    list.as_array().into_iter().flatten().take(OPTIONS_MAX).filter_map(one).collect()
}

fn choices(list: &Value, id: &str) -> Vec<(String, String)> {
    let pair = |entry: &Value| {
        let value = entry[id].as_str()?;
        Some((shown(value, 120), shown(entry["name"].as_str().unwrap_or(value), 120)))
    };
    list.as_array().into_iter().flatten().take(CHOICES_MAX).filter_map(pair).collect()
}

/// A count that may have been written as a fraction.
pub fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|number| *number >= 0.0 && *number < 1e15).map(|number| number as u64))
}

/// The tokens in the answer to a prompt: in the spelling of the protocol's draft, else in that of agents which came first.
pub fn turn_tokens(result: &Value) -> Option<TokenUsage> {
    let quota = &result["_meta"]["quota"]["token_count"];
    [&result["usage"], &result["_meta"]["usage"], quota].into_iter().find_map(tokens)
}

/// One count of tokens. Where the total shows that the input holds the cached tokens, or the output those of thought, they
/// are taken out, so that the parts can be summed.
pub fn tokens(usage: &Value) -> Option<TokenUsage> {
    let count = |names: [&str; 2]| names.iter().find_map(|name| whole(&usage[*name]));
    let (input, output) = (count(["inputTokens", "input_tokens"]), count(["outputTokens", "output_tokens"]));
    if input.is_none() && output.is_none() {
        return None;
    }
    let optional = |name: &str| whole(&usage[name]).unwrap_or_default();
    let mut tokens = TokenUsage {
        total: 0,
        input: input.unwrap_or_default(),
        output: output.unwrap_or_default(),
        thought: optional("thoughtTokens"),
        cached_read: optional("cachedReadTokens"),
        cached_write: optional("cachedWriteTokens"),
        over_conversation: false,
    };
    let cached = tokens.cached_read.saturating_add(tokens.cached_write);
    let (spoken, all) = (tokens.input.saturating_add(tokens.output), tokens.input.saturating_add(tokens.output).saturating_add(cached));
    tokens.total = count(["totalTokens", "total_tokens"]).unwrap_or_else(|| all.saturating_add(tokens.thought));
    if tokens.total == spoken || tokens.total == spoken.saturating_add(tokens.thought) {
        tokens.input = tokens.input.saturating_sub(cached);
    }
    if tokens.total == spoken || tokens.total == all {
        tokens.output = tokens.output.saturating_sub(tokens.thought);
    }
    Some(tokens)
}

/// Both counts together.
pub fn sum(one: TokenUsage, other: TokenUsage) -> TokenUsage {
    TokenUsage {
        total: one.total.saturating_add(other.total),
        input: one.input.saturating_add(other.input),
        output: one.output.saturating_add(other.output),
        thought: one.thought.saturating_add(other.thought),
        cached_read: one.cached_read.saturating_add(other.cached_read),
        cached_write: one.cached_write.saturating_add(other.cached_write),
        over_conversation: one.over_conversation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_way_to_resume_is_what_was_announced() {
        let with = |capabilities: Value| json!({"agentCapabilities": capabilities});
        assert_eq!(resume_methods(&with(json!({"loadSession": true}))), ["session/load"]);
        assert_eq!(resume_methods(&with(json!({"loadSession": true, "sessionCapabilities": {"resume": {}}}))), ["session/resume", "session/load"]);
        for none in [json!({}), json!({"loadSession": false, "sessionCapabilities": {"resume": null}}), json!({"loadSession": "yes"})] {
            assert!(resume_methods(&with(none)).is_empty());
        }
    }

    #[test]
    fn capabilities_are_what_the_answers_say() {
        let bare = capabilities(&json!({}), &json!({}));
        assert_eq!((bare.resume, bare.images, bare.usage, bare.modes.len(), bare.current_mode), (ResumeStyle::None, false, UsageStyle::None, 0, None));
        let initialized = json!({"agentCapabilities": {"loadSession": true, "promptCapabilities": {"image": true}}});
        let session = json!({"modes": {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "Ask"}, {"id": "code", "name": "Code"}]}});
        let rich = capabilities(&initialized, &session);
        assert_eq!((rich.resume, rich.images, rich.current_mode.as_deref()), (ResumeStyle::Replay, true, Some("ask")));
        assert_eq!(rich.modes, [("ask".to_owned(), "Ask".to_owned()), ("code".to_owned(), "Code".to_owned())]);
    }

    #[test]
    fn settings_of_both_spellings_are_read() {
        let older = json!({"models": {"currentModelId": "m-2", "availableModels": [{"modelId": "m-1", "name": "One"}, {"modelId": "m-2", "name": "Two"}]}});
        assert_eq!(model(&older).as_deref(), Some("m-2"));
        assert_eq!(session_options(&older)[0].choices[0], ("m-1".to_owned(), "One".to_owned()));
        let newer = json!({"configOptions": [
            {"id": "model", "name": "Model", "category": "model", "type": "select", "currentValue": "m-3", "options": [{"group": "g", "name": "G", "options": [{"value": "m-3", "name": "Three"}]}]},
            {"id": "web", "name": "Web", "type": "boolean", "currentValue": true}, {"id": "odd", "currentValue": 3}, 7]});
        let options = session_options(&newer);
        assert_eq!((options.len(), options[0].choices.len(), options[1].current.as_str()), (2, 1, "true"));
        assert_eq!(model(&newer).as_deref(), Some("m-3"));
    }

    #[test]
    fn tokens_of_every_spelling_can_be_summed() {
        let parts = |usage: Value| tokens(&usage).map(|t| (t.total, t.input, t.output, t.thought, t.cached_read));
        let apart = json!({"inputTokens": 1000, "outputTokens": 50, "cachedReadTokens": 200, "cachedWriteTokens": 0, "totalTokens": 1250});
        assert_eq!(parts(apart), Some((1250, 1000, 50, 0, 200)));
        let within = json!({"inputTokens": 1000, "outputTokens": 50, "totalTokens": 1050, "thoughtTokens": 0, "cachedReadTokens": 200});
        assert_eq!(parts(within), Some((1050, 800, 50, 0, 200)));
        assert_eq!(parts(json!({"inputTokens": 10, "outputTokens": 9, "thoughtTokens": 4, "totalTokens": 19})), Some((19, 10, 5, 4, 0)));
        assert_eq!(parts(json!({"inputTokens": 10, "outputTokens": 5, "thoughtTokens": 4, "totalTokens": 19})), Some((19, 10, 5, 4, 0)));
        assert_eq!(parts(json!({"inputTokens": 10, "outputTokens": 5, "thoughtTokens": null})), Some((15, 10, 5, 0, 0)));
        assert!(tokens(&Value::Null).is_none() && tokens(&json!({"inputTokens": "x"})).is_none());
        let quota = turn_tokens(&json!({"stopReason": "end_turn", "_meta": {"quota": {"token_count": {"input_tokens": 40, "output_tokens": 2}}}})).unwrap();
        assert_eq!((quota.total, quota.input, quota.output), (42, 40, 2));
        assert_eq!(sum(quota, quota).total, 84);
    }
}
