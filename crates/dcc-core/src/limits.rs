//! Every bound of the product, with its reason. Nothing grows without one of these.

/// A payload inside an event; larger ones go by artifact (DATA 5).
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 32 * 1024;
/// One artifact. Larger agent output is cut and marked; 64 MiB holds the largest patch a person could review.
pub const ARTIFACT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A request body over HTTP (GOVERNANCE 8).
pub const HTTP_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Linux's PATH_MAX; git allows more but no worktree could hold it.
pub const PATH_BYTES_MAX: usize = 4096;
/// Paths of one commit: what a preview can show and a person can mean.
pub const COMMIT_PATHS_MAX: usize = 10_000;
/// A commit message, a note, a description.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// A title, a name, a reason.
pub const LINE_BYTES_MAX: usize = 2_000;
/// A page of a list (PRODUCT, CLI).
pub const PAGE_MAX: usize = 1_000;
/// A file that was gone and came back is told of for a day: long enough for whoever removed it to read it.
pub const WRITTEN_BACK_SHOWN_MS: i64 = 24 * 60 * 60 * 1000;
/// Events in one append: a job's batch is below 40, a burst of updates below this.
pub const APPEND_BATCH_MAX: usize = 1_000;
/// Diff text of one file before it is cut with a mark and offered as an artifact.
pub const DIFF_FILE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Files in one status; beyond this a person filters (P8: 50,000 changed files).
pub const STATUS_ENTRIES_MAX: usize = 50_000;
/// Standard output or error of one recipe kept as artifact; the rest is counted.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Output of one git child (a diff of 10,000 files fits).
pub const GIT_OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// One git child; a full status of 112,000 files takes seconds on a loaded machine.
pub const GIT_TIMEOUT_MS: u64 = 120_000;
/// A recipe without its own timeout.
pub const RECIPE_TIMEOUT_MS: u64 = 10 * 60 * 1000;
/// One JSON line from an agent (a 100 MB line is cut off and is a protocol fault).
pub const AGENT_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A loaded machine needs up to 30 s to start a real agent (SESSIONS 5, fact 10).
pub const AGENT_START_TIMEOUT_MS: u64 = 60_000;
/// Grace before an agent whose turn alone was cancelled is ended with its process tree (SESSIONS 5, fact 5).
pub const AGENT_CANCEL_GRACE_MS: u64 = 5_000;
/// A cancelled session is gone within this, whatever its agent heeds: the graces below together stay under it, by a test.
pub const AGENT_GONE_MS_MAX: u64 = 5_000;
/// How long an agent that is to end has for ending its turn first.
pub const AGENT_STOP_GRACE_MS: u64 = 1_500;
/// How long it then has after the end of its input, and after TERM, before it is killed.
pub const AGENT_INPUT_END_GRACE_MS: u64 = 1_000;
pub const AGENT_TERM_GRACE_MS: u64 = 2_000;
/// Permission requests of one session that may wait at once; more pause the session (GOVERNANCE 2, fatigue).
pub const SESSION_PENDING_MAX: usize = 32;
/// Sessions with a live run (SESSIONS 3).
pub const SESSIONS_RUNNING_MAX: usize = 8;
/// A pending request lives this long (GOVERNANCE 1).
pub const APPROVAL_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// From decision to run for a one-time approval (GOVERNANCE 2).
pub const ONCE_TTL_MS: i64 = 120_000;
/// A rendering's nonce for a same-turn decision (GOVERNANCE 2).
pub const NONCE_TTL_MS: i64 = 120_000;
/// A request that has just come up is not decided by what was on its way to another one (the pages hold a card as long).
pub const APPROVAL_GUARD_MS: u64 = 400;
/// From the same-turn decision to the start of execution (GOVERNANCE 2).
pub const SAME_TURN_START_MS: i64 = 30_000;
pub const JOB_GRANT_TTL_MS: i64 = 8 * 60 * 60 * 1000;
pub const JOB_GRANT_USES: u32 = 25;
pub const SESSION_GRANT_TTL_MS: i64 = 8 * 60 * 60 * 1000;
pub const SESSION_GRANT_USES: u32 = 100;
pub const WORKSPACE_GRANT_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// No use bound is written for workspace grants; 10,000 keeps the count finite.
pub const WORKSPACE_GRANT_USES: u32 = 10_000;
/// An agent session that asks the same denied plan again within this time gets the same denial (GOVERNANCE 2).
pub const DENIAL_ECHO_MS: i64 = 10 * 60 * 1000;
/// How long a command waits for the project lock before HSK-423-LOCKED (PRODUCT).
pub const PROJECT_LOCK_WAIT_MS: u64 = 10_000;
/// Search stops here with "narrow it" (UX 2.7).
pub const SEARCH_HITS_MAX: usize = 2_000;
/// A file larger than this is not searched for text; such files are data.
pub const SEARCH_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Checkpoint of the chain every so many events (DATA 5).
pub const CHECKPOINT_EVERY_EVENTS: u64 = 100;
/// And outside the log also when the first event after the last checkpoint is this old (DATA 5).
pub const CHECKPOINT_OUTSIDE_MS: u64 = 60_000;
/// Live readers of the event stream; each holds one bounded queue.
pub const STREAM_READERS_MAX: usize = 200;
/// Events waiting for one slow reader before it is told to refetch.
pub const STREAM_QUEUE_MAX: usize = 1_000;
/// A frozen process tree is thawed or ended within this (SESSIONS 5, pause).
pub const FREEZE_MS_MAX: u64 = 60_000;
/// Levels of spawned sessions below the first (SESSIONS 3).
pub const SPAWN_DEPTH_MAX: u32 = 3;
/// Spawned sessions of one session that live at once (SESSIONS 3).
pub const CHILDREN_ACTIVE_MAX: usize = 4;
/// Running sessions of one provider, and of one model (SESSIONS 3).
pub const PROVIDER_RUNNING_MAX: usize = 4;
pub const MODEL_RUNNING_MAX: usize = 2;
/// Messages that wait for one session: more than a person types ahead.
pub const SESSION_QUEUE_MAX: usize = 100;
/// A command word for word; a test suite or a server of an agent's work lives shorter than this.
pub const COMMAND_TIMEOUT_MS: u64 = 60 * 60 * 1000;
/// What a running command shows at once: the end of its output, for whoever looks while it runs.
pub const COMMAND_RECENT_BYTES_MAX: usize = 256 * 1024;
/// A waiver of the sandbox: long enough for a piece of work, short enough that somebody is still there.
pub const WAIVER_MS_MIN: i64 = 1_000;
pub const WAIVER_MS_MAX: i64 = 8 * 60 * 60 * 1000;
/// A login: a person looks for a key, a browser, a second factor.
pub const LOGIN_TIMEOUT_MS: u64 = 20 * 60 * 1000;
/// Words of a command, variables of its environment, and bytes of either.
pub const COMMAND_WORDS_MAX: usize = 1_000;
pub const COMMAND_VARIABLES_MAX: usize = 100;
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Terminals of one session at once; each is a process tree.
pub const SESSION_TERMINALS_MAX: usize = 8;
/// Directories that the file watcher follows over all worktrees: a watch costs the kernel about a kilobyte, so this is
/// 64 MiB at most. Worktrees beyond it are looked at when somebody asks.
pub const WATCH_DIRECTORIES_MAX: usize = 65_536;
/// Changes that wait to be sorted; as long as the kernel's own queue is by default. One more is a missed change.
pub const WATCH_QUEUE_MAX: usize = 16_384;
/// Paths told of one worktree at once; beyond it the whole worktree counts as changed.
pub const WATCH_PATHS_MAX: usize = 1_000;
/// Changes are gathered this long before they are told: an editor writes a file in several steps.
pub const WATCH_GATHER_MS: u64 = 50;
/// While changes go on without a pause the time doubles up to this; a page is never further behind.
pub const WATCH_GATHER_MS_MAX: u64 = 800;
/// How long one tool call of an agent waits for a decision or a recipe: below the 60 s after which MCP clients give up.
pub const AGENT_TOOL_WAIT_MS_MAX: u64 = 50_000;
/// The same when the agent names no time.
pub const AGENT_TOOL_WAIT_MS: u64 = 20_000;
/// Tool calls of one session at once; each may hold a thread for the time above.
pub const AGENT_CALLS_AT_ONCE_MAX: u32 = 8;
/// Tool calls that one session may make without a pause, and how many come back each second: an agent reads in bursts,
/// and each call leaves two rows in the recorder.
pub const AGENT_CALLS_BURST: u32 = 60;
pub const AGENT_CALLS_PER_SECOND: u32 = 5;
/// Connections of the agents' listener that showed no token yet, and those of one session; when there are more, the oldest
/// is closed. A session works on as many calls at once.
pub const AGENT_CONNECTIONS_UNKNOWN_MAX: usize = 32;
pub const AGENT_CONNECTIONS_OF_SESSION_MAX: usize = 12;
/// All of them: more than the two together ask for with every session alive.
pub const AGENT_CONNECTIONS_MAX: usize = 448;
/// One answer of a tool; more is cut and said so. A model reads little more than this anyway.
pub const AGENT_ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Agents that are started at once: a start costs seconds of a core and hundreds of megabytes (SESSIONS 3).
pub const COLD_STARTS_MAX: usize = 2;
/// Agent processes at once, idle ones included: what 8 GiB hold of agents that take about 250 MiB each.
pub const SESSIONS_LIVE_MAX: usize = 32;
/// How much longer a run of one lane waits than one of the lane before it, at most.
pub const LANE_HEAD_START_MS: i64 = 60_000;
/// How long a pause waits for the turn's next boundary before the processes are stopped where they stand.
pub const PAUSE_BOUND_MS: u64 = 30_000;
/// A working session that nothing was heard of for so long is shown as silent: longer than a model thinks between two
/// signs of work as a rule, shorter than a person would wait before looking.
pub const QUIET_MS: i64 = 120_000;
/// A live run says so this often, at most.
pub const HEARTBEAT_MS: u64 = 30_000;
/// Checkpoints of one session after tool calls and in a stream: at most one in this time.
pub const CHECKPOINT_MS_MIN: u64 = 1_000;
/// A stream is checkpointed every so many messages, and every 4,096 tokens of about four bytes (SESSIONS 7).
pub const CHECKPOINT_MESSAGES: u32 = 5;
pub const CHECKPOINT_STREAM_BYTES: usize = 4 * 4096;
/// Permission requests of one session in a minute; more is no work a person could follow, and pauses the session.
pub const SESSION_REQUESTS_PER_MINUTE: usize = 300;
/// So often a request is judged anew because others took the use of a grant that it counted on. A grant has 100 uses at
/// most, and each try that loses is a use that somebody else got.
pub const GRANT_TRIES_MAX: usize = 128;
/// A handoff is read by a person: so many points, so many bytes, and it fits an event.
pub const HANDOFF_POINTS_MAX: usize = 200;
pub const HANDOFF_BYTES_MAX: usize = 16 * 1024;
/// Changed files that a comparison of a worktree looks at; a turn that changes more is said to be seen in part.
pub const OBSERVED_FILES_MAX: usize = 10_000;
/// A larger file is compared by inode, size and times instead of its bytes: it would be read at each decision of a turn.
pub const OBSERVED_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Paths that an event about ungated or outside changes lists; the others are counted.
pub const OBSERVED_PATHS_LISTED: usize = 200;
/// The last part of a terminal's output that is kept for lookers-on and becomes its transcript.
pub const TERMINAL_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// The longest wait of one read of a terminal, milliseconds; the reader asks again.
pub const TERMINAL_POLL_MS: u64 = 25_000;
/// No screen is larger; one of this size takes some megabytes.
pub const TERMINAL_ROWS_MAX: u16 = 300;
pub const TERMINAL_COLUMNS_MAX: u16 = 600;
/// Lines that went off the screen of a terminal and can be looked at again.
pub const TERMINAL_HISTORY_LINES: usize = 1_000;
/// Of these the page of a session shows so many; the transcript and the person's own terminal have more.
pub const TERMINAL_PAGE_HISTORY_LINES: usize = 300;
/// A screen that changes all the time is told so often, milliseconds: a person sees no more, and a flood costs no more.
pub const TERMINAL_TELL_MS: u64 = 80;
/// Typed at once; more is no typing.
pub const TERMINAL_INPUT_BYTES_MAX: usize = 64 * 1024;
/// Who leaves a terminal is not held longer than this by keys before it that its program does not read, milliseconds.
pub const ATTACHMENT_LEAVE_MS: u64 = 1_000;
/// People at one session's terminal at once; each holds a thread.
pub const SESSION_ATTACHMENTS_MAX: usize = 8;
/// An attached terminal says in this time that it is still there, milliseconds: it decides how large the screen is.
pub const ATTACHMENT_LEASE_MS: u64 = 15_000;
/// A page says nothing while nobody types in it; after this long its attachment ends, and the next key begins another.
pub const ATTACHMENT_IDLE_MS: u64 = 120_000;
/// What is ended for a person, a recipe, a command, an attachment, is waited for this long, milliseconds: above the graces of
/// its processes; what is still there then is told as it is, and the next start finds it.
pub const RUN_END_WAIT_MS: u64 = 15_000;
/// How often waivers of the sandbox are looked at while one stands, milliseconds: an agent runs unconfined so much longer.
pub const WAIVER_LOOK_MS: u64 = 500;
/// A write to a terminal whose program reads nothing fails after this, seconds.
pub const TERMINAL_WRITE_WAIT_S: i64 = 2;
/// How often a worktree's entry that git is making is looked at, milliseconds; git tells nobody when it is done.
pub const GIT_ENTRY_LOOK_MS: u64 = 20;
/// So long the git of a killed process may go on filling a worktree, milliseconds, as long as a person would wait.
pub const GIT_FILLING_WAIT_MS: u64 = 10_000;
/// Of a line of an agent that is no message so much is kept, characters: enough to see what printed it.
pub const AGENT_NOISE_CHARS: usize = 200;
/// Events before it that a feed at a terminal begins with: what a screen shows.
pub const FEED_EARLIER_EVENTS: usize = 40;
/// The log of a detached server is begun anew above this.
pub const SERVER_LOG_BYTES_MAX: u64 = 1024 * 1024;
