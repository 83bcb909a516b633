//! A project whose files cannot be written: a read-only file system, a full disk, missing rights, a newer program's log.
//!
//! Canon is read as it stands; what is derived is read when it is current, else built in memory. Invariants: no file below
//! `.handshake/` or in the state directory is made, changed or locked for writing; every write refuses with
//! HSK-500-RECORDER before any effect, because the runner does. On failure: what cannot be read is said by name.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Once};

use dcc_core::ports::{ArtifactStore, Recorder as _, fresh};
use dcc_core::{Failure, InstanceId, Outcome};
use dcc_jobs::recovery::RecoveryReport;
use dcc_locus::LocusStore;
use dcc_recorder::{FileArtifacts, SqliteRecorder};
use dcc_store::{Opened, SqliteStore};

use super::checkpoint::StateHead;
use super::lock;
use super::open::{OpenOptions, Project, Records, assemble};
use super::project::Found;

/// What one step of work needs: the log's index (32 KiB), its header, and an event.
const STEP_BYTES: usize = 64 * 1024;

/// Writes and gives back what a step needs, under no name, so that a disk that is full or may not be written is known before
/// anything is begun.
pub fn probe(state_dir: &Path) -> Outcome<()> {
    let cannot = |e: &std::io::Error| Failure::recorder(format!("{} cannot be written: {}", state_dir.display(), cause(e)));
    let unnamed = std::fs::OpenOptions::new().write(true).custom_flags(rustix::fs::OFlags::TMPFILE.bits() as i32).mode(0o600).open(state_dir);
    let (mut file, name) = match unnamed {
        Ok(file) => (file, None),
        // File systems without unnamed files.
        Err(e) if e.kind() == ErrorKind::Unsupported || e.kind() == ErrorKind::IsADirectory => {
            let name = state_dir.join(format!(".probe-{}", std::process::id()));
            (std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name).map_err(|e| cannot(&e))?, Some(name))
        }
        Err(e) => return Err(cannot(&e)),
    };
    let written = file.write_all(&[0; STEP_BYTES]);
    if let Some(name) = name {
        let _ = std::fs::remove_file(name);
    }
    written.map_err(|e| cannot(&e))
}

fn cause(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        ErrorKind::StorageFull => "no space is left on the device".to_owned(),
        ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        ErrorKind::PermissionDenied => "the rights are missing".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens for reading; `why` is what kept this process from owning the project.
pub fn open(found: &Found, why: &str, options: &OpenOptions) -> Outcome<Project> {
    let project_id = found.require_project_id()?;
    // What was opened for reading stays so: canon, what is derived and the recovery of a start belong together.
    let why = if options.serving { format!("{why}; the server was started so and stays so: mend that, then start it again") } else { why.to_owned() };
    // A server is one at a time here too, as far as the lock's file can be read.
    let lock = if options.serving { lock::acquire_unmarked(&found.state_dir)? } else { None };
    let recorder = SqliteRecorder::open_read_only_because(found.state_dir.join("recorder.db"), format!("read only: {why}"))?;
    let recorder = Arc::new(recorder.hold_outside(StateHead::read(&found.dirs, project_id))?);
    let artifacts: Arc<dyn ArtifactStore> = Arc::new(FileArtifacts::open_read_only(found.state_dir.join("artifacts"))?);
    let locus = Arc::new(LocusStore::open_read_only(&found.state_dir.join("gov"), Arc::clone(&recorder) as _, Arc::clone(&artifacts))?);
    let head = recorder.head()?.seq;
    let (store, opened) = SqliteStore::open_read_only(&found.state_dir.join("devcc.db"), project_id, Arc::clone(&found.clock), head, options.serving)?;
    let instance_id = fresh::<InstanceId>(found.clock.as_ref());
    let records = Records { project_id, instance_id, recorder, artifacts, locus, store: Arc::new(store) };
    let (runner, app) = assemble(found, &records, Some(why.clone()))?;
    let store_opened = if opened == Opened::InMemory {
        runner.cx.journal.rebuild()?;
        "built in memory from canon"
    } else {
        "read only"
    };
    Ok(Project {
        app,
        recovery: RecoveryReport::default(),
        store_opened: store_opened.to_owned(),
        read_only: Some(why),
        recorder: records.recorder,
        _lock: lock,
    })
}

/// Tells the person, once in a process, also when a command takes several steps.
pub fn say_once(project: &Project) {
    static SAID: Once = Once::new();
    if let Some(why) = &project.read_only {
        SAID.call_once(|| super::say(&format!("read only: {why}")));
    }
}
