//! Failures with stable codes. Pure. One table: code, kind, HTTP status, exit code; docs/errors has a page for each.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What sort of failure it is (DATA 8), for retry decisions and grouping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Validation,
    Auth,
    Capability,
    Timeout,
    Tool,
    Transport,
    Canceled,
    Policy,
    Conflict,
    Internal,
}

macro_rules! codes {
    ($($name:ident $text:literal $kind:ident $http:literal $exit:literal $title:literal;)*) => {
        /// A stable failure code (DATA 8).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $(#[doc = $title] $name,)* }
        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            pub fn as_str(self) -> &'static str { match self { $(Code::$name => $text,)* } }
            pub fn kind(self) -> Kind { match self { $(Code::$name => Kind::$kind,)* } }
            pub fn http_status(self) -> u16 { match self { $(Code::$name => $http,)* } }
            /// Process exit code of a command that ended with this failure (PRODUCT, CLI).
            pub fn exit_code(self) -> u8 { match self { $(Code::$name => $exit,)* } }
            /// One sentence, the title of the code's page.
            pub fn title(self) -> &'static str { match self { $(Code::$name => $title,)* } }
            pub fn parse(text: &str) -> Option<Self> { match text { $($text => Some(Code::$name),)* _ => None } }
        }
    };
}

codes! {
    InvalidEvent "HSK-400-INVALID-EVENT" Validation 400 1 "An event of unknown code or shape was refused";
    InvalidInput "HSK-400-INVALID-INPUT" Validation 400 2 "The input does not have the required form";
    UnknownCapability "HSK-4001" Capability 403 3 "The capability id is not in the registry";
    BudgetExceeded "HSK-402-BUDGET-EXCEEDED" Policy 402 3 "A budget's hard limit was reached";
    Unauthenticated "HSK-401-UNAUTHENTICATED" Auth 401 3 "The request carries no valid credential";
    Capability "HSK-403-CAPABILITY" Capability 403 3 "The capability is known but not granted";
    Underdeclared "HSK-403-UNDERDECLARED" Capability 403 3 "The request declares less than the operation needs";
    ApprovalDenied "HSK-403-APPROVAL-DENIED" Policy 403 3 "A person denied the request";
    ApprovalSelf "HSK-403-APPROVAL-SELF" Auth 403 3 "An agent cannot decide an approval";
    SameTurnConsent "HSK-403-SAME-TURN-CONSENT" Auth 403 3 "The decision does not answer this very rendering by a person";
    RoleSeparation "HSK-403-ROLE-SEPARATION" Policy 403 3 "The role may not do this";
    PolicyForbidden "HSK-403-POLICY-FORBIDDEN" Policy 403 3 "Policy forbids this";
    Scope "HSK-403-SCOPE" Policy 403 3 "The path lies outside the scope or the workspace";
    GrantRevoked "HSK-403-GRANT-REVOKED" Policy 403 3 "The grant was revoked";
    Origin "HSK-403-ORIGIN" Auth 403 3 "The request comes from a foreign host or origin";
    NotFound "HSK-404-NOT-FOUND" Validation 404 6 "No such thing";
    NotFoundWp "HSK-404-WP" Validation 404 6 "No such work packet";
    NotFoundMt "HSK-404-MT" Validation 404 6 "No such micro-task";
    NotFoundWorkspace "HSK-404-WORKSPACE" Validation 404 6 "No such workspace";
    NotFoundSession "HSK-404-SESSION" Validation 404 6 "No such session";
    NotFoundJob "HSK-404-JOB" Validation 404 6 "No such job";
    NotFoundApproval "HSK-404-APPROVAL" Validation 404 6 "No such approval";
    NotFoundGrant "HSK-404-GRANT" Validation 404 6 "No such grant";
    NotFoundArtifact "HSK-404-ARTIFACT" Validation 404 6 "No such artifact";
    NotFoundRecipe "HSK-404-RECIPE" Validation 404 6 "No recipe of that name in the operator's configuration";
    NotFoundAgent "HSK-404-AGENT" Validation 404 6 "No agent of that name, or its program is not installed";
    ApprovalExpired "HSK-408-APPROVAL-EXPIRED" Timeout 408 5 "The approval or its rendering has expired";
    ApprovalConsumed "HSK-409-APPROVAL-CONSUMED" Conflict 409 5 "The approval has already been decided or used";
    StalePreview "HSK-409-STALE-PREVIEW" Conflict 409 5 "What was approved is no longer what would happen";
    IllegalTransition "HSK-409-ILLEGAL-TRANSITION" Conflict 409 5 "The state does not allow this step";
    GateNotPassed "HSK-409-GATE-NOT-PASSED" Conflict 409 5 "A gate of the packet has not passed";
    VersionConflict "HSK-409-VERSION-CONFLICT" Conflict 409 5 "The record changed since it was read";
    JobNotResumable "HSK-409-JOB-NOT-RESUMABLE" Conflict 409 5 "The job cannot be taken up again";
    WorktreeConflict "HSK-409-WORKTREE-CONFLICT" Conflict 409 5 "One active packet has one worktree";
    BoardConflict "HSK-409-BOARD-CONFLICT" Conflict 409 5 "The board file holds edits that are not settled";
    Drift "HSK-409-DRIFT" Conflict 409 5 "A record on disk is not the one last accepted";
    Idempotency "HSK-409-IDEMPOTENCY" Conflict 409 5 "The idempotency key was used for another request";
    Locked "HSK-423-LOCKED" Conflict 423 5 "Somebody else holds the lock";
    RateLimit "HSK-429-RATE-LIMIT" Policy 429 5 "Too many requests";
    Recorder "HSK-500-RECORDER" Internal 500 7 "The recorder cannot write: no record, no action";
    Integrity "HSK-500-INTEGRITY" Internal 500 7 "Stored bytes do not match their hash";
    Engine "HSK-500-ENGINE" Internal 500 1 "An engine failed";
    NotBuilt "HSK-501-NOT-BUILT" Validation 501 1 "This part is not built yet";
    SandboxUnavailable "HSK-503-SANDBOX-UNAVAILABLE" Policy 503 3 "The sandbox cannot be enforced here";
    Canceled "HSK-499-CANCELED" Canceled 409 5 "The job was cancelled";
    AgentFailed "HSK-502-AGENT" Tool 502 1 "The agent failed or broke the protocol";
    VcsRepoInvalid "VCS_REPO_INVALID" Tool 422 1 "Not a repository that this operation can use";
    VcsConflict "VCS_CONFLICT" Conflict 409 5 "Conflicting changes, or an operation in progress";
    VcsHeadMoved "VCS_HEAD_MOVED" Conflict 409 5 "The branch moved since the plan was made";
    VcsIndexDiverged "VCS_INDEX_DIVERGED" Conflict 409 5 "A selected path is staged a third way";
    VcsNothingToCommit "VCS_NOTHING_TO_COMMIT" Validation 422 1 "The selected paths equal the parent";
    VcsUnsupportedConfig "VCS_UNSUPPORTED_CONFIG" Policy 422 3 "The repository's configuration would run or change something unaccepted";
    VcsPathDenied "VCS_PATH_DENIED" Validation 422 2 "The path is not one that may be used";
    VcsProtected "VCS_PROTECTED" Policy 403 3 "The branch is protected";
    VcsHookRejected "VCS_HOOK_REJECTED" Tool 422 1 "A hook rejected the commit";
    CtxScopeDenied "CTX_SCOPE_DENIED" Policy 403 3 "The search would leave its scope";
    CtxQueryError "CTX_QUERY_ERROR" Validation 400 2 "The query cannot be understood";
    SboxPolicyDenied "SBOX_POLICY_DENIED" Policy 403 3 "The sandbox profile does not allow this";
    SboxTimeout "SBOX_TIMEOUT" Timeout 504 1 "The command exceeded its time";
    SboxFsEscapeDetected "SBOX_FS_ESCAPE_DETECTED" Policy 403 3 "Something was written outside the sandbox's writable paths";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Serialize for Code {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown failure code {text:?}")))
    }
}

/// The one failure at every boundary: what, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    pub code: Code,
    /// The thing and the cause, one sentence for a person.
    pub message: String,
    /// The next step, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, message)
    }
    pub fn engine(message: impl Into<String>) -> Self {
        Self::new(Code::Engine, message)
    }
    pub fn recorder(message: impl Into<String>) -> Self {
        Self::new(Code::Recorder, message).hint("no record, no action: free disk space or repair the recorder, then run dcc doctor")
    }
    pub fn kind(&self) -> Kind {
        self.code.kind()
    }
}

/// Result with [`Failure`].
pub type Outcome<T> = Result<T, Failure>;
