//! Five nodes, each in its namespace, and what is done to them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    network::{NODES, Network, port_datagram},
    port::{DIRECTORY, NODE, http_address, peer_address},
    schedule::{Fault, Planned, weather},
    support::{
        process::{NodeProcess, Start},
        program::{complaint, grapevine, run},
        wait::until,
    },
};

/// How a process gets a network of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isolation {
    /// As root.
    Network,
    /// In a user namespace.
    User,
}

/// The whole of it.
#[derive(Debug)]
pub(crate) struct Site {
    nodes: Vec<Option<NodeProcess>>,
    dead: Vec<Option<Start>>,
    ports: Vec<Port>,
    network: Network,
    resets: [u64; NODES],
}

/// A namespace with the process that is its network. Killed when dropped.
#[derive(Debug)]
struct Port {
    child: Child,
}

impl Isolation {
    /// What this machine allows, if anything.
    pub(crate) fn find() -> Option<Self> {
        [Self::Network, Self::User].into_iter().find(|isolation| {
            let mut command = Command::new("unshare");
            command.args(isolation.unshare());
            command.args(["sh", "-c", "ip link set lo up && command -v nsenter"]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        })
    }

    fn unshare(self) -> &'static [&'static str] {
        match self {
            Self::Network => &["--net"],
            Self::User => &["--user", "--map-root-user", "--net"],
        }
    }

    /// What a shell does so that the program it runs is in the namespace of this process.
    fn enter(self, pid: u32) -> String {
        let how = match self {
            Self::Network => "--net",
            Self::User => "--user --preserve-credentials --net",
        };
        format!("set -- nsenter --target {pid} {how} -- \"$@\"")
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _ended_before = self.child.wait();
    }
}

impl Site {
    pub(crate) async fn start(isolation: Isolation, directory: &Path) -> Self {
        let network = Network::start(directory).await;
        let secret = directory.join("secret");
        let made = run(grapevine().args(["secret", "new"]));
        fs::write(&secret, made.stdout).expect("the test's directory can be written");
        let mut ports = Vec::new();
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let child = Command::new("unshare")
                .args(isolation.unshare())
                .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
                .arg(env::current_exe().expect("a process has a program"))
                .args(["--ignored", "--exact", "the_port_of_a_node"])
                .env(DIRECTORY, directory)
                .env(NODE, node.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("unshare was there");
            let port = Port { child };
            let socket = port_datagram(directory, node);
            until("port of a node", async || {
                if socket.exists() { Ok(()) } else { Err("none") }
            })
            .await;
            let others = (0..NODES).filter(|other| *other != node);
            let seeds: Vec<_> = others
                .map(|other| peer_address(other).to_string())
                .collect();
            let mut start = Start::new(&format!("node{node}"), directory, &seeds);
            start.http = http_address(node).to_string();
            start.peer = peer_address(node).to_string();
            start.more = vec!["--cluster-secret-file".into(), secret.clone().into()];
            start.prelude = Some(isolation.enter(port.child.id()));
            nodes.push(Some(run_node(start).await));
            ports.push(port);
        }
        Self {
            nodes,
            dead: vec![None; NODES],
            ports,
            network,
            resets: [0; NODES],
        }
    }

    /// Where clients reach each node.
    pub(crate) fn http(&self) -> &[String] {
        self.network.http()
    }

    /// Lets everything planned happen, and returns at the end of the time.
    pub(crate) async fn suffer(&mut self, planned: &[Planned], began: Instant, length: Duration) {
        let mut events: Vec<(Duration, bool, Fault)> = Vec::new();
        for planned in planned {
            events.push((planned.begins, true, planned.fault));
            events.push((planned.ends, false, planned.fault));
        }
        events.sort_by_key(|(at, ..)| *at);
        let mut active: Vec<Fault> = Vec::new();
        for (at, begins, fault) in events {
            tokio::time::sleep_until((began + at).into()).await;
            let word = if begins { "begins" } else { "ends" };
            println!("{:>7} ms: {fault:?} {word}", began.elapsed().as_millis());
            if begins {
                active.push(fault);
                self.begin(fault);
            } else {
                let place = active.iter().position(|other| *other == fault);
                active.remove(place.expect("it began"));
                self.end(fault).await;
            }
            self.network.set(weather(&active, self.resets));
        }
        tokio::time::sleep_until((began + length).into()).await;
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(node) => {
                let process = self.nodes[node].take().expect("it runs");
                self.dead[node] = Some(process.kill_nine());
            }
            Fault::Pause(node) => self.signal(node, "STOP"),
            Fault::Reset(node) => self.resets[node] += 1,
            Fault::Split(_)
            | Fault::CutPair(..)
            | Fault::CutOneWay(..)
            | Fault::BadLine { .. }
            | Fault::BadNetwork { .. }
            | Fault::Mute(_) => {}
        }
    }

    async fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(node) => {
                let start = self.dead[node].take().expect("it was killed");
                self.nodes[node] = Some(run_node(start).await);
            }
            Fault::Pause(node) => self.signal(node, "CONT"),
            Fault::Split(_)
            | Fault::CutPair(..)
            | Fault::CutOneWay(..)
            | Fault::BadLine { .. }
            | Fault::BadNetwork { .. }
            | Fault::Mute(_)
            | Fault::Reset(_) => {}
        }
    }

    fn signal(&self, node: usize, name: &str) {
        let process = self.nodes[node].as_ref().expect("it runs");
        process.signal(name);
    }

    /// A whole network; all faults have ended.
    pub(crate) async fn heal(&mut self) {
        self.network.set(weather(&[], self.resets));
        for node in 0..NODES {
            if let Some(start) = self.dead[node].take() {
                self.nodes[node] = Some(run_node(start).await);
            }
        }
    }

    /// Ends all nodes; yields what their logs and their closed stores say is wrong.
    pub(crate) fn close(mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for process in self.nodes.iter_mut().filter_map(Option::take) {
            let start = process.terminate();
            let log = log_beside(&start.data);
            let log = fs::read_to_string(&log).expect("a node logs");
            let alarms = log.lines().filter(|line| {
                line.contains("panicked")
                    || line.contains("ERROR")
                    || line.contains("\"level\":\"error\"")
            });
            wrong.extend(alarms.map(|line| format!("{} logged {line}", start.name)));
            let output = run(grapevine().arg("verify").arg("--data").arg(&start.data));
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                wrong.push(format!("{}: {said}{}", start.name, complaint(&output)));
            }
        }
        self.ports.clear();
        wrong
    }
}

async fn run_node(start: Start) -> NodeProcess {
    let started = tokio::task::spawn_blocking(|| NodeProcess::start(start)).await;
    started.expect("a node starts")
}

fn log_beside(data: &Path) -> PathBuf {
    data.with_extension("log")
}
