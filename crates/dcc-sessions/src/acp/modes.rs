//! Which mode an agent offers in which it asks before it acts (SESSIONS 5, fact 1).
//!
//! Pure. Invariants: a setting that lets it act without asking is switched off and stays off; a mode is taken because the operator or the preset names it, or because it is called `default` or
//! `ask`; when modes are offered and none of these fits, the session does not start.

use serde_json::Value;

use dcc_core::failure::{Code, Failure, Outcome};

use super::wire::shown;

/// Names of a mode that asks, when neither preset nor operator names one.
const ASKING_NAMES: [&str; 2] = ["default", "ask"];

/// How the mode is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Via {
    SetMode,
    /// The configuration option with this id.
    ConfigOption(String),
}

/// The modes of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offered {
    pub via: Via,
    pub current: String,
    /// (id, name) in the agent's order.
    pub modes: Vec<(String, String)>,
}

/// The modes in the answer to session/new, load or resume, once for each way to set them. The newer spelling, a
/// configuration option, comes first: an agent that gives both keeps the older one for clients that know no other.
pub fn offered(session: &Value) -> Vec<Offered> {
    mode_option(&session["configOptions"]).into_iter().chain(mode_list(&session["modes"])).collect()
}

/// The older spelling: a list of modes.
fn mode_list(modes: &Value) -> Option<Offered> {
    let listed = pairs(&modes["availableModes"], "id");
    let current = modes["currentModeId"].as_str()?;
    (!listed.is_empty()).then(|| Offered { via: Via::SetMode, current: current.to_owned(), modes: listed })
}

/// The configuration option that stands for the mode: by its category, else by its id.
pub fn mode_option(options: &Value) -> Option<Offered> {
    let selects = || options.as_array().into_iter().flatten().filter(|option| option["type"].as_str().is_none_or(|kind| kind == "select"));
    let by = |key: &str| selects().find(|option| option[key].as_str() == Some("mode") && option["options"].is_array());
    let option = by("category").or_else(|| by("id").filter(|option| option["category"].is_null()))?;
    let flat = pairs(&option["options"], "value");
    let grouped = option["options"].as_array()?.iter().flat_map(|group| pairs(&group["options"], "value"));
    Some(Offered {
        via: Via::ConfigOption(option["id"].as_str()?.to_owned()),
        current: option["currentValue"].as_str()?.to_owned(),
        modes: flat.into_iter().chain(grouped).collect(),
    })
}

/// A setting beside the mode that lets an agent act without asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Switch {
    pub id: String,
    /// The value with which it asks.
    pub asking: Value,
    pub asks: bool,
}

/// Words in the name of a yes-or-no setting that mean: do not ask.
const LENIENT_WORDS: [&str; 5] = ["allow", "auto", "bypass", "skip", "yolo"];

/// The settings of category `permissions` that are understood: a choice with `off`, a yes-or-no that is named for what it
/// allows.
pub fn switches(options: &Value) -> Vec<Switch> {
    let of_permissions = options.as_array().into_iter().flatten().filter(|option| option["category"].as_str() == Some("permissions"));
    let read = |option: &Value| {
        let id = option["id"].as_str()?;
        let asking = match &option["currentValue"] {
            Value::String(_) => pairs(&option["options"], "value").into_iter().find(|(value, _)| value == "off").map(|(value, _)| Value::String(value))?,
            Value::Bool(_) if LENIENT_WORDS.iter().any(|word| id.to_ascii_lowercase().contains(word)) => Value::Bool(false),
            _ => return None,
        };
        Some(Switch { id: id.to_owned(), asks: option["currentValue"] == asking, asking })
    };
    of_permissions.filter_map(read).collect()
}

fn pairs(list: &Value, id: &str) -> Vec<(String, String)> {
    let pair = |entry: &Value| Some((entry[id].as_str()?.to_owned(), entry["name"].as_str().unwrap_or_default().to_owned()));
    list.as_array().into_iter().flatten().take(100).filter_map(pair).collect()
}

/// The id of the mode to ask for.
pub fn asking(agent: &str, offered: &Offered, configured: Option<&str>) -> Outcome<String> {
    let find = |wanted: &str| {
        let by_id = offered.modes.iter().find(|(id, _)| id == wanted);
        by_id.or_else(|| offered.modes.iter().find(|(_, name)| name.eq_ignore_ascii_case(wanted))).map(|(id, _)| id.clone())
    };
    let found = match configured {
        Some(wanted) => find(wanted),
        None => ASKING_NAMES.iter().find_map(|name| find(name)),
    };
    found.ok_or_else(|| {
        let names: Vec<String> = offered.modes.iter().map(|(id, _)| shown(id, 64)).collect();
        let wanted = configured.map_or_else(|| "no mode known to ask before it acts".to_owned(), |mode| format!("no mode {mode:?}"));
        Failure::new(Code::AgentFailed, format!("the agent {agent} offers {wanted}; it offers {}", names.join(", ")))
            .hint(format!("name the mode in which it asks as ask_mode under [agents.{agent}] in the configuration"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_asking_mode_is_found() {
        let new = json!({"modes": {"currentModeId": "auto", "availableModes": [{"id": "auto", "name": "Auto"}, {"id": "m2", "name": "Ask"}]}});
        let offered = &offered(&new)[0];
        assert_eq!(asking("a", offered, None).unwrap(), "m2");
        assert_eq!(asking("a", offered, Some("auto")).unwrap(), "auto");
        let failure = asking("a", offered, Some("plan")).unwrap_err();
        assert!(failure.code == Code::AgentFailed && failure.message.contains("auto, m2"));
    }

    #[test]
    fn no_asking_mode_is_a_refusal_and_no_modes_are_none() {
        let new = json!({"modes": {"currentModeId": "yolo", "availableModes": [{"id": "yolo", "name": "Yolo"}]}});
        assert!(asking("a", &offered(&new)[0], None).is_err());
        assert!(offered(&json!({"sessionId": "s"})).is_empty() && offered(&json!({"modes": null, "configOptions": null})).is_empty());
    }

    #[test]
    fn a_configuration_option_can_be_the_mode() {
        let new = json!({"configOptions": [{"id": "model", "category": "model", "type": "select", "currentValue": "x", "options": []},
            {"id": "mode", "category": "mode", "type": "select", "currentValue": "auto", "options": [{"group": "g", "name": "G", "options": [{"value": "default", "name": "Default"}]}]}]});
        let offered = &offered(&new)[0];
        assert_eq!(offered.via, Via::ConfigOption("mode".into()));
        assert_eq!(asking("a", offered, None).unwrap(), "default");
        let bare = json!([{"id": "mode", "currentValue": "a", "options": [{"value": "a", "name": "A"}]}]);
        assert_eq!(mode_option(&bare).unwrap().current, "a");
        assert_eq!(mode_option(&json!([{"id": "mode", "category": "other", "currentValue": "a", "options": []}])), None);
    }

    #[test]
    fn both_spellings_are_both_ways() {
        let new = json!({"modes": {"currentModeId": "a", "availableModes": [{"id": "a", "name": "A"}]},
            "configOptions": [{"id": "mode", "category": "mode", "type": "select", "currentValue": "a", "options": [{"value": "a", "name": "A"}]}]});
        let ways: Vec<Via> = offered(&new).into_iter().map(|offered| offered.via).collect();
        assert_eq!(ways, [Via::ConfigOption("mode".into()), Via::SetMode]);
    }

    #[test]
    fn switches_beside_the_mode_are_seen() {
        let choice = |current: &str| json!({"id": "allow_all", "category": "permissions", "type": "select", "currentValue": current, "options": [{"value": "on", "name": "On"}, {"value": "off", "name": "Off"}]});
        let flag = |id: &str| json!({"id": id, "category": "permissions", "type": "boolean", "currentValue": true});
        let found = switches(&json!([choice("on"), choice("off"), flag("autoApprove"), flag("ask_first"), {"id": "x", "category": "model", "currentValue": "on"}]));
        let seen: Vec<(&str, bool)> = found.iter().map(|switch| (switch.id.as_str(), switch.asks)).collect();
        assert_eq!(seen, [("allow_all", false), ("allow_all", true), ("autoApprove", false)]);
        assert_eq!((&found[0].asking, &found[2].asking), (&json!("off"), &json!(false)));
    }
}
