//! Capability ids and risk tiers (GOVERNANCE 1). Pure; the registry is compiled in and closed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::failure::{Code, Failure, Outcome};

/// How bad a wrong yes would be. R0 reads, R1 contained and reversible, R2 reaches further, R3 can lose work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Tier {
    R0,
    R1,
    R2,
    R3,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::R0 => "R0",
            Self::R1 => "R1",
            Self::R2 => "R2",
            Self::R3 => "R3",
        }
    }
}

macro_rules! axes {
    ($($(#[$doc:meta])* $name:ident $text:literal $scoped:literal;)*) => {
        /// What a capability is about. `scoped` ones carry `:scope` in their id.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Axis { $($(#[$doc])* $name,)* }
        impl Axis {
            pub const ALL: &'static [Axis] = &[$(Axis::$name,)*];
            pub fn as_str(self) -> &'static str { match self { $(Axis::$name => $text,)* } }
            pub fn is_scoped(self) -> bool { match self { $(Axis::$name => $scoped,)* } }
            fn parse(text: &str) -> Option<Self> { match text { $($text => Some(Axis::$name),)* _ => None } }
        }
    };
}

axes! {
    ReadRepo "dev.read_repo" false;
    VersionRead "dev.version.read" false;
    VersionWrite "dev.version.write" false;
    WorktreeManage "dev.worktree.manage" false;
    VersionRewrite "dev.version.rewrite" false;
    MergeProtected "dev.version.merge_protected" false;
    FsWrite "dev.fs.write" true;
    ShellRun "dev.shell.run" true;
    ShellSandboxed "dev.shell.sandboxed" false;
    ShellCustom "dev.shell.custom" false;
    LogsIngest "dev.logs.ingest" false;
    McpEnable "dev.mcp.enable" false;
    NetHttp "net.http" true;
    SecretsUse "secrets.use" true;
    PolicyEdit "dev.policy.edit" false;
    ApprovalDecide "dev.approval.decide" false;
    LocusRead "locus.read" false;
    LocusWrite "locus.write" false;
    /// Notes and progress of one packet; an agent has it for the packet it is bound to.
    LocusReport "locus.report" false;
    LocusGate "locus.gate" false;
    LocusDelete "locus.delete" false;
    LocusSync "locus.sync" false;
    SessionStart "session.start" false;
    /// A child of one's own session; an agent has to ask for each.
    SessionSpawn "session.spawn" false;
    SessionSend "session.send" false;
    SessionControl "session.control" false;
    /// Agents without a sandbox where none can be had, for a time.
    SandboxWaive "dev.sandbox.waive" false;
    /// An agent's own login command in its home; the person's terminal is what it asks on.
    AgentLogin "agent.login" false;
    /// An agent's request that names nothing we can judge (SESSIONS 5, fact 4): highest class, once only.
    AgentUnknown "agent.unknown" false;
    StoreMaintain "store.maintain" false;
}

/// One capability: `axis` or `axis:scope`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Capability {
    pub axis: Axis,
    pub scope: Option<String>,
}

impl Capability {
    pub fn plain(axis: Axis) -> Self {
        debug_assert!(!axis.is_scoped(), "{axis:?} needs a scope");
        Self { axis, scope: None }
    }
    pub fn scoped(axis: Axis, scope: impl Into<String>) -> Self {
        debug_assert!(axis.is_scoped(), "{axis:?} takes no scope");
        Self { axis, scope: Some(scope.into()) }
    }
    /// Strict: no case folding, no white space, no empty scope. Unknown axis = HSK-4001.
    pub fn parse(text: &str) -> Outcome<Self> {
        let (axis, scope) = match text.split_once(':') {
            Some((axis, scope)) => (axis, Some(scope)),
            None => (text, None),
        };
        let unknown = || Failure::new(Code::UnknownCapability, format!("{text:?} is not a capability"));
        let axis = Axis::parse(axis).ok_or_else(unknown)?;
        let form_fits = match scope {
            Some(s) => axis.is_scoped() && !s.is_empty() && !s.chars().any(|c| c.is_whitespace() || c.is_control()),
            None => !axis.is_scoped(),
        };
        if form_fits { Ok(Self { axis, scope: scope.map(str::to_owned) }) } else { Err(unknown()) }
    }
    /// True when holding `self` covers `wanted`: equal by value, never by prefix.
    pub fn covers(&self, wanted: &Self) -> bool {
        self == wanted
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Some(scope) => write!(f, "{}:{scope}", self.axis.as_str()),
            None => f.write_str(self.axis.as_str()),
        }
    }
}
impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_strictly() {
        assert_eq!(Capability::parse("dev.shell.run:tests").unwrap().scope.as_deref(), Some("tests"));
        for bad in ["dev.shell.run", "dev.shell.run:", "dev.shell.run: tests", "Dev.read_repo", "dev.read_repo:", "dev.read_repo:x", "dev.shell", "", " dev.read_repo"] {
            assert_eq!(Capability::parse(bad).unwrap_err().code, Code::UnknownCapability, "{bad:?}");
        }
    }

    #[test]
    fn scopes_compare_by_value() {
        let tests = Capability::parse("dev.shell.run:test").unwrap();
        assert!(!tests.covers(&Capability::parse("dev.shell.run:tests").unwrap()));
    }
}
