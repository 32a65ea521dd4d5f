//! A node as a real process: started, killed, started again on the same directory and ports.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Instant,
};

use serde::Deserialize;

use super::{
    program::{grapevine, grapevine_behind, signal},
    wait::{DEADLINE, POLL_INTERVAL},
};

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Start {
    pub name: String,
    /// Each test has its own, so that a port used before never brings two tests together.
    pub cluster: String,
    pub data: PathBuf,
    pub http: String,
    pub peer: String,
    pub seeds: Vec<String>,
    pub more: Vec<OsString>,
    /// What a shell runs first, in the process that becomes the node: limits, say.
    pub prelude: Option<String>,
}

impl Start {
    /// A node on free ports with its data in `parent/name`.
    pub fn new(name: &str, parent: &Path, seeds: &[String]) -> Self {
        let cluster = parent.file_name().expect("it has a name");
        Self {
            name: name.to_owned(),
            cluster: cluster.to_string_lossy().into_owned(),
            data: parent.join(name),
            http: "127.0.0.1:0".to_owned(),
            peer: "127.0.0.1:0".to_owned(),
            seeds: seeds.to_vec(),
            more: Vec::new(),
            prelude: None,
        }
    }
}

/// The line that says that a node serves.
#[derive(Debug, Deserialize)]
struct Announcement {
    ready: bool,
    name: String,
    http: SocketAddr,
    peer: SocketAddr,
}

/// A running node. Killed when dropped; if the test fails, what it logged is shown.
#[derive(Debug)]
pub struct NodeProcess {
    start: Start,
    child: Child,
    log: PathBuf,
    http: SocketAddr,
    peer: SocketAddr,
    lines: Receiver<String>,
}

impl NodeProcess {
    /// Starts a node and waits until it says that it serves.
    pub fn start(start: Start) -> Self {
        let log = log_beside(&start.data);
        let mut command = start
            .prelude
            .as_ref()
            .map_or_else(grapevine, |prelude| grapevine_behind(prelude));
        command
            .args(["serve", "--name", &start.name, "--cluster", &start.cluster])
            .arg("--data")
            .arg(&start.data)
            .args(["--http", &start.http, "--peer", &start.peer])
            .args(start.seeds.iter().flat_map(|seed| ["--seed", seed]))
            .args(&start.more)
            .stdout(Stdio::piped())
            .stderr(open_log(&log));
        let mut child = command.spawn().expect("the program can be run");
        let lines = lines_of(child.stdout.take().expect("standard output is piped"));
        let Ok(line) = lines.recv_timeout(DEADLINE) else {
            let _gone = child.kill();
            let status = child.wait();
            panic!(
                "{} did not start ({status:?}); it logged:\n{}",
                start.name,
                fs::read_to_string(&log).unwrap_or_default()
            );
        };
        let told: Announcement = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{line:?} does not tell where it serves: {error}"));
        assert!(told.ready);
        assert_eq!(told.name, start.name);
        Self {
            child,
            log,
            http: told.http,
            peer: told.peer,
            lines,
            start,
        }
    }

    pub fn name(&self) -> &str {
        &self.start.name
    }

    pub fn data(&self) -> &Path {
        &self.start.data
    }

    /// Where it serves, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Its peer address, as another's seed.
    pub fn seed(&self) -> String {
        self.peer.to_string()
    }

    /// How to start it again as it is, on the same ports.
    pub fn again(&self) -> Start {
        Start {
            http: self.http.to_string(),
            peer: self.peer.to_string(),
            ..self.start.clone()
        }
    }

    /// As `kill -9` does it. Yields how to start it again.
    pub fn kill_nine(mut self) -> Start {
        self.child.kill().expect("it was not waited for");
        self.child.wait().expect("it was not waited for");
        self.again()
    }

    /// Sends it a signal (`STOP`, `CONT`, ...).
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Asks it to end, and waits until it has. Yields how to start it again.
    pub fn terminate(mut self) -> Start {
        signal(self.child.id(), "TERM");
        let status = wait(&mut self.child);
        assert!(
            status.success(),
            "{} ended with {status} on SIGTERM",
            self.name()
        );
        self.again()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _ended_before = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "--- {} logged:\n{}",
                self.start.name,
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// Waits for the end of a process, [`DEADLINE`] at most.
pub fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if start.elapsed() > DEADLINE {
            let _gone = child.kill();
            panic!("the process did not end within {DEADLINE:?}");
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The lines of a process as they come. The pipe is always read, so that the process never waits for us.
pub fn lines_of(out: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _nobody_reads = sender.send(line);
        }
    });
    lines
}

/// Copies a data directory as it is.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy's directory can be made");
    for entry in fs::read_dir(from).expect("the directory can be read") {
        let entry = entry.expect("the directory can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it has a type").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}

fn log_beside(data: &Path) -> PathBuf {
    let mut name = data.file_name().expect("it has a name").to_owned();
    name.push(".log");
    data.with_file_name(name)
}

fn open_log(path: &Path) -> File {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("the test's directory can be made");
    }
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .expect("the log can be written")
}
